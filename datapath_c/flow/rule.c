#include "flow/rule.h"
#include <stdlib.h>

struct rule *rule_new(const struct match *m, struct rule_stats_room *room)
{
    size_t fixed = sizeof(struct rule) + room->n_workers * sizeof(struct rule_stats *), value = match_words(m) * 8;
    struct rule *r = calloc(1, fixed + value);
    if (!r || rule_stats_add_rule(room)) {
        free(r);
        return NULL;
    }
    r->room = room;
    r->cls.value = (uint64_t *)((char *)r + fixed);
    r->size = (uint32_t)(fixed + value + room->n_workers * sizeof(struct rule_stats));
    return r;
}

void rule_free(void *rule)
{
    struct rule *r = rule;
    free(atomic_load_explicit(&r->instructions, memory_order_relaxed));
    free(r->trigger);
    rule_stats_remove_rule(r->room, r->stats);
    free(r);
}

struct instructions *instructions_new(const uint8_t *bytes, uint32_t len)
{
    struct instructions *i = malloc(sizeof *i + len);
    if (!i)
        return NULL;
    i->len = len;
    if (len)
        memcpy(i->bytes, bytes, len);
    return i;
}

struct rule_stats *rule_stats(struct rule *r, unsigned worker)
{
    struct rule_stats *s = atomic_load_explicit(&r->stats[worker], memory_order_relaxed);
    if (!s) {
        s = rule_stats_take(r->room, worker);
        /* R0: pairs with R1. */
        atomic_store_explicit(&r->stats[worker], s, memory_order_release);
    }
    return s;
}

/* R1 */
static const struct rule_stats *counted(const struct rule *r, unsigned worker)
{
    return atomic_load_explicit(&((struct rule *)r)->stats[worker], memory_order_acquire);
}

uint64_t rule_cycles(const struct rule *r)
{
    uint64_t sum = 0;
    for (unsigned w = 0; w < r->room->n_workers; w++) {
        const struct rule_stats *s = counted(r, w);
        sum += s ? __atomic_load_n(&s->cycles, __ATOMIC_RELAXED) : 0;
    }
    return sum;
}

void rule_totals(const struct rule *r, struct rule_totals *t)
{
    *t = (struct rule_totals){.used = r->created};
    for (unsigned w = 0; w < r->room->n_workers; w++) {
        const struct rule_stats *s = counted(r, w);
        if (!s)
            continue;
        t->packets += __atomic_load_n(&s->packets, __ATOMIC_RELAXED);
        t->bytes += __atomic_load_n(&s->bytes, __ATOMIC_RELAXED);
        uint64_t used = __atomic_load_n(&s->used, __ATOMIC_RELAXED);
        if (used > t->used)
            t->used = used;
    }
    t->packets -= r->packets_base;
    t->bytes -= r->bytes_base;
}
