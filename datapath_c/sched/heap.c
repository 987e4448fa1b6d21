#include "sched/heap.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "sched/policy.h"

#define WAYS 4                 /* children: their keys share a cache line */
#define LINE 64
#define FIRST_SLOT 2           /* of the memory, so that a line begins with each first child */

static uint32_t parent(uint32_t i)
{
    return (i + 2) / WAYS;
}

static uint32_t first_child(uint32_t i)
{
    return i * WAYS - 2;
}

void heap_free(struct heap *h)
{
    free(h->at ? h->at - FIRST_SLOT : NULL);
    *h = (struct heap){0};
}

static void place(struct heap *h, struct heap_slot s, uint32_t i)
{
    h->at[i] = s;
    s.entity->position = i;
}

static void sift_up(struct heap *h, uint32_t i)
{
    struct heap_slot s = h->at[i];
    for (; i > 1 && key_before(s.key, h->at[parent(i)].key); i = parent(i))
        place(h, h->at[parent(i)], i);
    place(h, s, i);
}

/* Of those from `first` on that have one parent. Without branches where all are there: which one it is can't be foretold. */
static uint32_t least_of(const struct heap *h, uint32_t first)
{
    const struct heap_slot *at = &h->at[first];
    if (first + WAYS - 1 <= h->n) {
        uint32_t a = key_before(at[1].key, at[0].key), b = 2u + key_before(at[3].key, at[2].key);
        return first + (key_before(at[b].key, at[a].key) ? b : a);
    }
    uint32_t least = first;
    for (uint32_t i = first + 1; i <= h->n; i++)
        least = key_before(h->at[i].key, h->at[least].key) ? i : least;
    return least;
}

static void sift_down(struct heap *h, uint32_t i)
{
    struct heap_slot s = h->at[i];
    for (uint32_t first; (first = first_child(i)) <= h->n;) {
        uint32_t child = least_of(h, first);
        if (!key_before(h->at[child].key, s.key))
            break;
        place(h, h->at[child], i);
        i = child;
    }
    place(h, s, i);
}

struct entity *heap_second(const struct heap *h)
{
    return h->n > 1 ? h->at[least_of(h, first_child(1))].entity : NULL;
}

/* Nobody is before the one above, and everyone knows their place. */
static __attribute__((unused)) bool in_order(const struct heap *h)
{
    for (uint32_t i = 1; i <= h->n; i++)
        if (h->at[i].entity->position != i || (i > 1 && key_before(h->at[i].key, h->at[parent(i)].key)))
            return false;
    return true;
}

static int grow(struct heap *h)
{
    uint32_t capacity = h->capacity ? h->capacity * 2 : 64;
    struct heap_slot *at = aligned_alloc(LINE, (capacity + WAYS) * sizeof *at);
    if (!at)
        return -ENOMEM;
    at += FIRST_SLOT;
    if (h->n)
        memcpy(at + 1, h->at + 1, h->n * sizeof *at);
    free(h->at ? h->at - FIRST_SLOT : NULL);
    h->at = at;
    h->capacity = capacity;
    return 0;
}

int heap_add(struct heap *h, struct entity *e, uint64_t key)
{
    if (h->n + 1 >= h->capacity && grow(h))
        return -ENOMEM;
    h->at[++h->n] = (struct heap_slot){key, e};
    sift_up(h, h->n);
    assert(in_order(h));
    return 0;
}

void heap_remove(struct heap *h, struct entity *e)
{
    uint32_t i = e->position;
    assert(i && i <= h->n && h->at[i].entity == e);
    struct heap_slot last = h->at[h->n--];
    e->position = 0;
    if (last.entity == e)
        return;
    place(h, last, i);
    sift_up(h, i);
    sift_down(h, last.entity->position);
    assert(in_order(h));
}

void heap_change(struct heap *h, struct entity *e, uint64_t key)
{
    bool earlier = key_before(key, h->at[e->position].key);
    h->at[e->position].key = key;
    if (earlier)
        sift_up(h, e->position);
    else
        sift_down(h, e->position);
    assert(in_order(h));
}
