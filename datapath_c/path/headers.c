/* Set-field and TTL actions on headers that are there. */
#include "path/headers.h"
#include "base/bytes.h"
#include "base/checksum.h"

static uint8_t *ip_header(struct packet *p, int version)
{
    if (p->l3 == OFFSET_NONE || p->data[p->l3] >> 4 != version || p->key.key.eth_type == htobe16(0x0806))
        return NULL;
    return p->data + p->l3;
}

/* Where the transport's Internet checksum stands, or NULL. */
static uint8_t *l4_csum(struct packet *p)
{
    if (p->l4 == OFFSET_NONE)
        return NULL;
    uint8_t *d = p->data + p->l4;
    uint32_t left = p->len - p->l4;
    switch (p->key.key.ip_proto) {
    case 6:
        return left >= 18 ? d + 16 : NULL;
    case 17:
        return left >= 8 && (get16(d + 6) || p->vnet.flags & VNET_NEEDS_CSUM) ? d + 6 : NULL;
    case 1:
    case 58:
        return left >= 4 ? d + 2 : NULL;
    default:
        return NULL;
    }
}

/* A field of `len` bytes changes. With a checksum left to the device the field holds the pseudo-header's sum, which only
 * addresses are part of. */
static void l4_update(struct packet *p, const void *old, const void *new, size_t len, bool in_pseudo)
{
    uint8_t *c = l4_csum(p);
    if (!c)
        return;
    uint16_t v;
    memcpy(&v, c, 2);
    if (p->vnet.flags & VNET_NEEDS_CSUM) {
        if (!in_pseudo)
            return;
        v = (uint16_t)~csum_update((uint16_t)~v, old, new, len);
    } else {
        v = csum_update(v, old, new, len);
        if (!v && p->key.key.ip_proto == 17)
            v = 0xffff;
    }
    memcpy(c, &v, 2);
}

static void ip_csum_update(uint8_t *ip, const void *old, const void *new, size_t len)
{
    uint16_t v;
    memcpy(&v, ip + 10, 2);
    v = csum_update(v, old, new, len);
    memcpy(ip + 10, &v, 2);
}

/* Replaces the 16-bit word of an IPv4 header that holds `at`. */
static void set_ipv4_byte(uint8_t *ip, unsigned at, uint8_t value)
{
    unsigned word = at & ~1u;
    uint8_t old[2] = {ip[word], ip[word + 1]};
    ip[at] = value;
    ip_csum_update(ip, old, ip + word, 2);
}

static void set_address(struct packet *p, bool dst, const uint8_t *value, int version)
{
    uint8_t *ip = ip_header(p, version);
    if (!ip)
        return;
    size_t n = version == 4 ? 4 : 16;
    uint8_t *a = version == 4 ? ip + (dst ? 16 : 12) : ip + (dst ? 24 : 8);
    if (!(p->key.key.ip_proto == 1))
        l4_update(p, a, value, n, true);
    if (version == 4)
        ip_csum_update(ip, a, value, 4);
    memcpy(a, value, n);
}

static void set_traffic_class(struct packet *p, uint8_t value, uint8_t mask)
{
    uint8_t *ip = ip_header(p, 4);
    if (ip) {
        set_ipv4_byte(ip, 1, (ip[1] & ~mask) | value);
    } else if ((ip = ip_header(p, 6))) {
        uint32_t word = get32(ip);
        put32(ip, (word & ~((uint32_t)mask << 20)) | (uint32_t)value << 20);
    }
}

static void set_ip_proto(struct packet *p, uint8_t value)
{
    uint8_t *ip = ip_header(p, 4), old[2] = {0, p->key.key.ip_proto}, new[2] = {0, value};
    if (p->key.key.ip_proto != 1)
        l4_update(p, old, new, 2, true);   /* the pseudo-header names the protocol */
    if (ip)
        set_ipv4_byte(ip, 9, value);
    else if ((ip = ip_header(p, 6)))
        ip[6] = value;
    p->key.key.ip_proto = value;           /* what is set next belongs to the new protocol */
}

/* CRC32c over the SCTP packet with its checksum field zero. */
static uint32_t sctp_crc(struct packet *p)
{
    uint8_t *ip = ip_header(p, 4);
    uint32_t end = p->len;
    if (ip)
        end = p->l3 + get16(ip + 2);
    else if ((ip = ip_header(p, 6)))
        end = p->l3 + 40u + get16(ip + 4);
    memset(p->data + p->l4 + 8, 0, 4);
    return htole32(crc32c(p->data + p->l4, end - p->l4));
}

/* A checksum that was wrong stays wrong by the same difference, so that damage is still seen at the end. */
static void set_sctp_port(struct packet *p, uint8_t *port, const uint8_t *value)
{
    uint32_t old, before, after;
    memcpy(&old, p->data + p->l4 + 8, 4);
    before = sctp_crc(p);
    memcpy(port, value, 2);
    after = sctp_crc(p);
    old ^= before ^ after;
    memcpy(p->data + p->l4 + 8, &old, 4);
}

static void set_l4_port(struct packet *p, uint8_t proto, bool dst, const uint8_t *value)
{
    if (p->l4 == OFFSET_NONE || p->key.key.ip_proto != proto)
        return;
    uint8_t *port = p->data + p->l4 + (dst ? 2 : 0);
    if (proto == 132 && !(p->vnet.flags & VNET_NEEDS_CSUM)) {
        set_sctp_port(p, port, value);
        return;
    }
    if (proto != 132)
        l4_update(p, port, value, 2, false);
    memcpy(port, value, 2);
}

static void set_icmp(struct packet *p, uint8_t proto, bool code, uint8_t value)
{
    if (p->l4 == OFFSET_NONE || p->key.key.ip_proto != proto)
        return;
    uint8_t *d = p->data + p->l4, new[2] = {code ? d[0] : value, code ? value : d[1]};
    l4_update(p, d, new, 2, false);
    memcpy(d, new, 2);
}

static void set_nd_target(struct packet *p, const uint8_t *value)
{
    if (p->l4 == OFFSET_NONE || p->len - p->l4 < 24)
        return;
    uint8_t *d = p->data + p->l4 + 8;
    l4_update(p, d, value, 16, false);
    memcpy(d, value, 16);
}

static void set_nd_lladdr(struct packet *p, uint8_t option, const uint8_t *value)
{
    if (p->l4 == OFFSET_NONE)
        return;
    uint8_t *d = p->data + p->l4;
    uint32_t left = p->len - p->l4;
    for (uint32_t o = 24; o + 8 <= left && d[o + 1]; o += d[o + 1] * 8u)
        if (d[o] == option && d[o + 1] == 1) {
            l4_update(p, d + o + 2, value, 6, false);
            memcpy(d + o + 2, value, 6);
            return;
        }
}

static void set_arp(struct packet *p, unsigned at, const uint8_t *value, size_t n)
{
    if (p->l3 != OFFSET_NONE && p->key.key.eth_type == htobe16(0x0806))
        memcpy(p->data + p->l3 + at, value, n);
}

static void set_label(struct packet *p, uint32_t value, uint32_t mask)
{
    if (p->l2_5 == OFFSET_NONE)
        return;
    uint8_t *d = p->data + p->l2_5;
    put32(d, (get32(d) & ~mask) | value);
}

static void set_tci(struct packet *p, uint16_t value, uint16_t mask)
{
    uint16_t type = get16(p->data + 12);
    if ((type == 0x8100 || type == 0x88a8) && p->len >= 18)
        put16(p->data + 14, (get16(p->data + 14) & ~mask) | value);
}

static void set_eth_type(struct packet *p, const uint8_t *value)
{
    uint32_t at = 12;
    while (at + 6 <= p->len && (get16(p->data + at) == 0x8100 || get16(p->data + at) == 0x88a8))
        at += 4;
    memcpy(p->data + at, value, 2);
}

enum drop set_field(struct packet *p, enum field_id field, const uint8_t *v)
{
    uint8_t *ip;
    switch (field) {
    case F_ETH_DST:
        memcpy(p->data, v, 6);
        break;
    case F_ETH_SRC:
        memcpy(p->data + 6, v, 6);
        break;
    case F_ETH_TYPE:
        set_eth_type(p, v);
        break;
    case F_VLAN_VID:
        set_tci(p, get16(v) & 0xfff, 0xfff);
        break;
    case F_VLAN_PCP:
        set_tci(p, (uint16_t)(v[0] << 13), 0xe000);
        break;
    case F_IP_DSCP:
        set_traffic_class(p, (uint8_t)(v[0] << 2), 0xfc);
        break;
    case F_IP_ECN:
        set_traffic_class(p, v[0], 3);
        break;
    case F_IP_PROTO:
        set_ip_proto(p, v[0]);
        break;
    case F_IPV4_SRC:
    case F_IPV4_DST:
        set_address(p, field == F_IPV4_DST, v, 4);
        break;
    case F_IPV6_SRC:
    case F_IPV6_DST:
        set_address(p, field == F_IPV6_DST, v, 6);
        break;
    case F_IPV6_FLABEL:
        if ((ip = ip_header(p, 6)))
            put32(ip, (get32(ip) & ~0xfffffu) | get32(v));
        break;
    case F_TCP_SRC:
    case F_TCP_DST:
        set_l4_port(p, 6, field == F_TCP_DST, v);
        break;
    case F_UDP_SRC:
    case F_UDP_DST:
        set_l4_port(p, 17, field == F_UDP_DST, v);
        break;
    case F_SCTP_SRC:
    case F_SCTP_DST:
        set_l4_port(p, 132, field == F_SCTP_DST, v);
        break;
    case F_ICMPV4_TYPE:
    case F_ICMPV4_CODE:
        set_icmp(p, 1, field == F_ICMPV4_CODE, v[0]);
        break;
    case F_ICMPV6_TYPE:
    case F_ICMPV6_CODE:
        set_icmp(p, 58, field == F_ICMPV6_CODE, v[0]);
        break;
    case F_ARP_OP:
        set_arp(p, 6, v, 2);
        break;
    case F_ARP_SHA:
        set_arp(p, 8, v, 6);
        break;
    case F_ARP_SPA:
        set_arp(p, 14, v, 4);
        break;
    case F_ARP_THA:
        set_arp(p, 18, v, 6);
        break;
    case F_ARP_TPA:
        set_arp(p, 24, v, 4);
        break;
    case F_IPV6_ND_TARGET:
        set_nd_target(p, v);
        break;
    case F_IPV6_ND_SLL:
        set_nd_lladdr(p, 1, v);
        break;
    case F_IPV6_ND_TLL:
        set_nd_lladdr(p, 2, v);
        break;
    case F_MPLS_LABEL:
        set_label(p, get32(v) << 12, 0xfffff000);
        break;
    case F_MPLS_TC:
        set_label(p, (uint32_t)v[0] << 9, 7u << 9);
        break;
    case F_MPLS_BOS:
        set_label(p, (uint32_t)v[0] << 8, 1u << 8);
        break;
    case F_PBB_ISID:
        if (p->l2_5 != OFFSET_NONE)
            memcpy(p->data + p->l2_5 + 1, v, 3);
        break;
    case F_PBB_UCA:
        if (p->l2_5 != OFFSET_NONE)
            p->data[p->l2_5] = (uint8_t)((p->data[p->l2_5] & ~8) | v[0] << 3);
        break;
    case F_TUNNEL_ID:
        memcpy(&p->tun_id, v, 8);
        break;
    case F_TUN_IPV4_DST:
        memset(p->tun_dst, 0, 10);
        memset(p->tun_dst + 10, 0xff, 2);
        memcpy(p->tun_dst + 12, v, 4);
        break;
    case F_TUN_IPV6_DST:
        memcpy(p->tun_dst, v, 16);
        break;
    default:
        break;                 /* tunnel source: the end point's own address is used */
    }
    return N_DROPS;
}

void raise_drop_precedence(struct packet *p, uint8_t levels)
{
    uint8_t *ip = ip_header(p, 4);
    if (!ip && !(ip = ip_header(p, 6)))
        return;
    uint8_t dscp = (uint8_t)(ip[0] >> 4 == 4 ? ip[1] >> 2 : get16(ip) >> 6 & 63);
    unsigned class = dscp >> 3, precedence = dscp >> 1 & 3;
    if (dscp & 1 || class < 1 || class > 4 || !precedence)
        return;                /* not of assured forwarding (RFC 2597, 6) */
    precedence = precedence + levels > 3 ? 3 : precedence + levels;
    set_traffic_class(p, (uint8_t)((class << 3 | precedence << 1) << 2), 0xfc);
}

enum drop trunc_packet(struct packet *p, uint32_t len)
{
    if (p->len > len) {
        p->len = len;
        p->vnet = (struct vnet_hdr){0};    /* a part of a packet can't be finished */
    }
    return N_DROPS;
}

/* The outermost TTL: MPLS's if there is a label, else IP's. */
static uint8_t *outer_ttl(struct packet *p)
{
    if (p->l2_5 != OFFSET_NONE && p->key.key.eth_type != htobe16(0x88e7))
        return p->data + p->l2_5 + 3;
    uint8_t *ip = ip_header(p, 4);
    if (ip)
        return ip + 8;
    return (ip = ip_header(p, 6)) ? ip + 7 : NULL;
}

/* The TTL below the outer label: the next label's, or that of the IP header at the bottom of the stack. `*v4` as found. */
static uint8_t *inner_ttl(struct packet *p, bool *v4)
{
    *v4 = false;
    if (p->l2_5 == OFFSET_NONE)
        return NULL;
    uint32_t at = p->l2_5;
    if (!(get32(p->data + at) >> 8 & 1))
        return at + 8 <= p->len ? p->data + at + 7 : NULL;
    at += 4;
    if (at + 20 > p->len)
        return NULL;
    *v4 = p->data[at] >> 4 == 4;
    return *v4 ? p->data + at + 8 : p->data[at] >> 4 == 6 ? p->data + at + 7 : NULL;
}

static void put_ttl(uint8_t *ttl, bool v4, uint8_t value)
{
    if (v4)
        set_ipv4_byte(ttl - 8, 8, value);
    else
        *ttl = value;
}

enum drop set_mpls_ttl(struct packet *p, uint8_t ttl)
{
    set_label(p, ttl, 0xff);
    return N_DROPS;
}

enum drop dec_mpls_ttl(struct packet *p)
{
    if (p->l2_5 == OFFSET_NONE)
        return N_DROPS;
    uint8_t *ttl = p->data + p->l2_5 + 3;
    if (*ttl <= 1)
        return DROP_TTL;
    --*ttl;
    return N_DROPS;
}

enum drop set_nw_ttl(struct packet *p, uint8_t ttl)
{
    uint8_t *ip = ip_header(p, 4);
    if (ip)
        set_ipv4_byte(ip, 8, ttl);
    else if ((ip = ip_header(p, 6)))
        ip[7] = ttl;
    return N_DROPS;
}

enum drop dec_nw_ttl(struct packet *p)
{
    uint8_t *ip = ip_header(p, 4), *ttl = ip ? ip + 8 : NULL;
    if (!ip && (ip = ip_header(p, 6)))
        ttl = ip + 7;
    if (!ttl)
        return N_DROPS;
    if (*ttl <= 1)
        return DROP_TTL;
    return set_nw_ttl(p, *ttl - 1);
}

enum drop copy_ttl_out(struct packet *p)
{
    bool v4;
    uint8_t *inner = inner_ttl(p, &v4), *outer = outer_ttl(p);
    if (inner && outer)
        *outer = *inner;
    return N_DROPS;
}

enum drop copy_ttl_in(struct packet *p)
{
    bool v4;
    uint8_t *inner = inner_ttl(p, &v4), *outer = outer_ttl(p);
    if (inner && outer)
        put_ttl(inner, v4, *outer);
    return N_DROPS;
}
