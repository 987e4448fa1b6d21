#include "sched/heap.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "sched/policy.h"

void heap_free(struct heap *h)
{
    free(h->at);
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
    for (; i > 1 && key_before(s.key, h->at[i / 2].key); i /= 2)
        place(h, h->at[i / 2], i);
    place(h, s, i);
}

static void sift_down(struct heap *h, uint32_t i)
{
    struct heap_slot s = h->at[i];
    uint32_t child;
    while ((child = i * 2) <= h->n) {
        if (child < h->n && key_before(h->at[child + 1].key, h->at[child].key))
            child++;
        if (!key_before(h->at[child].key, s.key))
            break;
        place(h, h->at[child], i);
        i = child;
    }
    place(h, s, i);
}

/* Nobody is before the one above, and everyone knows their place. */
static __attribute__((unused)) bool in_order(const struct heap *h)
{
    for (uint32_t i = 1; i <= h->n; i++)
        if (h->at[i].entity->position != i || (i > 1 && key_before(h->at[i].key, h->at[i / 2].key)))
            return false;
    return true;
}

int heap_add(struct heap *h, struct entity *e, uint64_t key)
{
    if (h->n + 1 >= h->capacity) {
        uint32_t capacity = h->capacity ? h->capacity * 2 : 64;
        struct heap_slot *at = realloc(h->at, capacity * sizeof *at);
        if (!at)
            return -ENOMEM;
        h->at = at;
        h->capacity = capacity;
    }
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

void heap_later(struct heap *h, struct entity *e, uint64_t key)
{
    h->at[e->position].key = key;
    sift_down(h, e->position);
    assert(in_order(h));
}
