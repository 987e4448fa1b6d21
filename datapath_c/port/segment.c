/* TCP segmentation and checksum completion in software, for ports that can't leave them to a device. */
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/step.h"
#include "port/port.h"

#define SEGMENT_UNITS 8        /* of base/step.h: a segment is copied and summed */

/* Fills in the checksum that NEEDS_CSUM left open. The field holds the pseudo-header's sum. */
static void complete_csum(struct packet *p)
{
    struct vnet_hdr *v = &p->vnet;
    if (!(v->flags & VNET_NEEDS_CSUM))
        return;
    uint32_t start = v->csum_start, at = start + v->csum_offset;
    if (at + 2 <= p->len) {
        uint16_t sum = (uint16_t)~csum_fold(csum_partial(p->data + start, p->len - start, 0));
        if (!sum && v->csum_offset == 6)
            sum = 0xffff;      /* UDP: 0 would mean none (RFC 768) */
        memcpy(p->data + at, &sum, 2);
    }
    *v = (struct vnet_hdr){0};
}

/* Headers of a TCP packet to be segmented; false when they are not what the virtio header says. */
static bool tcp_layout(const struct packet *p, uint32_t *ip, uint32_t *tcp, uint32_t *payload, bool *v6)
{
    *tcp = p->vnet.csum_start;
    if (!(p->vnet.flags & VNET_NEEDS_CSUM) || *tcp + 20 > p->len || !p->vnet.gso_size)
        return false;
    *payload = *tcp + (p->data[*tcp + 12] >> 4) * 4u;
    *v6 = (p->vnet.gso_type & ~VNET_GSO_ECN) == VNET_GSO_TCPV6;
    *ip = 14;
    while (*ip + 4 <= p->len && (get16(p->data + *ip - 2) == 0x8100 || get16(p->data + *ip - 2) == 0x88a8))
        *ip += 4;
    while (get16(p->data + *ip - 2) >> 1 == 0x8847 >> 1 && *ip + 8 <= p->len)
        *ip += 4;
    return *payload <= p->len && *ip + (*v6 ? 40u : 20u) <= *tcp && p->data[*ip] >> 4 == (*v6 ? 6 : 4);
}

static void finish_segment(struct packet *s, uint32_t ip, uint32_t tcp, bool v6, uint16_t id, uint32_t seq, bool first,
                           bool last)
{
    uint8_t *h = s->data + ip, *t = s->data + tcp;
    uint32_t l4_len = s->len - tcp;
    if (v6) {
        put16(h + 4, (uint16_t)(s->len - ip - 40));
    } else {
        put16(h + 2, (uint16_t)(s->len - ip));
        put16(h + 4, id);
        memset(h + 10, 0, 2);
        uint16_t sum = (uint16_t)~csum_fold(csum_partial(h, (h[0] & 15) * 4u, 0));
        memcpy(h + 10, &sum, 2);
    }
    put32(t + 4, seq);
    if (!last)
        t[13] &= (uint8_t)~0x09;   /* FIN and PSH belong to the last */
    if (!first)
        t[13] &= 0x7f;             /* CWR to the first (RFC 3168) */
    memset(t + 16, 0, 2);
    uint64_t sum = csum_pseudo(h + (v6 ? 8 : 12), h + (v6 ? 24 : 16), v6, 6, l4_len);
    uint16_t folded = (uint16_t)~csum_fold(csum_partial(t, l4_len, sum));
    memcpy(t + 16, &folded, 2);
    s->vnet = (struct vnet_hdr){0};
}

static unsigned segment_tcp(struct packet *p, struct port_io *io, struct packet **out, unsigned max)
{
    uint32_t ip, tcp, payload;
    bool v6;
    if (!tcp_layout(p, &ip, &tcp, &payload, &v6)) {
        io->drops[DROP_UNSUPPORTED]++;
        packet_unref(p);
        return 0;
    }
    uint32_t size = p->vnet.gso_size, left = p->len - payload, at = payload, seq = get32(p->data + tcp + 4);
    uint16_t id = v6 ? 0 : get16(p->data + ip + 4);
    unsigned n = 0;
    while (left) {
        uint32_t take = left < size ? left : size;
        struct packet *s = n < max ? packet_alloc(p->pool) : NULL;
        if (!s) {
            io->drops[DROP_NO_BUFFER]++;
            break;
        }
        memcpy(s->data, p->data, payload);
        memcpy(s->data + payload, p->data + at, take);
        step(SEGMENT_UNITS);
        s->len = payload + take;
        packet_copy_meta(s, p);
        finish_segment(s, ip, tcp, v6, (uint16_t)(id + n), seq + (at - payload), n == 0, take == left);
        out[n++] = s;
        at += take;
        left -= take;
    }
    packet_unref(p);
    return n;
}

unsigned port_segment(struct packet *p, struct port_io *io, struct packet **out, unsigned max)
{
    uint8_t type = p->vnet.gso_type & (uint8_t)~VNET_GSO_ECN;
    if (type == VNET_GSO_TCPV4 || type == VNET_GSO_TCPV6)
        return segment_tcp(p, io, out, max);
    if (type != VNET_GSO_NONE) {
        io->drops[DROP_UNSUPPORTED]++;
        packet_unref(p);
        return 0;
    }
    if (p->vnet.flags & VNET_NEEDS_CSUM) {
        if (!(p = packet_own(p))) {
            io->drops[DROP_NO_BUFFER]++;
            return 0;
        }
        complete_csum(p);
    }
    p->vnet = (struct vnet_hdr){0};
    out[0] = p;
    return 1;
}
