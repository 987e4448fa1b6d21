#include "flow/group.h"
#include <math.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/step.h"
#include "flow/instructions.h"
#include "flow/subfield.h"
#include "flow/table.h"
#include "path/datapath.h"
#include "port/port.h"

#define MAX_WATCH_DEPTH 8
#define MAX_WATCHED 1024       /* buckets that are looked at to tell whether one lives: groups may watch each other */

struct group *group_find(const struct bridge *b, uint32_t id)
{
    return id_map_find(&((struct bridge *)b)->groups, id);
}

static bool live(const struct bridge *b, const struct bucket *k, unsigned depth, unsigned *left);

static bool group_live(const struct bridge *b, uint32_t id, unsigned depth, unsigned *left)
{
    const struct group *g = depth < MAX_WATCH_DEPTH ? group_find(b, id) : NULL;
    for (uint32_t i = 0; g && i < g->n_buckets && *left; i++)
        if (live(b, &g->buckets[i], depth + 1, left))
            return true;
    return false;
}

bool bucket_live(const struct bridge *b, const struct bucket *k, unsigned depth)
{
    unsigned left = MAX_WATCHED;
    return live(b, k, depth, &left);
}

static bool live(const struct bridge *b, const struct bucket *k, unsigned depth, unsigned *left)
{
    step(1);
    --*left;
    bool port = k->watch_port != OFPP_ANY, group = k->watch_group != OFPG_ANY;
    if (!port && !group)
        return true;
    if (port) {
        const struct port *p = bridge_port(b, k->watch_port);
        if (p && port_live(p))
            return true;
    }
    return group && *left && group_live(b, k->watch_group, depth, left);
}

double bucket_score(uint32_t hash, const struct bucket *k)
{
    /* Weighted rendezvous hashing: with u uniform in (0, 1), the greatest weight / -ln(u) is bucket k with probability in
     * proportion to its weight, and taking a bucket away moves no other bucket's flows. */
    double u = ((double)hash_finish(hash_word(hash, k->id)) + 0.5) / 4294967296.0;
    return k->weight / -log(u);
}

uint32_t group_hash(const struct group *g, const union key_words *k)
{
    uint32_t h = g->id;
    if (g->n_fields) {
        for (unsigned i = 0; i < g->n_fields; i++) {
            u128 v = field_get(k, g->fields[i]);
            h = hash_word(h, (uint64_t)v);
            h = hash_word(h, (uint64_t)(v >> 64));
        }
        return hash_finish(h);
    }
    /* Addresses and ports of every layer, and what they are of. */
    static const uint8_t words[] = {7, 8, 10, 11, 12, 13, 14, 15, 17, 18};
    for (unsigned i = 0; i < sizeof words; i++)
        h = hash_word(h, k->w[words[i]]);
    return hash_finish(hash_word(h, k->key.ip_proto));
}

size_t group_desc_put(const struct group *g, uint8_t *out, size_t size)
{
    size_t len = 16 + g->properties_len, buckets = 0;
    for (uint32_t i = 0; i < g->n_buckets; i++)
        buckets += g->buckets[i].raw_len;
    len += buckets;
    if (len > size || len > 65535)
        return 0;
    memset(out, 0, 16);
    put16(out, (uint16_t)len);
    out[2] = g->type;
    put32(out + 4, g->id);
    put16(out + 8, (uint16_t)buckets);
    uint8_t *at = out + 16;
    for (uint32_t i = 0; i < g->n_buckets; i++) {
        memcpy(at, g->buckets[i].raw, g->buckets[i].raw_len);
        at += g->buckets[i].raw_len;
    }
    memcpy(at, g->properties, g->properties_len);
    return len;
}

static struct group_counts sum(const struct group *g, unsigned row)
{
    struct group_counts s = {0};
    for (unsigned w = 0; w < g->n_workers; w++) {
        const struct group_counts *c = &g->counts[w * (1 + g->n_buckets) + row];
        s.packets += __atomic_load_n(&c->packets, __ATOMIC_RELAXED);
        s.bytes += __atomic_load_n(&c->bytes, __ATOMIC_RELAXED);
    }
    return s;
}

/* Rules and groups that name the group. */
static uint32_t references(const struct bridge *b, uint32_t id)
{
    uint32_t n = 0;
    for (unsigned t = 0; t < OFPTT_MAX; t++) {
        struct table *table = atomic_load_explicit(&((struct bridge *)b)->tables[t], memory_order_relaxed);
        for (struct rule *r = table ? table->rules : NULL; r; r = r->next) {
            const struct instructions *i = atomic_load_explicit(&r->instructions, memory_order_relaxed);
            n += instructions_output(i->bytes, i->len, OFPP_ANY, id);
        }
    }
    const struct id_map *m = atomic_load_explicit(&((struct bridge *)b)->groups, memory_order_relaxed);
    for (uint32_t i = 0; m && i < m->n; i++) {
        const struct group *g = m->at[i].object;
        for (uint32_t k = 0; k < g->n_buckets; k++)
            n += actions_output(g->buckets[k].actions, g->buckets[k].actions_len, OFPP_ANY, id);
    }
    return n;
}

size_t group_stats_put(const struct bridge *b, const struct group *g, uint64_t now, uint8_t *out, size_t size)
{
    size_t len = 40 + g->n_buckets * 16u;
    if (len > size)
        return 0;
    struct group_counts all = sum(g, 0);
    memset(out, 0, 40);
    put16(out, (uint16_t)len);
    put32(out + 4, g->id);
    put32(out + 8, references(b, g->id));
    put64(out + 16, g->base.packets + all.packets);
    put64(out + 24, g->base.bytes + all.bytes);
    uint64_t age = now - g->created;
    put32(out + 32, (uint32_t)(age / clock_hz));
    put32(out + 36, (uint32_t)((double)(age % clock_hz) * 1e9 / (double)clock_hz));
    for (uint32_t i = 0; i < g->n_buckets; i++) {
        struct group_counts c = sum(g, 1 + i);
        put64(out + 40 + 16 * i, c.packets);
        put64(out + 48 + 16 * i, c.bytes);
    }
    return len;
}

void groups_free(struct bridge *b)
{
    struct id_map *m = atomic_load_explicit(&b->groups, memory_order_relaxed);
    for (uint32_t i = 0; m && i < m->n; i++)
        free(m->at[i].object);
    id_map_free(&b->groups);
}
