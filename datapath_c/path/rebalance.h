/* Moves queues of ports from busy workers to others, by the cycles that their packets have cost: as Open vSwitch's pmd-auto-lb does, but a
 * queue at a time, and without stopping anybody. Main thread. Off until an interval is set.
 *
 * A queue leaves its worker between two batches of its tenant's turns, when all that was received from it has been handed on, and only then
 * is it the next worker's: so no packet is lost, and none overtakes another. For receivers with several queues of their own, what
 * came from one queue stays in one of theirs wherever it is served (struct rxq's `lane`). Queues that are fed on a worker of their own
 * (tunnels and their uplink, patches, dummies) stay. */
#ifndef VSWITCH_REBALANCE_H
#define VSWITCH_REBALANCE_H
#include "base/fault.h"
#include "base/mailbox.h"

struct datapath;
struct port;
struct rxq;

struct balancer {
    struct dp_balance conf;    /* with what came of it */
    uint64_t next;             /* clock, when it is looked next; 0 = a new interval begins */
    uint64_t idle[DP_MAX_WORKERS], clock[DP_MAX_WORKERS];  /* of their accounts, when the interval began */
    /* The move that is under way. */
    struct letter job;         /* on the old worker, among the tenant's jobs */
    struct letter news;        /* to the main thread, that the queue has left */
    struct rxq *moving;        /* NULL: none */
    struct datapath *dp;
    unsigned from, to;
    bool news_pending;
    _Atomic bool left;         /* the old worker's */
    _Atomic bool refused;      /* it has packets that only the old worker can give back */
};

/* The settings, 0 for what is left to the default. 0 or a negative errno with a fault. */
int rebalance_set(struct datapath *dp, const struct dp_balance *conf, fault *f);
/* Now and then: measures, decides and begins a move. */
void rebalance_tick(struct datapath *dp);
/* The port goes away: a move of its queue is finished or given up first. NULL: any port's. */
void rebalance_settle(struct datapath *dp, const struct port *p);

#endif
