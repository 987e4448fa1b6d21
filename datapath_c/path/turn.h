/* A tenant's turn on a worker: what it does between being picked and giving the core back.
 *
 * A turn runs on a stack of its own (sched/fiber.h), taken from the worker's store when it begins and given back when it
 * ends. When its slice is over in the middle of something (base/step.h), it is left there, suspended, and goes on at the
 * tenant's next pick. So the longest stretch without a scheduling decision doesn't depend on what rules and packets make it
 * do: it is the slice, and the dearest STEP_CHECK units of work.
 *
 * A suspended turn holds packets, and pointers to rules, ports and whatever else it has read under RCU, while the worker
 * announces that it is quiescent. Therefore:
 * - `turns[id]` of the worker is odd from when the tenant's turn is suspended until it has finished what it had begun. What
 *   the main thread has unlinked is freed after a grace period and after that (base/defer.h).
 * - Whoever takes away a port, or the tenant, ends the turn first: turn_end().
 * - Jobs (packet-outs, barriers) wait until the turn is between two batches. So whoever waits for a job waits for all packets
 *   that were in flight before. */
#ifndef VSWITCH_TURN_H
#define VSWITCH_TURN_H
#include "path/worker.h"

/* Picks up, or begins, the turn of `t`, and returns when its slice is over or it has nothing left. Returns the cycles to
 * charge. The worker's loop calls it. */
uint64_t turn_run(struct worker *w, struct wtenant *t);
/* Cycles that the turns of `t` have taken until w->now, this one included. */
static inline uint64_t turn_spent(const struct worker *w, const struct wtenant *t)
{
    return t->spent + (w->now - w->turn_start);
}
/* Whether the tenant has something to do. */
static inline bool turn_due(const struct wtenant *t)
{
    return t->first || t->jobs || t->suspended;
}

/* Whether it is to be longer than the slice that is going on: nobody who waits is hurt by it. */
static inline bool turn_is_long(const struct worker *w)
{
    return w->turn_end > w->deadline;
}

/* When the clock was last read. */
static inline uint64_t turn_clock(const struct worker *w)
{
    return w->looked > w->now ? w->looked : w->now;
}

/* Where the clock has just been read: lets others have the core when the slice is over, or somebody came who is due before it is. */
void turn_yield(struct worker *w);
/* Returns whether others had the core. */
bool turn_watch(struct worker *w);
/* The same where it hasn't been read for a while. */
void turn_look(struct worker *w);
static inline void turn_check(struct worker *w)
{
    if (__builtin_expect(w->now >= w->grace, 0))
        turn_yield(w);
    else if (w->watchful && w->now - w->looked >= w->slice / 16)
        turn_watch(w);
}
/* So many packets at a time go through a stage that has no steps of its own, that others are looked for often enough. */
#define TURN_CHUNK 5
#define TURN_RING_CHUNK 16     /* of rings in memory, where the first is the dear one */
static inline unsigned turn_chunk(const struct worker *w)
{
    return w->watchful ? TURN_CHUNK : BATCH;
}

/* For the order of turns (sched/policy.h): what the tenant has to do, with `in_hand` packets of that queue, and as many in each of its other
 * queues as are left in this one. */
void turn_note_waiting(struct worker *w, struct wtenant *t, struct rxq *q, unsigned in_hand);

/* Ends a suspended turn: packets in flight are dropped (and counted: drop reason "interrupted"). Jobs stay. */
void turn_end(struct worker *w, struct wtenant *t);
/* The letter's function is called within the tenant's turn, between two batches. Worker thread. */
void turn_add_job(struct worker *w, struct wtenant *t, struct letter *job, void (*fn)(struct letter *, void *));
/* Carries out all jobs at once: the tenant goes. */
void turn_finish_jobs(struct worker *w, struct wtenant *t);

/* Frees the stacks that nobody uses. */
void turn_free_stacks(struct worker *w);

#endif
