#include "flow/trigger.h"
#include <errno.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "base/clock.h"
#include "flow/openflow.h"
#include "flow/rule.h"

#define PERIODIC 1             /* enum ofp_stat_trigger_flags: at all multiples of a threshold */
#define ONLY_FIRST 2           /* at the threshold that is passed first; the others are ignored from then on */
#define OXS_BASIC 0x8002       /* enum ofp_oxs_class */

/* enum oxs_ofb_stat_fields (7.2.4.4) */
enum { DURATION = 0, IDLE_TIME = 1, FLOW_COUNT = 3, PACKET_COUNT = 4, BYTE_COUNT = 5, N_STATISTICS };

struct threshold {
    uint8_t field;
    uint64_t at;               /* packets, bytes, flows, nanoseconds */
    uint64_t passed;           /* how many times it has been */
};

struct trigger {
    uint32_t flags;
    unsigned n;
    struct threshold thresholds[N_STATISTICS];
};

static size_t size_of(unsigned field)
{
    return field == FLOW_COUNT ? 4 : field == DURATION || field == IDLE_TIME || field == PACKET_COUNT || field == BYTE_COUNT ? 8 : 0;
}

#define REFUSED(code, ...) fault_openflow(f, OFPET_BAD_INSTRUCTION, OFPBIC_##code, "stat_trigger", __VA_ARGS__)

int trigger_check(const uint8_t *i, size_t len, fault *f)
{
    if (len < 16)
        return REFUSED(BAD_LEN, "%zu bytes", len);
    if (get32(i + 4) & ~(uint32_t)(PERIODIC | ONLY_FIRST))
        return REFUSED(UNSUP_INST, "unknown flags in 0x%x", get32(i + 4));
    size_t end = 8u + get16(i + 10);
    if (end < 12 || (end + 7) / 8 * 8 != len)
        return REFUSED(BAD_LEN, "%u bytes of thresholds in %zu", get16(i + 10), len);
    unsigned seen = 0;
    for (size_t at = 12; at < end;) {
        if (end - at < 4 || i[at + 3] > end - at - 4)
            return REFUSED(BAD_LEN, "a threshold is cut off");
        unsigned field = i[at + 2] >> 1;
        if (get16(i + at) != OXS_BASIC || !size_of(field))
            return REFUSED(UNSUP_INST, "OXS 0x%08x is no statistic of a rule", get32(i + at));
        if (i[at + 3] != size_of(field))
            return REFUSED(BAD_LEN, "OXS 0x%08x has %u bytes", get32(i + at), i[at + 3]);
        if (seen >> field & 1)
            return REFUSED(UNSUP_INST, "OXS 0x%08x twice", get32(i + at));
        seen |= 1u << field;
        at += 4u + i[at + 3];
    }
    return 0;
}

static uint64_t value_of(unsigned field, const uint8_t *v)
{
    if (field == DURATION || field == IDLE_TIME)
        return get32(v) * UINT64_C(1000000000) + get32(v + 4);
    return field == FLOW_COUNT ? get32(v) : get64(v);
}

int trigger_new(const uint8_t *instructions, size_t len, struct trigger **made)
{
    const uint8_t *i = NULL;
    *made = NULL;
    for (size_t at = 0; at + 8 <= len; at += get16(instructions + at + 2))
        if (get16(instructions + at) == OFPIT_STAT_TRIGGER)
            i = instructions + at;
    if (!i)
        return 0;
    struct trigger *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->flags = get32(i + 4);
    for (size_t at = 12; at < 8u + get16(i + 10); at += 4u + i[at + 3]) {
        struct threshold *h = &t->thresholds[t->n++];
        h->field = i[at + 2] >> 1;
        h->at = value_of(h->field, i + at + 4);
    }
    *made = t;
    return 0;
}

static uint64_t nanoseconds(uint64_t cycles)
{
    return cycles / clock_hz * 1000000000 + (uint64_t)((double)(cycles % clock_hz) * 1e9 / (double)clock_hz);
}

static uint64_t current(unsigned field, const struct rule_totals *totals, uint64_t age, uint64_t idle)
{
    switch (field) {
    case DURATION:
        return nanoseconds(age);
    case IDLE_TIME:
        return nanoseconds(idle);
    case FLOW_COUNT:
        return 1;
    case PACKET_COUNT:
        return totals->packets;
    default:
        return totals->bytes;
    }
}

bool trigger_look(struct trigger *t, const struct rule_totals *totals, uint64_t age, uint64_t idle)
{
    bool any = false;
    for (unsigned n = 0; n < t->n; n++) {
        struct threshold *h = &t->thresholds[n];
        uint64_t now = current(h->field, totals, age, idle), times = now >= h->at;
        if (t->flags & PERIODIC && h->at)
            times = now / h->at;
        any |= times > h->passed;
        if (times > h->passed && t->flags & ONLY_FIRST) {
            t->thresholds[0] = *h;
            t->thresholds[0].passed = times;
            t->n = 1;
            break;
        }
        h->passed = times;     /* less than before where a packet has ended an idle time */
    }
    return any;
}
