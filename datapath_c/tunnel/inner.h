/* What a kernel at the other end left to a device that wasn't there.
 *
 * A packet that never leaves the host (veth, loopback) reaches our UDP socket with its inner checksum still to be filled in,
 * and an inner TCP segment of up to 64 KiB that nobody has cut. The socket doesn't tell. An open checksum field holds the
 * pseudo-header's sum, which costs no walk over the payload to recognise; a finished checksum equals it once in 65,536 times,
 * and is then computed again to the same value. */
#ifndef VSWITCH_INNER_H
#define VSWITCH_INNER_H
#include "base/packet.h"

/* Says in p->vnet what the inner packet still lacks. `mtu` of the overlay bounds the segments of one that must be cut. */
void inner_restore_offloads(struct packet *p, uint32_t mtu);

/* A number for the frame's flow, by the frame alone: the outer headers' entropy (RFC 7348, 5). Addresses, protocol and ports of IPv4 and
 * IPv6, without ports where a fragment or extension headers are; else the Ethernet header. At least 14 bytes of it are there. */
uint32_t inner_hash(const struct packet *p);

#endif
