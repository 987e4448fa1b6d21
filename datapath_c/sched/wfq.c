/* Weighted fair queueing by virtual time: the runnable entity that has had least for its weight runs. Start-time fair queueing
 * (Goyal, Vin, Cheng, SIGCOMM '96) with time for packets: the queue's virtual time is that of the one picked last.
 *
 * Who slept wakes at most AHEAD_SLICES of its own ahead of the others, so that a few packets at once that its share has room for don't
 * wait for others' slices in between; more would be a hoard. Whoever wakes after a moment in which nobody had work is as far ahead as
 * anybody can be: what came before was served in full, so that nobody has had less of it than another (a busy period of generalized
 * processor sharing ends there: Parekh and Gallager, ToN '93). Until it has run for a slice, it goes ahead of its turn by as much again:
 * of two who are within their shares, the one who has little to do isn't made to wait for the one who has much. What it owes (a
 * turn that overran, work done for it outside its turns) it still owes, but never more than DEBT_SLICES: the rest was some
 * system call's or the machine's, and is nobody's plan. */
#include <assert.h>
#include "sched/policy.h"

#define AHEAD_SLICES 3         /* measured by bench-isolation: with 1, a victim with Poisson arrivals waits twice as long */
#define MARGIN 4               /* this part of a slice somebody must be behind to have the running one's turn ended */
#define MAX_CYCLES (UINT64_C(1) << 38)

/* Divisions are what takes time in a decision: one for each change of a weight. */
static void scale(const struct runqueue *q, struct entity *e)
{
    if (__builtin_expect(e->scaled == e->weight && e->slice_cycles == q->slice, 1))
        return;
    e->scaled = e->weight;
    e->inverse = e->weight > 1 ? (uint64_t)(((unsigned __int128)1 << 64) / e->weight) : UINT64_MAX;
    e->slice_cycles = q->slice;
    e->slice = q->slice * VTIME_ONE / e->weight;
}

/* The quotient of `spent` and the weight; the rest stays in e->rest. */
static uint64_t divide(struct entity *e, uint64_t spent)
{
    uint64_t quotient = (uint64_t)(((unsigned __int128)spent * e->inverse) >> 64), rest = spent - quotient * e->weight;
    for (; rest >= e->weight; rest -= e->weight)       /* twice at most */
        quotient++;
    e->rest = rest;
    return quotient;
}

static uint64_t in_vtime(const struct entity *e, uint64_t cycles)
{
    return (uint64_t)(((unsigned __int128)(cycles * VTIME_ONE) * e->inverse) >> 64);
}

static void limit_debt(const struct runqueue *q, struct entity *e)
{
    uint64_t most = q->vtime + e->slice * DEBT_SLICES;
    if (key_before(most, e->vtime)) {
        e->vtime = most;
        e->rest = 0;
    }
}

static int add(struct runqueue *q, struct entity *e)
{
    scale(q, e);
    uint64_t ahead = e->slice * AHEAD_SLICES, front = q->vtime - ahead;
    /* More than by having gone ahead, and by its last turn. */
    bool owes = key_before(q->vtime + e->slice * (AHEAD_SLICES + 2), e->vtime);
    if ((e->lulls != q->lulls && !owes) || key_before(e->vtime, front)) {
        e->vtime = front;
        e->rest = 0;
    }
    limit_debt(q, e);
    e->lulls = q->lulls;
    e->ran = 0;
    e->awake = e->goes_on ? e->awake : 0;
    e->goes_on = false;
    e->boost = owes ? 0 : ahead;
    int error = heap_add(&q->heap, e, e->vtime - e->boost);
    q->n_fresh += !error && e->boost;
    e->settled = !error && e->awake >= SETTLED_SLICES * q->slice;
    q->n_settled += e->settled;
    return error;
}

static void take_out(struct runqueue *q, struct entity *e)
{
    heap_remove(&q->heap, e);
    q->n_fresh -= e->boost != 0;
    q->n_settled -= e->settled;
    e->settled = false;
}

static struct entity *pick(struct runqueue *q)
{
    struct entity *e = heap_least(&q->heap);
    /* The least that anybody has had; of those who go ahead of their turn, only where nobody else is there. */
    uint64_t least = e ? q->heap.at[1].key + (q->n_fresh == q->n ? e->boost : 0) : q->vtime;
    if (key_before(q->vtime, least))
        q->vtime = least;
    return e;
}

static void charge(struct runqueue *q, struct entity *e, uint64_t cycles)
{
    assert(e->weight);
    if (cycles > MAX_CYCLES)
        cycles = MAX_CYCLES;
    scale(q, e);
    e->ran += cycles;
    if (e->boost && e->ran >= q->slice) {
        e->boost = 0;
        q->n_fresh -= e->runnable;
    }
    e->awake = cycles >= q->slice / 2 ? e->awake + cycles : 0;     /* small turns are of somebody who keeps up */
    bool settled = e->awake >= SETTLED_SLICES * q->slice && e->runnable;
    q->n_settled += (uint32_t)(settled - e->settled);
    e->settled = settled;
    e->vtime += divide(e, cycles * VTIME_ONE + e->rest);
    limit_debt(q, e);
    if (e->runnable)
        heap_later(&q->heap, e, e->vtime - e->boost);
}

/* Of those who are next in order and go ahead of their turn: who is before the running one by more than a part of a slice, lest two take
 * the core from each other for every packet. Who goes ahead itself is left alone. */
static struct entity *overtaker(struct runqueue *q, const struct entity *running, uint64_t cycles)
{
    if (running->boost && running->ran + cycles < q->slice)
        return NULL;
    uint64_t reached = running->vtime + in_vtime(running, cycles) - running->slice / MARGIN;
    for (uint32_t i = 1; i <= q->heap.n && i <= HEAP_FRONT; i++) {
        struct entity *e = q->heap.at[i].entity;
        if (e != running && e->boost && key_before(q->heap.at[i].key, reached))
            return e;
    }
    return NULL;
}

static struct entity *behind(struct runqueue *q, struct entity *picked)
{
    struct entity *next = heap_least(&q->heap) == picked ? heap_second(&q->heap) : NULL;
    if (!next)
        return NULL;
    uint64_t front = next->vtime - picked->slice * AHEAD_SLICES;
    if (key_before(picked->vtime, front)) {
        picked->vtime = front;
        picked->rest = 0;
        heap_later(&q->heap, picked, front - picked->boost);
    }
    return next;
}

const struct policy_ops policy_wfq = {.name = "wfq", .protects = true, .add = add, .remove = take_out, .pick = pick,
                                      .charge = charge, .overtaker = overtaker, .behind = behind};
