/* A connection's bytes as messages: flow_mods in canonical batches, all else one by one. */
#include <errno.h>
#include <stdbool.h>
#include "base/bytes.h"
#include "base/fault.h"
#include "codec/codec.h"
#include "flow/nicira.h"
#include "flow/openflow.h"

enum { HEADER = 8, OFPT_EXPERIMENTER = 4, OFPT_FLOW_MOD = 14, NXT_FLOW_MOD = 13, OFPT_BUNDLE_ADD = 34, ONF_BUNDLE_ADD = 2301, MAX_BATCH = 256 };

/* Where the flow_mod inside a message lies; 0 when there is none that may go in a batch. `*kind` as the run is to be. */
static size_t flow_mod_at(uint32_t version, const uint8_t *m, size_t len, uint32_t *kind, uint32_t *form)
{
    *kind = CODEC_FLOW_MODS;
    if (m[0] != version)
        return 0;
    if (m[1] == OFPT_FLOW_MOD)
        return HEADER;
    if (version == 1 && m[1] == OFPT_EXPERIMENTER && len >= 16 && get32(m + 8) == NX_VENDOR && get32(m + 12) == NXT_FLOW_MOD) {
        *form = *form == CODEC_STANDARD ? CODEC_NICIRA : CODEC_NICIRA_TABLE;
        return 16;
    }
    size_t inner = 0;
    if (version >= 5 && m[1] == OFPT_BUNDLE_ADD)
        inner = 16;
    else if (version == 4 && m[1] == OFPT_EXPERIMENTER && len >= 24 && get32(m + 8) == ONF_VENDOR && get32(m + 12) == ONF_BUNDLE_ADD)
        inner = 24;
    *kind = CODEC_BUNDLED;
    /* Without properties, and with the same xid: anything else is for the bundle's own checks. */
    if (!inner || len < inner + HEADER || m[inner] != version || m[inner + 1] != OFPT_FLOW_MOD ||
        (get16(m + inner + 2) + 7u) / 8 * 8 < len - inner || get16(m + inner + 2) > len - inner ||
        get32(m + inner + 4) != get32(m + 4))
        return 0;
    return inner + HEADER;
}

static bool asks_once(const uint8_t *body)
{
    return get32(body + 24) != OFP_NO_BUFFER || get16(body + 36) & OFPFF_CHECK_OVERLAP;
}

uint32_t codec_scan(uint32_t version, uint32_t form, const uint8_t *in, size_t len, uint8_t *out, size_t size, size_t batch,
                    uint32_t *items, uint32_t max_items, struct codec_run *runs, uint32_t max_runs, size_t *used)
{
    uint32_t n_runs = 0, n_items = 0;
    size_t at = 0, filled = 0;
    struct codec_run *open = NULL;
    while (len - at >= HEADER) {
        size_t n = get16(in + at + 2);
        uint32_t kind, this_form = form;
        if (n < HEADER) {
            if (n_runs < max_runs)
                runs[n_runs++] = (struct codec_run){.kind = CODEC_BAD_HEADER, .start = (uint32_t)at, .end = (uint32_t)at};
            break;
        }
        if (n > len - at)
            break;
        size_t body = flow_mod_at(version, in + at, n, &kind, &this_form);
        if (!body) {
            if (n_runs == max_runs)
                break;
            runs[n_runs++] = (struct codec_run){.kind = CODEC_OTHER, .start = (uint32_t)at, .end = (uint32_t)(at + n), .n = 1};
            open = NULL;
            at += n;
            continue;
        }
        size_t end = kind == CODEC_BUNDLED ? body - HEADER + get16(in + at + body - HEADER + 2) : n;
        uint32_t bundle = kind == CODEC_BUNDLED ? get32(in + at + body - HEADER - 8) : 0;
        uint32_t flags = kind == CODEC_BUNDLED ? get16(in + at + body - HEADER - 2) : 0;
        struct dp_error why;
        int64_t made = filled + 4 > size ? -ENOBUFS
                     : end < body ? fault_openflow(&why, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN, "flow_mod", "%zu bytes", end)
                     : codec_flow_mod_in(version, this_form, in + at + body, end - body, out + filled + 4, size - filled - 4, &why);
        if (made == -ENOBUFS || n_items == max_items)
            break;
        if (made < 0) {
            if (n_runs == max_runs)
                break;
            runs[n_runs] = (struct codec_run){.kind = CODEC_REFUSED, .start = (uint32_t)at, .end = (uint32_t)(at + n), .n = 1,
                                              .bundle = bundle, .flags = kind};
            runs[n_runs++].error = why;
            open = NULL;
            at += n;
            continue;
        }
        uint32_t made_len = (uint32_t)made;
        if (open && (open->kind != kind || open->n == MAX_BATCH || open->out_len + 4 + made_len > batch ||
                     open->bundle != bundle || open->flags != flags))
            open = NULL;
        if (!open) {
            if (n_runs == max_runs)
                break;
            open = &runs[n_runs++];
            *open = (struct codec_run){.kind = kind, .start = (uint32_t)at, .item = n_items, .out = (uint32_t)filled,
                                       .bundle = bundle, .flags = flags};
        }
        memcpy(out + filled, &made_len, 4);
        items[n_items++] = (uint32_t)at;
        open->once |= asks_once(out + filled + 4);
        open->n++;
        open->out_len += 4 + made_len;
        open->end = (uint32_t)(at + n);
        filled += 4 + made_len;
        at += n;
    }
    *used = at;
    return n_runs;
}

void codec_make_records(uint8_t *batch, size_t len)
{
    for (size_t at = 0; at + 4 <= len;) {
        uint32_t n;
        memcpy(&n, batch + at, 4);
        put32(batch + at, n);
        at += 4;
        if (n > len - at || n < OFP_FLOW_MOD_FIXED)
            return;
        put32(batch + at + 24, OFP_NO_BUFFER);
        put16(batch + at + 36, get16(batch + at + 36) & ~OFPFF_CHECK_OVERLAP);
        at += n;
    }
}

/* A flow_stats entry without its match and instructions; then those of a flow_mod that adds the rule. */
#define STATS_FIXED 48

int codec_stats_records(const uint8_t *stats, size_t len, uint8_t *out, size_t *out_len)
{
    size_t at = 0, n = 0;
    int count = 0;
    while (at + STATS_FIXED <= len) {
        const uint8_t *e = stats + at;
        size_t size = get16(e);
        if (size < STATS_FIXED || size > len - at)
            return -1;
        uint8_t *m = out + n + 4;
        put32(out + n, (uint32_t)(OFP_FLOW_MOD_FIXED + size - STATS_FIXED));
        memcpy(m, e + 24, 8);              /* cookie */
        memset(m + 8, 0, 8);
        m[16] = e[2];                      /* table */
        m[17] = OFPFC_ADD;
        memcpy(m + 18, e + 14, 4);         /* idle and hard timeout */
        memcpy(m + 22, e + 12, 2);         /* priority */
        put32(m + 24, OFP_NO_BUFFER);
        put32(m + 28, OFPP_ANY);
        put32(m + 32, OFPG_ANY);
        put16(m + 36, get16(e + 18) & (uint16_t)~OFPFF_CHECK_OVERLAP);
        memcpy(m + 38, e + 20, 2);         /* importance */
        memcpy(m + OFP_FLOW_MOD_FIXED, e + STATS_FIXED, size - STATS_FIXED);
        n += 4 + OFP_FLOW_MOD_FIXED + size - STATS_FIXED;
        at += size;
        count++;
    }
    *out_len = n;
    return at == len ? count : -1;
}
