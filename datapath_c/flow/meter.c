#include "flow/meter.h"
#include <stdlib.h>
#include "base/bytes.h"
#include "base/clock.h"
#include "flow/instructions.h"
#include "flow/table.h"
#include "path/datapath.h"

struct meter *meter_find(const struct bridge *b, uint32_t id)
{
    return id_map_find(&((struct bridge *)b)->meters, id);
}

bool meter_remarks(const struct meter *m)
{
    for (uint32_t i = 0; i < m->n_bands; i++)
        if (m->bands[i].type == OFPMBT_DSCP_REMARK)
            return true;
    return false;
}

static void count(const struct meter *m, unsigned worker, unsigned row, uint32_t bytes)
{
    struct meter_counts *c = &m->counts[worker * (1 + m->n_bands) + row];
    __atomic_store_n(&c->packets, c->packets + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&c->bytes, c->bytes + bytes, __ATOMIC_RELAXED);
}

enum meter_verdict meter_packet(struct meter *m, unsigned worker, const struct packet *p, uint64_t now, uint8_t *prec_level)
{
    /* A segment that has not been cut counts as the packets that it will be. */
    uint64_t units = !(m->flags & OFPMF_PKTPS) ? (uint64_t)p->len * 8
                   : packet_is_gso(p) && p->vnet.gso_size ? 1 + (p->len - 1) / p->vnet.gso_size : 1;
    const struct band *applies = NULL;
    unsigned row = 0;
    count(m, worker, 0, p->len);
    for (uint32_t i = 0; i < m->n_bands; i++) {
        struct band *b = &m->bands[i];
        if (!rate_admits(&b->pace, units, now) && (!applies || b->rate > applies->rate)) {
            applies = b;
            row = 1 + i;
        }
    }
    if (!applies)
        return METER_PASS;
    count(m, worker, row, p->len);
    *prec_level = applies->prec_level;
    return applies->type == OFPMBT_DROP ? METER_DROP : METER_REMARK;
}

size_t meter_config_put(const struct meter *m, uint8_t *out)
{
    size_t len = 8 + 16 * m->n_bands;
    memset(out, 0, len);
    put16(out, (uint16_t)len);
    put16(out + 2, m->flags);
    put32(out + 4, m->id);
    for (uint32_t i = 0; i < m->n_bands; i++) {
        uint8_t *o = out + 8 + 16 * i;
        put16(o, m->bands[i].type);
        put16(o + 2, 16);
        put32(o + 4, m->bands[i].rate);
        put32(o + 8, m->bands[i].burst);
        o[12] = m->bands[i].prec_level;
    }
    return len;
}

static struct meter_counts sum(const struct meter *m, unsigned row)
{
    struct meter_counts s = {0};
    for (unsigned w = 0; w < m->n_workers; w++) {
        const struct meter_counts *c = &m->counts[w * (1 + m->n_bands) + row];
        s.packets += __atomic_load_n(&c->packets, __ATOMIC_RELAXED);
        s.bytes += __atomic_load_n(&c->bytes, __ATOMIC_RELAXED);
    }
    return s;
}

static uint32_t references(const struct bridge *b, uint32_t id)
{
    uint32_t n = 0;
    for (unsigned t = 0; t < OFPTT_MAX; t++) {
        struct table *table = atomic_load_explicit(&((struct bridge *)b)->tables[t], memory_order_relaxed);
        for (struct rule *r = table ? table->rules : NULL; r; r = r->next) {
            const struct instructions *i = atomic_load_explicit(&r->instructions, memory_order_relaxed);
            n += instructions_meter(i->bytes, i->len, id);
        }
    }
    return n;
}

size_t meter_stats_put(const struct bridge *b, const struct meter *m, uint64_t now, uint8_t *out)
{
    size_t len = 40 + 16 * m->n_bands;
    struct meter_counts all = sum(m, 0);
    uint64_t age = now - m->created;
    memset(out, 0, 40);
    put32(out, m->id);
    put16(out + 4, (uint16_t)len);
    put32(out + 12, references(b, m->id));
    put64(out + 16, all.packets);
    put64(out + 24, all.bytes);
    put32(out + 32, (uint32_t)(age / clock_hz));
    put32(out + 36, (uint32_t)((double)(age % clock_hz) * 1e9 / (double)clock_hz));
    for (uint32_t i = 0; i < m->n_bands; i++) {
        struct meter_counts c = sum(m, 1 + i);
        put64(out + 40 + 16 * i, c.packets);
        put64(out + 48 + 16 * i, c.bytes);
    }
    return len;
}

void meters_free(struct bridge *b)
{
    struct id_map *m = atomic_load_explicit(&b->meters, memory_order_relaxed);
    for (uint32_t i = 0; m && i < m->n; i++)
        free(m->at[i].object);
    id_map_free(&b->meters);
}
