#include "flow/instructions.h"
#include <errno.h>
#include "base/bytes.h"
#include "flow/actions_check.h"
#include "flow/meter.h"
#include "flow/openflow.h"
#include "flow/trigger.h"

#define BAD_INSTRUCTION(code, ...)                                                                                     \
    fault_openflow(f, OFPET_BAD_INSTRUCTION, OFPBIC_##code, "instructions", __VA_ARGS__)

int instructions_check(const struct bridge *b, const uint8_t *data, size_t len, uint8_t table_id, const struct match *m,
                       fault *f)
{
    uint32_t seen = 0;
    const uint8_t *apply = NULL, *write = NULL;
    for (size_t at = 0; at < len;) {
        if (len - at < 8)
            return BAD_INSTRUCTION(BAD_LEN, "%zu bytes where an instruction has at least 8", len - at);
        const uint8_t *i = data + at;
        uint16_t type = get16(i);
        size_t n = get16(i + 2);
        if (n < 8 || n % 8 || n > len - at)
            return BAD_INSTRUCTION(BAD_LEN, "instruction of %zu bytes with %zu left", n, len - at);
        if (type == OFPIT_EXPERIMENTER)
            return BAD_INSTRUCTION(BAD_EXPERIMENTER, "experimenter 0x%08x", get32(i + 4));
        if (type < OFPIT_GOTO_TABLE || type > OFPIT_STAT_TRIGGER)
            return BAD_INSTRUCTION(UNKNOWN_INST, "instruction type %u", type);
        if (seen >> type & 1)
            return BAD_INSTRUCTION(DUP_INST, "instruction type %u twice", type);
        seen |= 1u << type;
        switch (type) {
        case OFPIT_GOTO_TABLE:
            if (n != 8)
                return BAD_INSTRUCTION(BAD_LEN, "goto-table of %zu bytes", n);
            if (i[4] <= table_id || i[4] >= OFPTT_MAX)
                return BAD_INSTRUCTION(BAD_TABLE_ID, "goto-table %u from table %u", i[4], table_id);
            if (b && bridge_egress(b, i[4]) && !bridge_egress(b, table_id))
                return BAD_INSTRUCTION(BAD_TABLE_ID, "goto-table %u, an egress table, from table %u, which is none", i[4],
                                       table_id);
            break;
        case OFPIT_WRITE_METADATA:
            if (n != 24)
                return BAD_INSTRUCTION(BAD_LEN, "write-metadata of %zu bytes", n);
            break;
        case OFPIT_WRITE_ACTIONS:
            write = i;
            break;
        case OFPIT_APPLY_ACTIONS:
            apply = i;
            break;
        case OFPIT_METER:
            if (n != 8)
                return BAD_INSTRUCTION(BAD_LEN, "meter of %zu bytes", n);
            if (!meter_find(b, get32(i + 4)))
                return fault_openflow(f, OFPET_METER_MOD_FAILED, 3, "instructions", "meter %u does not exist", get32(i + 4));
            break;
        case OFPIT_STAT_TRIGGER:
            if (trigger_check(i, n, f))
                return -EINVAL;
            break;
        default:
            if (n != 8)
                return BAD_INSTRUCTION(BAD_LEN, "clear-actions of %zu bytes", n);
        }
        at += n;
    }
    /* Apply-actions come before write-actions, whatever their order in the list (OpenFlow 1.3.5, 5.9). */
    struct match after = *m;
    struct actions_context c = {.bridge = b, .table_id = table_id, .match = &after};
    int r = 0;
    if (apply)
        r = actions_check(&c, apply + 8, get16(apply + 2) - 8u, f);
    c.action_set = true;
    if (!r && write)
        r = actions_check(&c, write + 8, get16(write + 2) - 8u, f);
    return r;
}

bool actions_output(const uint8_t *data, size_t len, uint32_t port, uint32_t group)
{
    for (size_t at = 0; at + 8 <= len; at += get16(data + at + 2)) {
        uint16_t type = get16(data + at);
        if (type == OFPAT_OUTPUT && port != OFPP_ANY && get32(data + at + 4) == port)
            return true;
        if (type == OFPAT_GROUP && group != OFPG_ANY && get32(data + at + 4) == group)
            return true;
    }
    return false;
}

bool instructions_output(const uint8_t *data, size_t len, uint32_t port, uint32_t group)
{
    for (size_t at = 0; at + 8 <= len; at += get16(data + at + 2)) {
        uint16_t type = get16(data + at);
        if ((type == OFPIT_APPLY_ACTIONS || type == OFPIT_WRITE_ACTIONS) &&
            actions_output(data + at + 8, get16(data + at + 2) - 8u, port, group))
            return true;
    }
    return false;
}

bool instructions_meter(const uint8_t *data, size_t len, uint32_t meter)
{
    for (size_t at = 0; at + 8 <= len; at += get16(data + at + 2)) {
        const uint8_t *i = data + at;
        uint16_t type = get16(i);
        if (type == OFPIT_METER && get32(i + 4) == meter)
            return true;
        if (type != OFPIT_APPLY_ACTIONS && type != OFPIT_WRITE_ACTIONS)
            continue;
        for (size_t o = 8; o + 8 <= get16(i + 2); o += get16(i + o + 2))
            if (get16(i + o) == OFPAT_METER && get32(i + o + 4) == meter)
                return true;
    }
    return false;
}
