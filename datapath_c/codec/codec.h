/* Rules between OpenFlow's versions, in vswitchd: every version's flow_mod becomes the one form that the datapath speaks, and
 * what the datapath tells of rules becomes each version's.
 *
 * The one form ("canonical"): OpenFlow 1.5's match and instructions in 1.4's flow_mod (importance in the last two bytes of
 * the fixed part), and 1.3's ofp_flow_stats with importance behind the flags. It has besides what other versions mean and 1.5
 * can't say: OpenFlow 1.1's set actions (flow/openflow.h), commands 5 and 6, modify and modify-strict that add where there is
 * nothing to modify, and flag 0x8000, an add that begins to count anew without being asked to (OpenFlow 1.0 to 1.1).
 *
 * `version` is the wire's: 1 for OpenFlow 1.0 to 6 for 1.5. Bodies are what follows the ofp_header. Functions return the
 * bytes written or a negative errno with the fault; -ENOBUFS when `size` is too small, which CODEC_ROOM(len) never is.
 *
 * Parsed by cffi. */
#ifndef VSWITCH_CODEC_H
#define VSWITCH_CODEC_H
#include <stddef.h>
#include <stdint.h>
#include "channel/contract.h"
/* cffi: begin */

enum codec_form {
    CODEC_STANDARD = 0,    /* the version's own: OFPST_FLOW, OFPMP_FLOW; 1.5: OFPMP_FLOW_DESC */
    CODEC_NICIRA = 1,      /* NXST_FLOW, NXT_FLOW_MOD, ... in version 1 */
    CODEC_FLOW_STATS = 2,  /* 1.5's OFPMP_FLOW_STATS: without instructions */
    CODEC_NICIRA_TABLE = 3,    /* NXT_FLOW_MOD with the table in the command's high byte (NXT_FLOW_MOD_TABLE_ID) */
    CODEC_STANDARD_TABLE = 4,  /* 1.0's OFPT_FLOW_MOD, likewise */
    CODEC_FULL = 5         /* of rules' entries: the version's own, and those of a later one's instructions that it hasn't */
};

int64_t codec_flow_mod_in(uint32_t version, uint32_t form, const uint8_t *body, size_t len, uint8_t *out, size_t size,
                          struct dp_error *f);
/* An action list by itself: packet-out, group buckets. */
int64_t codec_actions_in(uint32_t version, const uint8_t *actions, size_t len, uint8_t *out, size_t size,
                         struct dp_error *f);
/* Body of a flow or aggregate stats request -> ofp_flow_stats_request of 1.3. */
int64_t codec_stats_request_in(uint32_t version, uint32_t form, const uint8_t *body, size_t len, uint8_t *out, size_t size,
                               struct dp_error *f);
/* ofp_match (1.2 to 1.5), ofp10_match (1), nx_match (CODEC_NICIRA; all of `len`) -> OXM match. */
int64_t codec_match_in(uint32_t version, uint32_t form, const uint8_t *body, size_t len, uint8_t *out, size_t size,
                       struct dp_error *f);

/* And back. Whatever the version can't say is left out. */
int64_t codec_flow_stats_out(uint32_t version, uint32_t form, const uint8_t *entries, size_t len, uint8_t *out, size_t size);
int64_t codec_actions_out(uint32_t version, const uint8_t *actions, size_t len, uint8_t *out, size_t size);
int64_t codec_match_out(uint32_t version, uint32_t form, const uint8_t *match, size_t len, uint8_t *out, size_t size);
int64_t codec_flow_removed_out(uint32_t version, uint32_t form, const uint8_t *body, size_t len, uint8_t *out, size_t size);

/* What a stretch of a connection's bytes holds. */
enum codec_run_kind {
    CODEC_OTHER = 0,       /* one message of any other kind */
    CODEC_FLOW_MODS = 1,   /* flow_mods, made canonical */
    CODEC_REFUSED = 2,     /* one flow_mod with which something is wrong: `error` */
    CODEC_BUNDLED = 3,     /* flow_mods added to one bundle, made canonical */
    CODEC_BAD_HEADER = 4   /* a length shorter than its header: the stream makes no sense from here */
};

struct codec_run {
    uint32_t kind;         /* enum codec_run_kind */
    uint32_t start, end;   /* bytes of the input */
    uint32_t n;            /* messages */
    uint32_t item;         /* CODEC_FLOW_MODS, CODEC_BUNDLED: index of its first message in `items` */
    uint32_t out, out_len; /* where its canonical bodies lie, each behind 32 bits of length, as in a dp_batch */
    uint32_t bundle, flags;/* CODEC_BUNDLED */
    uint32_t once;         /* some of them ask for what makes sense only once (a buffer, an overlap check) */
    struct dp_error error; /* CODEC_REFUSED */
};

/* Takes the whole messages at the start of `in` apart. Runs of flow_mods hold at most `batch` bytes and 256 messages;
 * `items` gets where each message of a run starts. Returns the number of runs; `*used` is what of the input they cover.
 * `form`: CODEC_STANDARD, or CODEC_STANDARD_TABLE for a 1.0 connection that asked for NXT_FLOW_MOD_TABLE_ID. Its NXT_FLOW_MODs
 * count as flow_mods, and in versions 4 to 6 bundle-add messages as flow_mods of their bundle. */
uint32_t codec_scan(uint32_t version, uint32_t form, const uint8_t *in, size_t len, uint8_t *out, size_t size, size_t batch,
                    uint32_t *items, uint32_t max_items, struct codec_run *runs, uint32_t max_runs, size_t *used);
/* Makes records of a journal of canonical flow_mods (as in a run's output): what makes sense only once is taken from them, and
 * their lengths are put into network order. */
void codec_make_records(uint8_t *batch, size_t len);
/* The same of ofp_flow_stats entries (with 1.4's importance): flow_mods that add the rules. `out` has room for as much. Returns how many,
 * or -1 where the entries make no sense. */
int codec_stats_records(const uint8_t *stats, size_t len, uint8_t *out, size_t *out_len);
/* Multipart replies of a flow dump: entries as codec_flow_stats_out makes them, in whole messages that all say that more
 * follows. `*last` is where the last message starts. */
int64_t codec_flow_stats_messages(uint32_t version, uint32_t form, uint32_t xid, const uint8_t *entries, size_t len,
                                  uint8_t *out, size_t size, size_t *last);

/* cffi: end */

#define CODEC_MAX_DEPTH 8      /* clones within each other */

/* Output that grows to `size` and no further. */
struct codec_buf {
    uint8_t *data;
    size_t len, size;
    int full;
};

uint8_t *codec_put(struct codec_buf *b, size_t len);
int codec_copy(struct codec_buf *b, const uint8_t *data, size_t len);
/* Zeros up to a multiple of 8 from `from`. */
void codec_pad(struct codec_buf *b, size_t from);

struct match;
int codec_put_actions_in(struct codec_buf *b, uint32_t version, const uint8_t *actions, size_t len, struct dp_error *f);
int codec_check_oxm(uint32_t version, const uint8_t *tlv, size_t len, uint32_t of_type, uint32_t of_code, struct dp_error *f);
int codec_put_match_in(struct codec_buf *b, uint32_t version, uint32_t form, const uint8_t *match, size_t len,
                       uint64_t *cookie, uint64_t *cookie_mask, struct dp_error *f);
void codec_put_actions_out(struct codec_buf *b, uint32_t version, const uint8_t *actions, size_t len, uint8_t ip_proto);
void codec_put_tlvs_out(struct codec_buf *b, uint32_t version, const uint8_t *tlvs, size_t len);
/* Length in bytes of a canonical match with its padding, and its protocol, for the actions that depend on it. */
uint8_t codec_match_proto(const uint8_t *match);
void codec_put_match_out(struct codec_buf *b, uint32_t version, uint32_t form, const uint8_t *match);

static inline uint32_t codec_port16(uint16_t port)
{
    return port >= 0xff00 ? 0xffff0000u | port : port;
}

#endif
