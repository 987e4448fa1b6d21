/* cpu.max: how much of one worker's time a tenant may use, over all workers together.
 *
 * The generic cell rate algorithm (ITU-T I.371) with cycles for cells: `due` is the time at which what has been used so far
 * would have been used up at the limit's rate. Who is ahead of that is parked until then, so a limit of 10 % lets a tenant
 * with a slice of 1.4 µs run every 14 µs: no period at whose start it could use all at once. Idle time is saved up to
 * LIMIT_HOARD_US. One atomic word, shared by the workers: however a tenant spreads over ports, queues and workers, it draws on
 * the one limit. */
#ifndef VSWITCH_LIMIT_H
#define VSWITCH_LIMIT_H
#include <stdatomic.h>
#include <stdint.h>

#define LIMIT_HOARD_US 100

struct limit {
    _Atomic uint32_t ppm;      /* of one worker's time; 0 = no limit */
    _Atomic uint64_t due;      /* clock */
};

/* Charges `cycles` that were used until `now`; returns when the tenant may run again: not after `now` if it may at once. */
uint64_t limit_charge(struct limit *l, uint64_t now, uint64_t cycles);

/* When it may run. */
static inline uint64_t limit_due(const struct limit *l)
{
    return atomic_load_explicit(&((struct limit *)l)->ppm, memory_order_relaxed)
               ? atomic_load_explicit(&((struct limit *)l)->due, memory_order_relaxed) : 0;
}

#endif
