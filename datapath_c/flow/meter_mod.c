/* OFPT_METER_MOD (OpenFlow 1.3.5, 7.3.4.5; errors 7.4.4.13). */
#include <errno.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "base/clock.h"
#include "base/defer.h"
#include "flow/bundle.h"
#include "flow/instructions.h"
#include "flow/meter.h"
#include "flow/rule_list.h"
#include "path/datapath.h"

enum { OFPMC_ADD, OFPMC_MODIFY, OFPMC_DELETE };
enum { OFPMMFC_UNKNOWN, OFPMMFC_METER_EXISTS, OFPMMFC_INVALID_METER, OFPMMFC_UNKNOWN_METER, OFPMMFC_BAD_COMMAND,
       OFPMMFC_BAD_FLAGS, OFPMMFC_BAD_RATE, OFPMMFC_BAD_BURST, OFPMMFC_BAD_BAND, OFPMMFC_BAD_BAND_VALUE,
       OFPMMFC_OUT_OF_METERS, OFPMMFC_OUT_OF_BANDS };
enum { OFPRR_METER_DELETE = 4 };

#define DEFAULT_BURST_MS 100   /* of the band's rate, where the meter says nothing of bursts */
#define LEAST_BURST_BITS 24000 /* two full frames */

#define FAILED(code, field, ...) fault_openflow(f, OFPET_METER_MOD_FAILED, OFPMMFC_##code, field, __VA_ARGS__)

static int parse_band(const uint8_t *d, size_t len, uint16_t flags, struct band *b, fault *f)
{
    if (len != 16)
        return FAILED(BAD_BAND, "bands", "a band of %zu bytes", len);
    *b = (struct band){.type = get16(d), .rate = get32(d + 4), .burst = get32(d + 8)};
    if (b->type != OFPMBT_DROP && b->type != OFPMBT_DSCP_REMARK)
        return FAILED(BAD_BAND, "bands", "band type %u", b->type);
    if (b->type == OFPMBT_DSCP_REMARK)
        b->prec_level = d[12];
    if (!b->rate)
        return FAILED(BAD_RATE, "rate", "0");
    if (b->type == OFPMBT_DSCP_REMARK && (!b->prec_level || b->prec_level > 2))
        return FAILED(BAD_BAND_VALUE, "prec_level", "%u: drop precedences rise by 1 or 2", b->prec_level);
    bool packets = flags & OFPMF_PKTPS;
    double per_second = packets ? b->rate : b->rate * 1000.0;
    double burst = flags & OFPMF_BURST && b->burst ? (packets ? b->burst : b->burst * 1000.0)
                                                   : per_second * DEFAULT_BURST_MS / 1000;
    double least = packets ? 2 : LEAST_BURST_BITS;
    rate_init(&b->pace, per_second, burst > least ? burst : least);
    return 0;
}

/* Rules that name the meter go with it (6.5). */
static int remove_rules(struct bridge *b, uint32_t id, fault *f)
{
    uint32_t version = bridge_pending_version(b);
    for (unsigned t = 0; t < OFPTT_MAX; t++) {
        struct table *table = atomic_load_explicit(&b->tables[t], memory_order_relaxed);
        for (struct rule *r = table ? table->rules : NULL, *next; r; r = next) {
            const struct instructions *i = atomic_load_explicit(&r->instructions, memory_order_relaxed);
            next = r->next;
            if (!cls_visible(&r->cls, version) || !instructions_meter(i->bytes, i->len, id))
                continue;
            int e = 0;
            if (b->bundle)
                e = bundle_removed(b, r, BUNDLE_DELETED, f);
            else
                rule_remove(r, OFPRR_METER_DELETE);
            if (e)
                return e;
        }
    }
    bridge_forget(b);
    return 0;
}

static int delete_one(struct bridge *b, struct meter *m, fault *f)
{
    int e = remove_rules(b, m->id, f);
    if (e)
        return e;
    if (id_map_set(&b->meters, m->id, NULL))
        return fault_set(f, ENOMEM, "meter_mod", "out of memory");
    defer(free, m);
    tenant_changed(b->tenant);
    return 0;
}

static int delete(struct bridge *b, uint32_t id, fault *f)
{
    int e = 0;
    struct id_map *map;
    if (id != OFPM_ALL) {
        struct meter *m = meter_find(b, id);
        return m ? delete_one(b, m, f) : 0;
    }
    while (!e && (map = atomic_load_explicit(&b->meters, memory_order_relaxed)) && map->n)
        e = delete_one(b, map->at[map->n - 1].object, f);
    return e;
}

int meter_mod(struct bridge *b, const uint8_t *d, size_t len, fault *f)
{
    struct band bands[METER_MAX_BANDS];
    uint32_t n = 0;
    if (len < 8)
        return fault_openflow(f, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN, "meter_mod", "%zu bytes", len);
    uint16_t command = get16(d), flags = get16(d + 2);
    uint32_t id = get32(d + 4);
    if (command > OFPMC_DELETE)
        return FAILED(BAD_COMMAND, "command", "command %u", command);
    bool virtual = id == OFPM_SLOWPATH || id == OFPM_CONTROLLER;
    if (!id || (id > OFPM_MAX && !virtual && !(command == OFPMC_DELETE && id == OFPM_ALL)))
        return FAILED(INVALID_METER, "meter_id", "meter 0x%x", id);
    if (command == OFPMC_DELETE)
        return delete(b, id, f);
    if (flags & ~15 || (flags & OFPMF_KBPS && flags & OFPMF_PKTPS))
        return FAILED(BAD_FLAGS, "flags", "0x%x", flags);
    for (size_t at = 8; at < len;) {
        size_t size = len - at < 12 ? 0 : get16(d + at + 2);
        if (size < 12 || size > len - at)
            return fault_openflow(f, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN, "bands", "a band of %zu bytes with %zu left", size, len - at);
        if (n == METER_MAX_BANDS)
            return FAILED(OUT_OF_BANDS, "bands", "a meter has at most %u", METER_MAX_BANDS);
        int e = parse_band(d + at, size, flags, &bands[n++], f);
        if (e)
            return e;
        at += size;
    }
    struct meter *old = meter_find(b, id);
    struct id_map *map = atomic_load_explicit(&b->meters, memory_order_relaxed);
    if (command == OFPMC_ADD && old)
        return FAILED(METER_EXISTS, "meter_id", "meter %u is there already", id);
    if (command == OFPMC_MODIFY && !old)
        return FAILED(UNKNOWN_METER, "meter_id", "there is no meter %u", id);
    if (!old && map && map->n >= BRIDGE_MAX_METERS)
        return FAILED(OUT_OF_METERS, "meter_id", "the bridge has its %u meters", BRIDGE_MAX_METERS);
    unsigned workers = b->dp->n_workers;
    struct meter *m = calloc(1, sizeof *m + n * sizeof m->bands[0] + workers * (1 + n) * sizeof m->counts[0]);
    if (!m)
        return fault_set(f, ENOMEM, "meter_mod", "out of memory");
    m->id = id;
    m->flags = flags;
    m->n_bands = n;
    m->n_workers = workers;
    m->created = clock_now();
    m->counts = (struct meter_counts *)(m->bands + n);
    for (uint32_t i = 0; i < n; i++) {
        struct band *to = &m->bands[i];
        to->type = bands[i].type;
        to->prec_level = bands[i].prec_level;
        to->rate = bands[i].rate;
        to->burst = bands[i].burst;
        to->pace.interval = bands[i].pace.interval;
        to->pace.tolerance = bands[i].pace.tolerance;
    }
    if (id_map_set(&b->meters, id, m)) {
        free(m);
        return fault_set(f, ENOMEM, "meter_mod", "out of memory");
    }
    if (old)
        defer(free, old);
    tenant_changed(b->tenant);
    return 0;
}
