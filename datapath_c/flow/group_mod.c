/* OFPT_GROUP_MOD in OpenFlow 1.5's form: check all of it, then change the groups (1.5.1, 7.3.4.3; errors 7.5.4.8). */
#include <errno.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "base/clock.h"
#include "base/defer.h"
#include "flow/actions_check.h"
#include "flow/bundle.h"
#include "flow/group.h"
#include "flow/instructions.h"
#include "flow/rule_list.h"
#include "flow/subfield.h"
#include "path/datapath.h"

enum { OFPGC_ADD, OFPGC_MODIFY, OFPGC_DELETE, OFPGC_INSERT_BUCKET, OFPGC_REMOVE_BUCKET = 5, OFPGC_ADD_OR_MOD = 0x8000 };
enum { OFPGMFC_GROUP_EXISTS, OFPGMFC_INVALID_GROUP, OFPGMFC_WEIGHT_UNSUPPORTED, OFPGMFC_OUT_OF_GROUPS,
       OFPGMFC_OUT_OF_BUCKETS, OFPGMFC_CHAINING_UNSUPPORTED, OFPGMFC_WATCH_UNSUPPORTED, OFPGMFC_LOOP,
       OFPGMFC_UNKNOWN_GROUP, OFPGMFC_CHAINED_GROUP, OFPGMFC_BAD_TYPE, OFPGMFC_BAD_COMMAND, OFPGMFC_BAD_BUCKET,
       OFPGMFC_BAD_WATCH, OFPGMFC_EPERM, OFPGMFC_UNKNOWN_BUCKET, OFPGMFC_BUCKET_EXISTS };
enum { OFPGBPT_WEIGHT, OFPGBPT_WATCH_PORT, OFPGBPT_WATCH_GROUP };

#define OFPG_MAX 0xffffff00u
#define OFPG_ALL 0xfffffffcu
#define BUCKET_MAX 0xffffff00u
#define BUCKET_FIRST 0xfffffffdu
#define BUCKET_LAST 0xfffffffeu
#define BUCKET_ALL 0xffffffffu
#define NTR_VENDOR 0x0000154du         /* Netronome's selection_method, as Open vSwitch has it */

#define FAILED(code, field, ...) fault_openflow(f, OFPET_GROUP_MOD_FAILED, OFPGMFC_##code, field, __VA_ARGS__)

struct request {
    uint16_t command;
    uint8_t type;
    uint32_t id, command_bucket;
    const uint8_t *buckets, *properties;
    size_t buckets_len, properties_len;
};

/* What is being put together. */
struct draft {
    uint32_t n;
    struct bucket buckets[GROUP_MAX_BUCKETS];
};

static int parse_request(const uint8_t *d, size_t len, struct request *q, fault *f)
{
    if (len < 16)
        return fault_openflow(f, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN, "group_mod", "%zu bytes", len);
    *q = (struct request){.command = get16(d), .type = d[2], .id = get32(d + 4), .command_bucket = get32(d + 12),
                          .buckets = d + 16, .buckets_len = get16(d + 8)};
    if (q->buckets_len > len - 16)
        return fault_openflow(f, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN, "group_mod", "%zu bytes of buckets in %zu", q->buckets_len,
                              len - 16);
    q->properties = q->buckets + q->buckets_len;
    q->properties_len = len - 16 - q->buckets_len;
    if (q->command > OFPGC_REMOVE_BUCKET && q->command != OFPGC_ADD_OR_MOD)
        return FAILED(BAD_COMMAND, "command", "command %u", q->command);
    if (q->command == 4)
        return FAILED(BAD_COMMAND, "command", "command 4");
    if (q->type > GROUP_FF)
        return FAILED(BAD_TYPE, "type", "group type %u", q->type);
    if (q->id > OFPG_MAX && !(q->command == OFPGC_DELETE && q->id == OFPG_ALL))
        return FAILED(INVALID_GROUP, "group_id", "group 0x%x", q->id);
    return 0;
}

static int parse_bucket_properties(const struct request *q, const uint8_t *d, size_t len, struct bucket *k, fault *f)
{
    k->weight = q->type == GROUP_SELECT ? 1 : 0;
    k->watch_port = OFPP_ANY;
    k->watch_group = OFPG_ANY;
    for (size_t at = 0; at < len;) {
        size_t n = len - at < 8 ? 0 : get16(d + at + 2);
        if (n < 8 || n > len - at)
            return FAILED(BAD_BUCKET, "bucket", "a property of %zu bytes with %zu left", n, len - at);
        switch (get16(d + at)) {
        case OFPGBPT_WEIGHT:
            k->weight = get16(d + at + 4);
            break;
        case OFPGBPT_WATCH_PORT:
            k->watch_port = get32(d + at + 4);
            break;
        case OFPGBPT_WATCH_GROUP:
            k->watch_group = get32(d + at + 4);
            break;
        default:
            return FAILED(BAD_BUCKET, "bucket", "unknown property %u", get16(d + at));
        }
        at += (n + 7) / 8 * 8;
    }
    bool watches = k->watch_port != OFPP_ANY || k->watch_group != OFPG_ANY;
    if (k->weight && q->type != GROUP_SELECT)
        return FAILED(INVALID_GROUP, "weight", "only a select group has weights");
    if (watches && (q->type == GROUP_ALL || q->type == GROUP_INDIRECT))
        return FAILED(WATCH_UNSUPPORTED, "watch", "buckets of this type of group watch nothing");
    if (!watches && q->type == GROUP_FF)
        return FAILED(INVALID_GROUP, "watch", "a fast-failover bucket watches a port or a group");
    if (k->watch_port != OFPP_ANY && (k->watch_port == 0 || (k->watch_port > OFPP_MAX && k->watch_port != OFPP_LOCAL)))
        return FAILED(BAD_WATCH, "watch_port", "port 0x%x", k->watch_port);
    if (k->watch_group != OFPG_ANY && (k->watch_group > OFPG_MAX || k->watch_group == q->id))
        return FAILED(BAD_WATCH, "watch_group", "group 0x%x", k->watch_group);
    return 0;
}

static bool has_bucket(const struct draft *t, uint32_t id)
{
    for (uint32_t i = 0; i < t->n; i++)
        if (t->buckets[i].id == id)
            return true;
    return false;
}

/* Appends the request's buckets to the draft. */
static int parse_buckets(const struct bridge *b, const struct request *q, struct draft *t, fault *f)
{
    for (size_t at = 0; at < q->buckets_len;) {
        size_t left = q->buckets_len - at, n = left < 8 ? 0 : get16(q->buckets + at);
        const uint8_t *d = q->buckets + at;
        if (n < 8 || n % 8 || n > left || get16(d + 2) > n - 8)
            return FAILED(BAD_BUCKET, "bucket", "a bucket of %zu bytes with %zu left", n, left);
        if (t->n == GROUP_MAX_BUCKETS)
            return FAILED(OUT_OF_BUCKETS, "buckets", "a group has at most %u", GROUP_MAX_BUCKETS);
        struct bucket *k = &t->buckets[t->n];
        *k = (struct bucket){.id = get32(d + 4), .actions_len = get16(d + 2), .actions = d + 8, .raw = d, .raw_len = (uint32_t)n};
        if (k->id > BUCKET_MAX)
            return FAILED(BAD_BUCKET, "bucket_id", "bucket 0x%x", k->id);
        if (has_bucket(t, k->id))
            return FAILED(BUCKET_EXISTS, "bucket_id", "bucket %u twice", k->id);
        int e = parse_bucket_properties(q, d + 8 + k->actions_len, n - 8 - k->actions_len, k, f);
        const struct actions_context c = {.bridge = b, .action_set = true};
        if (!e)
            e = actions_check(&c, k->actions, k->actions_len, f);
        if (e)
            return e;
        t->n++;
        at += n;
    }
    return 0;
}

/* The one group property that is known: how select chooses, and by which fields. */
static int parse_properties(const struct request *q, struct group *g, fault *f)
{
    for (size_t at = 0; at < q->properties_len;) {
        size_t left = q->properties_len - at, n = left < 4 ? 0 : get16(q->properties + at + 2);
        const uint8_t *d = q->properties + at;
        if (n < 4 || n > left)
            return fault_openflow(f, 17, 1, "properties", "a property of %zu bytes with %zu left", n, left);
        if (get16(d) != 0xffff || n < 32 || get32(d + 4) != NTR_VENDOR || get32(d + 8) != 1)
            return fault_openflow(f, 17, get16(d) == 0xffff ? 5 : 0, "properties", "unknown property %u", get16(d));
        if (q->type != GROUP_SELECT)
            return fault_openflow(f, 17, 2, "selection_method", "only a select group has one");
        if (memcmp(d + 16, "hash\0", 5) && memcmp(d + 16, "dp_hash", 8) && d[16])
            return fault_openflow(f, 17, 2, "selection_method", "%.15s", d + 16);
        /* Experimenter, type, pad, 16 bytes of method, 64 bits of parameter: then OXM fields with their masks. */
        for (size_t o = 40; o + 4 <= n && !memcmp(d + 16, "hash\0", 5);) {
            struct field_header h;
            if (field_header_parse(d + o, n - o, &h) || h.field >= N_FIELDS)
                return fault_openflow(f, OFPET_BAD_MATCH, OFPBMC_BAD_FIELD, "selection_method", "an unknown field");
            if (g && g->n_fields < GROUP_HASH_FIELDS)
                g->fields[g->n_fields++] = (uint8_t)h.field;
            o += 4u + h.length;
        }
        at += (n + 7) / 8 * 8;
    }
    return 0;
}

/* Whether group `id` can be come to from these actions. */
static bool reaches(const struct bridge *b, const uint8_t *actions, size_t len, uint32_t id, uint32_t mark)
{
    for (size_t at = 0; at + 8 <= len; at += get16(actions + at + 2)) {
        if (get16(actions + at) != OFPAT_GROUP)
            continue;
        uint32_t next = get32(actions + at + 4);
        struct group *g = group_find(b, next);
        if (next == id)
            return true;
        if (!g || g->mark == mark)
            continue;
        g->mark = mark;
        for (uint32_t i = 0; i < g->n_buckets; i++)
            if (reaches(b, g->buckets[i].actions, g->buckets[i].actions_len, id, mark))
                return true;
    }
    return false;
}

static int check_loops(struct bridge *b, uint32_t id, const struct draft *t, fault *f)
{
    uint32_t mark = ++b->group_mark;
    for (uint32_t i = 0; i < t->n; i++)
        if (reaches(b, t->buckets[i].actions, t->buckets[i].actions_len, id, mark))
            return FAILED(LOOP, "actions", "group %u would come to itself", id);
    return 0;
}

static struct group *make_group(const struct bridge *b, const struct request *q, const struct draft *t)
{
    unsigned workers = b->dp->n_workers;
    size_t raw = 0, counts = workers * (1 + t->n) * sizeof(struct group_counts);
    for (uint32_t i = 0; i < t->n; i++)
        raw += t->buckets[i].raw_len;
    size_t size = sizeof(struct group) + t->n * sizeof(struct bucket) + counts + raw + q->properties_len;
    struct group *g = calloc(1, size);
    if (!g)
        return NULL;
    g->id = q->id;
    g->type = q->type;
    g->created = clock_now();
    g->n_buckets = t->n;
    g->size = (uint32_t)size;
    g->n_workers = workers;
    g->counts = (struct group_counts *)(g->buckets + t->n);
    uint8_t *bytes = (uint8_t *)g->counts + counts;
    for (uint32_t i = 0; i < t->n; i++) {
        struct bucket *k = &g->buckets[i];
        *k = t->buckets[i];
        memcpy(bytes, k->raw, k->raw_len);
        k->actions = bytes + (k->actions - k->raw);
        k->raw = bytes;
        bytes += k->raw_len;
    }
    memcpy(bytes, q->properties, q->properties_len);
    g->properties = bytes;
    g->properties_len = (uint32_t)q->properties_len;
    return g;
}

static int put_group(struct bridge *b, struct request *q, const struct draft *t, struct group *old, fault *f)
{
    if (q->type == GROUP_INDIRECT && t->n != 1)
        return FAILED(INVALID_GROUP, "buckets", "an indirect group has one bucket, not %u", t->n);
    int e = check_loops(b, q->id, t, f);
    if (e)
        return e;
    struct group *g = make_group(b, q, t);
    if (!g)
        return fault_set(f, ENOMEM, "group_mod", "out of memory");
    const struct tenant *tenant = b->tenant;
    if (tenant->conf.max_memory && tenant->rule_bytes + g->size > tenant->conf.max_memory + (old ? old->size : 0))
        e = FAILED(OUT_OF_GROUPS, "max_memory", "tenant %s has its %llu bytes", tenant->conf.name,
                   (unsigned long long)tenant->conf.max_memory);
    if (!e)
        e = parse_properties(q, g, f);
    if (!e && id_map_set(&b->groups, q->id, g))
        e = fault_set(f, ENOMEM, "group_mod", "out of memory");
    if (e) {
        free(g);
        return e;
    }
    b->tenant->rule_bytes += g->size;
    if (old) {
        for (unsigned w = 0; w < old->n_workers; w++) {
            g->base.packets += old->counts[w * (1 + old->n_buckets)].packets;
            g->base.bytes += old->counts[w * (1 + old->n_buckets)].bytes;
        }
        g->base.packets += old->base.packets;
        g->base.bytes += old->base.bytes;
        g->created = old->created;
        b->tenant->rule_bytes -= old->size;
        defer(free, old);
    }
    tenant_changed(b->tenant);
    return 0;
}

static int insert_buckets(struct bridge *b, struct request *q, struct group *old, struct draft *t, fault *f)
{
    static struct draft new;
    new.n = 0;
    q->type = old->type;
    q->properties = old->properties;
    q->properties_len = old->properties_len;
    int e = parse_buckets(b, q, &new, f);
    if (e)
        return e;
    uint32_t where = old->n_buckets;
    if (q->command_bucket == BUCKET_FIRST) {
        where = 0;
    } else if (q->command_bucket <= BUCKET_MAX) {
        for (where = 0; where < old->n_buckets && old->buckets[where].id != q->command_bucket; where++)
            ;
        if (where++ == old->n_buckets)
            return FAILED(UNKNOWN_BUCKET, "command_bucket_id", "there is no bucket %u", q->command_bucket);
    } else if (q->command_bucket != BUCKET_LAST) {
        return FAILED(UNKNOWN_BUCKET, "command_bucket_id", "bucket 0x%x", q->command_bucket);
    }
    if (old->n_buckets + new.n > GROUP_MAX_BUCKETS)
        return FAILED(OUT_OF_BUCKETS, "buckets", "a group has at most %u", GROUP_MAX_BUCKETS);
    for (uint32_t i = 0; i <= old->n_buckets; i++) {
        if (i == where)
            for (uint32_t j = 0; j < new.n; j++)
                t->buckets[t->n++] = new.buckets[j];
        if (i < old->n_buckets) {
            if (has_bucket(&new, old->buckets[i].id))
                return FAILED(BUCKET_EXISTS, "bucket_id", "bucket %u is there", old->buckets[i].id);
            t->buckets[t->n++] = old->buckets[i];
        }
    }
    return 0;
}

static int remove_buckets(struct request *q, const struct group *old, struct draft *t, fault *f)
{
    if (q->buckets_len)
        return FAILED(BAD_BUCKET, "buckets", "removing a bucket takes none");
    q->type = old->type;
    q->properties = old->properties;
    q->properties_len = old->properties_len;
    uint32_t id = q->command_bucket;
    if (id == BUCKET_FIRST && old->n_buckets)
        id = old->buckets[0].id;
    if (id == BUCKET_LAST && old->n_buckets)
        id = old->buckets[old->n_buckets - 1].id;
    for (uint32_t i = 0; i < old->n_buckets; i++)
        if (id != BUCKET_ALL && old->buckets[i].id != id)
            t->buckets[t->n++] = old->buckets[i];
    if (id != BUCKET_ALL && t->n == old->n_buckets)
        return FAILED(UNKNOWN_BUCKET, "command_bucket_id", "there is no bucket 0x%x", id);
    return 0;
}

/* Rules that name the group go with it (OpenFlow 1.3.5, 6.5). */
static int remove_rules(struct bridge *b, uint32_t id, fault *f)
{
    uint32_t version = bridge_pending_version(b);
    for (unsigned t = 0; t < OFPTT_MAX; t++) {
        struct table *table = atomic_load_explicit(&b->tables[t], memory_order_relaxed);
        for (struct rule *r = table ? table->rules : NULL, *next; r; r = next) {
            const struct instructions *i = atomic_load_explicit(&r->instructions, memory_order_relaxed);
            next = r->next;
            if (!cls_visible(&r->cls, version) || !instructions_output(i->bytes, i->len, OFPP_ANY, id))
                continue;
            int e = 0;
            if (b->bundle)
                e = bundle_removed(b, r, BUNDLE_DELETED, f);
            else
                rule_remove(r, OFPRR_GROUP_DELETE);
            if (e)
                return e;
        }
    }
    bridge_forget(b);
    return 0;
}

static int delete_one(struct bridge *b, struct group *g, bool all, fault *f)
{
    struct id_map *m = atomic_load_explicit(&b->groups, memory_order_relaxed);
    for (uint32_t i = 0; !all && i < m->n; i++) {
        const struct group *other = m->at[i].object;
        for (uint32_t k = 0; other != g && k < other->n_buckets; k++)
            if (actions_output(other->buckets[k].actions, other->buckets[k].actions_len, OFPP_ANY, g->id))
                return FAILED(CHAINED_GROUP, "group_id", "group %u forwards to group %u", other->id, g->id);
    }
    int e = remove_rules(b, g->id, f);
    if (e)
        return e;
    if (id_map_set(&b->groups, g->id, NULL))
        return fault_set(f, ENOMEM, "group_mod", "out of memory");
    b->tenant->rule_bytes -= g->size;
    defer(free, g);
    return 0;
}

static int delete(struct bridge *b, const struct request *q, fault *f)
{
    int e = 0;
    if (q->id == OFPG_ALL) {
        struct id_map *m;
        while (!e && (m = atomic_load_explicit(&b->groups, memory_order_relaxed)) && m->n)
            e = delete_one(b, m->at[m->n - 1].object, true, f);
    } else {
        struct group *g = group_find(b, q->id);
        if (g)
            e = delete_one(b, g, false, f);
    }
    tenant_changed(b->tenant);
    return e;
}

int group_mod(struct bridge *b, const uint8_t *body, size_t len, fault *f)
{
    static struct draft t;
    struct request q;
    int e = parse_request(body, len, &q, f);
    if (e)
        return e;
    if (q.command == OFPGC_DELETE)
        return delete(b, &q, f);
    struct group *old = group_find(b, q.id);
    struct id_map *m = atomic_load_explicit(&b->groups, memory_order_relaxed);
    t.n = 0;
    if (q.command == OFPGC_ADD_OR_MOD)
        q.command = old ? OFPGC_MODIFY : OFPGC_ADD;
    if (q.command == OFPGC_ADD && old)
        return FAILED(GROUP_EXISTS, "group_id", "group %u is there already", q.id);
    if (q.command != OFPGC_ADD && !old)
        return FAILED(UNKNOWN_GROUP, "group_id", "there is no group %u", q.id);
    if (!old && m && m->n >= BRIDGE_MAX_GROUPS)
        return FAILED(OUT_OF_GROUPS, "group_id", "the bridge has its %u groups", BRIDGE_MAX_GROUPS);
    if (q.command == OFPGC_INSERT_BUCKET)
        e = insert_buckets(b, &q, old, &t, f);
    else if (q.command == OFPGC_REMOVE_BUCKET)
        e = remove_buckets(&q, old, &t, f);
    else
        e = parse_buckets(b, &q, &t, f);
    return e ? e : put_group(b, &q, &t, old, f);
}
