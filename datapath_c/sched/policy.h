/* Who runs next on a worker. A policy knows accounts and work, not packets: entities become runnable, are picked, run for a
 * turn, are charged, and stay runnable or go to sleep. One policy a file; one worker each, no locks. */
#ifndef VSWITCH_POLICY_H
#define VSWITCH_POLICY_H
#include <stdbool.h>
#include <stdint.h>

struct entity {                /* a tenant on a worker */
    uint64_t vtime;            /* cycles spent, times VTIME_ONE / weight */
    uint32_t weight;
    uint32_t position;         /* in the heap, 0 = not runnable */
};

#define VTIME_ONE 1024

/* Weighted fair queueing by virtual time: the runnable entity that has had least for its weight runs. */
struct wfq {
    struct entity **heap;      /* 1-based binary heap by vtime */
    uint32_t n, capacity;
    uint64_t vtime;            /* of the last one picked: never falls */
    uint64_t lag;              /* how far behind vtime a sleeper may wake */
};

/* `slice` in cycles: a sleeper wakes at most one slice's worth of virtual time ahead of the others. */
void wfq_init(struct wfq *s, uint64_t slice);
void wfq_destroy(struct wfq *s);
/* Makes an entity runnable. 0 or -ENOMEM. */
int wfq_wake(struct wfq *s, struct entity *e);
void wfq_sleep(struct wfq *s, struct entity *e);
/* The entity whose turn it is, or NULL; it stays runnable. */
struct entity *wfq_pick(struct wfq *s);
/* Charges the turn of an entity that wfq_pick gave. */
void wfq_charge(struct wfq *s, struct entity *e, uint64_t cycles);

#endif
