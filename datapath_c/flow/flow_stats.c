/* What controllers read of tables and rules (OpenFlow 1.3.5, 7.3.5.2 to 7.3.5.4, and 7.4.2). */
#include <errno.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "base/clock.h"
#include "flow/instructions.h"
#include "flow/rule_list.h"
#include "path/datapath.h"

struct filter {
    uint8_t table_id;
    uint32_t out_port, out_group;
    uint64_t cookie, cookie_mask;
    struct match match;
};

static int parse_filter(const uint8_t *d, size_t len, struct filter *q, fault *f)
{
    if (!len) {
        memset(q, 0, sizeof *q);
        q->table_id = OFPTT_ALL;
        q->out_port = q->out_group = OFPP_ANY;
        return 0;
    }
    if (len < 32 + 8)
        return fault_openflow(f, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN, "flow_stats_request", "%zu bytes", len);
    q->table_id = d[0];
    q->out_port = get32(d + 4);
    q->out_group = get32(d + 8);
    q->cookie = get64(d + 16);
    q->cookie_mask = get64(d + 24);
    int n = match_parse(d + 32, len - 32, &q->match, f);
    if (n < 0)
        return n;
    if (32u + (unsigned)n != len)
        return fault_openflow(f, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN, "flow_stats_request", "%zu bytes too many",
                              len - 32 - (unsigned)n);
    return 0;
}

static bool passes(const struct rule *r, const struct filter *q)
{
    if ((r->cookie ^ q->cookie) & q->cookie_mask)
        return false;
    struct instructions *i = atomic_load_explicit(&((struct rule *)r)->instructions, memory_order_relaxed);
    if (q->out_port != OFPP_ANY && !instructions_output(i->bytes, i->len, q->out_port, OFPG_ANY))
        return false;
    if (q->out_group != OFPG_ANY && !instructions_output(i->bytes, i->len, OFPP_ANY, q->out_group))
        return false;
    struct match m;
    cls_rule_match(&r->cls, &m);
    for (int w = 0; w < KEY_WORDS; w++)
        if (q->match.mask.w[w] & ~m.mask.w[w] || (m.value.w[w] ^ q->match.value.w[w]) & q->match.mask.w[w])
            return false;
    return true;
}

static void put_duration(uint8_t *out, uint64_t cycles)
{
    put32(out, (uint32_t)(cycles / clock_hz));
    put32(out + 4, (uint32_t)((double)(cycles % clock_hz) * 1e9 / (double)clock_hz));
}

static uint64_t shown_packets(const struct rule *r, const struct rule_totals *t)
{
    return r->flags & OFPFF_NO_PKT_COUNTS ? UINT64_MAX : t->packets;
}

static uint64_t shown_bytes(const struct rule *r, const struct rule_totals *t)
{
    return r->flags & OFPFF_NO_BYT_COUNTS ? UINT64_MAX : t->bytes;
}

static size_t put_flow(const struct rule *r, uint64_t now, uint8_t *out, size_t size)
{
    struct instructions *i = atomic_load_explicit(&((struct rule *)r)->instructions, memory_order_relaxed);
    struct rule_totals t;
    struct match m;
    rule_totals(r, &t);
    cls_rule_match(&r->cls, &m);
    memset(out, 0, 48);
    out[2] = r->table->id;
    put_duration(out + 4, now - r->created);
    put16(out + 12, r->cls.priority);
    put16(out + 14, r->idle_timeout);
    put16(out + 16, r->hard_timeout);
    put16(out + 18, r->flags);
    put16(out + 20, r->importance);
    put64(out + 24, r->cookie);
    put64(out + 32, shown_packets(r, &t));
    put64(out + 40, shown_bytes(r, &t));
    int n = match_serialise_fields(&m, r->cls.subtable->fields, r->cls.subtable->n_fields, out + 48, size - 48);
    size_t len = 48 + (size_t)n;
    memcpy(out + len, i->bytes, i->len);
    len += i->len;
    put16(out, (uint16_t)len);
    return len;
}

size_t flow_entry_put(const struct rule *r, uint64_t now, uint8_t *out, size_t size)
{
    return put_flow(r, now, out, size);
}

static int each_rule(struct bridge *b, const struct filter *q, int (*fn)(void *, const struct rule *), void *context)
{
    unsigned first = q->table_id == OFPTT_ALL ? 0 : q->table_id, last = q->table_id == OFPTT_ALL ? OFPTT_MAX - 1 : q->table_id;
    for (unsigned i = first; i <= last && i < OFPTT_MAX; i++) {
        struct table *t = atomic_load_explicit(&b->tables[i], memory_order_relaxed);
        uint32_t version = atomic_load_explicit(&b->version, memory_order_relaxed);
        for (struct rule *r = t ? t->rules : NULL; r; r = r->next)
            if (cls_visible(&r->cls, version) && passes(r, q)) {
                int e = fn(context, r);
                if (e)
                    return e;
            }
    }
    return 0;
}

struct flow_dump {
    struct cursor cursor;
    struct bridge *bridge;     /* NULL when it is gone */
    struct filter filter;
    bool all;                  /* the filter lets everything pass */
    unsigned table, last;
    uint64_t now;
    uint8_t entry[65536];
};

static bool is_all(const struct filter *q)
{
    static const union key_words none;
    return !q->cookie_mask && q->out_port == OFPP_ANY && q->out_group == OFPG_ANY &&
           !memcmp(&q->match.mask, &none, sizeof none);
}

static struct rule *first_rule(struct flow_dump *d)
{
    struct table *t = d->table < OFPTT_MAX ? atomic_load_explicit(&d->bridge->tables[d->table], memory_order_relaxed) : NULL;
    return t ? t->rules : NULL;
}

struct flow_dump *flow_dump_new(struct bridge *b, const uint8_t *request, size_t len, uint64_t now, fault *f)
{
    struct flow_dump *d = malloc(sizeof *d);
    if (!d) {
        fault_set(f, ENOMEM, "", "out of memory");
        return NULL;
    }
    if (parse_filter(request, len, &d->filter, f)) {
        free(d);
        return NULL;
    }
    uint8_t table = d->filter.table_id;
    d->all = is_all(&d->filter);
    d->bridge = b;
    d->now = now;
    d->table = table == OFPTT_ALL ? 0 : table;
    d->last = table == OFPTT_ALL ? OFPTT_MAX - 1 : table;
    d->cursor = (struct cursor){.next = b->cursors, .at = first_rule(d), .bridge = &d->bridge};
    b->cursors = &d->cursor;
    return d;
}

void flow_dump_free(struct flow_dump *d)
{
    struct cursor **link = d->bridge ? &d->bridge->cursors : NULL;
    while (link && *link && *link != &d->cursor)
        link = &(*link)->next;
    if (link && *link)
        *link = d->cursor.next;
    free(d);
}

size_t flow_dump_next(struct flow_dump *d, uint8_t *out, size_t size, size_t enough, bool *end)
{
    size_t len = 0;
    *end = false;
    while (d->bridge) {
        struct rule *r = d->cursor.at;
        if (!r) {
            if (d->table++ >= d->last)
                break;
            d->cursor.at = first_rule(d);
            continue;
        }
        uint32_t version = atomic_load_explicit(&d->bridge->version, memory_order_relaxed);
        if (cls_visible(&r->cls, version) && (d->all || passes(r, &d->filter))) {
            size_t n = put_flow(r, d->now, d->entry, sizeof d->entry);
            if (n > size - len && len)
                return len;
            if (n <= size) {       /* a longer one can't be shown: OpenFlow's own limit */
                memcpy(out + len, d->entry, n);
                len += n;
            }
        }
        d->cursor.at = r->next;
        if (len >= enough)
            return len;
    }
    *end = true;
    return len;
}

struct aggregate {
    uint64_t packets, bytes;
    uint32_t flows;
};

static int add_rule(void *context, const struct rule *r)
{
    struct aggregate *a = context;
    struct rule_totals t;
    rule_totals(r, &t);
    a->packets += t.packets;
    a->bytes += t.bytes;
    a->flows++;
    return 0;
}

int flow_aggregate(struct bridge *b, const uint8_t *request, size_t len, uint8_t reply[24], fault *f)
{
    struct filter q;
    struct aggregate a = {0};
    int e = parse_filter(request, len, &q, f);
    if (e)
        return e;
    each_rule(b, &q, add_rule, &a);
    put64(reply, a.packets);
    put64(reply + 8, a.bytes);
    put32(reply + 16, a.flows);
    put32(reply + 20, 0);
    return 0;
}

void table_stats_put(struct bridge *b, uint8_t table_id, uint8_t out[24])
{
    struct table *t = atomic_load_explicit(&b->tables[table_id], memory_order_relaxed);
    uint64_t matched = 0, missed = 0;
    if (t) {
        matched = t->removed_packets;
        for (struct rule *r = t->rules; r; r = r->next) {
            struct rule_totals totals;
            rule_totals(r, &totals);
            matched += totals.packets + r->packets_base;
        }
        for (unsigned w = 0; w < b->dp->n_workers; w++)
            missed += __atomic_load_n(&t->stats[w].misses, __ATOMIC_RELAXED);
    }
    memset(out, 0, 24);
    out[0] = table_id;
    put32(out + 4, t ? t->n_rules : 0);
    put64(out + 8, matched + missed);
    put64(out + 16, matched);
}

size_t flow_removed_put(const struct rule *r, uint8_t reason, uint64_t now, uint8_t *out)
{
    struct rule_totals t;
    struct match m;
    rule_totals(r, &t);
    cls_rule_match(&r->cls, &m);
    put64(out, r->cookie);
    put16(out + 8, r->cls.priority);
    out[10] = reason;
    out[11] = r->table->id;
    put_duration(out + 12, now - r->created);
    put16(out + 20, r->idle_timeout);
    put16(out + 22, r->hard_timeout);
    put64(out + 24, shown_packets(r, &t));
    put64(out + 32, shown_bytes(r, &t));
    return 40 + (size_t)match_serialise(&m, out + 40, 1024);
}
