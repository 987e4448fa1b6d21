/* Open vSwitch's experimenter actions (nicira-ext.h; lib/ofp-actions.c there): the subtypes that the datapath carries out,
 * and their parts by offset. */
#ifndef VSWITCH_NICIRA_H
#define VSWITCH_NICIRA_H
#include "base/bytes.h"
#include "flow/subfield.h"

#define NX_VENDOR 0x00002320u
#define ONF_VENDOR 0x4f4e4600u
#define ONF_COPY_FIELD 3200

enum nx_action {
    NXAST_RESUBMIT = 1, NXAST_SET_TUNNEL = 2, NXAST_SET_QUEUE = 4, NXAST_POP_QUEUE = 5, NXAST_REG_MOVE = 6,
    NXAST_REG_LOAD = 7, NXAST_NOTE = 8, NXAST_SET_TUNNEL64 = 9, NXAST_MULTIPATH = 10, NXAST_BUNDLE = 12,
    NXAST_BUNDLE_LOAD = 13, NXAST_RESUBMIT_TABLE = 14, NXAST_OUTPUT_REG = 15, NXAST_LEARN = 16, NXAST_EXIT = 17,
    NXAST_DEC_TTL = 18, NXAST_FIN_TIMEOUT = 19, NXAST_CONTROLLER = 20, NXAST_DEC_TTL_CNT_IDS = 21,
    NXAST_WRITE_METADATA = 22, NXAST_PUSH_MPLS = 23, NXAST_POP_MPLS = 24, NXAST_SET_MPLS_TTL = 25,
    NXAST_DEC_MPLS_TTL = 26, NXAST_STACK_PUSH = 27, NXAST_STACK_POP = 28, NXAST_SET_MPLS_LABEL = 30,
    NXAST_SET_MPLS_TC = 31, NXAST_OUTPUT_REG2 = 32, NXAST_REG_LOAD2 = 33, NXAST_CONJUNCTION = 34,
    NXAST_CONTROLLER2 = 37, NXAST_OUTPUT_TRUNC = 39, NXAST_GROUP = 40, NXAST_CLONE = 42, NXAST_LEARN2 = 45,
    NXAST_CHECK_PKT_LARGER = 49
};

/* Bytes of the headers of an experimenter action, subtype included. */
#define NX_HEADER 10

enum { NX_LEARN_N_BITS = 0x3ff, NX_LEARN_DST = 3 << 11, NX_LEARN_DST_MATCH = 0, NX_LEARN_DST_LOAD = 1 << 11,
       NX_LEARN_DST_OUTPUT = 2 << 11, NX_LEARN_SRC_IMMEDIATE = 1 << 13 };
enum { NX_LEARN_F_SEND_FLOW_REM = 1, NX_LEARN_F_DELETE_LEARNED = 2, NX_LEARN_F_WRITE_RESULT = 4 };
#define NX_LEARN_FIXED 32
#define NX_LEARN2_FIXED 40
/* Where learn2 has its limit (32 bits), and the bit of the result's field (16 bits; its header follows the fixed part). */
#define NX_LEARN2_LIMIT 32
#define NX_LEARN2_RESULT 36

/* One of a learn action's specifications. */
struct learn_spec {
    uint16_t n_bits, dst_type;
    bool immediate;
    const uint8_t *value;      /* immediate: (n_bits + 15) / 16 * 2 bytes, right-aligned */
    struct subfield src, dst;
};

/* (ofs << 6) | (n_bits - 1). */
static inline struct subfield nx_subfield(int field, uint16_t ofs_nbits)
{
    return (struct subfield){field, ofs_nbits >> 6, (ofs_nbits & 63) + 1};
}

/* Where the first OXM/NXM header of a move lies, and its bits. */
struct move {
    struct subfield src, dst;
};

/* Parse what the check has passed before, or is about to judge: 0, or -EINVAL where it is cut off, -ENOENT for an unknown
 * field. */
int nx_move_parse(const uint8_t *action, size_t len, struct move *m);
int nx_output_reg_parse(const uint8_t *action, size_t len, struct subfield *src, uint16_t *max_len);
int nx_stack_parse(const uint8_t *action, size_t len, struct subfield *s);
/* Of learn2, with `*at` behind the fixed part: the bit that tells whether the rule is there, where the action says one; `*at` moves behind
 * its field. */
int nx_learn_result(const uint8_t *action, size_t len, size_t *at, struct subfield *result);
/* The specification at `*at`, which moves on. 1 = at the end. */
int nx_learn_next(const uint8_t *action, size_t len, size_t *at, struct learn_spec *s);
/* The next of Open vSwitch's actions with that subtype in apply-actions from *at on, which moves past it; NULL at the end. */
const uint8_t *nx_next_applied(const uint8_t *instructions, size_t len, size_t *at, uint16_t subtype);
/* What reg_load2 and the like name: field, value, mask. Returns bytes of the TLV. */
int nx_tlv_parse(const uint8_t *tlv, size_t len, int *field, u128 *value, u128 *mask);

#endif
