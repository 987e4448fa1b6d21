/* The standard's actions, before anything is stored (OpenFlow 1.3.5, 7.2.5; 1.5.1, 7.2.6). */
#include "flow/actions_check.h"
#include "base/bytes.h"
#include "flow/group.h"
#include "flow/meter.h"
#include "flow/openflow.h"
#include "flow/subfield.h"

int output_port_check(uint32_t port, bool packet_out, fault *f)
{
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

static bool has_prereq(const struct actions_context *c, uint32_t prereq)
{
    return !c->match || match_has_prereq(c->match, prereq);
}

static int check_set_field(const struct actions_context *c, const uint8_t *a, size_t len, fault *f)
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
    const char *name = fields[id].name;
    if (len != (4u + (unsigned)n + 7) / 8 * 8)
        return BAD_ACTION(BAD_SET_LEN, "set-field of %s: action of %zu bytes", name, len);
    for (size_t i = 4u + (unsigned)n; i < len; i++)
        if (a[i])
            return BAD_ACTION(BAD_SET_ARGUMENT, "set-field of %s: padding is not zero", name);
    if (!fields[id].settable)
        return BAD_ACTION(BAD_SET_TYPE, "%s can't be set", name);
    if (has_mask && !fields[id].maskable)
        return BAD_ACTION(BAD_SET_MASK, "set-field of %s: it can't be masked", name);
    for (unsigned i = 0; has_mask && i < fields[id].bytes; i++)
        if (value[i] & ~mask[i])
            return BAD_ACTION(BAD_SET_ARGUMENT, "set-field of %s: value has bits outside its mask", name);
    if (id == F_VLAN_VID) {
        /* Sets the id of a tag that is there: OpenFlow 1.3.5, 5.12. */
        if (!has_prereq(c, DP_PRE_VLAN))
            return BAD_ACTION(MATCH_INCONSISTENT, "set-field of vlan_vid without a VLAN tag in the match");
        if (!has_mask && !(get16(value) & OFPVID_PRESENT))
            return BAD_ACTION(BAD_SET_ARGUMENT, "set-field of vlan_vid without OFPVID_PRESENT");
    }
    if (!has_prereq(c, fields[id].prereq))
        return BAD_ACTION(MATCH_INCONSISTENT, "set-field of %s without its prerequisite in the match", name);
    if (c->match && !has_mask) {
        field_store(&c->match->value, id, value);
        memset(mask, 0xff, 16);
        if (id != F_TUN_IPV4_SRC && id != F_TUN_IPV4_DST)
            field_store(&c->match->mask, id, mask);
    }
    return 0;
}

/* Actions of OpenFlow 1.0 and 1.1 that set-field has replaced; they do nothing to a packet that lacks the header. */
static int check_legacy(uint16_t type, const uint8_t *a, size_t len, fault *f)
{
    size_t wants = type == OFPAT_SET_DL_SRC || type == OFPAT_SET_DL_DST ? 16 : 8;
    if (len != wants)
        return BAD_ACTION(BAD_LEN, "action type %u of %zu bytes", type, len);
    if (type == OFPAT_SET_VLAN_VID && get16(a + 4) > 0xfff)
        return BAD_ACTION(BAD_ARGUMENT, "VLAN id %u", get16(a + 4));
    if (type == OFPAT_SET_VLAN_PCP && a[4] > 7)
        return BAD_ACTION(BAD_ARGUMENT, "VLAN priority %u", a[4]);
    if (type == OFPAT_SET_NW_TOS && a[4] & 3)
        return BAD_ACTION(BAD_ARGUMENT, "the two bits of ECN are set in TOS 0x%02x", a[4]);
    if (type == OFPAT_SET_NW_ECN && a[4] > 3)
        return BAD_ACTION(BAD_ARGUMENT, "ECN %u", a[4]);
    if (type == OFPAT_SET_MPLS_LABEL && get32(a + 4) > 0xfffff)
        return BAD_ACTION(BAD_ARGUMENT, "MPLS label %u", get32(a + 4));
    if (type == OFPAT_SET_MPLS_TC && a[4] > 7)
        return BAD_ACTION(BAD_ARGUMENT, "MPLS traffic class %u", a[4]);
    return 0;
}

/* Pushes and pops: what is known of the packet changes with them. */
static int check_tags(const struct actions_context *c, uint16_t type, uint16_t ethertype, fault *f)
{
    struct match unknown = {0}, *m = c->match ? c->match : &unknown;
    uint16_t before = m->mask.key.eth_type == 0xffff ? be16toh(m->value.key.eth_type) : 0;
    switch (type) {
    case OFPAT_PUSH_VLAN:
        if (ethertype != 0x8100 && ethertype != 0x88a8)
            return BAD_ACTION(BAD_ARGUMENT, "push-VLAN of ethertype 0x%04x", ethertype);
        m->value.key.vlan_vid |= htobe16(OFPVID_PRESENT);
        m->mask.key.vlan_vid |= htobe16(OFPVID_PRESENT);
        return 0;
    case OFPAT_POP_VLAN:
        /* A one in its padding: OpenFlow 1.0's strip-VLAN, which packets without a tag may meet. */
        if (!(ethertype >> 8) && !has_prereq(c, DP_PRE_VLAN))
            return BAD_ACTION(MATCH_INCONSISTENT, "pop-VLAN without a VLAN tag in the match");
        m->value.key.vlan_vid = m->mask.key.vlan_vid = 0;
        return 0;
    case OFPAT_PUSH_MPLS:
        if (ethertype != 0x8847 && ethertype != 0x8848)
            return BAD_ACTION(BAD_ARGUMENT, "push-MPLS of ethertype 0x%04x", ethertype);
        set_eth_type(m, ethertype);
        return 0;
    case OFPAT_POP_MPLS:
        if (c->match && before != 0x8847 && before != 0x8848)
            return BAD_ACTION(MATCH_INCONSISTENT, "pop-MPLS without MPLS in the match");
        set_eth_type(m, ethertype);
        return 0;
    case OFPAT_PUSH_PBB:
        if (ethertype != 0x88e7)
            return BAD_ACTION(BAD_ARGUMENT, "push-PBB of ethertype 0x%04x", ethertype);
        set_eth_type(m, ethertype);
        return 0;
    default:                   /* OFPAT_POP_PBB */
        if (c->match && before != 0x88e7)
            return BAD_ACTION(MATCH_INCONSISTENT, "pop-PBB without PBB in the match");
        m->mask.key.eth_type = m->value.key.eth_type = 0;
        return 0;
    }
}

static int check_action(const struct actions_context *c, const uint8_t *a, size_t len, fault *f)
{
    uint16_t type = get16(a);
    /* OpenFlow 1.5.1, 5.12: the egress action set keeps the port it is for. */
    if (c->action_set && (type == OFPAT_OUTPUT || type == OFPAT_GROUP) && c->bridge && bridge_egress(c->bridge, c->table_id))
        return BAD_ACTION(BAD_TYPE, "write-actions of egress table %u may not choose where the packet goes", c->table_id);
    switch (type) {
    case OFPAT_OUTPUT:
        if (len != 16)
            return BAD_ACTION(BAD_LEN, "output action of %zu bytes", len);
        return output_port_check(get32(a + 4), c->packet_out, f);
    case OFPAT_SET_FIELD:
        return check_set_field(c, a, len, f);
    case OFPAT_COPY_FIELD:
        return actions_check_move(c, a, len, f);
    case OFPAT_EXPERIMENTER:
        return actions_check_experimenter(c, a, len, f);
    case OFPAT_SET_VLAN_VID ... OFPAT_SET_TP_DST:
    case OFPAT_SET_MPLS_LABEL:
    case OFPAT_SET_MPLS_TC:
        return check_legacy(type, a, len, f);
    default:
        break;
    }
    if (type < OFPAT_COPY_TTL_OUT || type > OFPAT_METER || type == 13 || type == 14)
        return BAD_ACTION(BAD_TYPE, "action type %u", type);
    if (len != 8)
        return BAD_ACTION(BAD_LEN, "action type %u of %zu bytes", type, len);
    switch (type) {
    case OFPAT_SET_MPLS_TTL:
    case OFPAT_DEC_MPLS_TTL:
        if (!has_prereq(c, DP_PRE_MPLS))
            return BAD_ACTION(MATCH_INCONSISTENT, "MPLS TTL without MPLS in the match");
        return 0;
    case OFPAT_SET_NW_TTL:
    case OFPAT_DEC_NW_TTL:
        if (!has_prereq(c, DP_PRE_IP))
            return BAD_ACTION(MATCH_INCONSISTENT, "IP TTL without IP in the match");
        return 0;
    case OFPAT_PUSH_VLAN:
    case OFPAT_POP_VLAN:
    case OFPAT_PUSH_MPLS:
    case OFPAT_POP_MPLS:
    case OFPAT_PUSH_PBB:
    case OFPAT_POP_PBB:
        return check_tags(c, type, get16(a + 4), f);
    case OFPAT_GROUP:
        if (!c->bridge || !group_find(c->bridge, get32(a + 4)))
            return BAD_ACTION(BAD_OUT_GROUP, "group %u does not exist", get32(a + 4));
        return 0;
    case OFPAT_METER:
        if (!c->bridge || !meter_find(c->bridge, get32(a + 4)))
            return fault_openflow(f, OFPET_METER_MOD_FAILED, 3, "actions", "meter %u does not exist", get32(a + 4));
        return 0;
    default:                   /* copy-ttl-out, copy-ttl-in, set-queue */
        return 0;
    }
}

int actions_check(const struct actions_context *c, const uint8_t *data, size_t len, fault *f)
{
    for (size_t at = 0; at < len;) {
        if (len - at < 8)
            return BAD_ACTION(BAD_LEN, "%zu bytes where an action has at least 8", len - at);
        size_t n = get16(data + at + 2);
        if (n < 8 || n % 8 || n > len - at)
            return BAD_ACTION(BAD_LEN, "action of %zu bytes with %zu left", n, len - at);
        int r = check_action(c, data + at, n, f);
        if (r)
            return r;
        at += n;
    }
    return 0;
}
