/* The memory of a cache's megaflows: room for as many as there may be, whose pages cost nothing before they are used and go back to
 * the system when nothing was in them for long. What is free and lies first is taken first, so that few flows lie close together.
 * Memory that went back reads as zeros: a pointer to a megaflow of the past finds serial 0, which is no megaflow's. A worker's own. */
#ifndef VSWITCH_FLOW_ROOM_H
#define VSWITCH_FLOW_ROOM_H
#include <stdbool.h>
#include <stdint.h>

struct megaflow;

struct flow_room {
    struct megaflow *flows;
    uint32_t words;            /* of 64 flows */
    uint32_t first;            /* no free flow lies in a word before this one */
    uint32_t top;              /* no flow has been in this word or a later one */
    uint32_t at;               /* where flow_room_next() goes on */
    uint32_t trim;             /* where flow_room_trim() goes on; UINT32_MAX: it has done all */
    uint64_t trimmed;          /* when it last began at the beginning */
    uint64_t *taken;           /* a bit for each flow */
    uint8_t *pages;            /* for each word: enum flow_pages */
};

/* `max`: flows, at least 1. False: no memory. */
bool flow_room_init(struct flow_room *r, uint32_t max);
void flow_room_destroy(struct flow_room *r);

/* One that nobody has, or NULL. */
struct megaflow *flow_room_take(struct flow_room *r);
void flow_room_give(struct flow_room *r, struct megaflow *m);

/* The next that is taken, in memory's order, round and round; NULL where none is. */
struct megaflow *flow_room_next(struct flow_room *r);
/* The next `n` places are on their way to the caches. */
void flow_room_fetch(const struct flow_room *r, unsigned n);

/* Called often, costs little: gives back what stayed empty for at least `idle` cycles, a few pages at a time. */
void flow_room_trim(struct flow_room *r, uint64_t now, uint64_t idle);

#endif
