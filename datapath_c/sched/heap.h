/* Entities in order of a 64-bit key that may wrap around: keys of one heap are less than 2^63 apart. Keys lie in the heap
 * itself, so that finding the least touches no entity. Four children each: half as deep as two, and one cache line for the choice. */
#ifndef VSWITCH_HEAP_H
#define VSWITCH_HEAP_H
#include <stdbool.h>
#include <stdint.h>

struct entity;

struct heap {
    struct heap_slot {
        uint64_t key;
        struct entity *entity;
    } *at;                     /* from 1 on: the least, its children (HEAP_FRONT with it), theirs */
    uint32_t n, capacity;
};

#define HEAP_FRONT 5           /* places among which the first two in order are */

static inline bool key_before(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0;
}

void heap_free(struct heap *h);
/* An entity is in at most one heap: entity->position says where. 0 or -ENOMEM. */
int heap_add(struct heap *h, struct entity *e, uint64_t key);
void heap_remove(struct heap *h, struct entity *e);
/* The entity has another key than it had. */
void heap_change(struct heap *h, struct entity *e, uint64_t key);

static inline struct entity *heap_least(const struct heap *h)
{
    return h->n ? h->at[1].entity : 0;
}

/* Who would be the least but for that one, or NULL. */
struct entity *heap_second(const struct heap *h);

#endif
