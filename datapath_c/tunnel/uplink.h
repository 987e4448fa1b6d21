/* VXLAN as raw frames on a port of a bridge, the VTEP's uplink: the outer headers are a template, and no socket or system call stands
 * between a guest's frame and the wire. IPv4 and IPv6 underlays.
 *
 * The VTEP's addresses are ours alone then, with the uplink port's MAC address: we answer ARP and neighbour solicitations for them, and ask
 * for remotes, which are on the link or behind a router that answers for them (ask.h). Or a device of the kernel's has them, of which we
 * follow routes and neighbours (kernel_routes.h); the kernel answers and asks then, by way of the bridge. Everything else that the port
 * receives is its bridge's, as on any port.
 *
 * Frames that arrive are their VNI's tenant's, time included; frames that leave are sent in the turn of whoever sends them. */
#ifndef VSWITCH_UPLINK_H
#define VSWITCH_UPLINK_H
#include <stdatomic.h>
#include "port/port.h"
#include "tunnel/kernel_routes.h"
#include "tunnel/neighbour.h"

#define UPLINK_OVERHEAD 50         /* bytes: Ethernet, IPv4, UDP, VXLAN */
#define UPLINK_OVERHEAD6 70        /* with IPv6 */

struct vtep;
struct worker;
struct wtenant;
struct datapath;

struct uplink {
    struct port *_Atomic port; /* NULL while there is no such port */
    struct neighbours neighbours;
    struct kernel_routes kernel;           /* where the VTEP names a device */
};

/* Finds the uplink among the ports by its name: when the VTEP has changed. 0, or -EINVAL where the port can't be it. Main thread, as all
 * but what says otherwise. */
int uplink_find(struct datapath *dp, struct vtep *v, fault *f);
/* Whether a port that is being added is the uplink: its queues are worker 0's then, which all vxlan ports' are. */
bool uplink_is(const struct datapath *dp, const struct bridge *b, const struct dp_port *conf);
void uplink_added(struct datapath *dp, struct port *p);
/* Returns whether it was the uplink: turns that may be sending through it must be ended. */
bool uplink_removed(struct datapath *dp, struct port *p);

/* The VTEP's own Ethernet address: its device's in the kernel, or the port's. 0: there is no such device. Any thread. */
uint64_t uplink_mac(const struct vtep *v, const struct port *up);
/* Tells all ports' drivers what is the VTEP's (port/steering.h): its uplink's is `v`'s, all others' nothing. `v` may be NULL. */
void uplink_steer(struct datapath *dp, const struct vtep *v);

/* Any worker. Sends frames of one VXLAN port to a remote, each with headers of its own. Counts for both ports, and takes over a reference of each;
 * false, and neither, when tunnels of the remote's family don't go through an uplink. */
bool uplink_send(struct datapath *dp, struct port *p, struct port_io *io, const struct dp_addr *remote, struct packet **packets, unsigned n);
/* The uplink and its neighbours, as a port's driver describes itself; nothing without an uplink. Main thread. */
int uplink_describe(const struct datapath *dp, char *out, size_t size);

/* Whether what a VXLAN port sends ends in a ring in memory. */
bool uplink_is_ring(const struct port *p);
/* Whether packets come from and go to rings in memory, directly or through the tunnels' uplink: many at once cost less each. */
static inline bool port_is_ring(const struct port *p)
{
    return p->ops->takes_loans || (p->ops == &vxlan_ops && uplink_is_ring(p));
}

#endif
