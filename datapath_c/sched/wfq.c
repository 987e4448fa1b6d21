#include "sched/policy.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

void wfq_init(struct wfq *s, uint64_t slice)
{
    *s = (struct wfq){.lag = slice};
}

void wfq_destroy(struct wfq *s)
{
    free(s->heap);
}

static void place(struct wfq *s, struct entity *e, uint32_t i)
{
    s->heap[i] = e;
    e->position = i;
}

static void sift_up(struct wfq *s, struct entity *e)
{
    uint32_t i = e->position;
    for (; i > 1 && s->heap[i / 2]->vtime > e->vtime; i /= 2)
        place(s, s->heap[i / 2], i);
    place(s, e, i);
}

static void sift_down(struct wfq *s, struct entity *e)
{
    uint32_t i = e->position, child;
    while ((child = i * 2) <= s->n) {
        if (child < s->n && s->heap[child + 1]->vtime < s->heap[child]->vtime)
            child++;
        if (s->heap[child]->vtime >= e->vtime)
            break;
        place(s, s->heap[child], i);
        i = child;
    }
    place(s, e, i);
}

/* Nobody runnable has had less than the one at the top, and everyone knows their place. */
static __attribute__((unused)) bool in_order(const struct wfq *s)
{
    for (uint32_t i = 1; i <= s->n; i++)
        if (s->heap[i]->position != i || (i > 1 && s->heap[i / 2]->vtime > s->heap[i]->vtime))
            return false;
    return true;
}

int wfq_wake(struct wfq *s, struct entity *e)
{
    if (e->position)
        return 0;
    if (s->n + 1 >= s->capacity) {
        uint32_t capacity = s->capacity ? s->capacity * 2 : 64;
        struct entity **heap = realloc(s->heap, capacity * sizeof *heap);
        if (!heap)
            return -ENOMEM;
        s->heap = heap;
        s->capacity = capacity;
    }
    /* Near the front, never with a hoard; what it owes it still owes. */
    uint64_t ahead = s->lag * VTIME_ONE / e->weight;
    uint64_t floor = s->vtime > ahead ? s->vtime - ahead : 0;
    if (e->vtime < floor)
        e->vtime = floor;
    e->position = ++s->n;
    s->heap[s->n] = e;
    sift_up(s, e);
    assert(in_order(s));
    return 0;
}

void wfq_sleep(struct wfq *s, struct entity *e)
{
    uint32_t i = e->position;
    if (!i)
        return;
    struct entity *last = s->heap[s->n--];
    e->position = 0;
    if (last == e)
        return;
    place(s, last, i);
    sift_up(s, last);
    sift_down(s, last);
    assert(in_order(s));
}

struct entity *wfq_pick(struct wfq *s)
{
    if (!s->n)
        return NULL;
    struct entity *e = s->heap[1];
    if (e->vtime > s->vtime)
        s->vtime = e->vtime;
    return e;
}

void wfq_charge(struct wfq *s, struct entity *e, uint64_t cycles)
{
    e->vtime += cycles * VTIME_ONE / e->weight;
    if (e->position)
        sift_down(s, e);
    assert(in_order(s));
}
