/* Matches of every version -> OXM. */
#include <errno.h>
#include "base/bytes.h"
#include "base/fault.h"
#include "codec/codec.h"
#include "flow/match.h"
#include "flow/openflow.h"
#include "flow/subfield.h"

#define BAD_MATCH(code, field, ...) fault_openflow(f, OFPET_BAD_MATCH, OFPBMC_##code, field, __VA_ARGS__)

/* The last field of class 0x8000 that each version has; OpenFlow 1.2.0, 1.3.5, 1.4.1, 1.5.1, 7.2.x "Flow Match Fields". */
static const uint8_t last_field[] = {0, 0, 0, 35, 39, 41, 44};

int codec_check_oxm(uint32_t version, const uint8_t *tlv, size_t len, uint32_t of_type, uint32_t of_code, struct dp_error *f)
{
    if (len < 4)
        return 0;              /* whoever reads it will say so */
    uint16_t class = get16(tlv);
    if ((class == 0x8000 && version >= 3 && tlv[2] >> 1 > last_field[version]) || (class == 0x8001 && version < 6))
        return fault_openflow(f, (uint16_t)of_type, (uint16_t)of_code, "oxm",
                              "match field %u of class 0x%04x is of a later version", tlv[2] >> 1, class);
    return 0;
}

static void put_oxm(struct codec_buf *b, int field, u128 value, u128 mask)
{
    unsigned n = fields[field].bytes;
    bool exact = mask == bits_mask(fields[field].bits);
    uint8_t *o = codec_put(b, 4 + n * (exact ? 1 : 2));
    put32(o, fields[field].oxm | (exact ? n : 1 << 8 | 2 * n));
    number_put(o + 4, n, value & mask);
    if (!exact)
        number_put(o + 4 + n, n, mask);
}

enum { W_IN_PORT = 1, W_VLAN = 2, W_DL_SRC = 4, W_DL_DST = 8, W_DL_TYPE = 16, W_PROTO = 32, W_TP_SRC = 64, W_TP_DST = 128,
       W_PCP = 1 << 20, W_TOS = 1 << 21 };

static void put_prefix(struct codec_buf *b, int field, uint32_t address, unsigned ignored)
{
    if (ignored < 32)
        put_oxm(b, field, address, bits_mask(32 - ignored) << ignored);
}

/* ofp10_match (OpenFlow 1.0.1, 5.2.3): a field whose prerequisite isn't matched is ignored. */
static void put_match10(struct codec_buf *b, const uint8_t *m)
{
    uint32_t w = get32(m);
    uint16_t type = w & W_DL_TYPE ? 0 : get16(m + 22), vlan = get16(m + 18);
    /* IPv6 as Open vSwitch has it: all but its addresses. */
    bool ip4 = type == 0x0800, ip = ip4 || type == 0x86dd, arp = type == 0x0806;
    uint8_t proto = (ip || arp) && !(w & W_PROTO) ? m[25] : 0;
    if (!(w & W_IN_PORT))
        put_oxm(b, F_IN_PORT, codec_port16(get16(m + 4)), 0xffffffff);
    if (!(w & W_DL_DST))
        put_oxm(b, F_ETH_DST, number_get(m + 12, 6), bits_mask(48));
    if (!(w & W_DL_SRC))
        put_oxm(b, F_ETH_SRC, number_get(m + 6, 6), bits_mask(48));
    if (!(w & W_DL_TYPE))
        put_oxm(b, F_ETH_TYPE, type, 0xffff);
    bool untagged = !(w & W_VLAN) && vlan == 0xffff;
    if (untagged)
        put_oxm(b, F_VLAN_VID, 0, 0x1fff);
    else if (!(w & W_VLAN))
        put_oxm(b, F_VLAN_VID, OFPVID_PRESENT | (vlan & 0xfff), 0x1fff);
    else if (!(w & W_PCP))
        put_oxm(b, F_VLAN_VID, OFPVID_PRESENT, OFPVID_PRESENT);
    if (!(w & W_PCP) && !untagged)
        put_oxm(b, F_VLAN_PCP, m[20] & 7, 7);
    if (ip && !(w & W_TOS))
        put_oxm(b, F_IP_DSCP, m[24] >> 2, 63);
    if (ip && !(w & W_PROTO))
        put_oxm(b, F_IP_PROTO, m[25], 0xff);
    if (arp && !(w & W_PROTO))
        put_oxm(b, F_ARP_OP, m[25], 0xffff);
    if (ip4 || arp) {
        put_prefix(b, ip4 ? F_IPV4_SRC : F_ARP_SPA, get32(m + 28), w >> 8 & 63);
        put_prefix(b, ip4 ? F_IPV4_DST : F_ARP_TPA, get32(m + 32), w >> 14 & 63);
    }
    int src = !ip ? -1 : proto == 6 ? F_TCP_SRC : proto == 17 ? F_UDP_SRC : proto == 132 ? F_SCTP_SRC : -1;
    if (src >= 0 && !(w & W_TP_SRC))
        put_oxm(b, src, get16(m + 36), 0xffff);
    if (src >= 0 && !(w & W_TP_DST))
        put_oxm(b, src + 1, get16(m + 38), 0xffff);
    bool icmp = ip4 ? proto == 1 : ip && proto == 58;
    if (icmp && !(w & W_TP_SRC))
        put_oxm(b, ip4 ? F_ICMPV4_TYPE : F_ICMPV6_TYPE, m[37], 0xff);
    if (icmp && !(w & W_TP_DST))
        put_oxm(b, ip4 ? F_ICMPV4_CODE : F_ICMPV6_CODE, m[39], 0xff);
}

/* ofp11_match (OpenFlow 1.1.0, A.2.3): masks are of the bits that are ignored. */
static void put_match11(struct codec_buf *b, const uint8_t *m)
{
    enum { IN_PORT = 1, VID = 2, PCP = 4, TYPE = 8, TOS = 16, PROTO = 32, TP_SRC = 64, TP_DST = 128, LABEL = 256, TC = 512 };
    uint32_t w = get32(m + 8);
    uint16_t type = w & TYPE ? 0 : get16(m + 40), vlan = get16(m + 36);
    bool ip4 = type == 0x0800, ip = ip4 || type == 0x86dd, arp = type == 0x0806, mpls = type == 0x8847 || type == 0x8848;
    uint8_t proto = ip && !(w & PROTO) ? m[43] : 0;
    u128 mac = bits_mask(48);
    uint64_t metadata_mask = ~get64(m + 80);
    if (!(w & IN_PORT))
        put_oxm(b, F_IN_PORT, get32(m + 4), 0xffffffff);
    if (metadata_mask)
        put_oxm(b, F_METADATA, get64(m + 72), metadata_mask);
    if (~number_get(m + 30, 6) & mac)
        put_oxm(b, F_ETH_DST, number_get(m + 24, 6), ~number_get(m + 30, 6) & mac);
    if (~number_get(m + 18, 6) & mac)
        put_oxm(b, F_ETH_SRC, number_get(m + 12, 6), ~number_get(m + 18, 6) & mac);
    if (!(w & TYPE))
        put_oxm(b, F_ETH_TYPE, type, 0xffff);
    bool untagged = !(w & VID) && vlan == 0xffff, any_tag = !(w & VID) && vlan == 0xfffe;
    if (untagged)
        put_oxm(b, F_VLAN_VID, 0, 0x1fff);
    else if (any_tag)
        put_oxm(b, F_VLAN_VID, OFPVID_PRESENT, OFPVID_PRESENT);
    else if (!(w & VID))
        put_oxm(b, F_VLAN_VID, OFPVID_PRESENT | (vlan & 0xfff), 0x1fff);
    if (!(w & PCP) && !(w & VID) && !untagged)
        put_oxm(b, F_VLAN_PCP, m[38] & 7, 7);
    if (ip && !(w & TOS))
        put_oxm(b, F_IP_DSCP, m[42] >> 2, 63);
    if (ip && !(w & PROTO))
        put_oxm(b, F_IP_PROTO, m[43], 0xff);
    if (arp && !(w & PROTO))
        put_oxm(b, F_ARP_OP, m[43], 0xffff);
    if ((ip4 || arp) && ~get32(m + 48))
        put_oxm(b, ip4 ? F_IPV4_SRC : F_ARP_SPA, get32(m + 44), (uint32_t)~get32(m + 48));
    if ((ip4 || arp) && ~get32(m + 56))
        put_oxm(b, ip4 ? F_IPV4_DST : F_ARP_TPA, get32(m + 52), (uint32_t)~get32(m + 56));
    int src = proto == 6 ? F_TCP_SRC : proto == 17 ? F_UDP_SRC : proto == 132 ? F_SCTP_SRC : -1;
    if (src >= 0 && !(w & TP_SRC))
        put_oxm(b, src, get16(m + 60), 0xffff);
    if (src >= 0 && !(w & TP_DST))
        put_oxm(b, src + 1, get16(m + 62), 0xffff);
    bool icmp = ip4 ? proto == 1 : ip && proto == 58;
    if (icmp && !(w & TP_SRC))
        put_oxm(b, ip4 ? F_ICMPV4_TYPE : F_ICMPV6_TYPE, m[61], 0xff);
    if (icmp && !(w & TP_DST))
        put_oxm(b, ip4 ? F_ICMPV4_CODE : F_ICMPV6_CODE, m[63], 0xff);
    if (mpls && !(w & LABEL))
        put_oxm(b, F_MPLS_LABEL, get32(m + 64), 0xfffff);
    if (mpls && !(w & TC))
        put_oxm(b, F_MPLS_TC, m[68] & 7, 7);
}

/* Type and code of ICMP stand where 16-bit ports do, and no packet has greater ones than 255. */
static int check_icmp(uint32_t version, const uint8_t *m, fault *f)
{
    bool old = version == 1;
    uint32_t w = get32(m + (old ? 0 : 8)), src = old ? W_TP_SRC : 64, dst = old ? W_TP_DST : 128;
    bool any = w & (old ? W_DL_TYPE | W_PROTO : 8 | 32);
    uint16_t type = get16(m + (old ? 22 : 40));
    uint8_t proto = m[old ? 25 : 43];
    const uint8_t *ports = m + (old ? 36 : 60);
    if (any || !(type == 0x0800 ? proto == 1 : type == 0x86dd && proto == 58))
        return 0;
    if (!(w & src) && get16(ports) > 255)
        return BAD_MATCH(BAD_VALUE, "icmp_type", "%u is not in 0..255", get16(ports));
    if (!(w & dst) && get16(ports + 2) > 255)
        return BAD_MATCH(BAD_VALUE, "icmp_code", "%u is not in 0..255", get16(ports + 2));
    return 0;
}

/* nx_match: TLVs without a header. A cookie among them is no part of the match. */
static int put_match_nx(struct codec_buf *b, const uint8_t *m, size_t len, uint64_t *cookie, uint64_t *mask, fault *f)
{
    for (size_t at = 0; at < len;) {
        if (len - at < 4 || len - at < 4u + m[at + 3])
            return BAD_MATCH(BAD_LEN, "nx_match", "a field is cut off");
        size_t n = 4u + m[at + 3];
        uint32_t header = get32(m + at);
        if (header >> 9 == (1u << 16 | 30u << 9) >> 9 && (m[at + 3] == 8 || m[at + 3] == 16) && cookie) {
            *cookie = get64(m + at + 4);
            *mask = m[at + 2] & 1 ? get64(m + at + 12) : UINT64_MAX;
        } else {
            codec_copy(b, m + at, n);
        }
        at += n;
    }
    return 0;
}

int codec_put_match_in(struct codec_buf *b, uint32_t version, uint32_t form, const uint8_t *m, size_t len, uint64_t *cookie,
                       uint64_t *cookie_mask, struct dp_error *f)
{
    size_t start = b->len;
    bool nicira = form == CODEC_NICIRA || form == CODEC_NICIRA_TABLE;
    if (version >= 3 && !nicira) {
        if (len < 8)
            return BAD_MATCH(BAD_LEN, "match", "%zu bytes where a match has at least 8", len);
        size_t length = get16(m + 2), padded = (length + 7) / 8 * 8;
        if (get16(m) != 1)
            return BAD_MATCH(BAD_TYPE, "match", "type %u, not OFPMT_OXM", get16(m));
        if (length < 4 || padded > len)
            return BAD_MATCH(BAD_LEN, "match", "length %zu in %zu bytes", length, len);
        for (size_t at = 4; at + 4 <= length; at += 4u + m[at + 3]) {
            int e = codec_check_oxm(version, m + at, length - at, OFPET_BAD_MATCH, OFPBMC_BAD_FIELD, f);
            if (e)
                return e;
        }
        codec_copy(b, m, length);
        codec_pad(b, start);
        return (int)padded;
    }
    uint8_t *head = codec_put(b, 4);
    size_t used = version == 2 ? 88 : 40;
    int e = 0;
    if (nicira) {
        used = len;
        e = put_match_nx(b, m, len, cookie, cookie_mask, f);
    } else if (len < used) {
        e = BAD_MATCH(BAD_LEN, "match", "%zu bytes where a match has %zu", len, used);
    } else if (version == 2 && (get16(m) != 0 || get16(m + 2) != 88)) {
        e = BAD_MATCH(BAD_TYPE, "match", "type %u of %u bytes, not OFPMT_STANDARD of 88", get16(m), get16(m + 2));
    } else if (!(e = check_icmp(version, m, f))) {
        (version == 2 ? put_match11 : put_match10)(b, m);
    }
    if (e)
        return e;
    put16(head, 1);
    put16(head + 2, (uint16_t)(b->len - start));
    codec_pad(b, start);
    return (int)used;
}

int64_t codec_match_in(uint32_t version, uint32_t form, const uint8_t *body, size_t len, uint8_t *out, size_t size,
                       struct dp_error *f)
{
    struct codec_buf b = {.data = out, .size = size};
    int e = codec_put_match_in(&b, version, form, body, len, NULL, NULL, f);
    return e < 0 ? e : b.full ? -ENOBUFS : (int64_t)b.len;
}
