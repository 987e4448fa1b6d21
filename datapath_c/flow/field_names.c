/* The headers that name a field: OXM's (fields.def), and for some an older one of Nicira's or ONF's. */
#include <errno.h>
#include "base/bytes.h"
#include "flow/openflow.h"
#include "flow/subfield.h"

#define NONE 0xff

/* nicira-ext.h: class 0, by field number. */
static const uint8_t nxm0[] = {
    PF_IN_PORT16, F_ETH_DST, F_ETH_SRC, F_ETH_TYPE, PF_VLAN_TCI, PF_IP_TOS, F_IP_PROTO, F_IPV4_SRC, F_IPV4_DST, F_TCP_SRC,
    F_TCP_DST, F_UDP_SRC, F_UDP_DST, F_ICMPV4_TYPE, F_ICMPV4_CODE, F_ARP_OP, F_ARP_SPA, F_ARP_TPA,
};

/* Class 1, 16 to 37; registers and those of fields.def come from there. */
static const uint8_t nxm1[] = {
    F_TUNNEL_ID, F_ARP_SHA, F_ARP_THA, F_IPV6_SRC, F_IPV6_DST, F_ICMPV6_TYPE, F_ICMPV6_CODE, F_IPV6_ND_TARGET,
    F_IPV6_ND_SLL, F_IPV6_ND_TLL, F_NW_FRAG, F_IPV6_FLABEL, F_IP_ECN, F_NW_TTL, F_MPLS_TTL, F_TUN_IPV4_SRC,
    F_TUN_IPV4_DST, F_PKT_MARK, F_TCP_FLAGS, NONE, NONE, F_CONJ_ID,
};

_Static_assert(N_ALL_FIELDS < NONE, "a field's number fits a byte");

#define ONF_VENDOR 0x4f4e4600u

static int by_nxm1(unsigned number)
{
    if (number < 16)
        return F_REG0 + (int)number;
    if (number < 16 + sizeof nxm1)
        return nxm1[number - 16] == NONE ? -1 : nxm1[number - 16];
    if (number == 109 || number == 110)
        return F_TUN_IPV6_SRC + (int)number - 109;
    if (number >= 111 && number < 115)
        return F_XXREG0 + (int)number - 111;
    return -1;
}

/* OXM's numbers are those of fields.def, in order, but for 40, which was never given. */
static int by_oxm(unsigned number)
{
    if (number < 40)
        return (int)number;
    return number >= 41 && number <= 44 ? F_PBB_UCA + (int)number - 41 : -1;
}

int field_by_oxm(uint16_t class, uint8_t number)
{
    switch (class) {
    case 0x8000:
        return by_oxm(number);
    case 0x8001:
        return number < 8 ? F_XREG0 + number : -1;
    case 0x0001:
        return by_nxm1(number);
    case 0x0000:
        return number < sizeof nxm0 ? nxm0[number] : -1;
    default:
        return -1;
    }
}

int field_header_parse(const uint8_t *data, size_t len, struct field_header *h)
{
    if (len < 4)
        return -EINVAL;
    uint16_t class = get16(data);
    h->has_mask = data[2] & 1;
    h->length = data[3];
    h->size = 4;
    h->field = field_by_oxm(class, data[2] >> 1);
    if (class == 0xffff) {
        if (len < 8 || h->length < 4)
            return -EINVAL;
        h->size = 8;
        unsigned number = data[2] >> 1;
        /* ONF extensions 109 (tcp_flags) and 233 (actset_output), later OXM fields of the same numbers. */
        if (get32(data + 4) == ONF_VENDOR && (number == 42 || number == 43))
            h->field = by_oxm(number);
    }
    return h->field < 0 ? -ENOENT : 0;
}

uint32_t field_nxm_header(int field)
{
    for (unsigned i = 0; i < sizeof nxm0; i++)
        if (nxm0[i] == field)
            return i << 9 | field_bytes(field);
    for (unsigned i = 0; i < sizeof nxm1; i++)
        if (nxm1[i] == field)
            return 1u << 16 | (i + 16) << 9 | field_bytes(field);
    return fields[field].oxm | fields[field].bytes;
}

unsigned field_bits(int field)
{
    return field == PF_IP_TOS ? 8 : field >= N_FIELDS ? 16 : fields[field].bits;
}

unsigned field_bytes(int field)
{
    return field == PF_IP_TOS ? 1 : field >= N_FIELDS ? 2 : fields[field].bytes;
}

const char *field_name(int field)
{
    static const char *const views[] = {"vlan_tci", "nw_tos", "in_port"};
    return field >= N_FIELDS ? views[field - N_FIELDS] : fields[field].name;
}

uint32_t field_prereq(int field)
{
    return field == PF_IP_TOS ? DP_PRE_IP : field >= N_FIELDS ? DP_PRE_NONE : fields[field].prereq;
}

bool field_settable(int field)
{
    /* Metadata and in_port are none of OpenFlow's set-field, but Nicira's actions may write them. */
    return field >= N_FIELDS || fields[field].settable || field == F_METADATA || field == F_IN_PORT;
}

u128 number_get(const uint8_t *p, unsigned n)
{
    u128 v = 0;
    for (unsigned i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

void number_put(uint8_t *p, unsigned n, u128 v)
{
    for (unsigned i = n; i--; v >>= 8)
        p[i] = (uint8_t)v;
}

u128 field_get(const union key_words *k, int field)
{
    switch (field) {
    case PF_VLAN_TCI:
        return (unsigned)be16toh(k->key.vlan_vid) | (unsigned)k->key.vlan_pcp << 13;
    case PF_IP_TOS:
        return (unsigned)k->key.ip_dscp << 2;
    case PF_IN_PORT16:
        return be32toh(k->key.in_port) & 0xffff;
    default:
        return number_get((const uint8_t *)k + field_places[field].offset, field_places[field].size);
    }
}

void field_set(union key_words *k, int field, u128 value)
{
    switch (field) {
    case PF_VLAN_TCI:
        k->key.vlan_vid = htobe16(value & 0x1fff);
        k->key.vlan_pcp = (uint8_t)(value >> 13 & 7);
        break;
    case PF_IP_TOS:
        k->key.ip_dscp = (uint8_t)(value >> 2 & 63);
        break;
    case PF_IN_PORT16:
        k->key.in_port = htobe32(value >= 0xff00 ? (uint32_t)value | 0xffff0000u : (uint32_t)value);
        break;
    default:
        number_put((uint8_t *)k + field_places[field].offset, field_places[field].size, value);
    }
}
