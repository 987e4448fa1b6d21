/* flow_mod and the requests for rules' statistics -> canonical. */
#include <errno.h>
#include <stdbool.h>
#include "base/bytes.h"
#include "base/fault.h"
#include "codec/codec.h"
#include "flow/openflow.h"

#define FAILED(code, field, ...) fault_openflow(f, OFPET_FLOW_MOD_FAILED, OFPFMFC_##code, field, __VA_ARGS__)
#define BAD_LENGTH(what, len) fault_openflow(f, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN, what, "%zu bytes", (size_t)(len))

#define ALL_WILDCARDS ((1u << 22) - 1)      /* OFPFW_ALL of 1.0 */

enum { MODIFY_OR_ADD = 5, MODIFY_STRICT_OR_ADD = 6 };

static int add_command(uint16_t command)
{
    return command == OFPFC_MODIFY ? MODIFY_OR_ADD : command == OFPFC_MODIFY_STRICT ? MODIFY_STRICT_OR_ADD : command;
}

/* Instructions, of which 1.1 knows the first five, 1.3 the meter and 1.5 what no switch need have. */
static int put_instructions(struct codec_buf *b, uint32_t version, const uint8_t *d, size_t len, fault *f)
{
    for (size_t at = 0; at < len;) {
        size_t n = len - at < 8 ? 0 : get16(d + at + 2);
        if (n < 8 || n % 8 || n > len - at)
            return fault_openflow(f, OFPET_BAD_INSTRUCTION, OFPBIC_BAD_LEN, "instructions",
                                  "an instruction of %zu bytes with %zu left", n, len - at);
        uint16_t type = get16(d + at);
        if (type == OFPIT_METER && (version < 4 || version > 5))
            return fault_openflow(f, OFPET_BAD_INSTRUCTION, OFPBIC_UNKNOWN_INST, "instructions", "instruction type 6");
        if (type == OFPIT_STAT_TRIGGER && version < 6)
            return fault_openflow(f, OFPET_BAD_INSTRUCTION, OFPBIC_UNKNOWN_INST, "instructions", "instruction type 7");
        if (type == OFPIT_WRITE_ACTIONS || type == OFPIT_APPLY_ACTIONS) {
            codec_copy(b, d + at, 8);
            int e = codec_put_actions_in(b, version, d + at + 8, n - 8, f);
            if (e)
                return e;
        } else {
            codec_copy(b, d + at, n);
        }
        at += n;
    }
    return 0;
}

/* OpenFlow 1.1 to 1.5: the layout has stayed. */
static int put_flow_mod11(struct codec_buf *b, uint32_t version, const uint8_t *d, size_t len, fault *f)
{
    if (len < OFP_FLOW_MOD_FIXED + 8)
        return BAD_LENGTH("flow_mod", len);
    uint16_t known = version == 2 ? 3 : version == 3 ? 7 : 31, flags = get16(d + 36);
    if (d[17] > OFPFC_DELETE_STRICT)
        return FAILED(BAD_COMMAND, "command", "command %u", d[17]);
    if (flags & ~known)
        return FAILED(BAD_FLAGS, "flags", "unknown bits in 0x%x", flags);
    uint8_t *o = codec_put(b, OFP_FLOW_MOD_FIXED);
    memcpy(o, d, OFP_FLOW_MOD_FIXED);
    if (version < 5)
        put16(o + 38, 0);      /* padding; importance since 1.4 */
    if (version == 2) {
        o[17] = (uint8_t)add_command(d[17]);
        if (d[17] == OFPFC_ADD)
            put16(o + 36, flags | OFPFF_ANEW);
    }
    int n = codec_put_match_in(b, version, CODEC_STANDARD, d + OFP_FLOW_MOD_FIXED, len - OFP_FLOW_MOD_FIXED, NULL, NULL, f);
    if (n < 0)
        return n;
    return put_instructions(b, version, d + OFP_FLOW_MOD_FIXED + n, len - OFP_FLOW_MOD_FIXED - (size_t)n, f);
}

/* OpenFlow 1.0's and Nicira's, which have the same members in another order. */
static int put_flow_mod10(struct codec_buf *b, uint32_t form, const uint8_t *d, size_t len, fault *f)
{
    bool nicira = form == CODEC_NICIRA || form == CODEC_NICIRA_TABLE;
    size_t fixed = nicira ? 40 - 8 : 64;
    if (len < fixed)
        return BAD_LENGTH("flow_mod", len);
    const uint8_t *m = nicira ? d + 8 : d + 48;    /* from the command on; cookie before it */
    size_t match_len = nicira ? get16(m + 16) : 40, padded = nicira ? (match_len + 7) / 8 * 8 : 0;
    uint16_t command = get16(m), flags = get16(m + 14);
    if (nicira && padded > len - fixed)
        return fault_openflow(f, OFPET_BAD_MATCH, OFPBMC_BAD_LEN, "nx_match", "%zu bytes in %zu", match_len, len - fixed);
    uint8_t table = OFPTT_ALL;
    if (form == CODEC_NICIRA_TABLE || form == CODEC_STANDARD_TABLE) {
        table = (uint8_t)(command >> 8);
        command &= 0xff;
    }
    if (command > OFPFC_DELETE_STRICT)
        return FAILED(BAD_COMMAND, "command", "command %u", command);
    if (flags & 4 && (get16(m + 2) || get16(m + 4)))
        return FAILED(BAD_TIMEOUT, "flags", "an emergency flow entry has no timeouts");
    if (flags & 4)
        return FAILED(TABLE_FULL, "flags", "there is no room for emergency flow entries");
    if (flags & ~3)
        return FAILED(BAD_FLAGS, "flags", "unknown bits in 0x%x", flags);
    size_t start = b->len;
    uint8_t *o = codec_put(b, OFP_FLOW_MOD_FIXED);
    memset(o, 0, OFP_FLOW_MOD_FIXED);
    bool deletes = command >= OFPFC_DELETE;
    memcpy(o, nicira ? d : d + 40, 8);
    o[16] = command == OFPFC_ADD && table == OFPTT_ALL ? 0 : table;
    o[17] = (uint8_t)add_command(command);
    memcpy(o + 18, m + 2, 6);  /* idle, hard, priority */
    if (!nicira && !(get32(d) & ALL_WILDCARDS))
        put16(o + 22, 0xffff); /* an exact match goes before all others (1.0, 3.4) */
    memcpy(o + 24, m + 8, 4);  /* buffer */
    put32(o + 28, deletes && get16(m + 12) != 0xffff ? codec_port16(get16(m + 12)) : OFPP_ANY);
    put32(o + 32, OFPG_ANY);
    put16(o + 36, (uint16_t)(flags | (command == OFPFC_ADD ? OFPFF_ANEW : 0)));
    uint64_t cookie = 0, cookie_mask = 0;
    int n = codec_put_match_in(b, 1, nicira ? CODEC_NICIRA : CODEC_STANDARD, nicira ? d + fixed : d, nicira ? match_len : 40, &cookie, &cookie_mask, f);
    if (n < 0)
        return n;
    if (cookie_mask) {
        put64(o, cookie);
        put64(o + 8, cookie_mask);
    }
    if (deletes)
        return 0;              /* its actions mean nothing */
    size_t at = fixed + padded, from = b->len;
    if (at == len)
        return 0;
    uint8_t *i = codec_put(b, 8);
    int e = codec_put_actions_in(b, 1, d + at, len - at, f);
    if (e || b->full)
        return e;
    memset(i, 0, 8);
    put16(i, OFPIT_APPLY_ACTIONS);
    if (b->len - from > 65528 || b->len - start > 65000)
        return BAD_LENGTH("flow_mod", b->len - start);
    put16(i + 2, (uint16_t)(b->len - from));
    return 0;
}

int64_t codec_flow_mod_in(uint32_t version, uint32_t form, const uint8_t *body, size_t len, uint8_t *out, size_t size,
                          struct dp_error *f)
{
    struct codec_buf b = {.data = out, .size = size};
    int e = version == 1 ? put_flow_mod10(&b, form, body, len, f)
                                                   : put_flow_mod11(&b, version, body, len, f);
    return e ? e : b.full ? -ENOBUFS : (int64_t)b.len;
}

/* table, out_port, out_group, cookie, mask; the match follows. */
static uint8_t *put_filter(struct codec_buf *b, uint8_t table, uint32_t out_port)
{
    uint8_t *o = codec_put(b, 32);
    memset(o, 0, 32);
    o[0] = table;
    put32(o + 4, out_port);
    put32(o + 8, OFPG_ANY);
    return o;
}

int64_t codec_stats_request_in(uint32_t version, uint32_t form, const uint8_t *d, size_t len, uint8_t *out, size_t size,
                               struct dp_error *f)
{
    struct codec_buf b = {.data = out, .size = size};
    int n;
    size_t expected;
    if (form == CODEC_NICIRA) {
        if (len < 8 || (get16(d + 2) + 7u) / 8 * 8 != len - 8)
            return BAD_LENGTH("flow_stats_request", len);
        uint64_t cookie = 0, mask = 0;
        uint8_t *o = put_filter(&b, d[4], get16(d) == 0xffff ? OFPP_ANY : codec_port16(get16(d)));
        n = codec_put_match_in(&b, 1, form, d + 8, get16(d + 2), &cookie, &mask, f);
        put64(o + 16, cookie);
        put64(o + 24, mask);
        expected = len;
    } else if (version == 1) {
        if (len != 44)
            return BAD_LENGTH("flow_stats_request", len);
        put_filter(&b, d[40], get16(d + 42) == 0xffff ? OFPP_ANY : codec_port16(get16(d + 42)));
        n = codec_put_match_in(&b, 1, form, d, 40, NULL, NULL, f);
        expected = len;
    } else {
        if (len < 40)
            return BAD_LENGTH("flow_stats_request", len);
        codec_copy(&b, d, 32);
        n = codec_put_match_in(&b, version, form, d + 32, len - 32, NULL, NULL, f);
        expected = 32 + (size_t)(n > 0 ? n : 0);
    }
    if (n < 0)
        return n;
    if (expected != len)
        return BAD_LENGTH("flow_stats_request", len);
    return b.full ? -ENOBUFS : (int64_t)b.len;
}
