#include "path/slow_path.h"
#include <stdlib.h>
#include "base/step.h"
#include "flow/table.h"
#include "flow/translate.h"
#include "path/act.h"
#include "path/lookup.h"
#include "path/turn.h"

/* A walk during which the tables changed is walked again, so that a packet never sees half of a change; after so many times
 * the tenant's controller is changing them faster than we look, and the last walk has to do. */
#define MAX_WALKS 4
#define COUNT_AT_ONCE 8        /* rules */

/* Few at a time, so that there may be many. */
static __attribute__((noinline)) void count_many(struct worker *w, struct rule_stats *const *counts, unsigned n, struct table *miss,
                                                 uint64_t packets, uint64_t bytes)
{
    for (unsigned i = 0; i < n; i += COUNT_AT_ONCE) {
        step(COUNT_AT_ONCE);
        count_rules(w, counts + i, n - i < COUNT_AT_ONCE ? n - i : COUNT_AT_ONCE, i ? NULL : miss, packets, bytes);
    }
}

void count_rules(struct worker *w, struct rule_stats *const *counts, unsigned n, struct table *miss, uint64_t packets,
                 uint64_t bytes)
{
    if (__builtin_expect(n > COUNT_AT_ONCE, 0)) {
        count_many(w, counts, n, miss, packets, bytes);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        struct rule_stats *s = counts[i];
        __atomic_store_n(&s->packets, s->packets + packets, __ATOMIC_RELAXED);
        __atomic_store_n(&s->bytes, s->bytes + bytes, __ATOMIC_RELAXED);
        __atomic_store_n(&s->used, w->now, __ATOMIC_RELAXED);
    }
    if (miss)
        miss->stats[w->id].misses += packets;
}

void charge_rules(struct rule_stats *const *counts, unsigned n, uint64_t cycles)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t *c = &counts[i]->cycles;
        __atomic_store_n(c, *c + cycles / n, __ATOMIC_RELAXED);
    }
}

void slow_path(struct worker *w, struct wtenant *t, struct packet *p)
{
    struct translation x;
    packet_whole(p);
    struct cache *c = lookup_cache(w, t);
    struct bridge *b = w->dp->bridges[p->key.key.bridge];
    uint32_t len = p->len;
    /* An earlier packet of the batch may have brought the answer. */
    uint64_t generation = atomic_load_explicit(&t->tenant->generation, memory_order_acquire);
    struct megaflow *m = c ? cache_lookup_masks(c, &p->key) : NULL;
    if (m && m->generation == generation) {
        m->used = w->now;
        act(w, t, b, p, m->program);
        return;
    }
    t->account->slow++;
    uint64_t before = turn_spent(w, t);
    if (c) {
        c->misses++;
        c->stale += m != NULL;
    }
    union key_words key = p->key;
    for (int walk = 0; walk < MAX_WALKS; walk++) {
        generation = atomic_load_explicit(&t->tenant->generation, memory_order_acquire);
        translation_init(&x, w, t, b, p);
        translate(&x);
        if (!x.cacheable || step_ending() || atomic_load_explicit(&t->tenant->generation, memory_order_acquire) == generation)
            break;
    }
    count_rules(w, x.counts, x.n_rules, x.miss, 1, len);
    worker_account(w, w->clerk.bucket);
    charge_rules(x.counts, x.n_rules, turn_spent(w, t) - before);
    if (x.overflow || step_ending()) {
        /* What was decided is not whole: none of it is carried out. */
        t->account->drops[step_ending() ? DROP_INTERRUPTED : DROP_LOOP]++;
        if (x.packet)
            packet_unref(x.packet);
        return;
    }
    struct program *program = x.cacheable && c ? translation_program(&x) : NULL;
    if (program)
        cache_insert(c, &key, key_hash(&key), x.wc, generation, program, m, w->now);
    if (!x.packet)
        return;
    if ((p = act_run(w, t, b, x.packet, x.ops, x.n_ops)))
        packet_unref(p);
}
