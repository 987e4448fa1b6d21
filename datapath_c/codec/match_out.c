/* Canonical matches -> every version's. */
#include <errno.h>
#include "base/bytes.h"
#include "codec/codec.h"
#include "flow/match.h"
#include "flow/nicira.h"
#include "flow/openflow.h"

/* One TLV under the header that `version` knows the field by. Nothing where it knows none. */
static void put_tlv(struct codec_buf *b, uint32_t version, const uint8_t *tlv, size_t len)
{
    struct field_header h;
    if (field_header_parse(tlv, len, &h)) {
        codec_copy(b, tlv, len);
        return;
    }
    bool onf = (h.field == F_TCP_FLAGS || h.field == F_ACTSET_OUTPUT) && (version == 4 || version == 5);
    if (onf) {
        uint8_t *o = codec_put(b, len + 4);
        put16(o, 0xffff);
        o[2] = tlv[2];
        o[3] = (uint8_t)(tlv[3] + 4);
        put32(o + 4, ONF_VENDOR);
        memcpy(o + 8, tlv + 4, len - 4);
    } else if (h.field == F_TCP_FLAGS && version < 4) {
        uint32_t header = field_nxm_header(F_TCP_FLAGS);
        uint8_t *o = codec_put(b, len);
        memcpy(o, tlv, len);
        put16(o, (uint16_t)(header >> 16));
        o[2] = (uint8_t)((header >> 8 & 0xfe) | (tlv[2] & 1));
    } else if ((h.field == F_PACKET_TYPE && version < 6) || (h.field == F_PBB_UCA && version < 5)) {
        return;
    } else {
        codec_copy(b, tlv, len);
    }
}

void codec_put_tlvs_out(struct codec_buf *b, uint32_t version, const uint8_t *tlvs, size_t len)
{
    for (size_t at = 0; at + 4 <= len; at += 4u + tlvs[at + 3])
        put_tlv(b, version, tlvs + at, 4u + tlvs[at + 3]);
}

uint8_t codec_match_proto(const uint8_t *match)
{
    size_t len = get16(match + 2);
    for (size_t at = 4; at + 5 <= len; at += 4u + match[at + 3])
        if (get16(match + at) == 0x8000 && match[at + 2] >> 1 == 10)
            return match[at + 4];
    return 0;
}

static void put_nx(struct codec_buf *b, uint32_t header, const uint8_t *value, const uint8_t *mask, unsigned n)
{
    uint8_t *o = codec_put(b, 4 + n * (mask ? 2 : 1));
    put32(o, mask ? (header & ~0xffu) | 1 << 8 | 2 * n : header);
    memcpy(o + 4, value, n);
    if (mask)
        memcpy(o + 4 + n, mask, n);
}

/* NXM_OF_VLAN_TCI of what vlan_vid and vlan_pcp ask. */
static void put_tci(struct codec_buf *b, const struct match *m)
{
    uint8_t value[2], mask[2];
    put16(value, (uint16_t)(be16toh(m->value.key.vlan_vid) | m->value.key.vlan_pcp << 13));
    uint16_t k = (uint16_t)(be16toh(m->mask.key.vlan_vid) | m->mask.key.vlan_pcp << 13);
    if (k == 0x1fff && !m->value.key.vlan_vid)
        k = 0xffff;            /* no tag at all */
    put16(mask, k);
    put_nx(b, 4u << 9 | 2, value, k == 0xffff ? NULL : mask, 2);
}

static void put_match_nx(struct codec_buf *b, const uint8_t *match, const struct match *m)
{
    size_t len = get16(match + 2);
    bool tci = false;
    for (size_t at = 4; at + 4 <= len; at += 4u + match[at + 3]) {
        const uint8_t *tlv = match + at;
        struct field_header h;
        if (field_header_parse(tlv, 4u + tlv[3], &h)) {
            codec_copy(b, tlv, 4u + tlv[3]);
            continue;
        }
        unsigned n = field_bytes(h.field);
        const uint8_t *value = tlv + h.size, *mask = h.has_mask ? value + n : NULL;
        uint8_t v[2];
        if (h.field == F_VLAN_VID || h.field == F_VLAN_PCP) {
            if (!tci)
                put_tci(b, m);
            tci = true;
        } else if (h.field == F_IN_PORT) {
            put16(v, (uint16_t)get32(value));
            put_nx(b, 0u << 9 | 2, v, NULL, 2);
        } else if (h.field == F_IP_DSCP) {
            v[0] = (uint8_t)(value[0] << 2);
            put_nx(b, 5u << 9 | 1, v, NULL, 1);
        } else {
            put_nx(b, field_nxm_header(h.field), value, mask, n);
        }
    }
}

static unsigned ignored_bits(uint32_t mask)
{
    return mask ? (unsigned)__builtin_ctz(mask) : 32;
}

/* ofp10_match; what it can't say is left out. */
static void put_match10(struct codec_buf *b, const struct match *m)
{
    const struct key *v = &m->value.key, *k = &m->mask.key;
    uint32_t w = (1 << 22) - 1;
    uint8_t *o = codec_put(b, 40);
    memset(o, 0, 40);
    uint16_t type = k->eth_type == 0xffff ? be16toh(v->eth_type) : 0;
    if (k->in_port)
        w &= ~1u, put16(o + 4, (uint16_t)be32toh(v->in_port));
    if (k->eth_src[0] & 1 || k->eth_src[5])
        w &= ~4u, memcpy(o + 6, v->eth_src, 6);
    if (k->eth_dst[0] & 1 || k->eth_dst[5])
        w &= ~8u, memcpy(o + 12, v->eth_dst, 6);
    if (k->vlan_vid & htobe16(0xfff))
        w &= ~2u, put16(o + 18, v->vlan_vid ? be16toh(v->vlan_vid) & 0xfff : 0xffff);
    if (k->vlan_vid & htobe16(0xfff) && !v->vlan_vid)
        w &= ~(1u << 20);      /* no tag, no priority: as exact matches come, and Open vSwitch tells them */
    if (k->vlan_pcp)
        w &= ~(1u << 20), o[20] = v->vlan_pcp;
    if (k->eth_type)
        w &= ~16u, put16(o + 22, type);
    bool ip4 = type == 0x0800, ip = ip4 || type == 0x86dd, arp = type == 0x0806;
    bool icmp = ip && v->ip_proto == (ip4 ? 1 : 58);
    if (ip && k->ip_dscp)
        w &= ~(1u << 21), o[24] = (uint8_t)(v->ip_dscp << 2);
    if (ip && k->ip_proto)
        w &= ~32u, o[25] = v->ip_proto;
    if (arp && k->arp_op)
        w &= ~32u, o[25] = (uint8_t)be16toh(v->arp_op);
    if (ip4 || arp) {
        memcpy(o + 28, v->ip_src, 4);
        memcpy(o + 32, v->ip_dst, 4);
        w = (w & ~(63u << 8)) | ignored_bits(get32(k->ip_src)) << 8;
        w = (w & ~(63u << 14)) | ignored_bits(get32(k->ip_dst)) << 14;
    }
    if (icmp && k->icmp_type)
        w &= ~64u, o[37] = v->icmp_type;
    if (icmp && k->icmp_code)
        w &= ~128u, o[39] = v->icmp_code;
    if (ip && !icmp && k->tp_src)
        w &= ~64u, memcpy(o + 36, &v->tp_src, 2);
    if (ip && !icmp && k->tp_dst)
        w &= ~128u, memcpy(o + 38, &v->tp_dst, 2);
    put32(o, w);
}

/* ofp11_match */
static void put_match11(struct codec_buf *b, const struct match *m)
{
    const struct key *v = &m->value.key, *k = &m->mask.key;
    uint32_t w = 1023;
    uint8_t *o = codec_put(b, 88);
    memset(o, 0, 88);
    put16(o + 2, 88);
    uint16_t type = k->eth_type == 0xffff ? be16toh(v->eth_type) : 0;
    bool ip4 = type == 0x0800, ip = ip4 || type == 0x86dd, arp = type == 0x0806, mpls = type == 0x8847 || type == 0x8848;
    if (k->in_port)
        w &= ~1u, memcpy(o + 4, &v->in_port, 4);
    memcpy(o + 12, v->eth_src, 6);
    memcpy(o + 24, v->eth_dst, 6);
    for (int i = 0; i < 6; i++) {
        o[18 + i] = (uint8_t)~k->eth_src[i];
        o[30 + i] = (uint8_t)~k->eth_dst[i];
    }
    if (k->vlan_vid)
        w &= ~2u, put16(o + 36, !v->vlan_vid ? 0xffff : k->vlan_vid & htobe16(0xfff) ? be16toh(v->vlan_vid) & 0xfff : 0xfffe);
    if (k->vlan_pcp)
        w &= ~4u, o[38] = v->vlan_pcp;
    if (k->eth_type)
        w &= ~8u, put16(o + 40, type);
    bool icmp = ip && v->ip_proto == (ip4 ? 1 : 58);
    if (ip && k->ip_dscp)
        w &= ~16u, o[42] = (uint8_t)(v->ip_dscp << 2);
    if (ip && k->ip_proto)
        w &= ~32u, o[43] = v->ip_proto;
    if (arp && k->arp_op)
        w &= ~32u, o[43] = (uint8_t)be16toh(v->arp_op);
    memset(o + 48, 0xff, 4);
    memset(o + 56, 0xff, 4);
    if (ip4 || arp) {
        memcpy(o + 44, v->ip_src, 4);
        put32(o + 48, ~get32(k->ip_src));
        memcpy(o + 52, v->ip_dst, 4);
        put32(o + 56, ~get32(k->ip_dst));
    }
    if (icmp && k->icmp_type)
        w &= ~64u, o[61] = v->icmp_type;
    if (icmp && k->icmp_code)
        w &= ~128u, o[63] = v->icmp_code;
    if (ip && !icmp && k->tp_src)
        w &= ~64u, memcpy(o + 60, &v->tp_src, 2);
    if (ip && !icmp && k->tp_dst)
        w &= ~128u, memcpy(o + 62, &v->tp_dst, 2);
    if (mpls && k->mpls_label)
        w &= ~256u, memcpy(o + 64, &v->mpls_label, 4);
    if (mpls && k->mpls_tc)
        w &= ~512u, o[68] = v->mpls_tc;
    put32(o + 8, w);
    memcpy(o + 72, &v->metadata, 8);
    put64(o + 80, ~be64toh(k->metadata));
}

void codec_put_match_out(struct codec_buf *b, uint32_t version, uint32_t form, const uint8_t *match)
{
    size_t start = b->len, len = get16(match + 2);
    if (version >= 3) {
        uint8_t *head = codec_put(b, 4);
        codec_put_tlvs_out(b, version, match + 4, len - 4);
        put16(head, 1);
        put16(head + 2, (uint16_t)(b->len - start));
        codec_pad(b, start);
        return;
    }
    struct match m;
    struct dp_error unused;
    if (match_parse(match, (len + 7) / 8 * 8, &m, &unused) < 0)
        memset(&m, 0, sizeof m);
    if (form == CODEC_NICIRA)
        put_match_nx(b, match, &m);
    else if (version == 2)
        put_match11(b, &m);
    else
        put_match10(b, &m);
}

int64_t codec_match_out(uint32_t version, uint32_t form, const uint8_t *match, size_t len, uint8_t *out, size_t size)
{
    struct codec_buf b = {.data = out, .size = size};
    if (len < 8 || (get16(match + 2) + 7u) / 8 * 8 > len)
        return -EINVAL;
    codec_put_match_out(&b, version, form, match);
    return b.full ? -ENOBUFS : (int64_t)b.len;
}
