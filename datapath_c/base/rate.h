/* Whether something keeps to a rate: the generic cell rate algorithm (ITU-T I.371, annex A), virtual scheduling. Units (bits,
 * packets) are due one interval apart, and may come early by the tolerance. Any thread, without locks. */
#ifndef VSWITCH_RATE_H
#define VSWITCH_RATE_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct rate {
    uint64_t interval;         /* cycles times 2^16 between units */
    uint64_t tolerance;        /* cycles that a burst may run ahead */
    _Atomic uint64_t due;      /* clock at which the next unit is due */
};

/* `burst` units may come at once. */
void rate_init(struct rate *r, double per_second, double burst);
/* True: the units keep to the rate, and are taken. */
bool rate_admits(struct rate *r, uint64_t units, uint64_t now);
/* Takes the units whether they keep to it or not; what comes later waits for it, but never longer than twice the tolerance. */
void rate_take(struct rate *r, uint64_t units, uint64_t now);

#endif
