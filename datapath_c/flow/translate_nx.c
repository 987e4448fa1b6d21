/* Open vSwitch's experimenter actions as ops (ovs-actions(7)). */
#include "base/bytes.h"
#include "base/hash.h"
#include "flow/nicira.h"
#include "flow/translating.h"

void move_action(struct translation *x, const uint8_t *a, size_t len)
{
    struct move m;
    nx_move_parse(a, len, &m);
    write_subfield(x, &m.dst, read_subfield(x, &m.src));
}

static struct subfield header_subfield(const uint8_t *header, uint16_t ofs_nbits)
{
    struct field_header h;
    field_header_parse(header, 4, &h);
    return nx_subfield(h.field, ofs_nbits);
}

/* Port numbers of OpenFlow 1.0 in the 32 bits of later versions. */
static uint32_t port16(uint16_t port)
{
    return port >= 0xff00 ? 0xffff0000u | port : port;
}

/* A table looked up in the middle of a list, perhaps as if the packet had come through another port. */
static void resubmit(struct translation *x, uint16_t in_port, uint8_t table)
{
    uint32_t port = x->key.key.in_port, known = ((union key_words *)x->known)->key.in_port;
    uint8_t table_id = x->table_id;
    uint64_t cookie = x->cookie;
    bool in_miss = x->in_miss;
    struct rule *rule = x->rule;
    if (in_port != (uint16_t)OFPP_IN_PORT) {
        x->key.key.in_port = htobe32(port16(in_port));
        ((union key_words *)x->known)->key.in_port = 0xffffffff;
    }
    walk(x, table == 0xff ? x->table_id : table, true);
    if (in_port != (uint16_t)OFPP_IN_PORT) {
        x->key.key.in_port = port;
        ((union key_words *)x->known)->key.in_port = known;
    }
    x->table_id = table_id;
    x->cookie = cookie;
    x->in_miss = in_miss;
    x->rule = rule;
}

static void load2(struct translation *x, const uint8_t *a, size_t len)
{
    int field;
    u128 value, mask;
    nx_tlv_parse(a + NX_HEADER, len - NX_HEADER, &field, &value, &mask);
    const struct subfield whole = {field, 0, (uint16_t)field_bits(field)};
    if (mask != bits_mask(whole.n_bits))
        value |= read_subfield(x, &whole) & ~mask;
    write_field(x, field, value);
}

static uint64_t fold(struct translation *x, int field)
{
    const struct subfield whole = {field, 0, (uint16_t)field_bits(field)};
    u128 v = read_subfield(x, &whole);
    return (uint64_t)v ^ (uint64_t)(v >> 64);
}

/* nicira-ext.h, enum nx_hash_fields. Symmetric ones add what source and destination have, so that both ways are one. */
static uint32_t hash_fields(struct translation *x, uint16_t which, uint16_t basis)
{
    uint32_t h = basis;
    bool symmetric = which == 1 || which == 2 || which == 3 || which == 6;
    if (which == 0)
        return hash_finish(hash_word(h, fold(x, F_ETH_SRC)));
    if (which == 1) {
        h = hash_word(h, fold(x, F_ETH_SRC) + fold(x, F_ETH_DST));
        h = hash_word(h, fold(x, F_ETH_TYPE));
        h = hash_word(h, fold(x, F_VLAN_VID));
    }
    refresh_key(x);
    LOOK_AT(x, eth_type);
    uint16_t type = be16toh(x->key.key.eth_type);
    if (type != 0x0800 && type != 0x86dd)
        return hash_finish(h);
    int src = type == 0x0800 ? F_IPV4_SRC : F_IPV6_SRC, dst = src + 1;
    if (which == 4 || which == 5)
        return hash_finish(hash_word(h, fold(x, which == 4 ? src : dst)));
    h = hash_word(h, fold(x, src) + fold(x, dst));
    if (!symmetric || which == 6)
        return hash_finish(h);
    uint8_t proto = (uint8_t)fold(x, F_IP_PROTO);
    h = hash_word(h, proto);
    if (proto == 6 || proto == 132 || (proto == 17 && which == 3))
        h = hash_word(h, fold(x, F_TCP_SRC) + fold(x, F_TCP_DST));
    return hash_finish(h);
}

/* Which of `n` links a hash falls to (enum nx_mp_algorithm). */
static uint32_t choose_link(uint16_t algorithm, uint32_t hash, uint32_t n, uint32_t arg)
{
    if (algorithm == 0)
        return hash % n;
    if (algorithm == 1)
        return n < 65536 ? (uint32_t)((uint64_t)hash * n >> 32) : hash;
    if (algorithm == 3) {
        /* Iterated hash: a link at least as great as `n` is hashed again among `arg`. */
        uint32_t of = arg < n ? n : arg, link = hash % of;
        for (unsigned i = 1; link >= n && i < 32; i++)
            link = hash_finish(hash_word(hash, i)) % of;
        return link < n ? link : hash % n;
    }
    /* Highest random weight: when a link goes, only its own flows move. */
    uint32_t best = 0, best_weight = 0;
    for (uint32_t i = 0; i < n && i < 65536; i++) {
        if (i % 16 == 15)
            step(2);
        uint32_t weight = hash_finish(hash_word(hash, i));
        if (i == 0 || weight > best_weight) {
            best = i;
            best_weight = weight;
        }
    }
    return best;
}

static void multipath(struct translation *x, const uint8_t *a)
{
    uint32_t hash = hash_fields(x, get16(a + 10), get16(a + 12));
    uint32_t link = choose_link(get16(a + 16), hash, get16(a + 18) + 1u, get32(a + 20));
    struct subfield dst = header_subfield(a + 28, get16(a + 26));
    write_subfield(x, &dst, link);
}

static bool live(struct translation *x, uint32_t port_no)
{
    struct port *p = bridge_port(x->bridge, port_no);
    return p && port_live(p);
}

/* Nicira's bundle: one of several ports, by hash or the first that is up. */
static void bundle(struct translation *x, const uint8_t *a, bool load)
{
    uint16_t n = get16(a + 20), best = n;
    if (get16(a + 10) == 0) {
        for (uint16_t i = 0; i < n && best == n; i++) {
            step(1);
            if (live(x, port16(get16(a + 32 + i * 2u))))
                best = i;
        }
    } else {
        uint32_t hash = hash_fields(x, get16(a + 12), get16(a + 14)), best_weight = 0;
        for (uint16_t i = 0; i < n; i++) {
            step(1);
            uint32_t weight = hash_finish(hash_word(hash, i));
            if ((best == n || weight > best_weight) && live(x, port16(get16(a + 32 + i * 2u)))) {
                best = i;
                best_weight = weight;
            }
        }
    }
    uint32_t port = best < n ? get16(a + 32 + best * 2u) : 0xffff;
    if (load) {
        struct subfield dst = header_subfield(a + 24, get16(a + 22));
        write_subfield(x, &dst, port);
    } else if (best < n) {
        output(x, port16((uint16_t)port), 0);
    }
}

static void controller2(struct translation *x, const uint8_t *a, size_t len)
{
    uint16_t max_len = OFPCML_NO_BUFFER, id = 0;
    uint8_t reason = OFPR_ACTION;
    const uint8_t *userdata = NULL;
    for (size_t at = 16; at + 4 <= len; at += (get16(a + at + 2) + 7u) / 8 * 8)
        switch (get16(a + at)) {
        case 0:
            max_len = get16(a + at + 4);
            break;
        case 1:
            id = get16(a + at + 4);
            break;
        case 2:
            reason = a[at + 4];
            break;
        case 3:
            userdata = a + at + 2;
            break;
        default:
            break;
        }
    x->output = true;
    controller(x, max_len, id, reason, userdata);
}

static void stack_action(struct translation *x, const uint8_t *a, size_t len)
{
    struct subfield s;
    nx_stack_parse(a, len, &s);
    if (get16(a + 8) == NXAST_STACK_PUSH) {
        if (x->n_stack < TRANSLATE_STACK)
            x->stack[x->n_stack++] = read_subfield(x, &s);
        else
            x->overflow = true;
    } else if (x->n_stack) {
        write_subfield(x, &s, x->stack[--x->n_stack]);
    }
}

static void clone_action(struct translation *x, const uint8_t *actions, size_t len)
{
    struct saved_key saved;
    bool exit = x->exit;
    if (!section_begin(x, &saved))
        return;
    translate_actions(x, actions, len);
    section_end(x, &saved);
    x->exit = exit;
}

static void output_trunc(struct translation *x, const uint8_t *a)
{
    struct saved_key saved;
    if (!section_begin(x, &saved))
        return;
    emit(x, OP_TRUNC)->arg32 = get32(a + 12);
    output(x, port16(get16(a + 10)), OFPCML_NO_BUFFER);
    section_end(x, &saved);
}

static void check_pkt_larger(struct translation *x, const uint8_t *a)
{
    struct field_header h;
    field_header_parse(a + 14, 4, &h);
    struct subfield dst = {h.field, get16(a + 12), 1};
    x->cacheable = false;      /* a packet's length is in no key */
    write_subfield(x, &dst, x->packet && x->packet->len > get16(a + 10));
}

/* A TCP segment that ends a connection shortens its rule's timeouts. */
static void fin_timeout(struct translation *x, const uint8_t *a)
{
    LOOK_AT(x, eth_type);
    LOOK_AT(x, ip_proto);
    if (x->key.key.ip_proto != 6 || !x->rule)
        return;
    const struct subfield fin = {F_TCP_FLAGS, 0, 1}, rst = {F_TCP_FLAGS, 2, 1};
    if (!read_subfield(x, &fin) && !read_subfield(x, &rst))
        return;
    struct op *op = emit(x, OP_FIN_TIMEOUT);
    op->rule = x->rule;
    op->arg = get16(a + 10);
    op->arg2 = get16(a + 12);
}

static void write_metadata(struct translation *x, uint64_t value, uint64_t mask)
{
    x->key.key.metadata = (x->key.key.metadata & ~mask) | (value & mask);
    ((union key_words *)x->known)->key.metadata |= mask;
}

/* A standard action under another number. */
static void standard(struct translation *x, uint16_t type, const uint8_t *argument)
{
    uint8_t a[8] = {0};
    put16(a, type);
    put16(a + 2, 8);
    memcpy(a + 4, argument, 4);
    standard_action(x, a);
}

static void nicira(struct translation *x, const uint8_t *a, size_t len)
{
    uint64_t value, mask;
    struct subfield s;
    uint16_t max_len;
    switch (get16(a + 8)) {
    case NXAST_RESUBMIT:
        resubmit(x, get16(a + 10), 0xff);
        break;
    case NXAST_RESUBMIT_TABLE:
        resubmit(x, get16(a + 10), a[12]);
        break;
    case NXAST_SET_TUNNEL:
        write_field(x, F_TUNNEL_ID, get32(a + 12));
        break;
    case NXAST_SET_TUNNEL64:
        write_field(x, F_TUNNEL_ID, get64(a + 16));
        break;
    case NXAST_SET_QUEUE:
        standard(x, OFPAT_SET_QUEUE, a + 12);
        break;
    case NXAST_POP_QUEUE:
        standard(x, OFPAT_SET_QUEUE, (const uint8_t[4]){0});
        break;
    case NXAST_REG_MOVE:
        move_action(x, a, len);
        break;
    case NXAST_REG_LOAD:
        s = header_subfield(a + 12, get16(a + 10));
        write_subfield(x, &s, get64(a + 16));
        break;
    case NXAST_REG_LOAD2:
        load2(x, a, len);
        break;
    case NXAST_MULTIPATH:
        multipath(x, a);
        break;
    case NXAST_BUNDLE:
    case NXAST_BUNDLE_LOAD:
        bundle(x, a, get16(a + 8) == NXAST_BUNDLE_LOAD);
        break;
    case NXAST_OUTPUT_REG:
    case NXAST_OUTPUT_REG2:
        nx_output_reg_parse(a, len, &s, &max_len);
        output(x, s.n_bits <= 16 ? port16((uint16_t)read_subfield(x, &s)) : (uint32_t)read_subfield(x, &s), max_len);
        break;
    case NXAST_LEARN:
    case NXAST_LEARN2:
        learn_action(x, a, len);
        break;
    case NXAST_EXIT:
        x->exit = true;
        break;
    case NXAST_DEC_TTL:
    case NXAST_DEC_TTL_CNT_IDS:
        dec_nw_ttl_action(x);
        break;
    case NXAST_FIN_TIMEOUT:
        fin_timeout(x, a);
        break;
    case NXAST_CONTROLLER:
        x->output = true;
        controller(x, get16(a + 10), get16(a + 12), a[14], NULL);
        break;
    case NXAST_CONTROLLER2:
        controller2(x, a, len);
        break;
    case NXAST_WRITE_METADATA:
        memcpy(&value, a + 16, 8);
        memcpy(&mask, a + 24, 8);
        write_metadata(x, value, mask);
        break;
    case NXAST_PUSH_MPLS:
        standard(x, OFPAT_PUSH_MPLS, a + 10);
        break;
    case NXAST_POP_MPLS:
        standard(x, OFPAT_POP_MPLS, a + 10);
        break;
    case NXAST_SET_MPLS_TTL:
        standard(x, OFPAT_SET_MPLS_TTL, a + 10);
        break;
    case NXAST_DEC_MPLS_TTL:
        standard(x, OFPAT_DEC_MPLS_TTL, a + 10);
        break;
    case NXAST_SET_MPLS_LABEL:
        standard(x, OFPAT_SET_MPLS_LABEL, a + 12);
        break;
    case NXAST_SET_MPLS_TC:
        standard(x, OFPAT_SET_MPLS_TC, a + 10);
        break;
    case NXAST_GROUP:
        standard(x, OFPAT_GROUP, a + 12);
        break;
    case NXAST_STACK_PUSH:
    case NXAST_STACK_POP:
        stack_action(x, a, len);
        break;
    case NXAST_OUTPUT_TRUNC:
        output_trunc(x, a);
        break;
    case NXAST_CLONE:
        clone_action(x, a + 16, len - 16);
        break;
    case NXAST_CHECK_PKT_LARGER:
        check_pkt_larger(x, a);
        break;
    default:
        break;                 /* note, and conjunction, which the lookup has acted on */
    }
}

void experimenter_action(struct translation *x, const uint8_t *a, size_t len)
{
    if (get32(a + 4) == NX_VENDOR)
        nicira(x, a, len);
    else
        move_action(x, a, len);
}
