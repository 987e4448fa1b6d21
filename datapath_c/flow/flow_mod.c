/* OFPT_FLOW_MOD: check all of it, then change the tables. */
#include <errno.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "base/clock.h"
#include "base/defer.h"
#include "flow/instructions.h"
#include "flow/nicira.h"
#include "flow/table.h"
#include "path/datapath.h"

struct request {
    uint64_t cookie, cookie_mask;
    uint8_t table_id, command;
    uint16_t idle, hard, priority, flags, importance;
    uint32_t buffer_id, out_port, out_group;
    struct match match;
    const uint8_t *instructions;
    size_t instructions_len;
};

#define FAILED(code, field, ...) fault_openflow(f, OFPET_FLOW_MOD_FAILED, OFPFMFC_##code, field, __VA_ARGS__)

static int parse_request(const struct bridge *b, const uint8_t *d, size_t len, struct request *q, fault *f)
{
    if (len < OFP_FLOW_MOD_FIXED + 8)
        return fault_openflow(f, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN, "flow_mod", "%zu bytes", len);
    q->cookie = get64(d);
    q->cookie_mask = get64(d + 8);
    q->table_id = d[16];
    q->command = d[17];
    q->idle = get16(d + 18);
    q->hard = get16(d + 20);
    q->priority = get16(d + 22);
    q->buffer_id = get32(d + 24);
    q->out_port = get32(d + 28);
    q->out_group = get32(d + 32);
    q->flags = get16(d + 36);
    q->importance = get16(d + 38);
    if (q->command > OFPFC_DELETE_STRICT)
        return FAILED(BAD_COMMAND, "command", "command %u", q->command);
    bool deletes = q->command == OFPFC_DELETE || q->command == OFPFC_DELETE_STRICT;
    if (q->table_id == OFPTT_ALL && !deletes)
        return FAILED(BAD_TABLE_ID, "table_id", "OFPTT_ALL is for deletions alone");
    if (q->flags & ~0x1f)
        return FAILED(BAD_FLAGS, "flags", "unknown bits in 0x%x", q->flags);
    int n = match_parse(d + OFP_FLOW_MOD_FIXED, len - OFP_FLOW_MOD_FIXED, &q->match, f);
    if (n < 0)
        return n;
    q->instructions = d + OFP_FLOW_MOD_FIXED + n;
    q->instructions_len = len - OFP_FLOW_MOD_FIXED - (size_t)n;
    if (deletes)
        return 0;
    if (q->buffer_id != OFP_NO_BUFFER && b->buffers[q->buffer_id % BRIDGE_BUFFERS].id != q->buffer_id)
        return fault_openflow(f, OFPET_BAD_REQUEST, OFPBRC_BUFFER_UNKNOWN, "buffer_id", "no packet in buffer 0x%x",
                              q->buffer_id);
    return instructions_check(b, q->instructions, q->instructions_len, q->table_id, &q->match, f);
}

static struct table *get_table(struct bridge *b, uint8_t id)
{
    struct table *t = atomic_load_explicit(&b->tables[id], memory_order_relaxed);
    if (t)
        return t;
    t = calloc(1, sizeof *t + b->dp->n_workers * sizeof t->stats[0]);
    if (!t)
        return NULL;
    classifier_init(&t->cls);
    t->bridge = b;
    t->id = id;
    atomic_store_explicit(&b->tables[id], t, memory_order_release);
    return t;
}

static void list_timed(struct rule *r)
{
    struct bridge *b = r->table->bridge;
    if (r->timed_prev || !(r->idle_timeout || r->hard_timeout))
        return;
    r->timed_next = b->timed;
    r->timed_prev = &b->timed;
    if (b->timed)
        b->timed->timed_prev = &r->timed_next;
    b->timed = r;
}

static void unlist_timed(struct rule *r)
{
    if (!r->timed_prev)
        return;
    *r->timed_prev = r->timed_next;
    if (r->timed_next)
        r->timed_next->timed_prev = r->timed_prev;
    r->timed_prev = NULL;
}

/* Whether some action is a clause of a conjunction. */
static bool has_conjunction(const uint8_t *data, size_t len)
{
    for (size_t o = 0; o + 8 <= len; o += get16(data + o + 2)) {
        const uint8_t *i = data + o;
        if (get16(i) != OFPIT_APPLY_ACTIONS)
            continue;
        for (size_t at = 8; at + 16 <= get16(i + 2); at += get16(i + at + 2))
            if (get16(i + at) == OFPAT_EXPERIMENTER && get32(i + at + 4) == NX_VENDOR &&
                get16(i + at + 8) == NXAST_CONJUNCTION)
                return true;
    }
    return false;
}

static void set_conjunctive(struct rule *r, bool conjunctive)
{
    if (r->conjunctive != conjunctive)
        atomic_fetch_add_explicit(&r->table->n_conjunctive, conjunctive ? 1u : -1u, memory_order_release);
    r->conjunctive = conjunctive;
}

static void account_bytes(struct rule *r, int64_t bytes)
{
    r->size = (uint32_t)(r->size + bytes);
    r->table->bridge->tenant->rule_bytes += (uint64_t)bytes;
}

/* Takes a rule out; workers may go on using it until they are quiescent. */
static void unlink_rule(struct rule *r)
{
    struct table *t = r->table;
    struct rule_totals totals;
    classifier_remove(&t->cls, &r->cls);
    *r->prev = r->next;
    if (r->next)
        r->next->prev = r->prev;
    unlist_timed(r);
    set_conjunctive(r, false);
    rule_totals(r, t->bridge->dp->n_workers, &totals);
    t->removed_packets += totals.packets + r->packets_base;
    t->n_rules--;
    t->bridge->n_rules--;
    t->bridge->tenant->n_rules--;
    t->bridge->tenant->rule_bytes -= r->size;
    defer(rule_free, r);
}

static void remove_rule(struct rule *r, uint8_t reason)
{
    struct bridge *b = r->table->bridge;
    bool timed_out = reason == OFPRR_IDLE_TIMEOUT || reason == OFPRR_HARD_TIMEOUT;
    if (b->dp->rule_removed && (timed_out || r->flags & OFPFF_SEND_FLOW_REM))
        b->dp->rule_removed(b, r, reason);
    unlink_rule(r);
}

void table_clear(struct table *t)
{
    while (t->rules)
        unlink_rule(t->rules);
}

void table_free(struct table *t)
{
    classifier_destroy(&t->cls);
    free(t);
}

static void reset_counts(struct rule *r)
{
    struct rule_totals t;
    rule_totals(r, r->table->bridge->dp->n_workers, &t);
    r->packets_base += t.packets;
    r->bytes_base += t.bytes;
}

static int set_instructions(struct rule *r, const struct request *q)
{
    struct instructions *old = atomic_load_explicit(&r->instructions, memory_order_relaxed);
    struct instructions *new = instructions_new(q->instructions, (uint32_t)q->instructions_len);
    if (!new)
        return -ENOMEM;
    atomic_store_explicit(&r->instructions, new, memory_order_release);
    set_conjunctive(r, has_conjunction(new->bytes, new->len));
    account_bytes(r, (int64_t)new->len - (old ? (int64_t)old->len : 0));
    if (old)
        defer(free, old);
    return 0;
}

/* The same match and priority is there already: it becomes the new one (OpenFlow 1.3.5, 6.4). */
static int replace(struct rule *r, const struct request *q, fault *f)
{
    if (set_instructions(r, q))
        return fault_set(f, ENOMEM, "flow_mod", "out of memory");
    if (q->flags & OFPFF_RESET_COUNTS)
        reset_counts(r);
    r->cookie = q->cookie;
    r->flags = q->flags;
    r->importance = q->importance;
    r->created = clock_now();
    unlist_timed(r);
    r->idle_timeout = q->idle;
    r->hard_timeout = q->hard;
    list_timed(r);
    return 0;
}

static int check_quota(const struct tenant *t, size_t size, fault *f)
{
    if (t->n_rules >= t->conf.max_rules)
        return FAILED(TABLE_FULL, "max_rules", "tenant %s has its %u rules", t->conf.name, t->conf.max_rules);
    if (t->conf.max_memory && t->rule_bytes + size > t->conf.max_memory)
        return FAILED(TABLE_FULL, "max_memory", "tenant %s has its %llu bytes of rules", t->conf.name,
                      (unsigned long long)t->conf.max_memory);
    return 0;
}

static int add(struct bridge *b, const struct request *q, struct flow_mod_result *result, fault *f)
{
    struct table *t = get_table(b, q->table_id);
    if (!t)
        return fault_set(f, ENOMEM, "flow_mod", "out of memory");
    struct cls_rule *same = classifier_find(&t->cls, &q->match, q->priority);
    if (q->flags & OFPFF_CHECK_OVERLAP) {
        struct cls_rule *other = classifier_overlap(&t->cls, &q->match, q->priority);
        if (other)
            return FAILED(OVERLAP, "match", "overlaps another rule of priority %u", q->priority);
    }
    result->n_changed = 1;
    if (same)
        return replace(rule_of(same), q, f);
    int e = check_quota(b->tenant, sizeof(struct rule) + q->instructions_len, f);
    if (e)
        return e;
    struct rule *r = rule_new(&q->match, b->dp->n_workers);
    if (!r)
        return fault_set(f, ENOMEM, "flow_mod", "out of memory");
    r->table = t;
    r->cookie = q->cookie;
    r->flags = q->flags;
    r->importance = q->importance;
    r->idle_timeout = q->idle;
    r->hard_timeout = q->hard;
    r->created = clock_now();
    struct instructions *i = instructions_new(q->instructions, (uint32_t)q->instructions_len);
    atomic_init(&r->instructions, i);
    if (i)
        set_conjunctive(r, has_conjunction(i->bytes, i->len));
    if (!i || classifier_insert(&t->cls, &r->cls, &q->match, q->priority)) {
        set_conjunctive(r, false);
        rule_free(r);
        return fault_set(f, ENOMEM, "flow_mod", "out of memory");
    }
    r->size += (uint32_t)(sizeof *i + i->len);
    b->tenant->rule_bytes += r->size;
    r->next = t->rules;
    r->prev = &t->rules;
    if (t->rules)
        t->rules->prev = &r->next;
    t->rules = r;
    t->n_rules++;
    b->n_rules++;
    b->tenant->n_rules++;
    list_timed(r);
    return 0;
}

/* Whether rule `r` is one that a loose request means: its match is the same or narrower, and the filters hold. */
static bool selected(const struct rule *r, const struct request *q, bool strict)
{
    if ((r->cookie ^ q->cookie) & q->cookie_mask)
        return false;
    bool deletes = q->command >= OFPFC_DELETE;
    if (deletes && (q->out_port != OFPP_ANY || q->out_group != OFPG_ANY)) {
        struct instructions *i = atomic_load_explicit(&((struct rule *)r)->instructions, memory_order_relaxed);
        if (q->out_port != OFPP_ANY && !instructions_output(i->bytes, i->len, q->out_port, OFPG_ANY))
            return false;
        if (q->out_group != OFPG_ANY && !instructions_output(i->bytes, i->len, OFPP_ANY, q->out_group))
            return false;
    }
    if (strict)
        return true;
    struct match m;
    cls_rule_match(&r->cls, &m);
    for (int i = 0; i < KEY_WORDS; i++)
        if (q->match.mask.w[i] & ~m.mask.w[i] || (m.value.w[i] ^ q->match.value.w[i]) & q->match.mask.w[i])
            return false;
    return true;
}

static int change(struct rule *r, const struct request *q, struct flow_mod_result *result, fault *f)
{
    result->n_changed++;
    if (q->command >= OFPFC_DELETE) {
        remove_rule(r, OFPRR_DELETE);
        return 0;
    }
    if (set_instructions(r, q))
        return fault_set(f, ENOMEM, "flow_mod", "out of memory");
    if (q->flags & OFPFF_RESET_COUNTS)
        reset_counts(r);
    return 0;
}

static int change_table(struct table *t, const struct request *q, struct flow_mod_result *result, fault *f)
{
    if (!t)
        return 0;
    if (q->command == OFPFC_MODIFY_STRICT || q->command == OFPFC_DELETE_STRICT) {
        struct cls_rule *c = classifier_find(&t->cls, &q->match, q->priority);
        return c && selected(rule_of(c), q, true) ? change(rule_of(c), q, result, f) : 0;
    }
    for (struct rule *r = t->rules, *next; r; r = next) {
        next = r->next;
        if (selected(r, q, false)) {
            int e = change(r, q, result, f);
            if (e)
                return e;
        }
    }
    return 0;
}

int flow_mod(struct bridge *b, const uint8_t *body, size_t len, struct flow_mod_result *result, fault *f)
{
    struct request q;
    *result = (struct flow_mod_result){.buffer_id = OFP_NO_BUFFER};
    int e = parse_request(b, body, len, &q, f);
    if (e)
        return e;
    if (q.command == OFPFC_ADD) {
        e = add(b, &q, result, f);
    } else {
        uint8_t first = q.table_id == OFPTT_ALL ? 0 : q.table_id, last = q.table_id == OFPTT_ALL ? OFPTT_MAX - 1 : q.table_id;
        for (unsigned i = first; i <= last && !e; i++)
            e = change_table(atomic_load_explicit(&b->tables[i], memory_order_relaxed), &q, result, f);
    }
    if (result->n_changed)
        tenant_changed(b->tenant);
    if (!e && q.command <= OFPFC_MODIFY_STRICT)
        result->buffer_id = q.buffer_id;
    return e;
}

int flow_learn(struct bridge *b, const uint8_t *body, size_t len, fault *f)
{
    struct request q;
    struct flow_mod_result result = {.buffer_id = OFP_NO_BUFFER};
    int e = parse_request(b, body, len, &q, f);
    if (e)
        return e;
    struct table *t = get_table(b, q.table_id);
    struct cls_rule *same = t ? classifier_find(&t->cls, &q.match, q.priority) : NULL;
    if (same) {
        struct rule *r = rule_of(same);
        struct instructions *i = atomic_load_explicit(&r->instructions, memory_order_relaxed);
        if (i->len == q.instructions_len && !memcmp(i->bytes, q.instructions, i->len) && r->cookie == q.cookie) {
            r->created = clock_now();
            return 0;
        }
    }
    e = add(b, &q, &result, f);
    if (!e)
        tenant_changed(b->tenant);
    return e;
}

static uint16_t shorter(uint16_t timeout, uint16_t limit)
{
    return limit && (!timeout || timeout > limit) ? limit : timeout;
}

void rule_shorten(struct rule *r, uint16_t idle, uint16_t hard)
{
    r->idle_timeout = shorter(r->idle_timeout, idle);
    r->hard_timeout = shorter(r->hard_timeout, hard);
    list_timed(r);
}

void bridge_expire(struct bridge *b, uint64_t now)
{
    bool any = false;
    for (struct rule *r = b->timed, *next; r; r = next) {
        struct rule_totals t;
        next = r->timed_next;
        rule_totals(r, b->dp->n_workers, &t);
        bool hard = r->hard_timeout && now - r->created >= r->hard_timeout * clock_hz;
        bool idle = r->idle_timeout && now > t.used && now - t.used >= r->idle_timeout * clock_hz;
        if (hard || idle) {
            remove_rule(r, hard ? OFPRR_HARD_TIMEOUT : OFPRR_IDLE_TIMEOUT);
            any = true;
        }
    }
    if (any)
        tenant_changed(b->tenant);
}
