/* Queues of a port (OpenFlow 1.5.1, 7.3.5.8 and 7.3.5.10): how fast packets may leave, in all and by the queue
 * that set-queue chose. Packets are policed, not kept: nothing waits in the switch. What a queue sends within its min rate always
 * goes out; beyond it, up to its max rate, while the port as a whole keeps to its own.
 *
 * The main thread replaces a port's queues as a whole; any worker sends through them. */
#ifndef VSWITCH_QOS_H
#define VSWITCH_QOS_H
#include "base/fault.h"
#include "base/packet.h"
#include "channel/contract.h"

struct port;
struct datapath;
struct qos;

/* Whether the packet may leave through the port now; counted for its queue. Packets of no queue that there is are queue 0's, or
 * only the port's. Worker. */
bool qos_admit(struct qos *q, unsigned worker, const struct packet *p, uint64_t now);

/* Main thread. Gives the port these queues and no others; those that stay keep their counters. n = 0 and max_kbps = 0: none.
 * 0, or a negative errno with a fault, and nothing has changed. */
int qos_set(struct port *p, const struct dp_queues *head, const struct dp_queue *queues, fault *f);
/* Writes what the port has into `out` (DP_MAX_QUEUES entries), with counters. */
void qos_describe(const struct port *p, uint64_t now, struct dp_queues *head, struct dp_queue *out);

#endif
