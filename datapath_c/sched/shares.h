/* From what tenants were promised to weights on each worker. Main thread.
 *
 * A tenant's weight counts on each worker that has queues of it, divided by how many those are: spreading over ports, queues and
 * workers gives it nothing. cpu.min becomes a weight that is worth that share of a worker even when every tenant with queues
 * there is busy: for tenants whose weight alone would give them less, weight = min / (1 - all such mins) * the others' weights
 * together. So the guarantee needs no mechanism of its own in the scheduler. */
#ifndef VSWITCH_SHARES_H
#define VSWITCH_SHARES_H
#include <stdint.h>

#define SHARES_PROMISED_MAX 0.95   /* of a worker; what would be promised beyond it is scaled down */

struct share {
    uint32_t weight;           /* of the tenant */
    double min;                /* of this worker's time */
    unsigned over;             /* workers that have queues of it */
    uint64_t effective;        /* out */
};

/* Fills in the effective weights of the tenants with queues on one worker. */
void shares_compute(struct share *s, uint32_t n);

#endif
