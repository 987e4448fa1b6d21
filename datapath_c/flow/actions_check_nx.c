/* Experimenter actions, before anything is stored: Open vSwitch's (flow/nicira.h) and ONF's copy-field for OpenFlow 1.3. */
#include <errno.h>
#include "flow/actions_check.h"
#include "flow/nicira.h"
#include "flow/openflow.h"
#include "flow/tally.h"

/* A part of a field that an action reads or writes. */
static int check_subfield(const struct actions_context *c, const struct subfield *s, bool write, fault *f)
{
    const char *name = field_name(s->field);
    if (!s->n_bits || s->ofs + s->n_bits > field_bits(s->field))
        return BAD_ACTION(BAD_SET_LEN, "%s[%u..%d] of %u bits", name, s->ofs, s->ofs + s->n_bits - 1, field_bits(s->field));
    if (c->match && !match_has_prereq(c->match, field_prereq(s->field)))
        return BAD_ACTION(MATCH_INCONSISTENT, "%s without its prerequisite in the match", name);
    if (write && !field_settable(s->field))
        return BAD_ACTION(BAD_SET_ARGUMENT, "%s can't be written", name);
    if (write && c->match && s->n_bits == field_bits(s->field) && s->field < N_FIELDS) {
        /* Its value is not known any more. */
        memset((uint8_t *)&c->match->mask + field_places[s->field].offset, 0, field_places[s->field].size);
        memset((uint8_t *)&c->match->value + field_places[s->field].offset, 0, field_places[s->field].size);
    }
    return 0;
}

static int bad_parse(int e, const char *what, fault *f)
{
    return e == -ENOENT ? BAD_ACTION(BAD_SET_TYPE, "%s: unknown field", what)
                        : BAD_ACTION(BAD_LEN, "%s: cut off or of the wrong length", what);
}

int actions_check_move(const struct actions_context *c, const uint8_t *a, size_t len, fault *f)
{
    struct move m;
    int e = nx_move_parse(a, len, &m);
    if (e)
        return bad_parse(e, "copy-field", f);
    e = check_subfield(c, &m.src, false, f);
    return e ? e : check_subfield(c, &m.dst, true, f);
}

static int check_load(const struct actions_context *c, const uint8_t *a, fault *f)
{
    struct field_header h;
    int e = field_header_parse(a + 12, 4, &h);
    if (e)
        return bad_parse(e, "reg_load", f);
    struct subfield s = nx_subfield(h.field, get16(a + 10));
    if (get64(a + 16) & ~(uint64_t)bits_mask(s.n_bits))
        return BAD_ACTION(BAD_ARGUMENT, "reg_load: value has more than %u bits", s.n_bits);
    return check_subfield(c, &s, true, f);
}

static int check_load2(const struct actions_context *c, const uint8_t *a, size_t len, fault *f)
{
    int field;
    u128 value, mask;
    int n = nx_tlv_parse(a + NX_HEADER, len - NX_HEADER, &field, &value, &mask);
    if (n < 0)
        return bad_parse(n, "reg_load2", f);
    if (value & ~mask)
        return BAD_ACTION(BAD_SET_ARGUMENT, "reg_load2: value has bits outside its mask");
    for (size_t i = NX_HEADER + (size_t)n; i < len; i++)
        if (a[i])
            return BAD_ACTION(BAD_SET_ARGUMENT, "reg_load2: padding is not zero");
    struct subfield s = {field, 0, (uint16_t)field_bits(field)};
    return check_subfield(c, &s, true, f);
}

static int check_hash(uint16_t hash_fields, fault *f)
{
    return hash_fields > 6 ? BAD_ACTION(BAD_ARGUMENT, "unknown set of fields to hash, %u", hash_fields) : 0;
}

static int check_multipath(const struct actions_context *c, const uint8_t *a, fault *f)
{
    struct field_header h;
    int e = field_header_parse(a + 28, 4, &h);
    if (e)
        return bad_parse(e, "multipath", f);
    if ((e = check_hash(get16(a + 10), f)))
        return e;
    if (get16(a + 16) > 3)
        return BAD_ACTION(BAD_ARGUMENT, "multipath: unknown algorithm %u", get16(a + 16));
    struct subfield s = nx_subfield(h.field, get16(a + 26));
    if (s.n_bits < 16 && get16(a + 18) >= 1u << s.n_bits)
        return BAD_ACTION(BAD_ARGUMENT, "multipath: %u links don't fit into %u bits", get16(a + 18) + 1, s.n_bits);
    return check_subfield(c, &s, true, f);
}

static int check_bundle(const struct actions_context *c, const uint8_t *a, size_t len, fault *f)
{
    if (len < 32)
        return BAD_ACTION(BAD_LEN, "bundle action of %zu bytes", len);
    struct field_header h;
    uint16_t n = get16(a + 20);
    if (get16(a + 10) > 1)
        return BAD_ACTION(BAD_ARGUMENT, "bundle: unknown algorithm %u", get16(a + 10));
    if (n > 2048 || 32u + n * 2u > len)
        return BAD_ACTION(BAD_LEN, "bundle: %u members in %zu bytes", n, len);
    if (field_header_parse(a + 16, 4, &h) || h.field != PF_IN_PORT16)
        return BAD_ACTION(BAD_ARGUMENT, "bundle: members are ports");
    int e = check_hash(get16(a + 12), f);
    if (e || get16(a + 8) == NXAST_BUNDLE)
        return e;
    if ((e = field_header_parse(a + 24, 4, &h)))
        return bad_parse(e, "bundle_load", f);
    struct subfield s = nx_subfield(h.field, get16(a + 22));
    return check_subfield(c, &s, true, f);
}

/* What learn2 has more than learn: a limit and where to tell whether it was kept. */
static int check_learn2(const struct actions_context *c, const uint8_t *a, size_t len, size_t *at, fault *f)
{
    struct subfield result;
    int e = nx_learn_result(a, len, at, &result);
    if (e)
        return bad_parse(e, "learn: result_dst", f);
    if (get16(a + 24) & NX_LEARN_F_WRITE_RESULT && (e = check_subfield(c, &result, true, f)))
        return e;
    if (!get32(a + NX_LEARN2_LIMIT))
        return 0;
    if (c->depth || c->action_set)
        return BAD_ACTION(BAD_ARGUMENT, "learn: a limit stands in a rule's own actions");
    if (!tally_room(c->bridge, a[26], get64(a + 16)))
        return BAD_ACTION(BAD_ARGUMENT, "learn: table %u has limits for %u cookies already", a[26], TALLIES_MAX);
    return 0;
}

static int check_learn(const struct actions_context *c, const uint8_t *a, size_t len, fault *f)
{
    bool second = get16(a + 8) == NXAST_LEARN2;
    size_t at = second ? NX_LEARN2_FIXED : NX_LEARN_FIXED;
    if (len < at)
        return BAD_ACTION(BAD_LEN, "learn action of %zu bytes", len);
    if (get16(a + 24) & ~(NX_LEARN_F_SEND_FLOW_REM | NX_LEARN_F_DELETE_LEARNED | (second ? NX_LEARN_F_WRITE_RESULT : 0)))
        return BAD_ACTION(BAD_ARGUMENT, "learn: unknown flags 0x%x", get16(a + 24));
    if (a[27] || (second && get16(a + NX_LEARN2_RESULT + 2)))
        return BAD_ACTION(BAD_ARGUMENT, "learn: padding is not zero");
    if (a[26] >= OFPTT_MAX)
        return BAD_ACTION(BAD_ARGUMENT, "learn: there is no table %u", a[26]);
    struct actions_context inner = {.bridge = c->bridge, .match = NULL, .depth = 1};
    struct learn_spec s;
    int e = second ? check_learn2(c, a, len, &at, f) : 0;
    if (e)
        return e;
    while (!(e = nx_learn_next(a, len, &at, &s))) {
        if (s.dst_type == NX_LEARN_DST_OUTPUT) {
            if (s.immediate || s.n_bits > 32)
                return BAD_ACTION(BAD_ARGUMENT, "learn: an output names a field of up to 32 bits");
        } else {
            int bad = check_subfield(&inner, &s.dst, s.dst_type == NX_LEARN_DST_LOAD, f);
            if (bad)
                return bad;
        }
        if (!s.immediate) {
            int bad = check_subfield(c->match ? c : &inner, &s.src, false, f);
            if (bad)
                return bad;
        }
    }
    return e < 0 ? bad_parse(e, "learn", f) : 0;
}

static int check_conjunction(const struct actions_context *c, const uint8_t *a, fault *f)
{
    if (c->depth || c->action_set)
        return BAD_ACTION(BAD_ARGUMENT, "conjunction stands in a rule's own actions");
    if (a[11] < 2 || a[11] > 64 || a[10] >= a[11])
        return BAD_ACTION(BAD_ARGUMENT, "conjunction %u/%u: 1/2 to 64/64", a[10] + 1, a[11]);
    return 0;
}

/* Properties: type, length, value, padded to 8 bytes. */
static int check_controller2(const uint8_t *a, size_t len, fault *f)
{
    static const uint16_t lengths[] = {6, 6, 5, 0, 4, 8};
    for (size_t at = 16; at < len;) {
        if (len - at < 4)
            return BAD_ACTION(BAD_LEN, "controller: a property is cut off");
        uint16_t type = get16(a + at), n = get16(a + at + 2);
        if (n < 4 || n > len - at)
            return BAD_ACTION(BAD_LEN, "controller: a property of %u bytes in %zu", n, len - at);
        if (type > 5 || type == 4)
            return BAD_ACTION(BAD_ARGUMENT, type == 4 ? "controller: a packet can't be paused" : "controller: property %u", type);
        /* Some count the padding in. */
        if (lengths[type] && n != lengths[type] && n != (lengths[type] + 7u) / 8 * 8)
            return BAD_ACTION(BAD_LEN, "controller: property %u of %u bytes", type, n);
        at += (n + 7u) / 8 * 8;
    }
    return 0;
}

#define MAX_DEPTH 8

static int check_clone(const struct actions_context *c, const uint8_t *a, size_t len, fault *f)
{
    if (c->depth == MAX_DEPTH)
        return BAD_ACTION(TOO_MANY, "clones %u deep", MAX_DEPTH);
    struct match inside;
    struct actions_context inner = *c;
    inner.depth++;
    if (c->match) {
        inside = *c->match;
        inner.match = &inside;
    }
    return actions_check(&inner, a + 16, len - 16, f);
}

static int check_nicira(const struct actions_context *c, const uint8_t *a, size_t len, fault *f)
{
    /* Lengths of the actions that have just one. */
    static const uint8_t lengths[] = {
        [NXAST_RESUBMIT] = 16, [NXAST_SET_TUNNEL] = 16, [NXAST_SET_QUEUE] = 16, [NXAST_POP_QUEUE] = 16,
        [NXAST_REG_LOAD] = 24, [NXAST_SET_TUNNEL64] = 24, [NXAST_MULTIPATH] = 32, [NXAST_RESUBMIT_TABLE] = 16,
        [NXAST_OUTPUT_REG] = 24, [NXAST_EXIT] = 16, [NXAST_DEC_TTL] = 16, [NXAST_FIN_TIMEOUT] = 16, [NXAST_CONTROLLER] = 16,
        [NXAST_WRITE_METADATA] = 32, [NXAST_PUSH_MPLS] = 16, [NXAST_POP_MPLS] = 16, [NXAST_SET_MPLS_TTL] = 16,
        [NXAST_DEC_MPLS_TTL] = 16, [NXAST_STACK_PUSH] = 24, [NXAST_STACK_POP] = 24, [NXAST_SET_MPLS_LABEL] = 16,
        [NXAST_SET_MPLS_TC] = 16, [NXAST_OUTPUT_REG2] = 24, [NXAST_CONJUNCTION] = 16, [NXAST_OUTPUT_TRUNC] = 16,
        [NXAST_GROUP] = 16, [NXAST_CHECK_PKT_LARGER] = 24,
    };
    uint16_t subtype = get16(a + 8), max_len;
    struct subfield s;
    struct field_header h;
    uint8_t standard[16] = {0};
    int e;
    if (subtype < sizeof lengths && lengths[subtype] && lengths[subtype] != len)
        return BAD_ACTION(BAD_LEN, "Nicira action %u of %zu bytes", subtype, len);
    switch (subtype) {
    case NXAST_RESUBMIT:
    case NXAST_SET_TUNNEL:
    case NXAST_SET_TUNNEL64:
    case NXAST_SET_QUEUE:
    case NXAST_POP_QUEUE:
    case NXAST_NOTE:
    case NXAST_EXIT:
    case NXAST_CONTROLLER:
    case NXAST_WRITE_METADATA:
    case NXAST_FIN_TIMEOUT:
        return 0;
    case NXAST_RESUBMIT_TABLE:
        return a[12] < OFPTT_MAX || a[12] == OFPTT_ALL ? 0 : BAD_ACTION(BAD_ARGUMENT, "resubmit: there is no table %u", a[12]);
    case NXAST_REG_MOVE:
        return actions_check_move(c, a, len, f);
    case NXAST_REG_LOAD:
        return check_load(c, a, f);
    case NXAST_REG_LOAD2:
        return check_load2(c, a, len, f);
    case NXAST_MULTIPATH:
        return check_multipath(c, a, f);
    case NXAST_BUNDLE:
    case NXAST_BUNDLE_LOAD:
        return check_bundle(c, a, len, f);
    case NXAST_OUTPUT_REG:
    case NXAST_OUTPUT_REG2:
        if ((e = nx_output_reg_parse(a, len, &s, &max_len)))
            return bad_parse(e, "output_reg", f);
        return check_subfield(c, &s, false, f);
    case NXAST_STACK_PUSH:
    case NXAST_STACK_POP:
        if ((e = nx_stack_parse(a, len, &s)))
            return bad_parse(e, "stack", f);
        return check_subfield(c, &s, subtype == NXAST_STACK_POP, f);
    case NXAST_LEARN:
    case NXAST_LEARN2:
        return check_learn(c, a, len, f);
    case NXAST_CONJUNCTION:
        return check_conjunction(c, a, f);
    case NXAST_CONTROLLER2:
        return check_controller2(a, len, f);
    case NXAST_OUTPUT_TRUNC:
        if (get32(a + 12) < 14)
            return BAD_ACTION(BAD_ARGUMENT, "output to be cut to %u bytes", get32(a + 12));
        return 0;
    case NXAST_DEC_TTL_CNT_IDS:
        return 16u + get16(a + 10) * 2u > len ? BAD_ACTION(BAD_LEN, "dec_ttl: %u ids in %zu bytes", get16(a + 10), len) : 0;
    case NXAST_CHECK_PKT_LARGER:
        if ((e = field_header_parse(a + 14, len - 14, &h)))
            return bad_parse(e, "check_pkt_larger", f);
        s = (struct subfield){h.field, get16(a + 12), 1};
        return check_subfield(c, &s, true, f);
    case NXAST_CLONE:
        return check_clone(c, a, len, f);
    default:
        break;
    }
    /* The rest are the standard's under other numbers. */
    put16(standard + 2, 8);
    memcpy(standard + 4, a + 10, 4);
    switch (subtype) {
    case NXAST_DEC_TTL:
        put16(standard, OFPAT_DEC_NW_TTL);
        break;
    case NXAST_PUSH_MPLS:
        put16(standard, OFPAT_PUSH_MPLS);
        break;
    case NXAST_POP_MPLS:
        put16(standard, OFPAT_POP_MPLS);
        break;
    case NXAST_SET_MPLS_TTL:
        put16(standard, OFPAT_SET_MPLS_TTL);
        break;
    case NXAST_DEC_MPLS_TTL:
        put16(standard, OFPAT_DEC_MPLS_TTL);
        break;
    case NXAST_SET_MPLS_LABEL:
        put16(standard, OFPAT_SET_MPLS_LABEL);
        memcpy(standard + 4, a + 12, 4);
        break;
    case NXAST_SET_MPLS_TC:
        put16(standard, OFPAT_SET_MPLS_TC);
        break;
    case NXAST_GROUP:
        put16(standard, OFPAT_GROUP);
        memcpy(standard + 4, a + 12, 4);
        break;
    default:
        return BAD_ACTION(BAD_EXP_TYPE, "Nicira action %u", subtype);
    }
    return actions_check(c, standard, 8, f);
}

int actions_check_experimenter(const struct actions_context *c, const uint8_t *a, size_t len, fault *f)
{
    uint32_t vendor = get32(a + 4);
    if (vendor != NX_VENDOR && vendor != ONF_VENDOR)
        return BAD_ACTION(BAD_EXPERIMENTER, "experimenter 0x%08x", vendor);
    if (len < 16)
        return BAD_ACTION(BAD_LEN, "experimenter action of %zu bytes", len);
    if (vendor == NX_VENDOR)
        return check_nicira(c, a, len, f);
    if (get16(a + 8) != ONF_COPY_FIELD)
        return BAD_ACTION(BAD_EXP_TYPE, "ONF action %u", get16(a + 8));
    return actions_check_move(c, a, len, f);
}
