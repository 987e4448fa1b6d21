#include "flow/tally.h"
#include <stdlib.h>
#include "base/defer.h"
#include "base/step.h"
#include "flow/nicira.h"
#include "flow/rule_list.h"

static struct tally *find(const struct table *t, uint64_t cookie)
{
    struct tally *y = t ? atomic_load_explicit(&t->tallies, memory_order_acquire) : NULL;
    while (y && y->cookie != cookie) {
        step(1);
        y = atomic_load_explicit(&y->next, memory_order_acquire);
    }
    return y;
}

bool tally_room(const struct bridge *b, uint8_t table, uint64_t cookie)
{
    const struct table *t = atomic_load_explicit(&((struct bridge *)b)->tables[table], memory_order_relaxed);
    unsigned n = 0;
    for (struct tally *y = t ? atomic_load_explicit(&t->tallies, memory_order_relaxed) : NULL; y;
         y = atomic_load_explicit(&y->next, memory_order_relaxed), n++)
        if (y->cookie == cookie)
            return true;
    return n < TALLIES_MAX;
}

static void begin(struct bridge *b, uint8_t table, uint64_t cookie)
{
    struct table *t = bridge_table(b, table);
    struct tally *y = find(t, cookie);
    if (!t || (!y && !(y = calloc(1, sizeof *y))))
        return;
    if (y->users++)
        return;
    y->cookie = cookie;
    uint32_t n = 0;
    for (const struct rule *r = t->rules; r; r = r->next)
        n += r->cookie == cookie;
    atomic_init(&y->n, n);
    atomic_init(&y->next, atomic_load_explicit(&t->tallies, memory_order_relaxed));
    atomic_store_explicit(&t->tallies, y, memory_order_release);
}

static void end(struct bridge *b, uint8_t table, uint64_t cookie)
{
    struct table *t = atomic_load_explicit(&b->tables[table], memory_order_relaxed);
    struct tally *y = find(t, cookie);
    if (!y || --y->users)
        return;
    struct tally *_Atomic *link = &t->tallies;
    while (atomic_load_explicit(link, memory_order_relaxed) != y)
        link = &atomic_load_explicit(link, memory_order_relaxed)->next;
    atomic_store_explicit(link, atomic_load_explicit(&y->next, memory_order_relaxed), memory_order_release);
    defer(free, y);
}

bool tallies_use(struct bridge *b, const struct instructions *list, int by)
{
    bool any = false;
    const uint8_t *a;
    for (size_t at = 0; (a = nx_next_applied(list->bytes, list->len, &at, NXAST_LEARN2));) {
        if (!get32(a + NX_LEARN2_LIMIT))
            continue;
        any = true;
        (by > 0 ? begin : end)(b, a[26], get64(a + 16));
    }
    return any;
}

void tally_rule(struct table *t, uint64_t cookie, int by)
{
    struct tally *y = find(t, cookie);
    if (y)
        atomic_fetch_add_explicit(&y->n, (uint32_t)by, memory_order_relaxed);
}

void tallies_reset(struct table *t)
{
    for (struct tally *y = atomic_load_explicit(&t->tallies, memory_order_relaxed); y;
         y = atomic_load_explicit(&y->next, memory_order_relaxed))
        atomic_store_explicit(&y->n, 0, memory_order_relaxed);
}

void tallies_free(struct table *t)
{
    for (struct tally *y = atomic_load_explicit(&t->tallies, memory_order_relaxed), *next; y; y = next) {
        next = atomic_load_explicit(&y->next, memory_order_relaxed);
        free(y);
    }
}

bool tally_below(const struct table *t, uint64_t cookie, uint32_t limit)
{
    const struct tally *y = find(t, cookie);
    return y && atomic_load_explicit(&y->n, memory_order_relaxed) < limit;
}
