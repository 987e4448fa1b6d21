/* What the datapath tells of rules -> every version's. Canonical entries are OpenFlow 1.3's ofp_flow_stats with importance
 * behind the flags. */
#include <errno.h>
#include <stdbool.h>
#include "base/bytes.h"
#include "codec/codec.h"
#include "flow/nicira.h"
#include "flow/openflow.h"

#define STATS_FIXED 48

enum { OFPT_MULTIPART_REPLY = 19, OFPST_REPLY_10 = 17, OFPMP_FLOW = 1, OFPMP_FLOW_STATS_15 = 17 };

/* Instructions as one list of actions, as far as 1.0 and Nicira's extensions can say them. */
static void put_flat_actions(struct codec_buf *b, const uint8_t *d, size_t len, uint8_t proto)
{
    for (size_t at = 0; at + 8 <= len; at += get16(d + at + 2)) {
        const uint8_t *i = d + at;
        uint8_t *o;
        switch (get16(i)) {
        case OFPIT_APPLY_ACTIONS:
            codec_put_actions_out(b, 1, i + 8, get16(i + 2) - 8u, proto);
            break;
        case OFPIT_WRITE_METADATA:
            o = codec_put(b, 32);
            memset(o, 0, 32);
            put16(o, OFPAT_EXPERIMENTER);
            put16(o + 2, 32);
            put32(o + 4, NX_VENDOR);
            put16(o + 8, NXAST_WRITE_METADATA);
            memcpy(o + 16, i + 8, 16);
            break;
        case OFPIT_GOTO_TABLE:
            o = codec_put(b, 16);
            memset(o, 0, 16);
            put16(o, OFPAT_EXPERIMENTER);
            put16(o + 2, 16);
            put32(o + 4, NX_VENDOR);
            put16(o + 8, NXAST_RESUBMIT_TABLE);
            put16(o + 10, (uint16_t)OFPP_IN_PORT);
            o[12] = i[4];
            break;
        default:
            break;
        }
    }
}

static uint8_t *put_apply(struct codec_buf *b)
{
    uint8_t *o = codec_put(b, 8);
    memset(o, 0, 8);
    put16(o, OFPIT_APPLY_ACTIONS);
    return o;
}

static void put_meter_action(struct codec_buf *b, const uint8_t *instruction)
{
    uint8_t *m = codec_put(b, 8);
    put16(m, OFPAT_METER);
    put16(m + 2, 8);
    memcpy(m + 4, instruction + 4, 4);
}

/* OpenFlow 1.5 has no meter instruction: the action leads the list that is applied. */
static void put_instructions15(struct codec_buf *b, const uint8_t *d, size_t len, uint8_t proto)
{
    const uint8_t *meter = NULL, *apply = NULL;
    for (size_t at = 0; at + 8 <= len; at += get16(d + at + 2)) {
        meter = get16(d + at) == OFPIT_METER ? d + at : meter;
        apply = get16(d + at) == OFPIT_APPLY_ACTIONS ? d + at : apply;
    }
    if (meter || apply) {
        size_t start = b->len;
        uint8_t *o = put_apply(b);
        if (meter)
            put_meter_action(b, meter);
        if (apply)
            codec_put_actions_out(b, 6, apply + 8, get16(apply + 2) - 8u, proto);
        put16(o + 2, (uint16_t)(b->len - start));
    }
    for (size_t at = 0; at + 8 <= len; at += get16(d + at + 2)) {
        const uint8_t *i = d + at;
        size_t start = b->len;
        if (i == meter || i == apply)
            continue;
        if (get16(i) != OFPIT_WRITE_ACTIONS) {
            codec_copy(b, i, get16(i + 2));
            continue;
        }
        uint8_t *o = codec_put(b, 8);
        memcpy(o, i, 8);
        codec_put_actions_out(b, 6, i + 8, get16(i + 2) - 8u, proto);
        put16(o + 2, (uint16_t)(b->len - start));
    }
}

static void put_instructions(struct codec_buf *b, uint32_t version, uint32_t form, const uint8_t *d, size_t len, uint8_t proto)
{
    if (version == 6) {
        put_instructions15(b, d, len, proto);
        return;
    }
    for (size_t at = 0; at + 8 <= len; at += get16(d + at + 2)) {
        const uint8_t *i = d + at;
        uint16_t type = get16(i);
        if (type == OFPIT_STAT_TRIGGER && form != CODEC_FULL)
            continue;
        if (type != OFPIT_APPLY_ACTIONS && type != OFPIT_WRITE_ACTIONS) {
            codec_copy(b, i, get16(i + 2));
            continue;
        }
        size_t start = b->len, n = get16(i + 2);
        /* A meter action leads the list as an instruction where there are no meter actions. */
        if (version < 6 && version >= 4 && n >= 16 && get16(i + 8) == OFPAT_METER) {
            uint8_t *m = codec_put(b, 8);
            put16(m, OFPIT_METER);
            put16(m + 2, 8);
            memcpy(m + 4, i + 12, 4);
            start += 8;
        }
        uint8_t *o = codec_put(b, 8);
        memcpy(o, i, 8);
        codec_put_actions_out(b, version, i + 8, n - 8u, proto);
        put16(o + 2, (uint16_t)(b->len - start));
    }
}

/* An OXS list (OpenFlow 1.5.1, 7.2.4.4): duration, packets, bytes. */
static void put_oxs(struct codec_buf *b, const uint8_t *e)
{
    size_t start = b->len;
    uint8_t *o = codec_put(b, 4);
    memset(o, 0, 4);
    uint64_t packets = get64(e + 32), bytes = get64(e + 40);
    uint8_t *s = codec_put(b, 12);
    put32(s, 0x80020000u | 0 << 9 | 8);
    memcpy(s + 4, e + 4, 8);
    if (packets != UINT64_MAX) {
        s = codec_put(b, 12);
        put32(s, 0x80020000u | 4 << 9 | 8);
        put64(s + 4, packets);
    }
    if (bytes != UINT64_MAX) {
        s = codec_put(b, 12);
        put32(s, 0x80020000u | 5 << 9 | 8);
        put64(s + 4, bytes);
    }
    put16(o + 2, (uint16_t)(b->len - start));
    codec_pad(b, start);
}

static void stats_10(struct codec_buf *b, uint32_t form, const uint8_t *e, const uint8_t *match, const uint8_t *i, size_t i_len)
{
    bool nicira = form == CODEC_NICIRA;
    size_t start = b->len, match_start;
    uint8_t proto = codec_match_proto(match);
    if (nicira) {
        uint8_t *o = codec_put(b, 48);
        memset(o, 0, 48);
        o[2] = e[2];
        memcpy(o + 4, e + 4, 8);       /* duration */
        memcpy(o + 12, e + 12, 6);     /* priority, timeouts */
        memcpy(o + 24, e + 24, 24);    /* cookie, packets, bytes */
        match_start = b->len;
        codec_put_match_out(b, 1, form, match);
        put16(o + 18, (uint16_t)(b->len - match_start));
        codec_pad(b, start);
        put_flat_actions(b, i, i_len, proto);
        put16(o, (uint16_t)(b->len - start));
        return;
    }
    uint8_t *o = codec_put(b, 4);
    codec_put_match_out(b, 1, form, match);
    uint8_t *r = codec_put(b, 44);
    memset(o, 0, 4);
    memset(r, 0, 44);
    o[2] = e[2];
    memcpy(r, e + 4, 8);
    memcpy(r + 8, e + 12, 6);
    memcpy(r + 20, e + 24, 24);
    put_flat_actions(b, i, i_len, proto);
    put16(o, (uint16_t)(b->len - start));
}

/* Whether the entry is the same in `version`: no action and no field of it goes by another name there. */
static bool is_same(uint32_t version, const uint8_t *match, const uint8_t *i, size_t i_len)
{
    if (version != 4 && version != 5)
        return false;
    size_t len = get16(match + 2);
    for (size_t at = 4; at + 4 <= len; at += 4u + match[at + 3])
        if (get16(match + at) == 0x8000 && match[at + 2] >> 1 > 39)
            return false;
    for (size_t at = 0; at + 8 <= i_len; at += get16(i + at + 2)) {
        if (get16(i + at) != OFPIT_APPLY_ACTIONS && get16(i + at) != OFPIT_WRITE_ACTIONS)
            continue;
        const uint8_t *a = i + at + 8, *end = i + at + get16(i + at + 2);
        for (; a + 8 <= end; a += get16(a + 2)) {
            uint16_t type = get16(a);
            if ((type && type < OFPAT_COPY_TTL_OUT) || type == OFPAT_SET_MPLS_LABEL || type == OFPAT_SET_MPLS_TC ||
                type == OFPAT_POP_VLAN || (type >= OFPAT_COPY_FIELD && type != OFPAT_EXPERIMENTER) ||
                (type == OFPAT_SET_FIELD && (a[6] & 1 || get16(a + 4) != 0x8000 || a[6] >> 1 > 39)))
                return false;
        }
    }
    return true;
}

static void entry_out(struct codec_buf *b, uint32_t version, uint32_t form, const uint8_t *e)
{
    size_t len = get16(e), start = b->len;
    const uint8_t *match = e + STATS_FIXED;
    size_t match_len = (get16(match + 2) + 7u) / 8 * 8;
    const uint8_t *i = match + match_len;
    size_t i_len = len - STATS_FIXED - match_len;
    uint8_t *o;
    if (version == 1) {
        stats_10(b, form, e, match, i, i_len);
        return;
    }
    if (is_same(version, match, i, i_len)) {
        if (codec_copy(b, e, len) && version < 5)
            put16(b->data + start + 20, 0);
        return;
    }
    if (version == 6 && form == CODEC_FLOW_STATS) {
        o = codec_put(b, 8);
        memset(o, 0, 8);
        o[4] = e[2];
        memcpy(o + 6, e + 12, 2);
        codec_put_match_out(b, version, form, match);
        put_oxs(b, e);
    } else if (version == 6) {
        o = codec_put(b, 24);
        memset(o, 0, 24);
        o[4] = e[2];
        memcpy(o + 6, e + 12, 10);     /* priority, idle, hard, flags, importance */
        memcpy(o + 16, e + 24, 8);
        codec_put_match_out(b, version, form, match);
        put_oxs(b, e);
        put_instructions(b, version, form, i, i_len, codec_match_proto(match));
    } else {
        o = codec_put(b, STATS_FIXED);
        memcpy(o, e, STATS_FIXED);
        if (version < 5)
            put16(o + 20, 0);
        if (version == 2)
            put16(o + 18, 0);
        codec_put_match_out(b, version, form, match);
        put_instructions(b, version, form, i, i_len, codec_match_proto(match));
    }
    put16(o, (uint16_t)(b->len - start));
}

static bool whole_entry(const uint8_t *e, size_t left)
{
    return left >= STATS_FIXED + 8 && get16(e) >= STATS_FIXED + 8 && get16(e) <= left &&
           STATS_FIXED + (get16(e + STATS_FIXED + 2) + 7u) / 8 * 8 <= get16(e);
}

int64_t codec_flow_stats_out(uint32_t version, uint32_t form, const uint8_t *entries, size_t len, uint8_t *out, size_t size)
{
    struct codec_buf b = {.data = out, .size = size};
    for (size_t at = 0; at < len; at += get16(entries + at)) {
        if (!whole_entry(entries + at, len - at))
            return -EINVAL;
        entry_out(&b, version, form, entries + at);
    }
    return b.full ? -ENOBUFS : (int64_t)b.len;
}

/* ofp_header and what follows it up to the entries. */
static size_t put_head(struct codec_buf *b, uint32_t version, uint32_t form, uint32_t xid)
{
    size_t len = version == 1 ? (form == CODEC_NICIRA ? 24 : 12) : 16;
    uint8_t *o = codec_put(b, len);
    memset(o, 0, len);
    o[0] = (uint8_t)version;
    o[1] = version == 1 ? OFPST_REPLY_10 : OFPT_MULTIPART_REPLY;
    put32(o + 4, xid);
    put16(o + 8, version == 1 && form == CODEC_NICIRA ? 0xffff : form == CODEC_FLOW_STATS ? OFPMP_FLOW_STATS_15 : OFPMP_FLOW);
    put16(o + 10, 1);
    if (version == 1 && form == CODEC_NICIRA)
        put32(o + 12, NX_VENDOR);      /* subtype 0: NXST_FLOW */
    return len;
}

int64_t codec_flow_stats_messages(uint32_t version, uint32_t form, uint32_t xid, const uint8_t *entries, size_t len,
                                  uint8_t *out, size_t size, size_t *last)
{
    struct codec_buf b = {.data = out, .size = size};
    size_t message = 0, head = 0;
    for (size_t at = 0; at < len; at += get16(entries + at)) {
        if (!whole_entry(entries + at, len - at))
            return -EINVAL;
        if (!head)
            head = put_head(&b, version, form, xid);
        size_t before = b.len;
        entry_out(&b, version, form, entries + at);
        if (b.full)
            return -ENOBUFS;
        if (b.len - message <= 65535)
            continue;
        /* It belongs to the next message. */
        uint8_t first[32];
        size_t n = b.len - before;
        put16(out + message + 2, (uint16_t)(before - message));
        if (b.len + head > size || n + head > 65535)
            return -ENOBUFS;
        memcpy(first, out + message, head);
        memmove(out + before + head, out + before, n);
        memcpy(out + before, first, head);
        b.len += head;
        message = before;
    }
    if (head)
        put16(out + message + 2, (uint16_t)(b.len - message));
    *last = message;
    return (int64_t)b.len;
}

int64_t codec_flow_removed_out(uint32_t version, uint32_t form, const uint8_t *d, size_t len, uint8_t *out, size_t size)
{
    struct codec_buf b = {.data = out, .size = size};
    if (len < 48 || 40 + (get16(d + 42) + 7u) / 8 * 8 > len)
        return -EINVAL;
    const uint8_t *match = d + 40;
    uint8_t *o;
    if (version == 1 && form == CODEC_NICIRA) {
        o = codec_put(&b, 40);
        memcpy(o, d, 22);
        o[11] = (uint8_t)(d[11] + 1);
        memcpy(o + 24, d + 24, 16);
        codec_put_match_out(&b, version, form, match);
        put16(o + 22, (uint16_t)(b.len - 40));
        codec_pad(&b, 0);
    } else if (version == 1) {
        codec_put_match_out(&b, version, form, match);
        o = codec_put(&b, 40);
        memset(o, 0, 40);
        memcpy(o, d, 11);              /* cookie, priority, reason */
        memcpy(o + 12, d + 12, 10);    /* duration, idle */
        memcpy(o + 24, d + 24, 16);
    } else if (version == 6) {
        uint8_t e[STATS_FIXED] = {0};
        o = codec_put(&b, 16);
        o[0] = d[11];
        o[1] = d[10];
        memcpy(o + 2, d + 8, 2);
        memcpy(o + 4, d + 20, 4);
        memcpy(o + 8, d, 8);
        codec_put_match_out(&b, version, form, match);
        memcpy(e + 4, d + 12, 8);
        memcpy(e + 32, d + 24, 16);
        put_oxs(&b, e);
    } else {
        o = codec_put(&b, 40);
        memcpy(o, d, 40);
        if (version < 4)
            put16(o + 22, version == 2 ? 0 : get16(d + 22));
        codec_put_match_out(&b, version, form, match);
    }
    return b.full ? -ENOBUFS : (int64_t)b.len;
}
