/* Weighted fair queueing by virtual time: the runnable entity that has had least for its weight runs. Start-time fair queueing
 * (Goyal, Vin, Cheng, SIGCOMM '96) with time for packets: the queue's virtual time is that of the one picked last.
 *
 * Who slept wakes at most AHEAD_SLICES of its own ahead of the others, so that a few packets at once that its share has room for don't
 * wait for others' slices in between; more would be a hoard. What it owes (a
 * turn that overran, work done for it outside its turns) it still owes, but never more than DEBT_SLICES: the rest was some
 * system call's or the machine's, and is nobody's plan. */
#include <assert.h>
#include "sched/policy.h"

#define AHEAD_SLICES 3         /* measured by bench-isolation: with 1, a victim with Poisson arrivals waits twice as long */
#define MAX_CYCLES (UINT64_C(1) << 38)

static uint64_t in_vtime(const struct entity *e, uint64_t cycles)
{
    return cycles * VTIME_ONE / e->weight;
}

static void limit_debt(const struct runqueue *q, struct entity *e)
{
    uint64_t most = q->vtime + in_vtime(e, q->slice * DEBT_SLICES);
    if (key_before(most, e->vtime)) {
        e->vtime = most;
        e->rest = 0;
    }
}

static int add(struct runqueue *q, struct entity *e)
{
    uint64_t front = q->vtime - in_vtime(e, q->slice * AHEAD_SLICES);
    if (key_before(e->vtime, front)) {
        e->vtime = front;
        e->rest = 0;
    }
    limit_debt(q, e);
    return heap_add(&q->heap, e, e->vtime);
}

static void take_out(struct runqueue *q, struct entity *e)
{
    heap_remove(&q->heap, e);
}

static struct entity *pick(struct runqueue *q)
{
    struct entity *e = heap_least(&q->heap);
    if (e && key_before(q->vtime, q->heap.at[1].key))
        q->vtime = q->heap.at[1].key;
    return e;
}

static void charge(struct runqueue *q, struct entity *e, uint64_t cycles)
{
    assert(e->weight);
    if (cycles > MAX_CYCLES)
        cycles = MAX_CYCLES;
    uint64_t spent = cycles * VTIME_ONE + e->rest;
    e->vtime += spent / e->weight;
    e->rest = spent % e->weight;
    limit_debt(q, e);
    if (e->runnable)
        heap_later(&q->heap, e, e->vtime);
}

const struct policy_ops policy_wfq = {.name = "wfq", .protects = true, .add = add, .remove = take_out, .pick = pick,
                                      .charge = charge};
