#include "path/parse.h"
#include "base/bytes.h"
#include "flow/bridge.h"
#include "port/port.h"
#include "tunnel/uplink.h"

#define ETH_P_VLAN 0x8100
#define ETH_P_QINQ 0x88a8
#define ETH_P_PBB 0x88e7
#define OFPVID_PRESENT 0x1000
#define MAX_INNER_TAGS 7

/* Where the fields that a frame determines begin and end in struct key. */
#define HEADER_START offsetof(struct key, eth_dst)
#define HEADER_END offsetof(struct key, in_phy_port)

static bool is_vlan(uint16_t type)
{
    return type == ETH_P_VLAN || type == ETH_P_QINQ;
}

static void parse_l4(struct packet *p, uint32_t at, uint8_t proto, bool v6)
{
    struct key *k = &p->key.key;
    const uint8_t *d = p->data + at;
    uint32_t left = p->len - at;
    switch (proto) {
    case 6:
        if (left < 20)
            return;
        memcpy(&k->tp_src, d, 2);
        memcpy(&k->tp_dst, d + 2, 2);
        k->tcp_flags = htobe16(get16(d + 12) & 0xfff);
        break;
    case 17:
        if (left < 8)
            return;
        memcpy(&k->tp_src, d, 2);
        memcpy(&k->tp_dst, d + 2, 2);
        break;
    case 132:
        if (left < 12)
            return;
        memcpy(&k->tp_src, d, 2);
        memcpy(&k->tp_dst, d + 2, 2);
        break;
    case 1:
        if (v6 || left < 4)
            return;
        k->icmp_type = d[0];
        k->icmp_code = d[1];
        break;
    case 58:
        if (!v6 || left < 4)
            return;
        k->icmp_type = d[0];
        k->icmp_code = d[1];
        if ((d[0] == 135 || d[0] == 136) && d[1] == 0 && left >= 24) {
            memcpy(k->nd_target, d + 8, 16);
            /* RFC 4861, 4.6: the option list; an option of length 0 ends it. */
            for (uint32_t o = 24; o + 8 <= left && d[o + 1] && o + d[o + 1] * 8u <= left; o += d[o + 1] * 8u) {
                if (d[o] == 1 && d[o + 1] == 1 && d[0] == 135)
                    memcpy(k->arp_sha, d + o + 2, 6);
                else if (d[o] == 2 && d[o + 1] == 1 && d[0] == 136)
                    memcpy(k->arp_tha, d + o + 2, 6);
            }
        }
        break;
    default:
        return;
    }
    p->l4 = (uint16_t)at;
}

static void parse_ipv4(struct packet *p, uint32_t at)
{
    struct key *k = &p->key.key;
    const uint8_t *d = p->data + at;
    if (p->len - at < 20)
        return;
    uint32_t header = (d[0] & 15) * 4u, total = get16(d + 2);
    if (d[0] >> 4 != 4 || header < 20 || header > p->len - at ||
        (!packet_is_gso(p) && (total < header || total > p->len - at))) {
        p->malformed = 1;
        return;
    }
    p->l3 = (uint16_t)at;
    k->ip_dscp = d[1] >> 2;
    k->ip_ecn = d[1] & 3;
    k->ip_ttl = d[8];
    k->ip_proto = d[9];
    memcpy(k->ip_src, d + 12, 4);
    memcpy(k->ip_dst, d + 16, 4);
    uint16_t frag = get16(d + 6);
    if (frag & 0x3fff)
        k->ip_frag = frag & 0x1fff ? KEY_FRAG_ANY | KEY_FRAG_LATER : KEY_FRAG_ANY;
    if (!(k->ip_frag & KEY_FRAG_LATER))
        parse_l4(p, at + header, d[9], false);
}

/* OpenFlow 1.3.5, 7.2.3.8 */
enum { EH_NONEXT = 1, EH_ESP = 2, EH_AUTH = 4, EH_DEST = 8, EH_FRAG = 16, EH_ROUTER = 32, EH_HOP = 64, EH_UNREP = 128,
       EH_UNSEQ = 256 };

/* Preferred order of RFC 2460, 4.1: hop-by-hop, destination (before routing), routing, fragment, AH, ESP, destination. */
static uint16_t exthdr_note(uint16_t seen, uint16_t header, int *rank, uint8_t type)
{
    int r;
    switch (type) {
    case 0:
        r = 1;
        break;
    case 60:
        r = *rank < 2 ? 2 : 7;
        break;
    case 43:
        r = 3;
        break;
    case 44:
        r = 4;
        break;
    case 51:
        r = 5;
        break;
    default:
        r = 6;
        break;
    }
    uint16_t flags = header;
    if (seen & header && !(type == 60 && r == 7 && *rank < 7))
        flags |= EH_UNREP;
    if (r < *rank)
        flags |= EH_UNSEQ;
    if (r > *rank)
        *rank = r;
    return seen | flags;
}

#define MAX_EXTENSION_HEADERS 16

static void parse_ipv6(struct packet *p, uint32_t at)
{
    struct key *k = &p->key.key;
    const uint8_t *d = p->data + at;
    if (p->len - at < 40)
        return;
    if (d[0] >> 4 != 6 || (!packet_is_gso(p) && get16(d + 4) > p->len - at - 40)) {
        p->malformed = 1;
        return;
    }
    p->l3 = (uint16_t)at;
    uint32_t word = get32(d);
    k->ip_dscp = word >> 22 & 63;
    k->ip_ecn = word >> 20 & 3;
    k->ipv6_flabel = htobe32(word & 0xfffff);
    memcpy(k->ip_src, d + 8, 16);
    memcpy(k->ip_dst, d + 24, 16);
    k->ip_ttl = d[7];
    uint8_t next = d[6];
    uint32_t o = at + 40;
    uint16_t seen = 0;
    int rank = 0;
    bool done = false;
    for (int i = 0; i < MAX_EXTENSION_HEADERS && !done; i++) {
        const uint8_t *h = p->data + o;
        uint32_t left = p->len - o, length;
        switch (next) {
        case 0:
        case 43:
        case 60:
            if (left < 8 || (length = h[1] * 8u + 8) > left)
                goto out;
            seen = exthdr_note(seen, next == 0 ? EH_HOP : next == 43 ? EH_ROUTER : EH_DEST, &rank, next);
            break;
        case 44:
            if (left < 8)
                goto out;
            length = 8;
            seen = exthdr_note(seen, EH_FRAG, &rank, next);
            if (get16(h + 2) & 0xfff9)
                k->ip_frag = get16(h + 2) & 0xfff8 ? KEY_FRAG_ANY | KEY_FRAG_LATER : KEY_FRAG_ANY;
            break;
        case 51:
            if (left < 12 || (length = h[1] * 4u + 8) > left)
                goto out;
            seen = exthdr_note(seen, EH_AUTH, &rank, next);
            break;
        case 50:
            seen = exthdr_note(seen, EH_ESP, &rank, next);
            done = true;
            continue;
        case 59:
            seen |= EH_NONEXT;
            done = true;
            continue;
        default:
            done = true;
            continue;
        }
        next = h[0];
        o += length;
        if (k->ip_frag & KEY_FRAG_LATER)
            done = true;
    }
out:
    k->ip_proto = next;
    k->ipv6_exthdr = htobe16(seen);
    if (done && !(k->ip_frag & KEY_FRAG_LATER))
        parse_l4(p, o, next, true);
}

static void parse_arp(struct packet *p, uint32_t at)
{
    struct key *k = &p->key.key;
    const uint8_t *d = p->data + at;
    if (p->len - at < 28 || get16(d) != 1 || get16(d + 2) != 0x0800 || d[4] != 6 || d[5] != 4)
        return;
    p->l3 = (uint16_t)at;
    memcpy(&k->arp_op, d + 6, 2);
    memcpy(k->arp_sha, d + 8, 6);
    memcpy(k->ip_src, d + 14, 4);
    memcpy(k->arp_tha, d + 18, 6);
    memcpy(k->ip_dst, d + 24, 4);
}

/* Whether the head of a frame on loan has all headers that are looked at: no chain of extension headers, no options of ND. */
static bool head_suffices(const struct packet *p)
{
    const uint8_t *d = p->data;
    uint32_t at = 14;
    uint16_t type = get16(d + 12);
    if (is_vlan(type)) {
        type = get16(d + 16);
        at += 4;
    }
    return p->head >= at + 80 && (type == 0x0800 || (type == 0x86dd && (d[at + 6] == 6 || d[at + 6] == 17)));
}

static uint64_t load64(const uint8_t *d)
{
    uint64_t v;
    memcpy(&v, d, 8);
    return v;
}

static uint32_t load32(const uint8_t *d)
{
    uint32_t v;
    memcpy(&v, d, 4);
    return v;
}

static uint16_t load16(const uint8_t *d)
{
    uint16_t v;
    memcpy(&v, d, 2);
    return v;
}

/* What most frames are: TCP or UDP over IPv4 without tags, options or fragments. The key's words at once, in the order of the
 * machine (little-endian). False for anything else, of which nothing is noted. */
static inline __attribute__((always_inline)) bool parse_plain(struct packet *p)
{
    const uint8_t *d = p->data;
    if (p->len < 54 || load16(d + 12) != 0x0008 || d[14] != 0x45 || load16(d + 20) & 0xff3f)
        return false;
    uint8_t proto = d[23];
    uint32_t total = get16(d + 16);
    if ((proto != 6 && proto != 17) || (!packet_is_gso(p) && (total < 20 || total > p->len - 14)))
        return false;
    uint64_t *w = p->key.w;
    w[7] = (load64(d) & 0xffffffffffff) | 0x0008ull << 48;
    w[8] = load64(d + 6) & 0xffffffffffff;
    w[9] = (uint64_t)proto << 24 | (uint64_t)(d[15] >> 2) << 32 | (uint64_t)(d[15] & 3) << 40 | (uint64_t)d[22] << 56;
    w[10] = 0;
    w[11] = load32(d + 26);
    w[12] = 0;
    w[13] = load32(d + 30);
    w[14] = 0;
    w[15] = load32(d + 34) | (proto == 6 ? (uint64_t)(load16(d + 46) & 0xff0f) << 32 : 0);
    w[16] = w[17] = w[18] = w[19] = w[20] = 0;
    p->key.key.vlan_inner = p->key.key.vlan_inner_n = 0;
    p->l2_5 = OFFSET_NONE;
    p->l3 = 14;
    p->l4 = 34;
    p->malformed = 0;
    return true;
}

_Static_assert(HEADER_START == 7 * 8 && HEADER_END == 21 * 8 && offsetof(struct key, ip_proto) == 9 * 8 + 3 &&
               offsetof(struct key, ip_dscp) == 9 * 8 + 4 && offsetof(struct key, ip_ttl) == 9 * 8 + 7 &&
               offsetof(struct key, ip_src) == 11 * 8 && offsetof(struct key, ip_dst) == 13 * 8 &&
               offsetof(struct key, tcp_flags) == 15 * 8 + 4, "parse_plain knows the words");

/* What a bare packet's key has of its port. */
struct origin {
    const struct port *port;
    uint64_t first, last;      /* the key's words 0 and 21 */
    bool tunnel;
};

_Static_assert(offsetof(struct key, bridge) == 4 && offsetof(struct key, in_phy_port) == 21 * 8 && CACHE_WORDS == 22,
               "struct origin knows the words");

static struct origin origin_of(const struct port *in)
{
    uint32_t number = htobe32(in->port_no);
    return (struct origin){in, number | (uint64_t)in->bridge->conf.id << 32, number, in->ops == &vxlan_ops};
}

/* What the outer headers, of IPv4 without options, say. A packet that is sent may have lost them: it isn't matched any more. */
static __attribute__((noinline)) void fill_in_tunnel(struct packet *p, const struct port *tunnel)
{
    struct key *k = &p->key.key;
    const uint8_t *outer = p->data - UPLINK_OVERHEAD;
    if (packet_headroom(p) < UPLINK_OVERHEAD)
        return;
    k->tunnel_id = htobe64(tunnel->conf.vni);
    k->tun_src[10] = k->tun_src[11] = k->tun_dst[10] = k->tun_dst[11] = 0xff;
    memcpy(k->tun_src + 12, outer + 26, 4);
    memcpy(k->tun_dst + 12, outer + 30, 4);
}

static inline void fill_in(struct packet *p, const struct origin *o)
{
    packet_begin_key(p);
    p->key.w[0] = o->first;
    p->key.w[21] = o->last;
    if (__builtin_expect(o->tunnel, 0))
        fill_in_tunnel(p, o->port);
}

static __attribute__((noinline)) void parse_any(struct packet *p)
{
    if (p->lender && !head_suffices(p))
        packet_fetch(p);
    struct key *k = &p->key.key;
    const uint8_t *d = p->data;
    memset((char *)k + HEADER_START, 0, HEADER_END - HEADER_START);
    k->vlan_inner = k->vlan_inner_n = 0;
    p->l2_5 = p->l3 = p->l4 = OFFSET_NONE;
    p->malformed = 0;
    if (p->len < 14) {
        p->malformed = 1;
        return;
    }
    memcpy(k->eth_dst, d, 6);
    memcpy(k->eth_src, d + 6, 6);
    uint32_t at = 14;
    uint16_t type = get16(d + 12);
    if (is_vlan(type) && p->len >= at + 4) {
        uint16_t tci = get16(d + at);
        k->vlan_vid = htobe16((tci & 0xfff) | OFPVID_PRESENT);
        k->vlan_pcp = tci >> 13;
        type = get16(d + at + 2);
        at += 4;
        while (is_vlan(type) && p->len >= at + 4 && k->vlan_inner_n < MAX_INNER_TAGS) {
            if (!k->vlan_inner_n++)
                k->vlan_inner = htobe16(get16(d + at));
            type = get16(d + at + 2);
            at += 4;
        }
    }
    if (type < 0x600) {
        /* 802.3: the type is the length; SNAP carries the real one, anything else is OFP_DL_TYPE_NOT_ETH_TYPE. */
        if (p->len - at >= 8 && !memcmp(d + at, "\xaa\xaa\x03\0\0\0", 6)) {
            type = get16(d + at + 6);
            at += 8;
        } else {
            type = 0x05ff;
        }
    }
    k->eth_type = htobe16(type);
    switch (type) {
    case 0x0800:
        parse_ipv4(p, at);
        break;
    case 0x86dd:
        parse_ipv6(p, at);
        break;
    case 0x0806:
        parse_arp(p, at);
        break;
    case 0x8847:
    case 0x8848:
        if (p->len - at >= 4) {
            uint32_t label = get32(d + at);
            k->mpls_label = htobe32(label >> 12);
            k->mpls_tc = label >> 9 & 7;
            k->mpls_bos = label >> 8 & 1;
            k->mpls_ttl = label & 0xff;
            p->l2_5 = (uint16_t)at;
        }
        break;
    case ETH_P_PBB:
        if (p->len - at >= 16) {
            memcpy(k->pbb_isid, d + at + 1, 3);
            k->pbb_uca = d[at] >> 3 & 1;
            p->l2_5 = (uint16_t)at;
        }
        break;
    default:
        break;
    }
}

void parse(struct packet *p)
{
    if (p->bare) {
        struct origin o = origin_of(p->rx_port);
        fill_in(p, &o);
    }
    if (!parse_plain(p))
        parse_any(p);
}

bool parse_all(struct packet **packets, unsigned n)
{
    struct origin o = {0};
    bool malformed = false;
    for (unsigned i = 0; i < n; i++) {
        struct packet *p = packets[i];
        if (p->bare) {
            if (p->rx_port != o.port)
                o = origin_of(p->rx_port);
            fill_in(p, &o);
        }
        if (!parse_plain(p)) {
            parse_any(p);
            malformed |= p->malformed;
        }
    }
    return malformed;
}
