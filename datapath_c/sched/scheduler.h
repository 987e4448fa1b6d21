/* A worker's scheduler: the policy that picks, limits on top of it, and who waited for whom. */
#ifndef VSWITCH_SCHEDULER_H
#define VSWITCH_SCHEDULER_H
#include "channel/contract.h"
#include "sched/limit.h"
#include "sched/policy.h"

#define SCHED_RECENT 16        /* turns that are remembered, to tell whom a tenant waited for */

struct scheduler {
    struct runqueue queue;
    struct heap parked;        /* by when their limit lets them run */
    uint32_t n_recent;
    struct {
        uint32_t id;
        uint64_t end, cycles;
    } recent[SCHED_RECENT];
};

/* What the scheduler knows of a tenant. */
struct subject {
    struct entity entity;      /* first */
    uint32_t id;
    uint32_t picks;
    struct limit *limit;
    struct dp_shm_account *account;
};

void scheduler_init(struct scheduler *s, const struct policy_ops *ops, uint64_t slice);
void scheduler_destroy(struct scheduler *s);
/* It has work. `now` is the clock, here and below. */
void scheduler_wake(struct scheduler *s, struct subject *e, uint64_t now);
/* It has none any more, or goes. */
void scheduler_sleep(struct scheduler *s, struct subject *e, uint64_t now);
/* Whose turn it is, or NULL. */
struct subject *scheduler_pick(struct scheduler *s, uint64_t now);
/* Who would have been picked but for `picked`, whose work was others' (policy.h); and that this one has the turn instead. */
struct subject *scheduler_behind(struct scheduler *s, struct subject *picked);
void scheduler_pick_instead(struct scheduler *s, struct subject *picked, struct subject *e, uint64_t now);
/* Its turn is over, in which it used `cycles`; whether it has more to do. */
void scheduler_charge(struct scheduler *s, struct subject *e, uint64_t now, uint64_t cycles, bool more);
/* Another policy from now on; whoever has work keeps its place as well as that can be. */
void scheduler_change(struct scheduler *s, const struct policy_ops *ops, uint64_t slice, struct subject **all, uint32_t n,
                      uint64_t now);
/* When the next parked one may run, 0 = none is parked. */
static inline uint64_t scheduler_next(const struct scheduler *s)
{
    return s->parked.n ? s->parked.at[1].key : 0;
}

#endif
