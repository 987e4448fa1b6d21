/* Who runs next on a worker. A policy knows accounts and work, not packets: entities become runnable, are picked, run for a
 * turn, are charged, and stay runnable or go to sleep. One policy a file, behind one small interface, so that they are
 * compared in one benchmark; one runqueue a worker, no locks. */
#ifndef VSWITCH_POLICY_H
#define VSWITCH_POLICY_H
#include <stddef.h>
#include "sched/heap.h"

#define VTIME_ONE (1u << 24)
#define WEIGHT_ONE 840         /* of an entity, for a tenant's weight of 1: divides evenly by up to 8 workers */
#define SETTLED_SLICES 64      /* who asks for 0.8 of its share has no busy period as long as this: once in 10^8 (M/D/1) */
#define WAITS_UNKNOWN UINT64_MAX
#define WINDOW_SLICES 32       /* at most, and at least half as many: who has used something in two of these shares the core */
#define DEBT_SLICES 1024       /* the most that an entity can owe */

struct entity {                /* a tenant on a worker */
    uint64_t vtime;            /* cycles spent, times VTIME_ONE / weight; wraps around */
    uint64_t rest;             /* of the division, so that shares are exact: less than weight */
    uint64_t weight;
    uint64_t scaled, inverse;  /* the weight that these belong to: 2^64 / weight, */
    uint64_t slice;            /* and a slice's virtual time, for slices of */
    uint64_t slice_cycles;
    uint32_t position;         /* in the runqueue's heap or the parked ones', 0 = in none */
    bool runnable, parked;
    bool active;               /* has used more than next to nothing in the window */
    bool goes_on;              /* will be woken at once, for it has more already */
    bool unfinished;           /* its turn was left in the middle, and goes on with the next; its owner says */
    bool settled;              /* has had SETTLED_SLICES, in turns of half a slice or more, without a moment in which it had nothing to do: nothing
                                * that it waits for is short */
    uint32_t lulls;            /* of the runqueue's, that it has seen */
    uint64_t awake;            /* cycles since it last had nothing, or little, to do */
    uint64_t begun;            /* cycles of the turn that was left in the middle */
    uint64_t ran;              /* and since it woke, or had nothing for a moment */
    uint64_t waits;            /* cycles of work that wait, or WAITS_UNKNOWN; its owner says */
    uint64_t boost;            /* virtual time that it goes ahead of its turn */
    int64_t excess;            /* cycles beyond its share, less those short of it, forgotten little by little; as of */
    uint64_t counted;          /* clock */
    uint64_t used;             /* cycles in the window */
    uint32_t window;           /* which one that is */
    struct entity *next, *prev;/* in a list */
    uint64_t since;            /* clock: runnable or parked since then */
};

struct runqueue {
    const struct policy_ops *ops;
    struct heap heap;
    uint64_t vtime;            /* of the last one picked: never falls */
    uint64_t slice;            /* cycles */
    uint32_t n_ahead;          /* runnable ones with a boost */
    uint32_t n_settled;
    uint32_t lulls;            /* runqueue_lull() */
    uint64_t now;              /* clock; its owner says, before each call */
    unsigned window_bits;      /* a window is two to the power of so many cycles */
    uint32_t window;           /* which one it is */
    uint64_t active, active_before;    /* weight of all who have used more than next to nothing in it, and in the one before */
    uint64_t per_weight;       /* the part of the core that one of weight 1 has a right to beside these, of 2^40 */
    struct entity *first, *last;
    uint32_t n;
};

struct policy_ops {
    const char *name;
    bool protects;             /* turns end with their slice, and limits hold; else a turn is a batch from each ready queue */
    bool by_length;            /* the order goes by entity.waits, too: it is counted */
    /* Makes an entity that isn't runnable runnable. 0 or -ENOMEM. */
    int (*add)(struct runqueue *q, struct entity *e);
    void (*remove)(struct runqueue *q, struct entity *e);
    /* The entity whose turn it is, or NULL; it stays runnable. */
    struct entity *(*pick)(struct runqueue *q);
    /* Charges the turn of an entity, runnable or not. */
    void (*charge)(struct runqueue *q, struct entity *e, uint64_t cycles);
    /* An entity that goes ahead of its turn and should have the core rather than the running one after `cycles` of its turn; or
     * NULL. Cheap: asked at each look. NULL where turns only end by themselves. */
    struct entity *(*overtaker)(struct runqueue *q, const struct entity *running, uint64_t cycles);
    /* Who would have been picked but for `picked`, whose work was others' and charged to them, or NULL. What it was not charged brings it
     * no further ahead of that one than sleeping would have. NULL where the order is not by what was charged. */
    struct entity *(*behind)(struct runqueue *q, struct entity *picked);
};

/* By virtual time and weight; turn about, whatever a turn costs; as other switches do: first come, first served. */
extern const struct policy_ops policy_wfq, policy_round_robin, policy_none;
/* By enum dp_policy; NULL for none such. */
const struct policy_ops *policy_by_number(uint32_t number);

void runqueue_init(struct runqueue *q, const struct policy_ops *ops, uint64_t slice);
void runqueue_destroy(struct runqueue *q);

static inline int runqueue_wake(struct runqueue *q, struct entity *e)
{
    if (e->runnable)
        return 0;
    int error = q->ops->add(q, e);
    e->runnable = !error;
    q->n += !error;
    return error;
}

static inline void runqueue_sleep(struct runqueue *q, struct entity *e)
{
    if (!e->runnable)
        return;
    q->ops->remove(q, e);
    e->runnable = false;
    q->n--;
}

/* Somebody looked, and nobody has work: not only nobody who is known to have. */
static inline void runqueue_lull(struct runqueue *q)
{
    q->lulls++;
}

static inline struct entity *runqueue_pick(struct runqueue *q)
{
    return q->ops->pick(q);
}

static inline void runqueue_charge(struct runqueue *q, struct entity *e, uint64_t cycles)
{
    q->ops->charge(q, e, cycles);
}

/* Whether all who have work have had it for so long that it is their share that they wait for, and not each other's turns: these may be
 * longer then. */
static inline bool runqueue_settled(const struct runqueue *q)
{
    return q->n_settled == q->n;
}

/* Whether it has had a slice or more ahead of the others. */
static inline bool runqueue_owes(const struct runqueue *q, const struct entity *e)
{
    return key_before(q->vtime + q->slice * VTIME_ONE / e->weight, e->vtime);
}

/* A list of runnable entities, for policies without order: picked from the front, put at the end. */
int list_add(struct runqueue *q, struct entity *e);
void list_remove(struct runqueue *q, struct entity *e);
struct entity *list_pick(struct runqueue *q);
void list_charge(struct runqueue *q, struct entity *e, uint64_t cycles);

#endif
