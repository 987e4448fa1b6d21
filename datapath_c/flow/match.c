#include "flow/match.h"
#include <errno.h>
#include "base/bytes.h"
#include "flow/openflow.h"
#include "flow/subfield.h"

#define BAD_MATCH(code, field, ...) fault_openflow(f, OFPET_BAD_MATCH, OFPBMC_##code, field, __VA_ARGS__)

static uint16_t exact16(const struct match *m, size_t offset)
{
    return get16((const uint8_t *)&m->mask + offset) == 0xffff ? get16((const uint8_t *)&m->value + offset) : 0;
}

static int exact8(const struct match *m, size_t offset)
{
    return ((const uint8_t *)&m->mask)[offset] == 0xff ? ((const uint8_t *)&m->value)[offset] : -1;
}

bool match_has_prereq(const struct match *m, uint32_t prereq)
{
    uint16_t type = exact16(m, offsetof(struct key, eth_type));
    int proto = exact8(m, offsetof(struct key, ip_proto));
    bool ip = type == 0x0800 || type == 0x86dd;
    int icmp = exact8(m, offsetof(struct key, icmp_type));
    switch (prereq) {
    case DP_PRE_NONE:
        return true;
    case DP_PRE_IN_PORT:
        return m->mask.key.in_port == 0xffffffff;
    case DP_PRE_VLAN:
        return m->value.key.vlan_vid & m->mask.key.vlan_vid & htobe16(OFPVID_PRESENT);
    case DP_PRE_IP:
        return ip;
    case DP_PRE_IPV4:
        return type == 0x0800;
    case DP_PRE_IPV6:
        return type == 0x86dd;
    case DP_PRE_ARP:
        return type == 0x0806;
    case DP_PRE_MPLS:
        return type == 0x8847 || type == 0x8848;
    case DP_PRE_PBB:
        return type == 0x88e7;
    case DP_PRE_TCP:
        return ip && proto == 6;
    case DP_PRE_UDP:
        return ip && proto == 17;
    case DP_PRE_SCTP:
        return ip && proto == 132;
    case DP_PRE_ICMPV4:
        return type == 0x0800 && proto == 1;
    case DP_PRE_ICMPV6:
        return type == 0x86dd && proto == 58;
    case DP_PRE_ND:
        return type == 0x86dd && proto == 58 && (icmp == 135 || icmp == 136);
    case DP_PRE_ND_SOL:
        return type == 0x86dd && proto == 58 && icmp == 135;
    case DP_PRE_ND_ADV:
        return type == 0x86dd && proto == 58 && icmp == 136;
    default:
        return false;
    }
}

/* One field of any dialect's as its OXM equivalent: the views that only NXM knows are turned into what they show. */
static int from_view(int view, uint8_t *value, uint8_t *mask, bool *has_mask, fault *f)
{
    uint16_t port = get16(value);
    switch (view) {
    case PF_IP_TOS:
        if (value[0] & 3)
            return BAD_MATCH(BAD_VALUE, "nw_tos", "the two bits of ECN are set");
        value[0] >>= 2;
        return F_IP_DSCP;
    case PF_IN_PORT16:
        if (*has_mask)
            return BAD_MATCH(BAD_MASK, "in_port", "can't be masked");
        put32(value, port >= 0xff00 ? 0xffff0000u | port : port);
        memset(mask, 0xff, 4);
        return F_IN_PORT;
    default:
        return BAD_MATCH(BAD_FIELD, field_name(view), "not as a field of its own");
    }
}

static void full_mask(int field, uint8_t *mask)
{
    number_put(mask, fields[field].bytes, bits_mask(fields[field].bits));
}

/* `*field` may come back as PF_VLAN_TCI, which is two fields. */
static int parse_any(const uint8_t *data, size_t len, int *field, uint8_t value[16], uint8_t mask[16], bool *has_mask,
                     fault *f)
{
    struct field_header h;
    int e = field_header_parse(data, len, &h);
    if (e == -EINVAL)
        return BAD_MATCH(BAD_LEN, "oxm", "%zu bytes where an OXM header has at least 4", len);
    if (4u + h.length > len)
        return BAD_MATCH(BAD_LEN, "oxm", "an OXM field of %u bytes in %zu", h.length, len - 4);
    if (e)
        return BAD_MATCH(BAD_FIELD, "oxm", "unknown match field, class 0x%04x field %u", get16(data), data[2] >> 1);
    unsigned n = field_bytes(h.field), payload = h.length - (h.size - 4u);
    *has_mask = h.has_mask;
    if (payload != n * (h.has_mask ? 2 : 1))
        return BAD_MATCH(BAD_LEN, field_name(h.field), "%u bytes, not %u", payload, n * (h.has_mask ? 2 : 1));
    memcpy(value, data + h.size, n);
    if (h.has_mask)
        memcpy(mask, data + h.size + n, n);
    else
        number_put(mask, n, bits_mask(field_bits(h.field)));
    *field = h.field;
    if (h.field != PF_VLAN_TCI && h.field >= N_FIELDS) {
        int id = from_view(h.field, value, mask, has_mask, f);
        if (id < 0)
            return id;
        *field = id;
    }
    u128 spare = ~bits_mask(field_bits(*field));
    if (number_get(value, field_bytes(*field)) & spare)
        return BAD_MATCH(BAD_VALUE, field_name(*field), "value has more than %u bits", field_bits(*field));
    if (*has_mask && number_get(mask, field_bytes(*field)) & spare)
        return BAD_MATCH(BAD_MASK, field_name(*field), "mask has more than %u bits", field_bits(*field));
    return 4 + h.length;
}

int oxm_parse(const uint8_t *data, size_t len, int *field, uint8_t value[16], uint8_t mask[16], bool *has_mask, fault *f)
{
    int n = parse_any(data, len, field, value, mask, has_mask, f);
    if (n >= 0 && *field >= N_FIELDS)
        return BAD_MATCH(BAD_FIELD, field_name(*field), "not as a field of its own");
    return n;
}

static bool overlaps(const struct match *m, int id)
{
    const uint8_t *mask = (const uint8_t *)&m->mask + field_places[id].offset;
    uint8_t any = 0;
    for (unsigned i = 0; i < field_places[id].size; i++)
        any |= mask[i];
    return any;
}

static int match_add(struct match *m, int id, const uint8_t *value, const uint8_t *mask, bool has_mask, fault *f)
{
    const struct dp_field *d = &fields[id];
    if (has_mask) {
        if (!d->maskable)
            return BAD_MATCH(BAD_MASK, d->name, "can't be masked");
        for (unsigned i = 0; i < d->bytes; i++)
            if (value[i] & ~mask[i])
                return BAD_MATCH(BAD_WILDCARDS, d->name, "value has bits outside its mask");
    }
    if (!match_has_prereq(m, d->prereq))
        return BAD_MATCH(BAD_PREREQ, d->name, "what it requires is not matched before it");
    if (id == F_VLAN_VID && !has_mask && get16(value) && !(get16(value) & OFPVID_PRESENT))
        return BAD_MATCH(BAD_VALUE, d->name, "a VLAN id without OFPVID_PRESENT");
    if (id >= F_REG0 && overlaps(m, id))
        return BAD_MATCH(DUP_FIELD, d->name, "bits of it are matched already");
    field_store(&m->value, id, value);
    field_store(&m->mask, id, mask);
    if (id == F_TUN_IPV4_SRC || id == F_TUN_IPV4_DST) {
        uint8_t *v = id == F_TUN_IPV4_SRC ? m->value.key.tun_src : m->value.key.tun_dst;
        uint8_t *k = id == F_TUN_IPV4_SRC ? m->mask.key.tun_src : m->mask.key.tun_dst;
        memset(v + 10, 0xff, 2);
        memset(k, 0xff, 12);
    }
    return 0;
}

/* NXM_OF_VLAN_TCI: an outer tag's VID with OFPVID_PRESENT for CFI, and its PCP. */
static int match_add_tci(struct match *m, const uint8_t *value, const uint8_t *mask, fault *f)
{
    uint16_t v = get16(value), k = get16(mask);
    if (v & ~k)
        return BAD_MATCH(BAD_WILDCARDS, "vlan_tci", "value has bits outside its mask");
    if (m->mask.key.vlan_vid || m->mask.key.vlan_pcp)
        return BAD_MATCH(DUP_FIELD, "vlan_tci", "the VLAN tag is matched already");
    /* All of no tag: the bits of a tag that isn't there are zero. */
    m->value.key.vlan_vid = htobe16(v & 0x1fff);
    m->mask.key.vlan_vid = htobe16(k & 0x1fff);
    m->value.key.vlan_pcp = (uint8_t)(v >> 13);
    m->mask.key.vlan_pcp = v & OFPVID_PRESENT ? (uint8_t)(k >> 13) : 0;
    if (m->mask.key.vlan_pcp && m->mask.key.vlan_pcp != 7)
        return BAD_MATCH(BAD_MASK, "vlan_tci", "a part of the priority can't be matched");
    return 0;
}

int match_parse(const uint8_t *data, size_t len, struct match *m, fault *f)
{
    memset(m, 0, sizeof *m);
    if (len < 8)
        return BAD_MATCH(BAD_LEN, "match", "%zu bytes where a match has at least 8", len);
    uint16_t type = get16(data), length = get16(data + 2);
    size_t padded = (length + 7u) / 8 * 8;
    if (type != 1)
        return BAD_MATCH(BAD_TYPE, "match", "type %u, not OFPMT_OXM", type);
    if (length < 4 || padded > len)
        return BAD_MATCH(BAD_LEN, "match", "length %u in %zu bytes", length, len);
    uint64_t seen[(N_FIELDS + 63) / 64] = {0};
    for (size_t at = 4; at < length;) {
        uint8_t value[16], mask[16];
        bool has_mask;
        int id, n = parse_any(data + at, length - at, &id, value, mask, &has_mask, f);
        if (n < 0)
            return n;
        if (id < N_FIELDS && seen[id / 64] >> id % 64 & 1)
            return BAD_MATCH(DUP_FIELD, fields[id].name, "given twice");
        if (id < N_FIELDS)
            seen[id / 64] |= (uint64_t)1 << id % 64;
        int r = id == PF_VLAN_TCI ? match_add_tci(m, value, mask, f) : match_add(m, id, value, mask, has_mask, f);
        if (r)
            return r;
        at += (size_t)n;
    }
    return (int)padded;
}

size_t oxm_put(uint8_t *out, int field, const void *value)
{
    put16(out, fields[field].oxm >> 16);
    out[2] = fields[field].oxm >> 8 & 0xff;
    out[3] = (uint8_t)fields[field].bytes;
    memcpy(out + 4, value, fields[field].bytes);
    return 4u + fields[field].bytes;
}

static bool is_tun4(const uint8_t *mask, const uint8_t *value)
{
    static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    for (int i = 0; i < 12; i++)
        if (mask[i] != 0xff)
            return false;
    return !memcmp(value, prefix, 12);
}

/* Whether the bits of the key that this field shares with others are this field's, in this match. */
static bool is_own(const struct match *m, int id)
{
    switch (id) {
    case F_TUN_IPV4_SRC:
        return is_tun4(m->mask.key.tun_src, m->value.key.tun_src);
    case F_TUN_IPV4_DST:
        return is_tun4(m->mask.key.tun_dst, m->value.key.tun_dst);
    case F_TUN_IPV6_SRC:
        return !is_tun4(m->mask.key.tun_src, m->value.key.tun_src);
    case F_TUN_IPV6_DST:
        return !is_tun4(m->mask.key.tun_dst, m->value.key.tun_dst);
    default:
        /* Registers go by their 32-bit names, however they were matched. */
        return id < F_XREG0 && match_has_prereq(m, fields[id].prereq);
    }
}

unsigned match_fields(const union key_words *mask, uint8_t *ids, unsigned max)
{
    unsigned n = 0;
    for (int id = 0; id < N_FIELDS && n < max; id++) {
        const uint8_t *bytes = (const uint8_t *)mask + field_places[id].offset;
        uint8_t any = 0;
        for (unsigned i = 0; i < field_places[id].size; i++)
            any |= bytes[i];
        if (any && (id < F_XREG0))
            ids[n++] = (uint8_t)id;
    }
    return n;
}

int match_serialise(const struct match *m, uint8_t *out, size_t size)
{
    uint8_t ids[N_FIELDS];
    return match_serialise_fields(m, ids, match_fields(&m->mask, ids, N_FIELDS), out, size);
}

int match_serialise_fields(const struct match *m, const uint8_t *ids, unsigned n_ids, uint8_t *out, size_t size)
{
    size_t at = 4;
    if (size < 8)
        return -ENOBUFS;
    for (unsigned k = 0; k < n_ids; k++) {
        int id = ids[k];
        if (!is_own(m, id))
            continue;
        unsigned n = fields[id].bytes;
        uint8_t full[16];
        const uint8_t *mask = (const uint8_t *)&m->mask + field_places[id].offset;
        full_mask(id, full);
        bool exact = !memcmp(mask, full, n);
        if (at + 4 + n * 2 + 8 > size)
            return -ENOBUFS;
        at += oxm_put(out + at, id, (const uint8_t *)&m->value + field_places[id].offset);
        if (!exact) {
            out[at - n - 2] |= 1;
            out[at - n - 1] = (uint8_t)(n * 2);
            memcpy(out + at, mask, n);
            at += n;
        }
    }
    put16(out, 1);
    put16(out + 2, (uint16_t)at);
    size_t padded = (at + 7) / 8 * 8;
    memset(out + at, 0, padded - at);
    return (int)padded;
}
