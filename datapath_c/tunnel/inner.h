/* What a kernel at the other end left to a device that wasn't there.
 *
 * A packet that never leaves the host (veth, loopback) reaches our UDP socket with its inner checksum still to be filled in,
 * and an inner TCP segment of up to 64 KiB that nobody has cut. The socket doesn't tell. An open checksum field holds the
 * pseudo-header's sum, which costs no walk over the payload to recognise; a finished checksum equals it once in 65,536 times,
 * and is then computed again to the same value. */
#ifndef VSWITCH_INNER_H
#define VSWITCH_INNER_H
#include "base/hash.h"
#include "base/packet.h"

/* Says in p->vnet what the inner packet still lacks. `mtu` of the overlay bounds the segments of one that must be cut. */
void inner_restore_offloads(struct packet *p, uint32_t mtu);

static inline uint64_t inner_load(const uint8_t *d, unsigned n)
{
    uint64_t v = 0;
    memcpy(&v, d, n);
    return v;
}

static inline bool inner_has_ports(uint8_t proto)
{
    return proto == 17 || proto == 6 || proto == 132;
}

static inline uint32_t inner_hash_ipv4(const uint8_t *ip)
{
    uint32_t h = hash_word(ip[9], inner_load(ip + 12, 8));
    if (!(inner_load(ip + 6, 2) & 0xff3f) && inner_has_ports(ip[9]))     /* no fragment; the mask is in the order of the bytes */
        h = hash_word(h, inner_load(ip + 20, 4));
    return h;
}

uint32_t inner_hash_other(const struct packet *p);

/* A number for the frame's flow, by the frame alone: the outer headers' entropy (RFC 7348, 5). Addresses, protocol and ports of IPv4 and
 * IPv6, without ports where a fragment or extension headers are; else the Ethernet header. At least 14 bytes of it are there. */
static inline uint32_t inner_hash(const struct packet *p)
{
    const uint8_t *d = p->data;
    if (__builtin_expect((inner_load(d + 12, 4) & 0xffffff) == 0x450008 && p->len >= 38, 1))  /* IPv4 without tags and options */
        return hash_finish(inner_hash_ipv4(d + 14));
    return inner_hash_other(p);
}

#endif
