#include "port/merge.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/step.h"

#define JOIN_UNITS 8           /* of base/step.h, on virtual clocks: a segment is summed and copied */
#define ETHERNET 14
#define TIMESTAMPS 0x0101080au /* two bytes of padding, and the option's kind and length: as all systems send it (RFC 7323, appendix A) */
#define TIMESTAMPS_SIZE 12
#define ACK 0x10
#define PSH 0x08
#define IP_MAX 65535

struct segment {
    uint32_t tcp, payload, size;       /* offsets, and bytes of payload */
    bool v6;
};

/* Whether it is TCP over IPv4 or IPv6 without options, extensions and tags, and may be part of a large segment; the checksums are another
 * matter. */
static bool is_part(const struct packet *p, struct segment *s)
{
    const uint8_t *d = p->data;
    uint16_t type = get16(d + 12);
    if (p->len < ETHERNET + 40 || (type != 0x0800 && type != 0x86dd))
        return false;
    s->v6 = type == 0x86dd;
    s->tcp = ETHERNET + (s->v6 ? 40 : 20);
    if (p->len < s->tcp + 20 || d[s->v6 ? 20 : 23] != 6)
        return false;
    if (s->v6 ? d[14] >> 4 != 6 || ETHERNET + 40u + get16(d + 18) != p->len
              : d[14] != 0x45 || (uint32_t)ETHERNET + get16(d + 16) != p->len || get16(d + 20) & 0xbfff)
        return false;
    const uint8_t *t = d + s->tcp;
    uint32_t header = (t[12] >> 4) * 4u;
    s->payload = s->tcp + header;
    if ((t[13] & ~PSH) != ACK || t[12] & 15 || get16(t + 18) || s->payload >= p->len ||
        (header != 20 && (header != 20 + TIMESTAMPS_SIZE || get32(t + 20) != TIMESTAMPS)))
        return false;
    s->size = p->len - s->payload;
    return true;
}

static uint64_t pseudo(const struct packet *p, const struct segment *s)
{
    const uint8_t *ip = p->data + ETHERNET;
    return csum_pseudo(ip + (s->v6 ? 8 : 12), ip + (s->v6 ? 24 : 16), s->v6, 6, p->len - s->tcp);
}

/* A checksum that was left open is right; it may not be told of (tunnel/inner.h). */
static bool checksums_right(const struct packet *p, const struct segment *s)
{
    const uint8_t *tcp = p->data + s->tcp;
    uint64_t sum = pseudo(p, s);
    uint16_t field;
    if (!s->v6 && csum_fold(csum_partial(p->data + ETHERNET, 20, 0)) != 0xffff)
        return false;
    memcpy(&field, tcp + 16, 2);
    if (p->vnet.flags & VNET_NEEDS_CSUM)
        return p->vnet.csum_start == s->tcp && p->vnet.csum_offset == 16 && field == csum_fold(sum);
    return p->vnet.flags & VNET_DATA_VALID || field == csum_fold(sum) || csum_fold(csum_partial(tcp, p->len - s->tcp, sum)) == 0xffff;
}

/* Whether `head` can be longer still: it is a single segment, or of whole ones; `*n` of them. */
static bool is_open(const struct packet *head, const struct segment *s, uint32_t *size, uint32_t *n)
{
    *n = 1;
    *size = s->size;
    if (head->data[s->tcp + 13] & PSH)
        return false;
    if (!packet_is_gso(head))
        return true;
    *size = head->vnet.gso_size;
    *n = *size ? s->size / *size : 0;
    return head->vnet.gso_type == (s->v6 ? VNET_GSO_TCPV6 : VNET_GSO_TCPV4) && *n > 1 && s->size == *n * *size;
}

/* Whether the headers are what cutting `head` would make for its next segment, were it longer. */
static bool continues(const struct packet *head, const struct segment *s, uint32_t n, const struct packet *p)
{
    const uint8_t *a = head->data, *b = p->data, *ta = a + s->tcp, *tb = b + s->tcp;
    if (memcmp(a, b, ETHERNET) || memcmp(ta, tb, 4) || get32(tb + 4) != get32(ta + 4) + s->size || memcmp(ta + 8, tb + 8, 4) ||
        memcmp(ta + 14, tb + 14, 2) || memcmp(ta + 20, tb + 20, s->payload - s->tcp - 20))
        return false;
    if (s->v6)
        return !memcmp(a + 14, b + 14, 4) && !memcmp(a + 20, b + 20, 34);
    return a[15] == b[15] && get16(b + 18) == (uint16_t)(get16(a + 18) + n) && !memcmp(a + 20, b + 20, 4) && !memcmp(a + 26, b + 26, 8);
}

/* The lengths, and the checksum left open, of what has grown. */
static void finish(struct packet *p, const struct segment *s, uint32_t size)
{
    uint8_t *ip = p->data + ETHERNET;
    if (s->v6) {
        put16(ip + 4, (uint16_t)(p->len - ETHERNET - 40));
    } else {
        put16(ip + 2, (uint16_t)(p->len - ETHERNET));
        memset(ip + 10, 0, 2);
        uint16_t sum = (uint16_t)~csum_fold(csum_partial(ip, 20, 0));
        memcpy(ip + 10, &sum, 2);
    }
    uint16_t open = csum_fold(pseudo(p, s));
    memcpy(p->data + s->tcp + 16, &open, 2);
    p->vnet = (struct vnet_hdr){.flags = VNET_NEEDS_CSUM, .gso_type = s->v6 ? VNET_GSO_TCPV6 : VNET_GSO_TCPV4,
                                .hdr_len = (uint16_t)s->payload, .gso_size = (uint16_t)size, .csum_start = (uint16_t)s->tcp,
                                .csum_offset = 16};
}

bool merge_segment(struct packet *head, const struct packet *p)
{
    struct segment first, next;
    uint32_t size, n;
    if (packet_is_gso(p) || !is_part(p, &next) || !is_part(head, &first) || first.payload != next.payload || first.v6 != next.v6 ||
        !is_open(head, &first, &size, &n) || next.size > size || head->len + next.size > ETHERNET + IP_MAX ||
        packet_headroom(head) + head->len + next.size > PACKET_HEADROOM + PACKET_MAX || !continues(head, &first, n, p) ||
        (n == 1 && !checksums_right(head, &first)) || !checksums_right(p, &next))
        return false;
    memcpy(head->data + head->len, p->data + next.payload, next.size);
    head->len += next.size;
    head->data[first.tcp + 13] |= p->data[first.tcp + 13];
    finish(head, &first, size);
    step_spend(JOIN_UNITS);
    return true;
}
