/* Push and pop of VLAN, MPLS and PBB headers. */
#include "base/bytes.h"
#include "path/headers.h"
#include "path/parse.h"

static bool is_vlan(const uint8_t *type)
{
    uint16_t t = get16(type);
    return t == 0x8100 || t == 0x88a8;
}

/* Offset of the ethertype behind the VLAN tags. */
static uint32_t type_offset(const struct packet *p)
{
    uint32_t at = 12;
    while (at + 6 <= p->len && is_vlan(p->data + at))
        at += 4;
    return at;
}

/* Opens a gap of `n` bytes at `at`, or closes one of -n. */
static bool shift(struct packet *p, uint32_t at, int n)
{
    if (n > 0 && (packet_headroom(p) < (uint32_t)n + 64 || p->len + (uint32_t)n > PACKET_MAX))
        return false;
    if (n > 0) {
        packet_push(p, (uint32_t)n);
        memmove(p->data, p->data + n, at);
    } else {
        memmove(p->data - n, p->data, at);
        packet_pull(p, (uint32_t)-n);
    }
    if (p->vnet.flags & VNET_NEEDS_CSUM || packet_is_gso(p)) {
        p->vnet.csum_start = (uint16_t)(p->vnet.csum_start + n);
        p->vnet.hdr_len = (uint16_t)(p->vnet.hdr_len + n);
    }
    return true;
}

#define MIN_FRAME 60           /* IEEE 802.3, 4A.4.2, without the FCS */

static enum drop again(struct packet *p)
{
    parse(p);
    return N_DROPS;
}

/* A header is gone: what is left is padded to what Ethernet asks. */
static enum drop shortened(struct packet *p)
{
    if (p->len < MIN_FRAME) {
        memset(p->data + p->len, 0, MIN_FRAME - p->len);
        p->len = MIN_FRAME;
    }
    return again(p);
}

enum drop push_vlan(struct packet *p, uint16_t ethertype)
{
    uint16_t tci = is_vlan(p->data + 12) && p->len >= 18 ? get16(p->data + 14) : 0;
    if (!shift(p, 12, 4))
        return DROP_TOO_LONG;
    put16(p->data + 12, ethertype);
    put16(p->data + 14, tci);  /* 5.12: VID and PCP are copied from the outer tag */
    return again(p);
}

enum drop pop_vlan(struct packet *p)
{
    if (!is_vlan(p->data + 12) || p->len < 18)
        return DROP_UNSUPPORTED;
    shift(p, 12, -4);
    return shortened(p);
}

static uint8_t *ip_ttl(struct packet *p)
{
    if (p->l3 == OFFSET_NONE)
        return NULL;
    uint8_t *ip = p->data + p->l3;
    return ip[0] >> 4 == 4 ? ip + 8 : ip[0] >> 4 == 6 ? ip + 7 : NULL;
}

enum drop push_mpls(struct packet *p, uint16_t ethertype)
{
    uint32_t at = type_offset(p), label = 1u << 8;   /* label 0, bottom of stack, TTL 0 */
    uint16_t type = get16(p->data + at);
    if (type == 0x8847 || type == 0x8848) {
        label = get32(p->data + at + 2) & ~(1u << 8);        /* a copy of the outer one, not at the bottom */
    } else if ((type == 0x0800 || type == 0x86dd) && ip_ttl(p)) {
        label = 1u << 8 | *ip_ttl(p);
    }
    if (!shift(p, at + 2, 4))
        return DROP_TOO_LONG;
    put16(p->data + at, ethertype);
    put32(p->data + at + 2, label);
    return again(p);
}

enum drop pop_mpls(struct packet *p, uint16_t ethertype)
{
    if (p->l2_5 == OFFSET_NONE)
        return DROP_UNSUPPORTED;
    uint32_t at = type_offset(p);
    put16(p->data + at, ethertype);
    shift(p, at + 2, -4);
    return shortened(p);
}

enum drop push_pbb(struct packet *p, uint16_t ethertype)
{
    /* The frame becomes the payload: B-DA and B-SA copy C-DA and C-SA; the I-TAG goes before the copy (IEEE 802.1ah). An
     * I-SID is copied from an I-TAG that is there. */
    uint32_t at = type_offset(p);
    uint32_t itag = get16(p->data + at) == ethertype && p->len >= at + 6 ? get32(p->data + at + 2) : 0;
    if (!shift(p, 12, 18))
        return DROP_TOO_LONG;
    put16(p->data + 12, ethertype);
    put32(p->data + 14, itag & 0xffffff);
    memcpy(p->data + 18, p->data, 12);
    return again(p);
}

enum drop pop_pbb(struct packet *p)
{
    uint32_t at = type_offset(p);
    if (get16(p->data + at) != 0x88e7 || p->len < at + 18)
        return DROP_UNSUPPORTED;
    packet_pull(p, at + 6);
    return shortened(p);
}
