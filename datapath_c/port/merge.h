/* Segments of one TCP stream that come one behind the other become one large segment again, as the kernel's receive offload (GRO) would make
 * of them: what a tunnel brought in pieces goes into a container by one call instead of many.
 *
 * Joined are segments that cutting the whole again (segment.c, or the receiver) gives back bit by bit: the same headers, TCP's numbers and
 * IPv4's identifications one behind the other, lengths equal but the last's, no flags but ACK and on the last PSH, no options but the same
 * timestamps, no fragments, no tags, all checksums right. */
#ifndef VSWITCH_MERGE_H
#define VSWITCH_MERGE_H
#include "base/packet.h"

/* Joins `p` to `head` where it belongs there: true, and `p` is the caller's to give back. `head` may be the result of joining. Both are
 * whole frames, and `head` has one reference. Takes as long as to sum and to copy what is in `p`. */
bool merge_segment(struct packet *head, const struct packet *p);

#endif
