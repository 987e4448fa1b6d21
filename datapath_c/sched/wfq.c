/* Weighted fair queueing by virtual time: the runnable entity that has had least for its weight runs. Start-time fair queueing
 * (Goyal, Vin, Cheng, SIGCOMM '96) with time for packets: the queue's virtual time is that of the one picked last.
 *
 * Who slept wakes at most AHEAD_SLICES of its own ahead of the others, so that a few packets at once that its share has room for don't
 * wait for others' slices in between; more would be a hoard. Whoever wakes after a moment in which nobody had work is as far ahead as
 * anybody can be: what came before was served in full, so that nobody has had less of it than another (a busy period of generalized
 * processor sharing ends there: Parekh and Gallager, ToN '93). What it owes (a turn that overran, work done for it outside its turns)
 * it still owes, but never more than DEBT_SLICES: the rest was some system call's or the machine's, and is nobody's plan.
 *
 * Of those within their shares, the one who has little to do isn't made to wait for the one who has much: to whom it makes no difference.
 * Served by what they are to have in the end, rather than by what is next, nobody is done later than with equal parts at all times
 * (fair sojourn: Friedman and Henderson, SIGMETRICS '03). So one goes ahead of its turn, by LEAD_SLICES less LENGTH times what it is
 * known to have waiting; and less EXCESS times what it has had beyond its share lately, lest somebody who never has more than a packet
 * waiting always goes first. Where nobody can tell what waits (in the kernel, or behind the tunnels' uplink), one goes ahead until it has run
 * for a slice since it woke, and is left alone for as long. */
#include <assert.h>
#include "sched/policy.h"

#define AHEAD_SLICES 3         /* measured by bench-isolation: with 1, a victim with Poisson arrivals waits twice as long */
#define LEAD_SLICES 6          /* by bench-isolation, as are the next two; with 4, bursts lengthen a victim's maximum by 4 us instead of 1 */
#define LENGTH 6
#define EXCESS 8
#define CREDIT_SLICES 5        /* the most that somebody can have been short of its share: who sleeps saves no more */
#define MEMORY_BITS 3          /* what somebody has had is forgotten within about two to the power of so many windows */
#define NOTHING 8              /* who has used less than this part of an equal share isn't counted among those who share */
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

/* ---- what somebody has had lately ---- */

static void next_window(struct runqueue *q)
{
    q->active_before = q->window + 1 == (uint32_t)(q->now >> q->window_bits) ? q->active : 0;
    q->active = 0;
    q->window = (uint32_t)(q->now >> q->window_bits);
    q->per_weight = q->active_before ? (UINT64_C(1) << 40) / q->active_before : UINT64_C(1) << 40;
}

/* Of those who have used something, in this window or the one before, whichever were more. */
static void count_active(struct runqueue *q, struct entity *e)
{
    if (q->active_before && e->used * q->active_before * NOTHING < e->weight << q->window_bits)
        return;
    e->active = true;
    q->active += e->weight;
    if (q->active > q->active_before)
        q->per_weight = (UINT64_C(1) << 40) / q->active;
}

static void use(struct runqueue *q, struct entity *e, uint64_t cycles)
{
    if ((uint32_t)(q->now >> q->window_bits) != q->window)
        next_window(q);
    if (e->window != q->window) {
        e->window = q->window;
        e->used = 0;
        e->active = false;
    }
    if (!e->active) {
        uint64_t window = UINT64_C(1) << q->window_bits;
        e->used = e->used + cycles < window ? e->used + cycles : window;
        count_active(q, e);
    }
    unsigned bits = q->window_bits + MEMORY_BITS;
    int64_t length = INT64_C(1) << bits;
    uint64_t passed = q->now - e->counted;
    if (__builtin_expect(passed > (uint64_t)length, 0))
        passed = key_before(q->now, e->counted) || !e->counted ? 0 : (uint64_t)length;
    uint64_t all = UINT64_C(1) << 40, part = q->per_weight < all ? e->weight * q->per_weight : all;
    part = part < all ? part : all;
    int64_t excess = e->excess, least = -(int64_t)(q->slice * CREDIT_SLICES);
    excess += (int64_t)cycles - ((excess * (int64_t)passed) >> bits) - (int64_t)(((unsigned __int128)part * passed) >> 40);
    e->excess = excess < least ? least : excess < length ? excess : length;
    e->counted = q->now;
}

/* ---- who goes ahead of its turn ---- */

/* More than by having gone ahead, and by its last turn. */
static bool owes(const struct runqueue *q, const struct entity *e)
{
    unsigned ahead = e->waits == WAITS_UNKNOWN ? AHEAD_SLICES : LEAD_SLICES;
    return key_before(q->vtime + e->slice * (ahead + 2), e->vtime);
}

static uint64_t lead(const struct runqueue *q, const struct entity *e)
{
    if (e->waits == WAITS_UNKNOWN)
        return e->ran < q->slice ? e->boost : 0;
    if (e->settled)
        return 0;
    uint64_t most = LEAD_SLICES * q->slice, less = LENGTH * (e->waits < MAX_CYCLES ? e->waits : MAX_CYCLES);
    less += e->excess > 0 ? EXCESS * (uint64_t)e->excess : 0;
    return less < most && !owes(q, e) ? in_vtime(e, most - less) : 0;
}

/* ---- the policy ---- */

static int add(struct runqueue *q, struct entity *e)
{
    scale(q, e);
    uint64_t front = q->vtime - e->slice * AHEAD_SLICES;
    use(q, e, 0);
    if ((e->lulls != q->lulls && !owes(q, e)) || key_before(e->vtime, front)) {
        e->vtime = front;
        e->rest = 0;
    }
    limit_debt(q, e);
    e->lulls = q->lulls;
    e->ran = 0;
    e->awake = e->goes_on ? e->awake : 0;
    e->goes_on = false;
    e->settled = e->awake >= SETTLED_SLICES * q->slice;
    e->boost = e->waits == WAITS_UNKNOWN && !owes(q, e) ? e->slice * AHEAD_SLICES : 0;
    e->boost = lead(q, e);
    int error = heap_add(&q->heap, e, e->vtime - e->boost);
    q->n_ahead += !error && e->boost;
    e->settled &= !error;
    q->n_settled += e->settled;
    return error;
}

static void take_out(struct runqueue *q, struct entity *e)
{
    heap_remove(&q->heap, e);
    q->n_ahead -= e->boost != 0;
    q->n_settled -= e->settled;
    e->settled = false;
}

static struct entity *pick(struct runqueue *q)
{
    struct entity *e = heap_least(&q->heap);
    /* The least that anybody has had; of those who go ahead of their turn, only where nobody else is there. */
    uint64_t least = e ? q->heap.at[1].key + (q->n_ahead == q->n ? e->boost : 0) : q->vtime;
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
    /* Small turns are of somebody who keeps up; not what is left of one that was begun. */
    uint64_t turn = e->begun + cycles;
    e->awake = turn >= q->slice / 2 || e->unfinished ? e->awake + cycles : 0;
    e->begun = e->unfinished ? turn : 0;
    bool settled = e->awake >= SETTLED_SLICES * q->slice && e->runnable;
    q->n_settled += (uint32_t)(settled - e->settled);
    e->settled = settled;
    e->vtime += divide(e, cycles * VTIME_ONE + e->rest);
    limit_debt(q, e);
    use(q, e, cycles);
    if (!e->runnable)
        return;
    uint64_t boost = lead(q, e);
    q->n_ahead += (uint32_t)((boost != 0) - (e->boost != 0));
    e->boost = boost;
    heap_change(&q->heap, e, e->vtime - boost);
}

/* Of those who are next in order and go ahead of their turn: who is before the running one by more than a slice, lest two take
 * the core from each other for every packet. What waits for the running one is known better by now. */
static struct entity *overtaker(struct runqueue *q, const struct entity *running, uint64_t cycles)
{
    if (running->waits == WAITS_UNKNOWN && running->boost && running->ran + cycles < q->slice)
        return NULL;
    uint64_t reached = running->vtime + in_vtime(running, cycles) - running->slice;
    bool lead_known = !running->boost;     /* mostly nobody is before it without that either */
    for (uint32_t i = 1; i <= q->heap.n && i <= HEAP_FRONT; i++) {
        const struct heap_slot *s = &q->heap.at[i];
        if (s->entity == running || !key_before(s->key, reached))
            continue;
        if (!lead_known) {
            reached -= lead(q, running);
            lead_known = true;
        }
        if (key_before(s->key, reached) && s->entity->boost)
            return s->entity;
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
        heap_change(&q->heap, picked, front - picked->boost);
    }
    return next;
}

const struct policy_ops policy_wfq = {.name = "wfq", .protects = true, .by_length = true, .add = add, .remove = take_out, .pick = pick,
                                      .charge = charge, .overtaker = overtaker, .behind = behind};
