/* Accounts: where a worker's time goes. A worker is in exactly one account at every instant; account_switch closes the one
 * it is in and opens another. This is the only place that reads the clock for charging, so the accounts of a worker add up
 * to the time that passed (`now - start` in its shared row), which tests check.
 *
 * Owner: the worker's thread. Readers copy the rows under `seq` (obs/shm_read.c). */
#ifndef VSWITCH_ACCOUNT_H
#define VSWITCH_ACCOUNT_H
#include <assert.h>
#include <stdatomic.h>
#include "base/clock.h"
#include "channel/contract.h"

struct clerk {
    struct dp_shm_worker *row;
    uint64_t *bucket;          /* what the running time is charged to */
    uint64_t since;            /* when it was last switched */
};

static inline void clerk_start(struct clerk *c, struct dp_shm_worker *row, uint64_t *bucket)
{
    c->row = row;
    c->bucket = bucket;
    c->since = row->start = row->now = clock_now();
}

/* Charges the time since the last switch to the open account and opens `bucket`. Returns the time, so that the caller needs
 * no clock of its own. */
static inline uint64_t account_switch(struct clerk *c, uint64_t *bucket)
{
    uint64_t now = clock_now(), spent = now - c->since;
    struct dp_shm_worker *row = c->row;
    /* A writer's half of a seqlock: odd while the row changes. One writer, so no locked instruction. */
    _Atomic uint64_t *seq = (_Atomic uint64_t *)&row->seq;
    uint64_t s = atomic_load_explicit(seq, memory_order_relaxed);
    atomic_store_explicit(seq, s + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    *c->bucket += spent;
    row->now = now;
    atomic_store_explicit(seq, s + 2, memory_order_release);
    c->since = now;
    c->bucket = bucket;
    return now;
}

/* Moves time already charged to one account to another of the same worker: the cost of a shared stage, when it is known
 * whose it was. */
static inline void account_move(struct clerk *c, uint64_t *from, uint64_t *to, uint64_t cycles)
{
    _Atomic uint64_t *seq = (_Atomic uint64_t *)&c->row->seq;
    uint64_t s = atomic_load_explicit(seq, memory_order_relaxed);
    atomic_store_explicit(seq, s + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    assert(*from >= cycles);
    *from -= cycles;
    *to += cycles;
    atomic_store_explicit(seq, s + 2, memory_order_release);
}

#endif
