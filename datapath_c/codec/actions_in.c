/* Action lists of every version -> canonical. 1.1's numbers are the canonical ones. */
#include <errno.h>
#include "base/bytes.h"
#include "base/fault.h"
#include "codec/codec.h"
#include "flow/nicira.h"
#include "flow/openflow.h"

#define BAD_ACTION(code, ...) fault_openflow(f, OFPET_BAD_ACTION, OFPBAC_##code, "actions", __VA_ARGS__)

static void put_output(struct codec_buf *b, uint32_t port, uint16_t max_len)
{
    uint8_t *o = codec_put(b, 16);
    memset(o, 0, 16);
    put16(o + 2, 16);
    put32(o + 4, port);
    put16(o + 8, max_len);
}

static uint8_t *put_action(struct codec_buf *b, uint16_t type, size_t len)
{
    uint8_t *o = codec_put(b, len);
    memset(o, 0, len);
    put16(o, type);
    put16(o + 2, (uint16_t)len);
    return o;
}

static void put_pop_queue(struct codec_buf *b)
{
    uint8_t *o = put_action(b, OFPAT_EXPERIMENTER, 16);
    put32(o + 4, NX_VENDOR);
    put16(o + 8, NXAST_POP_QUEUE);
}

/* OpenFlow 1.0.1, 5.2.4 */
static int put_action10(struct codec_buf *b, const uint8_t *a, size_t len, fault *f)
{
    static const uint8_t lengths[] = {8, 8, 8, 8, 16, 16, 8, 8, 8, 8, 8, 16};
    static const uint8_t types[] = {0, OFPAT_SET_VLAN_VID, OFPAT_SET_VLAN_PCP, OFPAT_POP_VLAN, OFPAT_SET_DL_SRC,
                                    OFPAT_SET_DL_DST, OFPAT_SET_NW_SRC, OFPAT_SET_NW_DST, OFPAT_SET_NW_TOS,
                                    OFPAT_SET_TP_SRC, OFPAT_SET_TP_DST};
    uint16_t type = get16(a);
    if (type >= sizeof lengths)
        return BAD_ACTION(BAD_TYPE, "action type %u", type);
    if (len != lengths[type])
        return BAD_ACTION(BAD_LEN, "action type %u of %zu bytes", type, len);
    uint8_t *o;
    switch (type) {
    case 0:
        put_output(b, codec_port16(get16(a + 4)), get16(a + 6));
        return 0;
    case 3:
        put_action(b, OFPAT_POP_VLAN, 8)[4] = 1;
        return 0;
    case 11:
        put32(put_action(b, OFPAT_SET_QUEUE, 8) + 4, get32(a + 12));
        put_output(b, codec_port16(get16(a + 4)), 0);
        put_pop_queue(b);
        return 0;
    default:
        o = put_action(b, types[type], len);
        memcpy(o + 4, a + 4, type == 4 || type == 5 ? 6 : type == 1 || type >= 9 ? 2 : type == 6 || type == 7 ? 4 : 1);
        if (type == 1 || type == 2)
            o[6] = 1;          /* an untagged packet gets a tag */
        return 0;
    }
}

static int check_action(uint32_t version, const uint8_t *a, size_t len, fault *f)
{
    uint16_t type = get16(a);
    if (type == OFPAT_EXPERIMENTER)
        return 0;
    if (version >= 3 && ((type >= OFPAT_SET_VLAN_VID && type <= OFPAT_SET_TP_DST) || type == OFPAT_SET_MPLS_LABEL ||
                         type == OFPAT_SET_MPLS_TC))
        return BAD_ACTION(BAD_TYPE, "action type %u", type);
    if ((type == OFPAT_SET_FIELD && version < 3) || (type >= OFPAT_PUSH_PBB && version < 4) ||
        (type >= OFPAT_COPY_FIELD && version < 6))
        return BAD_ACTION(BAD_TYPE, "action type %u", type);
    if (type != OFPAT_SET_FIELD || len < 8)
        return 0;
    if (a[6] & 1 && version < 6)
        return BAD_ACTION(BAD_SET_TYPE, "set-field with a mask, which this version does not know");
    return codec_check_oxm(version, a + 4, len - 4, OFPET_BAD_ACTION, OFPBAC_BAD_SET_TYPE, f);
}

static int put_list(struct codec_buf *b, uint32_t version, const uint8_t *data, size_t len, unsigned depth, fault *f);

/* As it is, but for a clone's own list. */
static int put_experimenter(struct codec_buf *b, uint32_t version, const uint8_t *a, size_t len, unsigned depth, fault *f)
{
    if (len < 16 || get32(a + 4) != NX_VENDOR || get16(a + 8) != NXAST_CLONE) {
        codec_copy(b, a, len);
        return 0;
    }
    if (depth == CODEC_MAX_DEPTH)
        return BAD_ACTION(TOO_MANY, "clones %u deep", CODEC_MAX_DEPTH);
    size_t start = b->len;
    uint8_t *o = codec_put(b, 16);
    memcpy(o, a, 16);
    int e = put_list(b, version, a + 16, len - 16, depth + 1, f);
    if (!e && b->len - start > 65528)
        e = BAD_ACTION(BAD_LEN, "a clone of %zu bytes", b->len - start);
    put16(o + 2, (uint16_t)(b->len - start));
    return e;
}

int codec_put_actions_in(struct codec_buf *b, uint32_t version, const uint8_t *data, size_t len, fault *f)
{
    return put_list(b, version, data, len, 0, f);
}

static int put_list(struct codec_buf *b, uint32_t version, const uint8_t *data, size_t len, unsigned depth, fault *f)
{
    for (size_t at = 0; at < len;) {
        if (len - at < 8)
            return BAD_ACTION(BAD_LEN, "%zu bytes where an action has at least 8", len - at);
        size_t n = get16(data + at + 2);
        if (n < 8 || n % 8 || n > len - at)
            return BAD_ACTION(BAD_LEN, "action of %zu bytes with %zu left", n, len - at);
        int e;
        if (get16(data + at) == OFPAT_EXPERIMENTER) {
            e = put_experimenter(b, version, data + at, n, depth, f);
        } else if (version == 1) {
            e = put_action10(b, data + at, n, f);
        } else {
            e = check_action(version, data + at, n, f);
            codec_copy(b, data + at, n);
        }
        if (e)
            return e;
        at += n;
    }
    return 0;
}

int64_t codec_actions_in(uint32_t version, const uint8_t *actions, size_t len, uint8_t *out, size_t size, struct dp_error *f)
{
    struct codec_buf b = {.data = out, .size = size};
    int e = codec_put_actions_in(&b, version, actions, len, f);
    return e ? e : b.full ? -ENOBUFS : (int64_t)b.len;
}
