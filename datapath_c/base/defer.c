#include "base/defer.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <urcu-qsbr.h>

#define MAX_WATCHED 64

struct deferred {
    void (*fn)(void *);
    void *arg;
    uint32_t owner;
};

/* A turn that was suspended when the grace period was over. */
struct hold {
    _Atomic uint32_t *turn;
    uint32_t was;
};

/* What waits for the same turns. */
struct held {
    struct held *next;
    uint32_t owner;
    struct hold *holds;
    unsigned n_holds, n, capacity;
    struct deferred *at;
};

static struct deferred *waiting;
static unsigned n_waiting, capacity, n_held;
static struct held *held;
static uint32_t owner;
static struct {
    _Atomic uint32_t *turns;
    uint32_t n;
} watched[MAX_WATCHED];
void (*defer_release)(uint32_t tenant);

void defer_watch(_Atomic uint32_t *turns, uint32_t n)
{
    for (int i = 0; i < MAX_WATCHED; i++)
        if (!watched[i].turns) {
            watched[i].turns = turns;
            watched[i].n = n;
            return;
        }
}

void defer_unwatch(const _Atomic uint32_t *turns)
{
    for (int i = 0; i < MAX_WATCHED; i++)
        if (watched[i].turns == turns)
            watched[i].turns = NULL;
}

uint32_t defer_owner(uint32_t tenant)
{
    uint32_t was = owner;
    owner = tenant;
    return was;
}

static void *grown(void *at, unsigned n, size_t size)
{
    at = realloc(at, n * size);
    if (!at)
        abort();
    return at;
}

void defer(void (*fn)(void *), void *arg)
{
    if (n_waiting == capacity) {
        capacity = capacity ? capacity * 2 : 256;
        waiting = grown(waiting, capacity, sizeof *waiting);
    }
    waiting[n_waiting++] = (struct deferred){fn, arg, owner};
}

/* ---- what suspended turns hold back ---- */

static void add_hold(struct held *h, _Atomic uint32_t *turn)
{
    /* T1: pairs with T0 in path/turn.c. */
    uint32_t was = atomic_load_explicit(turn, memory_order_acquire);
    if (!(was & 1))
        return;
    h->holds = grown(h->holds, h->n_holds + 1, sizeof *h->holds);
    h->holds[h->n_holds++] = (struct hold){turn, was};
}

static void find_holds(struct held *h)
{
    for (int i = 0; i < MAX_WATCHED; i++) {
        if (!watched[i].turns)
            continue;
        if (h->owner && h->owner < watched[i].n)
            add_hold(h, &watched[i].turns[h->owner]);
        for (uint32_t t = 0; !h->owner && t < watched[i].n; t++)
            add_hold(h, &watched[i].turns[t]);
    }
}

static bool is_released(const struct held *h)
{
    for (unsigned i = 0; i < h->n_holds; i++)
        if (atomic_load_explicit(h->holds[i].turn, memory_order_acquire) == h->holds[i].was)
            return false;
    return true;
}

/* The batch of this run with that owner, made when it is the first. */
static struct held *batch_of(struct held **batches, uint32_t of)
{
    for (struct held *h = *batches; h; h = h->next)
        if (h->owner == of)
            return h;
    struct held *h = calloc(1, sizeof *h);
    if (!h)
        abort();
    h->owner = of;
    h->next = *batches;
    find_holds(h);
    return *batches = h;
}

static void keep(struct held *h, const struct deferred *d)
{
    if (h->n == h->capacity) {
        h->capacity = h->capacity ? h->capacity * 2 : 16;
        h->at = grown(h->at, h->capacity, sizeof *h->at);
    }
    h->at[h->n++] = *d;
    n_held++;
}

static void free_batch(struct held *h)
{
    free(h->holds);
    free(h->at);
    free(h);
}

static void release_held(void)
{
    struct held **link = &held, *h;
    while ((h = *link)) {
        if (!is_released(h)) {
            link = &h->next;
            continue;
        }
        *link = h->next;
        n_held -= h->n;
        for (unsigned i = 0; i < h->n; i++)
            h->at[i].fn(h->at[i].arg);
        free_batch(h);
    }
}

void defer_run(void)
{
    if (held)
        release_held();
    if (!n_waiting)
        return;
    synchronize_rcu();
    /* A callback may defer more: that waits for the next grace period. */
    struct deferred *now = waiting;
    unsigned n = n_waiting;
    waiting = NULL;
    n_waiting = capacity = 0;
    struct held *batches = NULL;
    for (unsigned i = 0; i < n; i++) {
        struct held *h = batch_of(&batches, now[i].owner);
        if (h->n_holds)
            keep(h, &now[i]);
        else
            now[i].fn(now[i].arg);
    }
    free(now);
    for (struct held *h = batches, *next; h; h = next) {
        next = h->next;
        if (!h->n) {
            free_batch(h);
            continue;
        }
        h->next = held;
        held = h;
    }
    if (n_held > DEFER_HELD_MAX && defer_release) {
        defer_release(held->owner);
        release_held();
    }
}

unsigned defer_pending(void)
{
    return n_waiting;
}

unsigned defer_held(void)
{
    return n_held;
}
