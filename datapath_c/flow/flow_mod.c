/* OFPT_FLOW_MOD: check all of it, then change the tables. */
#include <errno.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "base/clock.h"
#include "flow/bundle.h"
#include "flow/instructions.h"
#include "flow/rule_list.h"
#include "flow/tally.h"
#include "flow/trigger.h"
#include "path/datapath.h"

struct request {
    uint64_t cookie, cookie_mask;
    uint8_t table_id, command;
    uint16_t idle, hard, priority, flags, importance;
    uint32_t buffer_id, out_port, out_group;
    struct match match;
    const uint8_t *instructions;
    size_t instructions_len;
    bool or_add;               /* nothing to modify: add */
    bool reset;                /* counters begin anew */
    bool recookie;             /* the rule gets the request's cookie: OpenFlow 1.0's and 1.1's modify */
};

/* OpenFlow 1.0's and 1.1's modify (codec/codec.h). */
enum { FC_MODIFY_OR_ADD = 5, FC_MODIFY_STRICT_OR_ADD = 6 };

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
    if (q->command > FC_MODIFY_STRICT_OR_ADD)
        return FAILED(BAD_COMMAND, "command", "command %u", q->command);
    q->or_add = q->command >= FC_MODIFY_OR_ADD && !q->cookie_mask;
    q->recookie = q->command >= FC_MODIFY_OR_ADD;
    if (q->command >= FC_MODIFY_OR_ADD)
        q->command = q->command == FC_MODIFY_OR_ADD ? OFPFC_MODIFY : OFPFC_MODIFY_STRICT;
    bool deletes = q->command == OFPFC_DELETE || q->command == OFPFC_DELETE_STRICT;
    if (q->table_id >= OFPTT_MAX && q->table_id != OFPTT_ALL)
        return FAILED(BAD_TABLE_ID, "table_id", "there is no table %u", q->table_id);
    if (q->table_id == OFPTT_ALL && !deletes && !q->recookie)
        return FAILED(BAD_TABLE_ID, "table_id", "OFPTT_ALL is for deletions alone");
    if (q->flags & ~(0x1f | OFPFF_ANEW))
        return FAILED(BAD_FLAGS, "flags", "unknown bits in 0x%x", q->flags);
    q->reset = q->flags & (OFPFF_RESET_COUNTS | OFPFF_ANEW);
    q->flags &= 0x1f;
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
    return instructions_check(b, q->instructions, q->instructions_len, q->table_id == OFPTT_ALL ? 0 : q->table_id, &q->match, f);
}

/* The same match and priority is there already: it becomes the new one (OpenFlow 1.3.5, 6.4). */
static int replace(struct rule *r, const struct request *q, fault *f)
{
    if (rule_set_instructions(r, q->instructions, (uint32_t)q->instructions_len))
        return fault_set(f, ENOMEM, "flow_mod", "out of memory");
    if (q->reset)
        rule_reset_counts(r);
    rule_set_cookie(r, q->cookie);
    r->flags = q->flags;
    r->importance = q->importance;
    r->created = clock_now();
    rule_unlist_timed(r);
    r->idle_timeout = q->idle;
    r->hard_timeout = q->hard;
    rule_list_timed(r);
    if (!r->table->bridge->bundle)
        rule_changed(r, DP_UPDATE_ADDED, 0);
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

static struct rule *make_rule(const struct bridge *b, const struct request *q)
{
    struct rule *r = rule_new(&q->match, b->dp->rule_stats);
    struct instructions *i = instructions_new(q->instructions, (uint32_t)q->instructions_len);
    if (!r || !i || trigger_new(i->bytes, i->len, &r->trigger)) {
        if (r)
            rule_free(r);
        free(i);
        return NULL;
    }
    r->cookie = q->cookie;
    r->flags = q->flags;
    r->importance = q->importance;
    r->idle_timeout = q->idle;
    r->hard_timeout = q->hard;
    r->created = clock_now();
    atomic_init(&r->instructions, i);
    atomic_init(&r->cls.added, bridge_pending_version(b));
    atomic_init(&r->cls.removed, CLS_FOREVER);
    return r;
}

static int insert(struct table *t, const struct request *q, struct rule **made, fault *f)
{
    struct rule *r = make_rule(t->bridge, q);
    if (!r || rule_link(t, r, &q->match, q->priority)) {
        if (r)
            rule_free(r);
        return fault_set(f, ENOMEM, "flow_mod", "out of memory");
    }
    *made = r;
    if (!t->bridge->bundle)
        rule_changed(r, DP_UPDATE_ADDED, 0);
    return bundle_added(t->bridge, r, f);
}

/* In a bundle the rule that is there stays as it is until the bundle is in force. */
static int replace_in_bundle(struct rule *old, const struct request *q, fault *f)
{
    struct rule *new;
    int e = insert(old->table, q, &new, f);
    if (e)
        return e;
    new->successor_of = q->reset ? NULL : old;
    return bundle_removed(old->table->bridge, old, BUNDLE_REPLACED, f);
}

static int add(struct bridge *b, const struct request *q, struct flow_mod_result *result, fault *f)
{
    struct table *t = bridge_table(b, q->table_id == OFPTT_ALL ? 0 : q->table_id);
    uint32_t version = bridge_pending_version(b);
    struct rule *made;
    if (!t)
        return fault_set(f, ENOMEM, "flow_mod", "out of memory");
    struct cls_rule *same = classifier_find(&t->cls, &q->match, q->priority, version);
    if (q->flags & OFPFF_CHECK_OVERLAP) {
        struct cls_rule *other = classifier_overlap(&t->cls, &q->match, q->priority, version);
        if (other)
            return FAILED(OVERLAP, "match", "overlaps another rule of priority %u", q->priority);
    }
    result->n_changed = 1;
    if (same)
        return bundle_keeps(b, rule_of(same)) ? replace_in_bundle(rule_of(same), q, f) : replace(rule_of(same), q, f);
    if (!table_make_room(t, q->importance))
        return FAILED(TABLE_FULL, "max_entries", "table %u has its %u rules", t->id, t->n_rules);
    int e = check_quota(b->tenant, sizeof(struct rule) + q->instructions_len, f);
    return e ? e : insert(t, q, &made, f);
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

/* A copy of the rule with other instructions takes its place when the bundle is in force. */
static int modify_in_bundle(struct rule *old, const struct request *q, fault *f)
{
    struct request copy = *q;
    cls_rule_match(&old->cls, &copy.match);
    copy.priority = old->cls.priority;
    copy.cookie = q->recookie ? q->cookie : old->cookie;
    copy.flags = old->flags;
    copy.importance = old->importance;
    copy.idle = old->idle_timeout;
    copy.hard = old->hard_timeout;
    struct rule *new;
    int e = insert(old->table, &copy, &new, f);
    if (e)
        return e;
    new->created = old->created;
    new->successor_of = q->reset ? NULL : old;
    return bundle_removed(old->table->bridge, old, BUNDLE_REPLACED, f);
}

static int change(struct rule *r, const struct request *q, struct flow_mod_result *result, fault *f)
{
    struct bridge *b = r->table->bridge;
    result->n_changed++;
    if (q->command >= OFPFC_DELETE) {
        if (b->bundle)
            return bundle_removed(b, r, BUNDLE_DELETED, f);
        rule_remove(r, OFPRR_DELETE);
        return 0;
    }
    if (bundle_keeps(b, r))
        return modify_in_bundle(r, q, f);
    if (rule_set_instructions(r, q->instructions, (uint32_t)q->instructions_len))
        return fault_set(f, ENOMEM, "flow_mod", "out of memory");
    if (q->recookie)
        rule_set_cookie(r, q->cookie);
    if (q->reset)
        rule_reset_counts(r);
    if (!b->bundle)
        rule_changed(r, DP_UPDATE_MODIFIED, 0);
    return 0;
}

static bool selects_all(const struct request *q)
{
    static const union key_words none;
    return q->command == OFPFC_DELETE && !q->cookie_mask && q->out_port == OFPP_ANY && q->out_group == OFPG_ANY &&
           !memcmp(&q->match.mask, &none, sizeof none);
}

static int change_table(struct table *t, const struct request *q, struct flow_mod_result *result, fault *f)
{
    if (!t)
        return 0;
    uint32_t version = bridge_pending_version(t->bridge);
    if (q->command == OFPFC_MODIFY_STRICT || q->command == OFPFC_DELETE_STRICT) {
        struct cls_rule *c = classifier_find(&t->cls, &q->match, q->priority, version);
        return c && selected(rule_of(c), q, true) ? change(rule_of(c), q, result, f) : 0;
    }
    if (selects_all(q) && !t->bridge->bundle) {
        result->n_changed += t->n_rules;
        table_remove_all(t);
        return 0;
    }
    for (struct rule *r = t->rules, *next; r; r = next) {
        next = r->next;
        if (cls_visible(&r->cls, version) && selected(r, q, false)) {
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
        if (!e && q.or_add && !result->n_changed)
            e = add(b, &q, result, f);
    }
    bridge_forget(b);
    if (result->n_changed && !b->bundle)
        tenant_changed(b->tenant);
    if (!e && q.command <= OFPFC_MODIFY_STRICT)
        result->buffer_id = q.buffer_id;
    return e;
}

int flow_learn(struct bridge *b, const uint8_t *body, size_t len, uint32_t limit, fault *f)
{
    struct request q;
    struct flow_mod_result result = {.buffer_id = OFP_NO_BUFFER};
    int e = parse_request(b, body, len, &q, f);
    if (e)
        return e;
    if (b->bundle)
        return -EBUSY;         /* the packet will ask again */
    struct table *t = bridge_table(b, q.table_id);
    struct cls_rule *same = t ? classifier_find(&t->cls, &q.match, q.priority, bridge_pending_version(b)) : NULL;
    if (same) {
        struct rule *r = rule_of(same);
        struct instructions *i = atomic_load_explicit(&r->instructions, memory_order_relaxed);
        if (i->len == q.instructions_len && !memcmp(i->bytes, q.instructions, i->len) && r->cookie == q.cookie) {
            r->created = clock_now();
            return 0;
        }
    }
    if (limit && !(same && rule_of(same)->cookie == q.cookie) && !(t && tally_below(t, q.cookie, limit)))
        return -EAGAIN;        /* more packets asked than there was room for */
    e = add(b, &q, &result, f);
    if (!e)
        tenant_changed(b->tenant);
    return e;
}
