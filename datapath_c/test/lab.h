/* Experiments on tenants that share a worker: open and closed loops of packets through ports in process, with the latency of each
 * packet, on the virtual clock on which work takes time or on the real one. One thread: generators run between two steps of
 * the worker and cost virtual time nothing. */
#ifndef VSWITCH_LAB_H
#define VSWITCH_LAB_H
#include "test/sim.h"
/* cffi: begin */
struct lab_source {
    uint32_t bridge, port_no;  /* where its packets arrive, with those of other sources there; all ports of its bridge take part */
    uint32_t n_frames;         /* sent in turn; each at least 58 bytes, whose last 16 are overwritten */
    uint32_t outstanding;      /* closed loop: so many packets at a time; 0 = open loop */
    const uint8_t *frames;     /* one behind the other */
    const uint32_t *lengths;
    double interval_ns;        /* open loop: mean */
    uint32_t poisson;          /* else evenly */
    uint32_t reserved;
    double on_ns, off_ns, phase_ns;    /* bursts; on_ns 0 = always on */
    double ramp;               /* the frames sent grow from the first few to all of them over this part of the time; 0 = all */
    uint32_t *latency;         /* out: ns, of the first `latency_room` packets that left a port */
    uint32_t latency_room, n_latency;
    uint64_t offered, lost, delivered;     /* packets; lost: the port's queue was full */
    uint64_t cycles;           /* that the bridge's tenant was charged */
};

/* A simulation on a clock that counts (`unit_ns` for a unit of work, base/step.h) or, with 0, on the real one. */
struct sim *lab_new(uint32_t n_workers, uint32_t unit_ns);
/* enum dp_policy; slice_ns 0 = as it is. */
int lab_scheduler(struct sim *s, uint32_t policy, uint32_t slice_ns, struct dp_error *error);
/* From the next run on, the bridge's controller changes rules as fast as they are carried out: `n` flow_mod bodies in turn, again and again, each
 * of them begun when the one before is done. They are the main thread's work, which has a core of its own: the worker's clock stands still
 * meanwhile, and what they take is charged to the tenant's control row. 0 bodies: no more of them. The bytes are the caller's until then. */
void lab_churn(struct sim *s, uint32_t bridge, const uint8_t *bodies, const uint32_t *lengths, uint32_t n);
/* Of the last run: how many of them were carried out, and how many of those were refused. */
uint64_t lab_churned(uint64_t *refused);
/* Lets the sources send for `ns`; latencies and counts start at 0. Returns nanoseconds of it that the worker was idle, or waited for
 * the generators. */
double lab_run(struct sim *s, struct lab_source *sources, uint32_t n, double ns, uint64_t seed);
/* cffi: end */
#endif
