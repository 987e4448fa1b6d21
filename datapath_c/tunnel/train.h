/* Trains: datagrams of one flow that the kernel hands over as one (UDP GRO), all of the same size but for a shorter last.
 *
 * The kernel joins only datagrams whose outer checksum it has verified, so what is inside needs no second look. Segments of
 * one TCP stream become one large segment again, which crosses the switch and the receiver's stack whole. */
#ifndef VSWITCH_TRAIN_H
#define VSWITCH_TRAIN_H
#include "base/packet.h"

#define TRAIN_PACKETS 64       /* the kernel's bound on one train */

/* `p` holds a train of datagrams of `size` bytes, each a VXLAN header and a frame. Writes the packets that it comes to (each
 * with its VXLAN header) to `out`, which has room for TRAIN_PACKETS, and returns how many; takes over the reference of `p`.
 * What finds no buffer is counted in `*lost`. */
unsigned train_unpack(struct packet *p, uint32_t size, struct packet **out, uint64_t *lost);

#endif
