/* Segmentation, fragmentation and checksum completion in software, for ports that can't leave them to a device. */
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

/* Where the headers of a packet to be cut are. */
struct layout {
    uint32_t ip, l4, payload;
    bool v6;
};

/* False when they are not what the virtio header says. */
static bool find_headers(const struct packet *p, bool tcp, struct layout *l)
{
    uint32_t least = tcp ? 20 : 8;
    l->l4 = p->vnet.csum_start;
    if (!(p->vnet.flags & VNET_NEEDS_CSUM) || l->l4 + least > p->len || !p->vnet.gso_size)
        return false;
    l->payload = l->l4 + (tcp ? (p->data[l->l4 + 12] >> 4) * 4u : 8);
    l->ip = 14;
    while (l->ip + 4 <= p->len && (get16(p->data + l->ip - 2) == 0x8100 || get16(p->data + l->ip - 2) == 0x88a8))
        l->ip += 4;
    while (get16(p->data + l->ip - 2) >> 1 == 0x8847 >> 1 && l->ip + 8 <= p->len)
        l->ip += 4;
    l->v6 = p->data[l->ip] >> 4 == 6;
    return l->payload <= p->len && l->ip + (l->v6 ? 40u : 20u) <= l->l4 && (l->v6 || p->data[l->ip] >> 4 == 4);
}

static void sum_ipv4(uint8_t *h)
{
    memset(h + 10, 0, 2);
    uint16_t sum = (uint16_t)~csum_fold(csum_partial(h, (h[0] & 15) * 4u, 0));
    memcpy(h + 10, &sum, 2);
}

static void finish_ip(struct packet *s, const struct layout *l, uint16_t id)
{
    uint8_t *h = s->data + l->ip;
    if (l->v6) {
        put16(h + 4, (uint16_t)(s->len - l->ip - 40));
    } else {
        put16(h + 2, (uint16_t)(s->len - l->ip));
        put16(h + 4, id);
        sum_ipv4(h);
    }
}

/* The whole checksum of what begins at l4, into its field there. */
static void sum_l4(struct packet *s, const struct layout *l, uint8_t proto, uint32_t field)
{
    uint8_t *h = s->data + l->ip, *t = s->data + l->l4;
    uint32_t len = s->len - l->l4;
    memset(t + field, 0, 2);
    uint64_t sum = csum_pseudo(h + (l->v6 ? 8 : 12), h + (l->v6 ? 24 : 16), l->v6, proto, len);
    uint16_t folded = (uint16_t)~csum_fold(csum_partial(t, len, sum));
    if (!folded && proto == 17)
        folded = 0xffff;
    memcpy(t + field, &folded, 2);
}

static void finish_tcp(struct packet *s, const struct layout *l, uint32_t seq, bool first, bool last)
{
    uint8_t *t = s->data + l->l4;
    put32(t + 4, seq);
    if (!last)
        t[13] &= (uint8_t)~0x09;   /* FIN and PSH belong to the last */
    if (!first)
        t[13] &= 0x7f;             /* CWR to the first (RFC 3168) */
    sum_l4(s, l, 6, 16);
}

static unsigned refuse(struct packet *p, struct port_io *io)
{
    io->drops[DROP_UNSUPPORTED]++;
    packet_unref(p);
    return 0;
}

/* A copy of the headers up to `headers`, and behind them, with `gap` bytes between, of `take` bytes from `at` on; NULL without a buffer. */
static struct packet *cut_out(struct packet *p, struct port_io *io, uint32_t headers, uint32_t gap, uint32_t at, uint32_t take)
{
    struct packet *s = packet_alloc(p->pool);
    if (!s) {
        io->drops[DROP_NO_BUFFER]++;
        return NULL;
    }
    memcpy(s->data, p->data, headers);
    memcpy(s->data + headers + gap, p->data + at, take);
    step(SEGMENT_UNITS);
    packet_copy_meta(s, p);
    s->len = headers + gap + take;
    s->vnet = (struct vnet_hdr){0};
    return s;
}

/* TCP segments, or datagrams of their own from one big one (UDP_SEGMENT). */
static unsigned segment(struct packet *p, bool tcp, struct port_io *io, struct packet **out, unsigned max)
{
    struct layout l;
    if (!find_headers(p, tcp, &l))
        return refuse(p, io);
    uint32_t size = p->vnet.gso_size, left = p->len - l.payload, at = l.payload, seq = tcp ? get32(p->data + l.l4 + 4) : 0;
    uint16_t id = l.v6 ? 0 : get16(p->data + l.ip + 4);
    unsigned n = 0;
    while (left) {
        uint32_t take = left < size ? left : size;
        struct packet *s = NULL;
        if (n == max)
            io->drops[DROP_NO_BUFFER]++;
        else
            s = cut_out(p, io, l.payload, 0, at, take);
        if (!s)
            break;
        finish_ip(s, &l, (uint16_t)(id + n));
        if (tcp) {
            finish_tcp(s, &l, seq + (at - l.payload), n == 0, take == left);
        } else {
            put16(s->data + l.l4 + 4, (uint16_t)(s->len - l.l4));
            sum_l4(s, &l, 17, 6);
        }
        out[n++] = s;
        at += take;
        left -= take;
    }
    packet_unref(p);
    return n;
}

/* One datagram in IP fragments (RFC 791; RFC 8200, 4.5), the checksum over all of it. */
static unsigned fragment(struct packet *p, struct port_io *io, struct packet **out, unsigned max)
{
    static _Atomic uint32_t next_id;
    struct layout l;
    uint32_t size = p->vnet.gso_size & ~7u;
    if (!find_headers(p, false, &l) || size < 8 || (l.v6 && (l.l4 != l.ip + 40 || p->data[l.ip + 6] != 17)))
        return refuse(p, io);
    if (!(p = packet_own(p))) {
        io->drops[DROP_NO_BUFFER]++;
        return 0;
    }
    put16(p->data + l.l4 + 4, (uint16_t)(p->len - l.l4));
    sum_l4(p, &l, 17, 6);
    uint32_t id = atomic_fetch_add_explicit(&next_id, 1, memory_order_relaxed), left = p->len - l.l4, at = l.l4;
    if (!l.v6 && get16(p->data + l.ip + 4))
        id = get16(p->data + l.ip + 4);
    unsigned n = 0;
    while (left) {
        uint32_t take = left < size ? left : size, offset = at - l.l4;
        struct packet *s = NULL;
        if (n == max)
            io->drops[DROP_NO_BUFFER]++;
        else
            s = cut_out(p, io, l.l4, l.v6 ? 8 : 0, at, take);
        if (!s)
            break;
        uint8_t *h = s->data + l.ip;
        bool more = take < left;
        if (l.v6) {
            h[6] = 44;
            h[40] = 17;
            h[41] = 0;
            put16(h + 42, (uint16_t)(offset | more));
            put32(h + 44, id);
        } else {
            put16(h + 6, (uint16_t)(offset >> 3 | (more ? 0x2000 : 0)));
        }
        finish_ip(s, &l, (uint16_t)id);
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
        return segment(p, true, io, out, max);
    if (type == VNET_GSO_UDP_L4)
        return segment(p, false, io, out, max);
    if (type == VNET_GSO_UDP)
        return fragment(p, io, out, max);
    if (type != VNET_GSO_NONE)
        return refuse(p, io);
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
