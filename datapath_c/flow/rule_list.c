#include "flow/rule_list.h"
#include <errno.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "base/defer.h"
#include "flow/nicira.h"
#include "flow/tally.h"
#include "flow/trigger.h"
#include "path/datapath.h"

/* Dumps that would go on with this rule go on with the next. */
static void cursors_pass(struct bridge *b, const struct rule *r)
{
    for (struct cursor *c = b->cursors; c; c = c->next)
        if (c->at == r)
            c->at = r->next;
}

void cursors_end(struct bridge *b)
{
    for (struct cursor *c = b->cursors; c; c = c->next) {
        c->at = NULL;
        *c->bridge = NULL;
    }
    b->cursors = NULL;
}

struct table *bridge_table(struct bridge *b, uint8_t id)
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

void rule_list_timed(struct rule *r)
{
    struct bridge *b = r->table->bridge;
    if (r->timed_prev || !(r->idle_timeout || r->hard_timeout || r->trigger))
        return;
    r->timed_next = b->timed;
    r->timed_prev = &b->timed;
    if (b->timed)
        b->timed->timed_prev = &r->timed_next;
    b->timed = r;
}

void rule_unlist_timed(struct rule *r)
{
    if (r->table->bridge->expiring == r)
        r->table->bridge->expiring = r->timed_next;
    if (!r->timed_prev)
        return;
    *r->timed_prev = r->timed_next;
    if (r->timed_next)
        r->timed_next->timed_prev = r->timed_prev;
    r->timed_prev = NULL;
}

static bool has_conjunction(const struct instructions *list)
{
    size_t at = 0;
    return nx_next_applied(list->bytes, list->len, &at, NXAST_CONJUNCTION) != NULL;
}

static void note_learned_by(struct rule *r, uint16_t subtype)
{
    struct bridge *b = r->table->bridge;
    const struct instructions *list = atomic_load_explicit(&r->instructions, memory_order_relaxed);
    const uint8_t *a;
    for (size_t at = 0; (a = nx_next_applied(list->bytes, list->len, &at, subtype));) {
        struct forget *more;
        if (!(get16(a + 24) & NX_LEARN_F_DELETE_LEARNED) ||
            !(more = realloc(b->forget, (b->n_forget + 1) * sizeof *more)))
            continue;
        b->forget = more;
        more[b->n_forget++] = (struct forget){.cookie = get64(a + 16), .table = a[26]};
    }
}

static void note_learned(struct rule *r)
{
    note_learned_by(r, NXAST_LEARN);
    note_learned_by(r, NXAST_LEARN2);
}

void bridge_forget(struct bridge *b)
{
    while (b->n_forget) {
        struct forget what = b->forget[--b->n_forget];
        struct table *t = atomic_load_explicit(&b->tables[what.table], memory_order_relaxed);
        for (struct rule *r = t ? t->rules : NULL, *next; r; r = next) {
            next = r->next;
            if (r->cookie == what.cookie)
                rule_remove(r, OFPRR_DELETE);
        }
    }
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

int rule_link(struct table *t, struct rule *r, const struct match *m, uint16_t priority)
{
    struct instructions *i = atomic_load_explicit(&r->instructions, memory_order_relaxed);
    struct bridge *b = t->bridge;
    r->table = t;
    set_conjunctive(r, has_conjunction(i));
    if (classifier_insert(&t->cls, &r->cls, m, priority)) {
        set_conjunctive(r, false);
        return -ENOMEM;
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
    rule_list_timed(r);
    tally_rule(t, r->cookie, 1);
    r->limits = tallies_use(b, i, 1);
    table_check_vacancy(t);
    return 0;
}

void rule_unlink(struct rule *r)
{
    struct table *t = r->table;
    struct rule_totals totals;
    cursors_pass(t->bridge, r);
    classifier_remove(&t->cls, &r->cls);
    *r->prev = r->next;
    if (r->next)
        r->next->prev = r->prev;
    rule_unlist_timed(r);
    set_conjunctive(r, false);
    tally_rule(t, r->cookie, -1);
    if (r->limits)
        tallies_use(t->bridge, atomic_load_explicit(&r->instructions, memory_order_relaxed), -1);
    rule_totals(r, &totals);
    t->removed_packets += totals.packets + r->packets_base;
    t->n_rules--;
    t->bridge->n_rules--;
    t->bridge->tenant->n_rules--;
    t->bridge->tenant->rule_bytes -= r->size;
    table_check_vacancy(t);
    defer(rule_free, r);
}

static void free_rules(void *first)
{
    for (struct rule *r = first, *next; r; r = next) {
        next = r->next;
        rule_free(r);
    }
}

void table_remove_all(struct table *t)
{
    struct bridge *b = t->bridge;
    struct rule *first = t->rules;
    for (struct cursor *c = b->cursors; c; c = c->next)
        if (c->at && c->at->table == t)
            c->at = NULL;
    for (struct rule *r = first; r; r = r->next) {
        struct rule_totals totals;
        if (r->flags & OFPFF_SEND_FLOW_REM && b->dp->rule_removed)
            b->dp->rule_removed(b, r, OFPRR_DELETE);
        rule_changed(r, DP_UPDATE_REMOVED, OFPRR_DELETE);
        note_learned(r);
        if (r->limits)
            tallies_use(b, atomic_load_explicit(&r->instructions, memory_order_relaxed), -1);
        rule_unlist_timed(r);
        rule_totals(r, &totals);
        t->removed_packets += totals.packets + r->packets_base;
        b->tenant->rule_bytes -= r->size;
    }
    classifier_clear(&t->cls);
    b->n_rules -= t->n_rules;
    b->tenant->n_rules -= t->n_rules;
    t->rules = NULL;
    t->n_rules = 0;
    tallies_reset(t);
    atomic_store_explicit(&t->n_conjunctive, 0, memory_order_release);
    table_check_vacancy(t);
    if (first)
        defer(free_rules, first);
}

void rule_changed(const struct rule *r, uint16_t what, uint8_t reason)
{
    struct bridge *b = r->table->bridge;
    if (b->watched && b->dp->rule_changed)
        b->dp->rule_changed(b, r, what, reason);
}

void rule_remove(struct rule *r, uint8_t reason)
{
    struct bridge *b = r->table->bridge;
    /* Whoever keeps the rules has to know of all that no flow_mod of his removed. */
    if (b->dp->rule_removed && (reason != OFPRR_DELETE || r->flags & OFPFF_SEND_FLOW_REM))
        b->dp->rule_removed(b, r, reason);
    rule_changed(r, DP_UPDATE_REMOVED, reason);
    note_learned(r);
    rule_unlink(r);
}

void table_clear(struct table *t)
{
    while (t->rules)
        rule_unlink(t->rules);
}

void table_free(struct table *t)
{
    classifier_destroy(&t->cls);
    tallies_free(t);
    free(t);
}

void rule_reset_counts(struct rule *r)
{
    struct rule_totals t;
    rule_totals(r, &t);
    r->packets_base += t.packets;
    r->bytes_base += t.bytes;
}

void rule_set_cookie(struct rule *r, uint64_t cookie)
{
    tally_rule(r->table, r->cookie, -1);
    tally_rule(r->table, cookie, 1);
    r->cookie = cookie;
}

int rule_set_instructions(struct rule *r, const uint8_t *bytes, uint32_t len)
{
    struct instructions *old = atomic_load_explicit(&r->instructions, memory_order_relaxed);
    struct instructions *new = instructions_new(bytes, len);
    struct trigger *trigger;
    if (!new || trigger_new(bytes, len, &trigger)) {
        free(new);
        return -ENOMEM;
    }
    free(r->trigger);
    r->trigger = trigger;
    rule_list_timed(r);
    atomic_store_explicit(&r->instructions, new, memory_order_release);
    set_conjunctive(r, has_conjunction(new));
    bool limits = tallies_use(r->table->bridge, new, 1);
    if (r->limits)
        tallies_use(r->table->bridge, old, -1);
    r->limits = limits;
    account_bytes(r, (int64_t)new->len - (old ? (int64_t)old->len : 0));
    if (old)
        defer(free, old);
    return 0;
}
