#include "flow/rule.h"
#include <stdlib.h>

struct rule *rule_new(const struct match *m, unsigned n_workers)
{
    size_t fixed = sizeof(struct rule) + n_workers * sizeof(struct rule_stats), value = match_words(m) * 8;
    struct rule *r = calloc(1, fixed + value);
    if (!r)
        return NULL;
    r->cls.value = (uint64_t *)((char *)r + fixed);
    r->size = (uint32_t)(fixed + value);
    return r;
}

void rule_free(void *rule)
{
    struct rule *r = rule;
    free(atomic_load_explicit(&r->instructions, memory_order_relaxed));
    free(r->trigger);
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

void rule_totals(const struct rule *r, unsigned n_workers, struct rule_totals *t)
{
    *t = (struct rule_totals){.used = r->created};
    for (unsigned w = 0; w < n_workers; w++) {
        const struct rule_stats *s = &r->stats[w];
        t->packets += __atomic_load_n(&s->packets, __ATOMIC_RELAXED);
        t->bytes += __atomic_load_n(&s->bytes, __ATOMIC_RELAXED);
        uint64_t used = __atomic_load_n(&s->used, __ATOMIC_RELAXED);
        if (used > t->used)
            t->used = used;
    }
    t->packets -= r->packets_base;
    t->bytes -= r->bytes_base;
}
