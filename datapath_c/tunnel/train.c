#include "tunnel/train.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "path/parse.h"
#include "tunnel/vtep.h"

/* Where the headers of the first frame end, if it is plain TCP with a payload. */
struct layout {
    uint32_t ip, tcp, payload;
    bool v6;
};

static bool is_tcp(struct packet *p, uint32_t size, struct layout *l)
{
    struct packet first = {.data = p->data + VXLAN_HEADER, .len = size - VXLAN_HEADER};
    parse(&first);
    if (first.malformed || first.l4 == OFFSET_NONE || first.key.key.ip_proto != 6 || first.key.key.ip_frag ||
        first.key.key.ipv6_exthdr)
        return false;
    l->ip = first.l3 + VXLAN_HEADER;
    l->tcp = first.l4 + VXLAN_HEADER;
    l->v6 = p->data[l->ip] >> 4 == 6;
    l->payload = l->tcp + (p->data[l->tcp + 12] >> 4) * 4u;
    uint32_t ip_len = l->v6 ? 40u + get16(p->data + l->ip + 4) : get16(p->data + l->ip + 2);
    return l->payload < size && l->ip + ip_len == size && (l->v6 || p->data[l->ip] == 0x45);
}

/* Whether the datagram at `d` continues the one at `head`: the same headers but for lengths, identification, checksums,
 * sequence number, and the flags that belong to a last segment. */
static bool continues(const uint8_t *head, const uint8_t *d, uint32_t len, const struct layout *l, uint32_t seq)
{
    if (len <= l->payload || memcmp(head, d, l->ip))
        return false;
    uint32_t ip_len = l->v6 ? 40u + get16(d + l->ip + 4) : get16(d + l->ip + 2);
    if (l->ip + ip_len != len)
        return false;
    bool same_ip = l->v6 ? !memcmp(head + l->ip, d + l->ip, 4) && !memcmp(head + l->ip + 6, d + l->ip + 6, 34)
                         : !memcmp(head + l->ip, d + l->ip, 2) && !memcmp(head + l->ip + 6, d + l->ip + 6, 4) &&
                               !memcmp(head + l->ip + 12, d + l->ip + 12, 8);
    const uint8_t *a = head + l->tcp, *b = d + l->tcp;
    return same_ip && !memcmp(a, b, 4) && get32(b + 4) == seq && !memcmp(a + 8, b + 8, 5) && !((a[13] ^ b[13]) & ~0x09) &&
           !memcmp(a + 14, b + 14, 2) && !memcmp(a + 20, b + 20, l->payload - l->tcp - 20);
}

/* Joins the payloads in place; the checksum is left open as a device's sender leaves it. */
static bool join(struct packet *p, uint32_t size)
{
    struct layout l;
    if (!is_tcp(p, size, &l) || p->data[l.tcp + 13] & 0x0f & ~0x08)
        return false;          /* FIN, SYN or RST on the first segment: leave such trains alone */
    uint32_t seq = get32(p->data + l.tcp + 4), step = size - l.payload;
    for (uint32_t at = size; at < p->len; at += size) {
        uint32_t len = p->len - at < size ? p->len - at : size;
        seq += step;
        if (!continues(p->data, p->data + at, len, &l, seq))
            return false;
    }
    uint32_t end = size;
    uint8_t flags = p->data[l.tcp + 13];
    for (uint32_t at = size; at < p->len; at += size) {
        uint32_t len = p->len - at < size ? p->len - at : size;
        flags |= p->data[at + l.tcp + 13];
        memmove(p->data + end, p->data + at + l.payload, len - l.payload);
        end += len - l.payload;
    }
    p->len = end;
    uint8_t *ip = p->data + l.ip, *tcp = p->data + l.tcp;
    tcp[13] = flags;
    if (l.v6) {
        put16(ip + 4, (uint16_t)(end - l.ip - 40));
    } else {
        put16(ip + 2, (uint16_t)(end - l.ip));
        memset(ip + 10, 0, 2);
        uint16_t sum = (uint16_t)~csum_fold(csum_partial(ip, 20, 0));
        memcpy(ip + 10, &sum, 2);
    }
    uint16_t open = csum_fold(csum_pseudo(ip + (l.v6 ? 8 : 12), ip + (l.v6 ? 24 : 16), l.v6, 6, end - l.tcp));
    memcpy(tcp + 16, &open, 2);
    p->vnet = (struct vnet_hdr){.flags = VNET_NEEDS_CSUM, .gso_type = l.v6 ? VNET_GSO_TCPV6 : VNET_GSO_TCPV4,
                                .hdr_len = (uint16_t)(l.payload - VXLAN_HEADER), .gso_size = (uint16_t)step,
                                .csum_start = (uint16_t)(l.tcp - VXLAN_HEADER), .csum_offset = 16};
    return true;
}

unsigned train_unpack(struct packet *p, uint32_t size, struct packet **out, uint64_t *lost)
{
    unsigned n = 0;
    if (size >= p->len || join(p, size)) {
        out[0] = p;
        return 1;
    }
    for (uint32_t at = 0; at < p->len; at += size) {
        uint32_t len = p->len - at < size ? p->len - at : size;
        struct packet *s = n < TRAIN_PACKETS ? packet_alloc(p->pool) : NULL;
        if (!s) {
            ++*lost;
            continue;
        }
        memcpy(s->data, p->data + at, len);
        s->len = len;
        out[n++] = s;
    }
    packet_unref(p);
    return n;
}
