#include "flow/instructions.h"
#include "base/bytes.h"
#include "flow/openflow.h"

#define BAD_ACTION(code, ...) fault_openflow(f, OFPET_BAD_ACTION, OFPBAC_##code, "actions", __VA_ARGS__)
#define BAD_INSTRUCTION(code, ...)                                                                                     \
    fault_openflow(f, OFPET_BAD_INSTRUCTION, OFPBIC_##code, "instructions", __VA_ARGS__)

static int check_output(const uint8_t *a, bool packet_out, fault *f)
{
    uint32_t port = get32(a + 4);
    if (port == 0 || port == OFPP_ANY || (port > OFPP_MAX && port < OFPP_IN_PORT) || (port == OFPP_TABLE && !packet_out))
        return BAD_ACTION(BAD_OUT_PORT, "output to port 0x%x", port);
    return 0;
}

/* What the packet will look like after push and pop, as far as prerequisites ask. */
static void set_eth_type(struct match *m, uint16_t type)
{
    m->value.key.eth_type = htobe16(type);
    m->mask.key.eth_type = 0xffff;
    m->value.key.ip_proto = m->mask.key.ip_proto = 0;
    m->value.key.icmp_type = m->mask.key.icmp_type = 0;
}

static int check_set_field(const uint8_t *a, size_t len, struct match *m, fault *f)
{
    uint8_t value[16], mask[16];
    bool has_mask;
    int id;
    fault inner;
    int n = oxm_parse(a + 4, len - 4, &id, value, mask, &has_mask, &inner);
    if (n < 0) {
        if (inner.of_code == OFPBMC_BAD_FIELD)
            return BAD_ACTION(BAD_SET_TYPE, "set-field: %s", inner.reason);
        if (inner.of_code == OFPBMC_BAD_VALUE || inner.of_code == OFPBMC_BAD_MASK)
            return BAD_ACTION(BAD_SET_ARGUMENT, "set-field: %s", inner.reason);
        return BAD_ACTION(BAD_SET_LEN, "set-field: %s", inner.reason);
    }
    if (len != (4u + (unsigned)n + 7) / 8 * 8)
        return BAD_ACTION(BAD_SET_LEN, "set-field of %s: action of %zu bytes", fields[id].name, len);
    for (size_t i = 4u + (unsigned)n; i < len; i++)
        if (a[i])
            return BAD_ACTION(BAD_SET_ARGUMENT, "set-field of %s: padding is not zero", fields[id].name);
    if (!fields[id].settable)
        return BAD_ACTION(BAD_SET_TYPE, "%s can't be set", fields[id].name);
    if (has_mask)
        return BAD_ACTION(BAD_SET_TYPE, "set-field of %s: OpenFlow 1.3 knows no masked set-field", fields[id].name);
    if (id == F_VLAN_VID) {
        /* Sets the id of a tag that is there: OpenFlow 1.3.5, 5.12. */
        if (!match_has_prereq(m, DP_PRE_VLAN))
            return BAD_ACTION(MATCH_INCONSISTENT, "set-field of vlan_vid without a VLAN tag in the match");
        if (!(get16(value) & OFPVID_PRESENT))
            return BAD_ACTION(BAD_SET_ARGUMENT, "set-field of vlan_vid without OFPVID_PRESENT");
    }
    if (!match_has_prereq(m, fields[id].prereq))
        return BAD_ACTION(MATCH_INCONSISTENT, "set-field of %s without its prerequisite in the match", fields[id].name);
    field_store(&m->value, id, value);
    memset(mask, 0xff, 16);
    if (id != F_TUN_IPV4_SRC && id != F_TUN_IPV4_DST)
        field_store(&m->mask, id, mask);
    return 0;
}

static int check_action(const uint8_t *a, size_t len, struct match *m, bool packet_out, fault *f)
{
    uint16_t type = get16(a), ethertype = get16(a + 4);
    uint16_t before = m->mask.key.eth_type == 0xffff ? be16toh(m->value.key.eth_type) : 0;
    switch (type) {
    case OFPAT_OUTPUT:
        if (len != 16)
            return BAD_ACTION(BAD_LEN, "output action of %zu bytes", len);
        return check_output(a, packet_out, f);
    case OFPAT_SET_FIELD:
        if (len < 8)
            return BAD_ACTION(BAD_LEN, "set-field action of %zu bytes", len);
        return check_set_field(a, len, m, f);
    case OFPAT_GROUP:
    case OFPAT_EXPERIMENTER:
        break;
    default:
        if (len != 8)
            return BAD_ACTION(BAD_LEN, "action type %u of %zu bytes", type, len);
    }
    switch (type) {
    case OFPAT_COPY_TTL_OUT:
    case OFPAT_COPY_TTL_IN:
    case OFPAT_SET_QUEUE:
        return 0;
    case OFPAT_SET_MPLS_TTL:
    case OFPAT_DEC_MPLS_TTL:
        if (!match_has_prereq(m, DP_PRE_MPLS))
            return BAD_ACTION(MATCH_INCONSISTENT, "MPLS TTL without MPLS in the match");
        return 0;
    case OFPAT_SET_NW_TTL:
    case OFPAT_DEC_NW_TTL:
        if (!match_has_prereq(m, DP_PRE_IP))
            return BAD_ACTION(MATCH_INCONSISTENT, "IP TTL without IP in the match");
        return 0;
    case OFPAT_PUSH_VLAN:
        if (ethertype != 0x8100 && ethertype != 0x88a8)
            return BAD_ACTION(BAD_ARGUMENT, "push-VLAN of ethertype 0x%04x", ethertype);
        m->value.key.vlan_vid |= htobe16(OFPVID_PRESENT);
        m->mask.key.vlan_vid |= htobe16(OFPVID_PRESENT);
        return 0;
    case OFPAT_POP_VLAN:
        if (!match_has_prereq(m, DP_PRE_VLAN))
            return BAD_ACTION(MATCH_INCONSISTENT, "pop-VLAN without a VLAN tag in the match");
        m->value.key.vlan_vid = m->mask.key.vlan_vid = 0;
        return 0;
    case OFPAT_PUSH_MPLS:
        if (ethertype != 0x8847 && ethertype != 0x8848)
            return BAD_ACTION(BAD_ARGUMENT, "push-MPLS of ethertype 0x%04x", ethertype);
        set_eth_type(m, ethertype);
        return 0;
    case OFPAT_POP_MPLS:
        if (before != 0x8847 && before != 0x8848)
            return BAD_ACTION(MATCH_INCONSISTENT, "pop-MPLS without MPLS in the match");
        set_eth_type(m, ethertype);
        return 0;
    case OFPAT_PUSH_PBB:
        if (ethertype != 0x88e7)
            return BAD_ACTION(BAD_ARGUMENT, "push-PBB of ethertype 0x%04x", ethertype);
        set_eth_type(m, ethertype);
        return 0;
    case OFPAT_POP_PBB:
        if (before != 0x88e7)
            return BAD_ACTION(MATCH_INCONSISTENT, "pop-PBB without PBB in the match");
        m->mask.key.eth_type = m->value.key.eth_type = 0;
        return 0;
    case OFPAT_GROUP:
        if (len != 8)
            return BAD_ACTION(BAD_LEN, "group action of %zu bytes", len);
        return BAD_ACTION(BAD_OUT_GROUP, "group %u does not exist", get32(a + 4));
    case OFPAT_EXPERIMENTER:
        if (len < 8)
            return BAD_ACTION(BAD_LEN, "experimenter action of %zu bytes", len);
        return BAD_ACTION(BAD_EXPERIMENTER, "experimenter 0x%08x", get32(a + 4));
    default:
        return BAD_ACTION(BAD_TYPE, "action type %u", type);
    }
}

static int check_list(const uint8_t *data, size_t len, struct match *m, bool packet_out, fault *f)
{
    for (size_t at = 0; at < len;) {
        if (len - at < 8)
            return BAD_ACTION(BAD_LEN, "%zu bytes where an action has at least 8", len - at);
        size_t n = get16(data + at + 2);
        if (n < 8 || n % 8 || n > len - at)
            return BAD_ACTION(BAD_LEN, "action of %zu bytes with %zu left", n, len - at);
        int r = check_action(data + at, n, m, packet_out, f);
        if (r)
            return r;
        at += n;
    }
    return 0;
}

int actions_check(const uint8_t *data, size_t len, const struct match *m, bool packet_out, fault *f)
{
    struct match after = *m;
    return check_list(data, len, &after, packet_out, f);
}

int instructions_check(const uint8_t *data, size_t len, uint8_t table_id, const struct match *m, fault *f)
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
        if (type < OFPIT_GOTO_TABLE || type > OFPIT_METER)
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
            return fault_openflow(f, OFPET_METER_MOD_FAILED, 3, "instructions", "meter %u does not exist", get32(i + 4));
        default:
            if (n != 8)
                return BAD_INSTRUCTION(BAD_LEN, "clear-actions of %zu bytes", n);
        }
        at += n;
    }
    /* Apply-actions come before write-actions, whatever their order in the list (OpenFlow 1.3.5, 5.9). */
    struct match after = *m;
    int r = 0;
    if (apply)
        r = check_list(apply + 8, get16(apply + 2) - 8u, &after, false, f);
    if (!r && write)
        r = check_list(write + 8, get16(write + 2) - 8u, &after, false, f);
    return r;
}

static bool list_output(const uint8_t *data, size_t len, uint32_t port, uint32_t group)
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
            list_output(data + at + 8, get16(data + at + 2) - 8u, port, group))
            return true;
    }
    return false;
}
