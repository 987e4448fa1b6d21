/* Canonical action lists -> every version's. Actions that a version lacks go as those that say the same there. */
#include <errno.h>
#include "base/bytes.h"
#include "codec/codec.h"
#include "flow/nicira.h"
#include "flow/openflow.h"

static uint8_t *put_action(struct codec_buf *b, uint16_t type, size_t len)
{
    uint8_t *o = codec_put(b, len);
    memset(o, 0, len);
    put16(o, type);
    put16(o + 2, (uint16_t)len);
    return o;
}

static uint8_t *put_nicira(struct codec_buf *b, uint16_t subtype, size_t len)
{
    uint8_t *o = put_action(b, OFPAT_EXPERIMENTER, len);
    put32(o + 4, NX_VENDOR);
    put16(o + 8, subtype);
    return o;
}

static void put_set_field(struct codec_buf *b, uint32_t version, int field, u128 value)
{
    unsigned n = field_bytes(field);
    uint8_t tlv[32];
    put32(tlv, fields[field].oxm | n);
    number_put(tlv + 4, n, value);
    size_t start = b->len;
    uint8_t *o = codec_put(b, 4);
    codec_put_tlvs_out(b, version, tlv, 4 + n);
    codec_pad(b, start);
    put16(o, OFPAT_SET_FIELD);
    put16(o + 2, (uint16_t)(b->len - start));
}

/* A value written under a mask, as reg_loads of each run of its ones. */
static void put_loads(struct codec_buf *b, int field, u128 value, u128 mask)
{
    uint32_t header = field_nxm_header(field);
    for (unsigned ofs = 0; ofs < field_bits(field);) {
        if (!(mask >> ofs & 1)) {
            ofs++;
            continue;
        }
        unsigned n = 0;
        while (ofs + n < field_bits(field) && n < 64 && (mask >> (ofs + n) & 1))
            n++;
        uint8_t *o = put_nicira(b, NXAST_REG_LOAD, 24);
        put16(o + 10, (uint16_t)(ofs << 6 | (n - 1)));
        put32(o + 12, header);
        put64(o + 16, (uint64_t)(value >> ofs & bits_mask(n)));
        ofs += n;
    }
}

static void put_set_field10(struct codec_buf *b, int field, u128 value, u128 mask)
{
    uint8_t *o;
    bool exact = mask == bits_mask(field_bits(field));
    if (!exact) {
        put_loads(b, field, value, mask);
        return;
    }
    switch (field) {
    case F_VLAN_VID:
        put16(put_action(b, 1, 8) + 4, value & 0xfff);
        break;
    case F_VLAN_PCP:
        put_action(b, 2, 8)[4] = (uint8_t)value;
        break;
    case F_ETH_SRC:
    case F_ETH_DST:
        o = put_action(b, field == F_ETH_SRC ? 4 : 5, 16);
        number_put(o + 4, 6, value);
        break;
    case F_IPV4_SRC:
    case F_IPV4_DST:
        put32(put_action(b, field == F_IPV4_SRC ? 6 : 7, 8) + 4, (uint32_t)value);
        break;
    case F_IP_DSCP:
        put_action(b, 8, 8)[4] = (uint8_t)(value << 2);
        break;
    case F_TCP_SRC:
    case F_UDP_SRC:
    case F_SCTP_SRC:
    case F_TCP_DST:
    case F_UDP_DST:
    case F_SCTP_DST:
        put16(put_action(b, field == F_TCP_SRC || field == F_UDP_SRC || field == F_SCTP_SRC ? 9 : 10, 8) + 4, (uint16_t)value);
        break;
    case F_TUNNEL_ID:
        put64(put_nicira(b, NXAST_SET_TUNNEL64, 24) + 16, (uint64_t)value);
        break;
    default:
        put_loads(b, field, value, mask);
    }
}

static void set_field_out(struct codec_buf *b, uint32_t version, const uint8_t *a, size_t len)
{
    int field;
    u128 value, mask;
    if (nx_tlv_parse(a + 4, len - 4, &field, &value, &mask) < 0)
        return;
    bool exact = mask == bits_mask(field_bits(field));
    if (version == 1) {
        put_set_field10(b, field, value, mask);
    } else if (version >= 3 && (exact || version == 6) && field < N_FIELDS) {
        size_t start = b->len;
        uint8_t *o = codec_put(b, 4);
        codec_put_tlvs_out(b, version, a + 4, 4u + a[7]);
        codec_pad(b, start);
        put16(o, OFPAT_SET_FIELD);
        put16(o + 2, (uint16_t)(b->len - start));
    } else {
        put_loads(b, field, value, mask);
    }
}

/* OpenFlow 1.1's set actions (canonical numbers 1 to 14) for later versions, by set-field. */
static void legacy_out(struct codec_buf *b, uint32_t version, const uint8_t *a, uint8_t proto)
{
    static const uint8_t fields_of[] = {0, F_VLAN_VID, F_VLAN_PCP, F_ETH_SRC, F_ETH_DST, F_IPV4_SRC, F_IPV4_DST, F_IP_DSCP,
                                        F_IP_ECN, 0, 0, 0, 0, F_MPLS_LABEL, F_MPLS_TC};
    uint16_t type = get16(a);
    if ((type == OFPAT_SET_VLAN_VID || type == OFPAT_SET_VLAN_PCP) && a[6])
        put16(put_action(b, OFPAT_PUSH_VLAN, 8) + 4, 0x8100);
    int field = fields_of[type];
    u128 value;
    switch (type) {
    case OFPAT_SET_VLAN_VID:
        value = OFPVID_PRESENT | get16(a + 4);
        break;
    case OFPAT_SET_DL_SRC:
    case OFPAT_SET_DL_DST:
        value = number_get(a + 4, 6);
        break;
    case OFPAT_SET_NW_SRC:
    case OFPAT_SET_NW_DST:
    case OFPAT_SET_MPLS_LABEL:
        value = get32(a + 4);
        break;
    case OFPAT_SET_NW_TOS:
        value = a[4] >> 2;
        break;
    case OFPAT_SET_TP_SRC:
    case OFPAT_SET_TP_DST:
        field = (proto == 17 ? F_UDP_SRC : proto == 132 ? F_SCTP_SRC : F_TCP_SRC) + (type == OFPAT_SET_TP_DST);
        value = get16(a + 4);
        break;
    default:
        value = a[4];
    }
    put_set_field(b, version, field, value);
}

/* Canonical legacy numbers are 1.1's; 1.0 has some of them under others. */
static bool legacy_out10(struct codec_buf *b, const uint8_t *a, size_t len)
{
    static const uint8_t types[] = {0, 1, 2, 4, 5, 6, 7, 8, 0, 9, 10};
    uint16_t type = get16(a);
    if (type < 1 || type > OFPAT_SET_TP_DST || type == OFPAT_SET_NW_ECN)
        return false;
    uint8_t *o = put_action(b, types[type], len);
    memcpy(o + 4, a + 4, type == OFPAT_SET_DL_SRC || type == OFPAT_SET_DL_DST ? 6 :
           type == OFPAT_SET_NW_SRC || type == OFPAT_SET_NW_DST ? 4 : 2);
    return true;
}

/* What 1.0 has only as an experimenter's action. */
static void action_out10(struct codec_buf *b, const uint8_t *a, size_t len)
{
    uint16_t type = get16(a);
    uint8_t *o;
    if (legacy_out10(b, a, len))
        return;
    switch (type) {
    case OFPAT_OUTPUT:
        o = put_action(b, 0, 8);
        put16(o + 4, (uint16_t)get32(a + 4));
        put16(o + 6, get16(a + 8));
        break;
    case OFPAT_SET_NW_ECN:
        put_loads(b, F_IP_ECN, a[4], 3);
        break;
    case OFPAT_SET_MPLS_LABEL:
        put32(put_nicira(b, NXAST_SET_MPLS_LABEL, 16) + 12, get32(a + 4));
        break;
    case OFPAT_SET_MPLS_TC:
        put_nicira(b, NXAST_SET_MPLS_TC, 16)[10] = a[4];
        break;
    case OFPAT_POP_VLAN:
        put_action(b, 3, 8);
        break;
    case OFPAT_SET_MPLS_TTL:
        put_nicira(b, NXAST_SET_MPLS_TTL, 16)[10] = a[4];
        break;
    case OFPAT_DEC_MPLS_TTL:
        put_nicira(b, NXAST_DEC_MPLS_TTL, 16);
        break;
    case OFPAT_PUSH_MPLS:
    case OFPAT_POP_MPLS:
        put16(put_nicira(b, type == OFPAT_PUSH_MPLS ? NXAST_PUSH_MPLS : NXAST_POP_MPLS, 16) + 10, get16(a + 4));
        break;
    case OFPAT_SET_QUEUE:
        put32(put_nicira(b, NXAST_SET_QUEUE, 16) + 12, get32(a + 4));
        break;
    case OFPAT_GROUP:
        put32(put_nicira(b, NXAST_GROUP, 16) + 12, get32(a + 4));
        break;
    case OFPAT_SET_NW_TTL:
        put_loads(b, F_NW_TTL, a[4], 0xff);
        break;
    case OFPAT_DEC_NW_TTL:
        put_nicira(b, NXAST_DEC_TTL, 16);
        break;
    default:
        break;                 /* 1.0 can't say it */
    }
}

static void put_move(struct codec_buf *b, const uint8_t *a, size_t len, bool copy_field)
{
    struct move m;
    if (nx_move_parse(a, len, &m))
        return;
    size_t start = b->len;
    uint8_t *o = copy_field ? put_action(b, OFPAT_COPY_FIELD, 12) : put_nicira(b, NXAST_REG_MOVE, 16);
    uint8_t *numbers = o + (copy_field ? 4 : 10);
    put16(numbers, m.src.n_bits);
    put16(numbers + 2, m.src.ofs);
    put16(numbers + 4, m.dst.ofs);
    const int both[2] = {m.src.field, m.dst.field};
    for (int i = 0; i < 2; i++) {
        uint32_t header = copy_field && both[i] < N_FIELDS ? fields[both[i]].oxm | fields[both[i]].bytes
                                                           : field_nxm_header(both[i]);
        put32(codec_put(b, 4), header);
    }
    codec_pad(b, start);
    put16(o + 2, (uint16_t)(b->len - start));
}

/* OpenFlow 1.5 has no reg_load and no reg_move of Nicira's, for set-field and copy-field do what they did. */
static bool nicira_out15(struct codec_buf *b, const uint8_t *a, size_t len)
{
    uint16_t subtype = get16(a + 8);
    int field;
    u128 value, mask;
    if (subtype == NXAST_REG_MOVE) {
        put_move(b, a, len, true);
        return true;
    }
    if (subtype == NXAST_REG_LOAD) {
        struct field_header h;
        if (field_header_parse(a + 12, 4, &h) || h.field >= N_FIELDS)
            return false;
        struct subfield s = nx_subfield(h.field, get16(a + 10));
        field = h.field;
        mask = bits_mask(s.n_bits) << s.ofs;
        value = (u128)get64(a + 16) << s.ofs;
    } else if (subtype != NXAST_REG_LOAD2 || nx_tlv_parse(a + NX_HEADER, len - NX_HEADER, &field, &value, &mask) < 0 ||
               field >= N_FIELDS) {
        return false;
    }
    if (mask == bits_mask(field_bits(field))) {
        put_set_field(b, 6, field, value);
        return true;
    }
    unsigned n = field_bytes(field);
    size_t n_action = (8 + 2 * n + 7) / 8 * 8;
    uint8_t *o = put_action(b, OFPAT_SET_FIELD, n_action);
    put32(o + 4, fields[field].oxm | 1 << 8 | 2 * n);
    number_put(o + 8, n, value);
    number_put(o + 8 + n, n, mask);
    return true;
}

static void action_out(struct codec_buf *b, uint32_t version, const uint8_t *a, size_t len, uint8_t proto)
{
    uint16_t type = get16(a);
    bool legacy = (type >= OFPAT_SET_VLAN_VID && type <= OFPAT_SET_TP_DST) || type == OFPAT_SET_MPLS_LABEL ||
                  type == OFPAT_SET_MPLS_TC;
    if (type == OFPAT_EXPERIMENTER && len >= 16 && get32(a + 4) == NX_VENDOR && get16(a + 8) == NXAST_CLONE) {
        size_t start = b->len;
        uint8_t *o = codec_put(b, 16);
        memcpy(o, a, 16);
        codec_put_actions_out(b, version, a + 16, len - 16, proto);
        put16(o + 2, (uint16_t)(b->len - start));
    } else if (type == OFPAT_EXPERIMENTER) {
        if (version != 6 || get32(a + 4) != NX_VENDOR || len < 16 || !nicira_out15(b, a, len))
            codec_copy(b, a, len);
    } else if (type == OFPAT_SET_FIELD) {
        set_field_out(b, version, a, len);
    } else if (type == OFPAT_COPY_FIELD && version < 6) {
        put_move(b, a, len, false);
    } else if (type == OFPAT_METER && version < 6) {
        return;
    } else if (version == 1) {
        action_out10(b, a, len);
    } else if (legacy && version >= 3) {
        legacy_out(b, version, a, proto);
    } else if (legacy || type == OFPAT_POP_VLAN) {
        uint8_t *o = codec_put(b, len);
        memcpy(o, a, len);
        if (type == OFPAT_POP_VLAN)
            memset(o + 4, 0, 4);
        else if (type <= OFPAT_SET_VLAN_PCP)
            o[6] = 0;
    } else {
        codec_copy(b, a, len);
    }
}

/* Bytes of the set-queue, output, pop-queue that stand for OpenFlow 1.0's enqueue at `a`; 0 where they don't. */
static size_t enqueue_out(struct codec_buf *b, const uint8_t *a, size_t len)
{
    if (len < 40 || get16(a) != OFPAT_SET_QUEUE || get16(a + 8) != OFPAT_OUTPUT || get16(a + 24) != OFPAT_EXPERIMENTER ||
        get32(a + 28) != NX_VENDOR || get16(a + 32) != NXAST_POP_QUEUE)
        return 0;
    uint8_t *o = put_action(b, 11, 16);
    put16(o + 4, (uint16_t)get32(a + 12));
    put32(o + 12, get32(a + 4));
    return 40;
}

void codec_put_actions_out(struct codec_buf *b, uint32_t version, const uint8_t *actions, size_t len, uint8_t proto)
{
    for (size_t at = 0; at + 8 <= len;) {
        size_t n = version == 1 ? enqueue_out(b, actions + at, len - at) : 0;
        if (!n) {
            n = get16(actions + at + 2);
            if (n < 8 || n > len - at)
                return;
            action_out(b, version, actions + at, n, proto);
        }
        at += n;
    }
}

int64_t codec_actions_out(uint32_t version, const uint8_t *actions, size_t len, uint8_t *out, size_t size)
{
    struct codec_buf b = {.data = out, .size = size};
    codec_put_actions_out(&b, version, actions, len, 0);
    return b.full ? -ENOBUFS : (int64_t)b.len;
}
