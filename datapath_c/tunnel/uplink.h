/* VXLAN as raw frames on a port of a bridge, the VTEP's uplink: the outer headers are a template, and no socket or system call stands
 * between a guest's frame and the wire. IPv4 underlays.
 *
 * The VTEP's address is ours alone then, with the uplink port's MAC address: we answer ARP for it (RFC 826), and ask for remotes, which
 * are on the link or behind a router that answers for them. Everything else that the port receives is its bridge's, as on any port.
 *
 * Frames that arrive are their VNI's tenant's, time included; frames that leave are sent in the turn of whoever sends them. */
#ifndef VSWITCH_UPLINK_H
#define VSWITCH_UPLINK_H
#include <stdatomic.h>
#include "port/port.h"

#define UPLINK_NEIGHBOURS 1024     /* a power of two; remotes beyond three quarters of it are not resolved */
#define UPLINK_OVERHEAD 50         /* bytes: Ethernet, IPv4, UDP, VXLAN */

struct vtep;
struct worker;
struct wtenant;
struct datapath;

/* Remotes and their addresses on the link. Any worker asks and reads; entries stay as long as the VTEP. */
struct neighbour {
    _Atomic uint32_t ip;       /* network order; 0 = free */
    _Atomic uint32_t asked;    /* seconds, when an ARP request was last sent */
    _Atomic uint32_t heard;    /* seconds, when it was last told */
    _Atomic uint64_t mac;      /* six bytes as they are on the wire, and zeroes; 0 = not known yet */
};

struct uplink {
    struct port *_Atomic port; /* NULL while there is no such port */
    struct neighbour neighbours[UPLINK_NEIGHBOURS];
    _Atomic uint32_t n;
};

/* Finds the uplink among the ports by its name: when the VTEP has changed. 0, or -EINVAL where the port can't be it. Main thread, as all
 * but the next two. */
int uplink_find(struct datapath *dp, struct vtep *v, fault *f);
/* Whether a port that is being added is the uplink: its queues are worker 0's then, which all vxlan ports' are. */
bool uplink_is(const struct datapath *dp, const struct bridge *b, const struct dp_port *conf);
void uplink_added(struct datapath *dp, struct port *p);
/* Returns whether it was the uplink: turns that may be sending through it must be ended. */
bool uplink_removed(struct datapath *dp, struct port *p);

/* Takes what is the VTEP's out of a batch that its uplink has received: frames of tunnels go to their VNI's port's queue, ARP is answered
 * or noted. Returns how many are left. The port's worker. */
unsigned uplink_receive(struct worker *w, struct wtenant *t, struct port *up, struct packet **batch, unsigned n);
/* Sends frames of one VXLAN port to an IPv4 remote (network order), each with headers of its own. Counts for both ports, and takes over a
 * reference of each; false, and neither, when there is no uplink. */
bool uplink_send(struct datapath *dp, struct port *p, struct port_io *io, uint32_t remote, struct packet **packets, unsigned n);

/* Whether what a VXLAN port sends ends in a ring in memory: many at once cost less each. */
bool uplink_is_ring(const struct port *p);

#endif
