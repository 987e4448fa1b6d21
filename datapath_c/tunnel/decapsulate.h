/* What the tunnels' uplink receives: told apart, decapsulated, and queued for whom it is.
 *
 * A packet that needs nothing else (IPv4 outside, nothing left open, all of it here) is compared with the one before it rather than looked
 * at, and stays bare (base/packet.h). */
#ifndef VSWITCH_DECAPSULATE_H
#define VSWITCH_DECAPSULATE_H
#include "path/worker.h"

/* Takes what is the VTEP's out of a batch that its uplink has received: frames of tunnels go to their VNI's port's queue, ARP is answered
 * or noted. Returns how many of the `n` it has looked at, one at least, after which others may have the core; of these `*kept` are left, at the
 * batch's beginning. The port's worker. */
unsigned uplink_receive(struct worker *w, struct wtenant *t, struct port *up, struct packet **batch, unsigned n, unsigned *kept);

#endif
