/* Actions of the standard (OpenFlow 1.3.5, 5.12; 1.5.1, 5.8) as ops. */
#include <stdlib.h>
#include "base/bytes.h"
#include "flow/translating.h"
#include "path/act.h"
#include "path/output.h"
#include "path/parse.h"

struct op *emit(struct translation *x, enum op_code code)
{
    if (x->n_ops == TRANSLATE_MAX_OPS) {
        x->overflow = true;
        x->n_ops--;
    }
    struct op *op = &x->ops[x->n_ops++];
    *op = (struct op){.code = code};
    return op;
}

void emit_drop(struct translation *x, enum drop reason)
{
    emit(x, OP_DROP)->arg = reason;
    TRACE(x, "   drop: %s\n", dp_drop_text(reason));
}

/* Says that a decision depended on these bytes of the key. */
void look_at(struct translation *x, size_t offset, size_t size)
{
    uint8_t *wc = (uint8_t *)x->wc, *known = (uint8_t *)x->known;
    for (size_t i = offset; i < offset + size; i++)
        wc[i] |= (uint8_t)~known[i];
}

void make_known(struct translation *x, size_t offset, size_t size)
{
    memset((uint8_t *)x->known + offset, 0xff, size);
}

uint8_t *emit_bytes(struct translation *x, size_t len)
{
    len = (len + 7) / 8 * 8;
    if (x->n_bytes + len > TRANSLATE_BYTES) {
        x->overflow = true;
        return NULL;
    }
    uint8_t *at = x->bytes + x->n_bytes;
    x->n_bytes += (unsigned)len;
    return at;
}

/* The copies that open sections are for have to be made now, outermost first, so that what is decided can be carried out. */
static void make_copies(struct translation *x)
{
    for (unsigned i = 0; i < x->n_sections && x->packet; i++) {
        struct section *s = &x->sections[i];
        if (s->real)
            continue;
        step(STEP_CHECK);
        x->packet = act_run(x->worker, x->tenant, x->bridge, x->packet, x->ops, s->start);
        unsigned first = s->start + 1;         /* without the OP_CLONE itself */
        memmove(x->ops, x->ops + first, (x->n_ops - first) * sizeof x->ops[0]);
        x->n_ops -= first;
        for (unsigned j = i + 1; j < x->n_sections; j++)
            x->sections[j].start -= first;
        s->outer = x->packet;
        s->real = true;
        x->packet = s->outer ? packet_copy(s->outer) : NULL;
    }
}

/* What a popped label uncovers is in no key. The decision is then this packet's alone. */
void refresh_key(struct translation *x)
{
    if (!x->stale_key)
        return;
    x->stale_key = false;
    x->cacheable = false;
    x->decremented[0] = x->decremented[1] = 0;
    memset(x->known, 0xff, sizeof x->known);
    if (!x->packet || !x->worker)
        return;
    make_copies(x);
    if (x->packet)
        x->packet = act_run(x->worker, x->tenant, x->bridge, x->packet, x->ops, x->n_ops);
    x->n_ops = 0;
    if (!x->packet)
        return;
    memcpy(&x->packet->key, &x->key, CACHE_WORDS * 8);
    parse(x->packet);
    memcpy(&x->key, &x->packet->key, CACHE_WORDS * 8);
}

bool section_begin(struct translation *x, struct saved_key *saved)
{
    if (x->n_sections == TRANSLATE_MAX_DEPTH) {
        x->overflow = true;
        return false;
    }
    saved->key = x->key;
    memcpy(saved->known, x->known, sizeof saved->known);
    memcpy(saved->decremented, x->decremented, sizeof saved->decremented);
    saved->in_port_written = x->in_port_written;
    saved->stop = x->stop;
    saved->stale = x->stale_key;
    x->sections[x->n_sections++] = (struct section){.start = x->n_ops};
    emit(x, OP_CLONE);
    return true;
}

void section_end(struct translation *x, const struct saved_key *saved)
{
    struct section *s = &x->sections[--x->n_sections];
    if (s->real) {
        if (x->packet)
            x->packet = act_run(x->worker, x->tenant, x->bridge, x->packet, x->ops, x->n_ops);
        if (x->packet)
            packet_unref(x->packet);
        x->n_ops = 0;
        x->packet = s->outer;
    } else if (s->start < x->n_ops) {
        x->ops[s->start].arg32 = x->n_ops - s->start - 1;
    }
    x->stale_key = saved->stale;
    x->key = saved->key;
    /* What the copy's decisions made known of the packet as it arrived stays so; what actions had made known before, too. */
    memcpy(x->known, saved->known, sizeof x->known);
    memcpy(x->decremented, saved->decremented, sizeof x->decremented);
    x->in_port_written = saved->in_port_written;
    x->stop = saved->stop;
}

/* The pipeline's fields that a packet-in tells of besides those that the packet keeps. */
static void emit_context(struct translation *x)
{
    static const uint8_t own[] = {F_METADATA, F_PKT_MARK};
    for (unsigned i = 0; i < sizeof own + 16; i++) {
        int field = i < sizeof own ? own[i] : F_REG0 + (int)(i - sizeof own);
        u128 v = field_get(&x->key, field);
        if (!v)
            continue;
        look_at(x, field_places[field].offset, field_places[field].size);
        struct op *op = emit(x, OP_CONTEXT);
        op->field = (uint8_t)field;
        number_put(op->value, field_places[field].size, v);
    }
}

void controller(struct translation *x, uint16_t max_len, uint16_t id, uint8_t reason, const uint8_t *userdata)
{
    emit_context(x);
    struct op *op = emit(x, OP_CONTROLLER);
    op->arg = max_len;
    op->arg2 = id;
    op->reason = reason;
    op->table = x->table_id;
    op->cookie = x->cookie;
    op->userdata = userdata;
}

/* Whether an output goes through egress tables first: not what these themselves send. */
static bool has_egress(const struct translation *x)
{
    return x->bridge->conf.egress_table && !x->egress;
}

/* Each port has an egress walk of its own, because rules match on the port. */
static void flood_egress(struct translation *x, uint32_t without)
{
    struct port_map *m = atomic_load_explicit(&x->bridge->ports, memory_order_acquire);
    LOOK_AT(x, in_port);
    uint32_t in_port = be32toh(x->key.key.in_port);
    for (uint32_t i = 0; m && i < m->n; i++) {
        uint32_t config = atomic_load_explicit(&m->at[i]->config, memory_order_relaxed);
        if (m->at[i]->port_no != in_port && !(config & without))
            walk_egress(x, m->at[i]->port_no);
    }
}

/* What NORMAL comes to is decided here, for this packet alone, where egress tables want to know the port. */
static void normal_egress(struct translation *x)
{
    const struct key *k = &x->key.key;
    x->cacheable = false;
    refresh_key(x);
    if (!x->packet)
        return;
    struct normal n = normal_decide(x->worker, x->tenant, x->bridge, x->packet->rx_port, k->eth_dst, k->eth_src,
                                    be16toh(k->vlan_vid) & 0xfff);
    if (n.flood)
        flood_egress(x, FLOOD_WITHOUT);
    else if (n.out)
        walk_egress(x, n.out->port_no);
}

static void output_number(struct translation *x, uint32_t port_no)
{
    struct port *p = bridge_port(x->bridge, port_no);
    if (!p) {
        emit_drop(x, DROP_NO_PORT);
    } else if (has_egress(x)) {
        LOOK_AT(x, in_port);
        if (be32toh(x->key.key.in_port) == port_no)
            emit_drop(x, DROP_IN_PORT);
        else
            walk_egress(x, port_no);
    } else if (!x->in_port_written) {
        emit(x, OP_OUTPUT)->port = p;
    } else if (be32toh(x->key.key.in_port) == port_no) {
        emit_drop(x, DROP_IN_PORT);
    } else {
        /* The port that it came from is as good as any other when the pipeline calls it by another number. */
        ((union key_words *)x->wc)->key.in_port = 0xffffffff;
        if (x->packet && x->packet->rx_port == p)
            emit(x, OP_OUTPUT_IN_PORT);
        else
            emit(x, OP_OUTPUT)->port = p;
    }
}

void output(struct translation *x, uint32_t port_no, uint16_t max_len)
{
    x->output = true;
    switch (port_no) {
    case OFPP_IN_PORT:
        if (has_egress(x))
            walk_egress(x, OFPP_IN_PORT);
        else if (x->in_port_written && bridge_port(x->bridge, be32toh(x->key.key.in_port)))
            emit(x, OP_OUTPUT)->port = bridge_port(x->bridge, be32toh(x->key.key.in_port));
        else
            emit(x, OP_OUTPUT_IN_PORT);
        break;
    case OFPP_NORMAL:
        if (has_egress(x) && x->worker)
            normal_egress(x);
        else
            emit(x, OP_NORMAL);
        break;
    case OFPP_FLOOD:
    case OFPP_ALL:
        if (has_egress(x))
            flood_egress(x, port_no == OFPP_ALL ? ALL_WITHOUT : FLOOD_WITHOUT);
        else
            emit(x, OP_FLOOD)->arg = port_no == OFPP_ALL ? ALL_WITHOUT : FLOOD_WITHOUT;
        break;
    case OFPP_CONTROLLER:
        controller(x, max_len, 0, x->in_miss ? OFPR_NO_MATCH : OFPR_ACTION, NULL);
        break;
    case OFPP_TABLE:
        walk(x, 0, false);
        break;
    default:
        output_number(x, port_no);
    }
}

u128 read_subfield(struct translation *x, const struct subfield *s)
{
    refresh_key(x);
    union key_words bits = {.w = {0}};
    field_set(&bits, s->field, bits_mask(s->n_bits) << s->ofs);
    for (int i = 0; i < KEY_WORDS; i++)
        x->wc[i] |= bits.w[i] & ~x->known[i];
    return subfield_get(&x->key, s);
}

void write_subfield(struct translation *x, const struct subfield *s, u128 value)
{
    const struct subfield whole = {s->field, 0, (uint16_t)field_bits(s->field)};
    if (s->n_bits < whole.n_bits) {
        u128 mask = bits_mask(s->n_bits) << s->ofs;
        value = (read_subfield(x, &whole) & ~mask) | (value << s->ofs & mask);
    }
    write_field(x, s->field, value);
}

static void set_ttl(struct translation *x, enum op_code code, uint8_t ttl, size_t offset, unsigned *decremented);

#define MPLS_TTL offsetof(struct key, mpls_ttl), &x->decremented[0]
#define NW_TTL offsetof(struct key, ip_ttl), &x->decremented[1]

/* The outer tag as a whole: with OFPVID_PRESENT there is one afterwards, without it there is none. */
static void write_tci(struct translation *x, uint16_t tci)
{
    refresh_key(x);
    LOOK_AT(x, vlan_vid);
    bool tagged = x->key.key.vlan_vid;
    if (!(tci & OFPVID_PRESENT)) {
        if (tagged)
            decide_pop_vlan(x);
        return;
    }
    if (!tagged)
        decide_push_vlan(x, 0x8100);
    write_field(x, F_VLAN_VID, tci & 0x1fff);
    write_field(x, F_VLAN_PCP, tci >> 13);
}

void write_field(struct translation *x, int field, u128 value)
{
    switch (field) {
    case PF_VLAN_TCI:
        write_tci(x, (uint16_t)value);
        return;
    case PF_IP_TOS:
        write_field(x, F_IP_DSCP, value >> 2 & 63);
        return;
    case PF_IN_PORT16:
    case F_IN_PORT:
        x->in_port_written = true;
        field_set(&x->key, field, value);
        MAKE_KNOWN(x, in_port);
        return;
    case F_NW_TTL:
        set_ttl(x, OP_SET_NW_TTL, (uint8_t)value, NW_TTL);
        return;
    case F_MPLS_TTL:
        set_ttl(x, OP_SET_MPLS_TTL, (uint8_t)value, MPLS_TTL);
        return;
    default:
        break;
    }
    uint8_t bytes[16];
    number_put(bytes, fields[field].bytes, value);
    if (field != F_METADATA && field != F_PKT_MARK && field < F_CONJ_ID) {
        struct op *op = emit(x, OP_SET_FIELD);
        op->field = (uint8_t)field;
        memcpy(op->value, bytes, fields[field].bytes);
    }
    if (field == F_TUN_IPV4_SRC || field == F_TUN_IPV4_DST) {
        uint8_t *a = field == F_TUN_IPV4_SRC ? x->key.key.tun_src : x->key.key.tun_dst;
        memset(a, 0, 10);
        memset(a + 10, 0xff, 2);
        make_known(x, (size_t)(a - (uint8_t *)&x->key), 16);
    }
    field_store(&x->key, field, bytes);
    make_known(x, field_places[field].offset, field_places[field].size);
}

static void set_field(struct translation *x, const uint8_t *tlv)
{
    struct field_header h;
    field_header_parse(tlv, 8, &h);
    unsigned n = field_bytes(h.field);
    u128 value = number_get(tlv + h.size, n);
    if (h.has_mask) {
        const struct subfield whole = {h.field, 0, (uint16_t)field_bits(h.field)};
        value |= read_subfield(x, &whole) & ~number_get(tlv + h.size + n, n);
    }
    write_field(x, h.field, value);
}

void decide_push_vlan(struct translation *x, uint16_t ethertype)
{
    struct key *k = &x->key.key;
    refresh_key(x);
    emit(x, OP_PUSH_VLAN)->arg = ethertype;
    LOOK_AT(x, vlan_vid);
    LOOK_AT(x, vlan_pcp);
    LOOK_AT(x, vlan_inner_n);
    if (k->vlan_vid) {
        k->vlan_inner = htobe16((be16toh(k->vlan_vid) & 0xfff) | k->vlan_pcp << 13);
        k->vlan_inner_n++;
    } else {
        k->vlan_vid = htobe16(OFPVID_PRESENT);
        k->vlan_pcp = 0;
    }
    MAKE_KNOWN(x, vlan_vid);
    MAKE_KNOWN(x, vlan_pcp);
    MAKE_KNOWN(x, vlan_inner);
    MAKE_KNOWN(x, vlan_inner_n);
}

void decide_pop_vlan(struct translation *x)
{
    struct key *k = &x->key.key;
    refresh_key(x);
    emit(x, OP_POP_VLAN);
    LOOK_AT(x, vlan_vid);
    LOOK_AT(x, vlan_inner);
    LOOK_AT(x, vlan_inner_n);
    if (k->vlan_inner_n) {
        if (--k->vlan_inner_n)
            x->stale_key = true;   /* a third tag comes into sight, and is in no key */
        k->vlan_vid = htobe16((be16toh(k->vlan_inner) & 0xfff) | OFPVID_PRESENT);
        k->vlan_pcp = be16toh(k->vlan_inner) >> 13;
    } else {
        k->vlan_vid = 0;
        k->vlan_pcp = 0;
    }
    k->vlan_inner = 0;
    MAKE_KNOWN(x, vlan_vid);
    MAKE_KNOWN(x, vlan_pcp);
    MAKE_KNOWN(x, vlan_inner);
    MAKE_KNOWN(x, vlan_inner_n);
}

/* Whether the packet survives this decrement. It does while its TTL is greater than the number of decrements; that is so for
 * all packets whose TTL has the same highest bit, where that bit is worth more, so that a cached decision covers many TTLs. */
static void dec_ttl(struct translation *x, enum op_code code, size_t offset, unsigned *decremented)
{
    emit(x, code);
    if (x->stale_key)
        return;                /* the header came into sight just now: the action itself sees its TTL */
    uint8_t ttl = ((uint8_t *)&x->key)[offset], known = ((uint8_t *)x->known)[offset], look = 0xff;
    unsigned n = ++*decremented;
    if (ttl > n) {
        unsigned high = 31u - (unsigned)__builtin_clz(ttl);
        if (1u << high > n)
            look = (uint8_t)(0xff << high);
    } else {
        x->stop = true;
    }
    ((uint8_t *)x->wc)[offset] |= look & (uint8_t)~known;
}

static void set_ttl(struct translation *x, enum op_code code, uint8_t ttl, size_t offset, unsigned *decremented)
{
    emit(x, code)->arg = ttl;
    ((uint8_t *)&x->key)[offset] = ttl;
    make_known(x, offset, 1);
    *decremented = 0;
}

void dec_nw_ttl_action(struct translation *x)
{
    dec_ttl(x, OP_DEC_NW_TTL, NW_TTL);
}

/* Whether the packet has an IP header; a decision depends on it. */
static bool is_ip(struct translation *x, bool v4_only)
{
    refresh_key(x);
    LOOK_AT(x, eth_type);
    uint16_t type = be16toh(x->key.key.eth_type);
    return type == 0x0800 || (!v4_only && type == 0x86dd);
}

static void legacy_port(struct translation *x, bool dst, uint16_t port)
{
    if (!is_ip(x, false))
        return;
    LOOK_AT(x, ip_proto);
    LOOK_AT(x, ip_frag);
    uint8_t proto = x->key.key.ip_proto;
    int field = proto == 6 ? F_TCP_SRC : proto == 17 ? F_UDP_SRC : proto == 132 ? F_SCTP_SRC : -1;
    if (field >= 0 && !(x->key.key.ip_frag & 2))
        write_field(x, field + dst, port);
}

/* OpenFlow 1.0's and 1.1's: nothing happens to a packet that lacks the header. */
static void legacy_action(struct translation *x, const uint8_t *a)
{
    uint16_t type = get16(a);
    switch (type) {
    case OFPAT_SET_VLAN_VID:
    case OFPAT_SET_VLAN_PCP:
        refresh_key(x);
        look_at(x, offsetof(struct key, vlan_vid), 2);
        if (!x->key.key.vlan_vid && !a[6])
            break;
        if (!x->key.key.vlan_vid)
            decide_push_vlan(x, 0x8100);
        if (type == OFPAT_SET_VLAN_VID)
            write_field(x, F_VLAN_VID, OFPVID_PRESENT | get16(a + 4));
        else
            write_field(x, F_VLAN_PCP, a[4]);
        break;
    case OFPAT_SET_DL_SRC:
    case OFPAT_SET_DL_DST:
        write_field(x, type == OFPAT_SET_DL_SRC ? F_ETH_SRC : F_ETH_DST, number_get(a + 4, 6));
        break;
    case OFPAT_SET_NW_SRC:
    case OFPAT_SET_NW_DST:
        if (is_ip(x, true))
            write_field(x, type == OFPAT_SET_NW_SRC ? F_IPV4_SRC : F_IPV4_DST, get32(a + 4));
        break;
    case OFPAT_SET_NW_TOS:
        if (is_ip(x, false))
            write_field(x, F_IP_DSCP, a[4] >> 2);
        break;
    case OFPAT_SET_NW_ECN:
        if (is_ip(x, false))
            write_field(x, F_IP_ECN, a[4]);
        break;
    case OFPAT_SET_TP_SRC:
    case OFPAT_SET_TP_DST:
        legacy_port(x, type == OFPAT_SET_TP_DST, get16(a + 4));
        break;
    default:
        refresh_key(x);
        LOOK_AT(x, eth_type);
        if (x->key.key.eth_type == htobe16(0x8847) || x->key.key.eth_type == htobe16(0x8848))
            write_field(x, type == OFPAT_SET_MPLS_LABEL ? F_MPLS_LABEL : F_MPLS_TC,
                        type == OFPAT_SET_MPLS_LABEL ? get32(a + 4) : a[4]);
    }
}

void standard_action(struct translation *x, const uint8_t *a)
{
    uint16_t arg = get16(a + 4);
    switch (get16(a)) {
    case OFPAT_OUTPUT:
        output(x, get32(a + 4), get16(a + 8));
        break;
    case OFPAT_SET_FIELD:
        set_field(x, a + 4);
        break;
    case OFPAT_PUSH_VLAN:
        decide_push_vlan(x, arg);
        break;
    case OFPAT_POP_VLAN:
        if (a[4]) {
            refresh_key(x);
            look_at(x, offsetof(struct key, vlan_vid), 2);
            if (!x->key.key.vlan_vid)
                break;
        }
        decide_pop_vlan(x);
        break;
    case OFPAT_PUSH_MPLS:
        emit(x, OP_PUSH_MPLS)->arg = arg;
        x->stale_key = true;
        break;
    case OFPAT_POP_MPLS:
        emit(x, OP_POP_MPLS)->arg = arg;
        x->stale_key = true;
        break;
    case OFPAT_PUSH_PBB:
        emit(x, OP_PUSH_PBB)->arg = arg;
        x->stale_key = true;
        break;
    case OFPAT_POP_PBB:
        emit(x, OP_POP_PBB);
        x->stale_key = true;
        break;
    case OFPAT_SET_MPLS_TTL:
        set_ttl(x, OP_SET_MPLS_TTL, a[4], MPLS_TTL);
        break;
    case OFPAT_DEC_MPLS_TTL:
        dec_ttl(x, OP_DEC_MPLS_TTL, MPLS_TTL);
        break;
    case OFPAT_SET_NW_TTL:
        set_ttl(x, OP_SET_NW_TTL, a[4], NW_TTL);
        break;
    case OFPAT_DEC_NW_TTL:
        dec_ttl(x, OP_DEC_NW_TTL, NW_TTL);
        break;
    case OFPAT_COPY_TTL_OUT:
        emit(x, OP_COPY_TTL_OUT);
        x->stale_key = true;
        break;
    case OFPAT_COPY_TTL_IN:
        emit(x, OP_COPY_TTL_IN);
        x->stale_key = true;
        break;
    case OFPAT_SET_QUEUE:
        emit(x, OP_SET_QUEUE)->arg32 = get32(a + 4);
        break;
    case OFPAT_GROUP:
        group_action(x, get32(a + 4));
        break;
    case OFPAT_METER:
        meter_action(x, get32(a + 4));
        break;
    case OFPAT_COPY_FIELD:
        move_action(x, a, get16(a + 2));
        break;
    case OFPAT_EXPERIMENTER:
        experimenter_action(x, a, get16(a + 2));
        break;
    default:
        legacy_action(x, a);   /* nothing else passes actions_check */
    }
}
