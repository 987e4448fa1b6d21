#include "flow/translate.h"
#include <stdlib.h>
#include "base/bytes.h"
#include "flow/table.h"
#include "path/act.h"
#include "path/parse.h"

/* Slots of the action set, in the order in which it is carried out (OpenFlow 1.3.5, 5.10). */
enum { SET_TTL_IN, SET_POP_PBB, SET_POP_MPLS, SET_POP_VLAN, SET_PUSH_MPLS, SET_PUSH_PBB, SET_PUSH_VLAN, SET_TTL_OUT,
       SET_DEC_MPLS, SET_DEC_NW, SET_MPLS_TTL, SET_NW_TTL, SET_FIELDS, SET_QUEUE, SET_GROUP, SET_OUTPUT, N_SET };

_Static_assert(N_SET <= 32, "the action set fits");

#define TRACE(x, ...)                                                                                                  \
    do {                                                                                                               \
        if ((x)->trace)                                                                                                \
            fprintf((x)->trace, __VA_ARGS__);                                                                          \
    } while (0)

void translation_init(struct translation *x, struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p)
{
    memset(x, 0, offsetof(struct translation, ops));
    memset(x->set, 0, sizeof x->set);
    memset(x->set_fields, 0, sizeof x->set_fields);
    x->set_table = 0;
    x->set_cookie = x->cookie = 0;
    x->table_id = 0;
    x->in_miss = false;
    x->worker = w;
    x->tenant = t;
    x->bridge = b;
    x->packet = p;
    x->key = p->key;
    x->cacheable = true;
    /* The cache is the tenant's; the bridge tells its bridges apart. */
    ((union key_words *)x->wc)->key.bridge = 0xffffffff;
}

static struct op *emit(struct translation *x, enum op_code code)
{
    if (x->n_ops == TRANSLATE_MAX_OPS) {
        x->overflow = true;
        x->n_ops--;
    }
    struct op *op = &x->ops[x->n_ops++];
    *op = (struct op){.code = code};
    return op;
}

static void emit_drop(struct translation *x, enum drop reason)
{
    emit(x, OP_DROP)->arg = reason;
    TRACE(x, "   drop: %s\n", dp_drop_text(reason));
}

/* Says that a decision depended on these bytes of the key. */
static void look_at(struct translation *x, size_t offset, size_t size)
{
    uint8_t *wc = (uint8_t *)x->wc, *known = (uint8_t *)x->known;
    for (size_t i = offset; i < offset + size; i++)
        wc[i] |= (uint8_t)~known[i];
}

static void make_known(struct translation *x, size_t offset, size_t size)
{
    memset((uint8_t *)x->known + offset, 0xff, size);
}

#define LOOK_AT(x, member) look_at(x, offsetof(struct key, member), sizeof((struct key *)0)->member)
#define MAKE_KNOWN(x, member) make_known(x, offsetof(struct key, member), sizeof((struct key *)0)->member)

/* Carries out what has been decided and parses the packet again: what a popped label uncovers is in no key. The decision is
 * then this packet's alone. */
static void refresh_key(struct translation *x)
{
    if (!x->stale_key)
        return;
    x->stale_key = false;
    x->cacheable = false;
    x->decremented[0] = x->decremented[1] = 0;
    memset(x->known, 0xff, sizeof x->known);
    if (!x->packet || !x->worker)
        return;
    x->packet = act_run(x->worker, x->tenant, x->bridge, x->packet, x->ops, x->n_ops);
    x->n_ops = 0;
    if (!x->packet)
        return;
    x->packet->key = x->key;
    parse(x->packet);
    x->key = x->packet->key;
}

static void output(struct translation *x, uint32_t port_no, uint16_t max_len)
{
    struct op *op;
    x->output = true;
    switch (port_no) {
    case OFPP_IN_PORT:
        emit(x, OP_OUTPUT_IN_PORT);
        break;
    case OFPP_NORMAL:
        emit(x, OP_NORMAL);
        break;
    case OFPP_FLOOD:
    case OFPP_ALL:
        emit(x, OP_FLOOD);
        break;
    case OFPP_CONTROLLER:
        op = emit(x, OP_CONTROLLER);
        op->arg = max_len;
        op->reason = x->in_miss ? OFPR_NO_MATCH : OFPR_ACTION;
        op->table = x->table_id;
        op->cookie = x->cookie;
        op->metadata = x->key.key.metadata;
        break;
    case OFPP_TABLE:
        translate(x);
        break;
    default: {
        struct port *p = bridge_port(x->bridge, port_no);
        if (p)
            emit(x, OP_OUTPUT)->port = p;
        else
            emit_drop(x, DROP_NO_PORT);
    }
    }
}

static void set_field(struct translation *x, const uint8_t *tlv)
{
    int id = field_by_oxm(get16(tlv), tlv[2] >> 1);
    struct op *op = emit(x, OP_SET_FIELD);
    op->field = (uint8_t)id;
    memcpy(op->value, tlv + 4, fields[id].bytes);
    if (id == F_TUN_IPV4_SRC || id == F_TUN_IPV4_DST) {
        uint8_t *a = id == F_TUN_IPV4_SRC ? x->key.key.tun_src : x->key.key.tun_dst;
        memset(a, 0, 10);
        memset(a + 10, 0xff, 2);
        make_known(x, (size_t)(a - (uint8_t *)&x->key), 16);
    }
    field_store(&x->key, id, tlv + 4);
    make_known(x, field_places[id].offset, field_places[id].size);
}

static void push_vlan(struct translation *x, uint16_t ethertype)
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

static void pop_vlan(struct translation *x)
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

#define MPLS_TTL offsetof(struct key, mpls_ttl), &x->decremented[0]
#define NW_TTL offsetof(struct key, ip_ttl), &x->decremented[1]

static void action(struct translation *x, const uint8_t *a)
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
        push_vlan(x, arg);
        break;
    case OFPAT_POP_VLAN:
        pop_vlan(x);
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
    default:
        break;                 /* nothing else passes instructions_check */
    }
}

void translate_actions(struct translation *x, const uint8_t *actions, size_t len)
{
    for (size_t at = 0; at + 8 <= len && !x->stop; at += get16(actions + at + 2))
        action(x, actions + at);
}

static int set_slot(uint16_t type)
{
    switch (type) {
    case OFPAT_COPY_TTL_IN:
        return SET_TTL_IN;
    case OFPAT_POP_PBB:
        return SET_POP_PBB;
    case OFPAT_POP_MPLS:
        return SET_POP_MPLS;
    case OFPAT_POP_VLAN:
        return SET_POP_VLAN;
    case OFPAT_PUSH_MPLS:
        return SET_PUSH_MPLS;
    case OFPAT_PUSH_PBB:
        return SET_PUSH_PBB;
    case OFPAT_PUSH_VLAN:
        return SET_PUSH_VLAN;
    case OFPAT_COPY_TTL_OUT:
        return SET_TTL_OUT;
    case OFPAT_DEC_MPLS_TTL:
        return SET_DEC_MPLS;
    case OFPAT_DEC_NW_TTL:
        return SET_DEC_NW;
    case OFPAT_SET_MPLS_TTL:
        return SET_MPLS_TTL;
    case OFPAT_SET_NW_TTL:
        return SET_NW_TTL;
    case OFPAT_SET_QUEUE:
        return SET_QUEUE;
    case OFPAT_GROUP:
        return SET_GROUP;
    case OFPAT_OUTPUT:
        return SET_OUTPUT;
    default:
        return -1;
    }
}

static void write_actions(struct translation *x, const uint8_t *actions, size_t len)
{
    for (size_t at = 0; at + 8 <= len; at += get16(actions + at + 2)) {
        const uint8_t *a = actions + at;
        if (get16(a) == OFPAT_SET_FIELD) {
            x->set_fields[field_by_oxm(get16(a + 4), a[6] >> 1)] = a;
            continue;
        }
        int slot = set_slot(get16(a));
        if (slot < 0)
            continue;
        x->set[slot] = a;
        if (slot == SET_OUTPUT) {
            x->set_table = x->table_id;
            x->set_cookie = x->cookie;
        }
    }
}

static void clear_actions(struct translation *x)
{
    memset(x->set, 0, sizeof x->set);
    memset(x->set_fields, 0, sizeof x->set_fields);
}

static void run_action_set(struct translation *x)
{
    for (int slot = 0; slot < N_SET && !x->stop; slot++) {
        if (slot == SET_FIELDS) {
            for (int i = 0; i < N_FIELDS; i++)
                if (x->set_fields[i])
                    action(x, x->set_fields[i]);
        } else if (x->set[slot]) {
            if (slot == SET_OUTPUT) {
                x->table_id = x->set_table;
                x->cookie = x->set_cookie;
            }
            action(x, x->set[slot]);
        }
    }
}

/* Carries out a rule's instructions in the order of 5.9, whatever order they came in. Returns the next table, or -1. */
static int run_instructions(struct translation *x, const struct instructions *list)
{
    const uint8_t *at[OFPIT_METER + 1] = {0};
    for (size_t o = 0; o + 8 <= list->len; o += get16(list->bytes + o + 2))
        at[get16(list->bytes + o)] = list->bytes + o;
    const uint8_t *i;
    if ((i = at[OFPIT_APPLY_ACTIONS]))
        translate_actions(x, i + 8, get16(i + 2) - 8u);
    if (x->stop)
        return -1;
    if (at[OFPIT_CLEAR_ACTIONS])
        clear_actions(x);
    if ((i = at[OFPIT_WRITE_ACTIONS]))
        write_actions(x, i + 8, get16(i + 2) - 8u);
    if ((i = at[OFPIT_WRITE_METADATA])) {
        uint64_t value, mask;
        memcpy(&value, i + 8, 8);
        memcpy(&mask, i + 16, 8);
        x->key.key.metadata = (x->key.key.metadata & ~mask) | (value & mask);
        ((union key_words *)x->known)->key.metadata |= mask;
    }
    return (i = at[OFPIT_GOTO_TABLE]) ? i[4] : -1;
}

static void table_miss(struct translation *x, int id, struct table *t)
{
    if (id == 0 && atomic_load_explicit(&x->bridge->miss, memory_order_acquire) == DP_MISS_NORMAL) {
        TRACE(x, "%2d. no rule: the bridge forwards like a learning switch\n", id);
        output(x, OFPP_NORMAL, 0);
        return;
    }
    TRACE(x, "%2d. no rule\n", id);
    x->miss = t;
    if (!x->output)
        emit_drop(x, DROP_NO_RULE);
}

void translate(struct translation *x)
{
    if (x->bridge->conf.config_flags & OFPC_FRAG_DROP) {
        LOOK_AT(x, ip_frag);
        if (x->key.key.ip_frag) {
            emit_drop(x, DROP_FRAGMENT);
            return;
        }
    }
    for (int id = 0; id >= 0;) {
        struct table *t = atomic_load_explicit(&x->bridge->tables[id], memory_order_acquire);
        refresh_key(x);
        if (!x->packet)
            return;
        struct cls_rule *c = t ? classifier_lookup(&t->cls, &x->key, x->known, x->wc) : NULL;
        if (!c) {
            table_miss(x, id, t);
            return;            /* the action set is not carried out: OpenFlow 1.3.5, 5.4 drops the packet */
        }
        struct rule *r = rule_of(c);
        if (x->n_rules == TRANSLATE_MAX_RULES) {
            x->overflow = true;
            return;
        }
        x->rules[x->n_rules++] = r;
        x->table_id = (uint8_t)id;
        x->cookie = r->cookie;
        x->in_miss = rule_is_miss(r);
        TRACE(x, "%2d. priority %u, cookie 0x%llx%s\n", id, c->priority, (unsigned long long)r->cookie,
              x->in_miss ? " (table-miss)" : "");
        id = run_instructions(x, atomic_load_explicit(&r->instructions, memory_order_acquire));
        if (x->overflow || x->stop)
            return;
        x->set_table = x->set[SET_OUTPUT] ? x->set_table : x->table_id;
    }
    run_action_set(x);
    if (!x->output && x->packet && !x->stop)
        emit_drop(x, DROP_EXPLICIT);
}

struct program *translation_program(const struct translation *x)
{
    struct program *p = malloc(sizeof *p + x->n_ops * sizeof x->ops[0] + x->n_rules * sizeof x->rules[0]);
    if (!p)
        return NULL;
    p->n_ops = (uint16_t)x->n_ops;
    p->n_rules = (uint16_t)x->n_rules;
    p->miss = x->miss;
    p->rules = (struct rule **)(p->ops + x->n_ops);
    memcpy(p->ops, x->ops, x->n_ops * sizeof x->ops[0]);
    memcpy(p->rules, x->rules, x->n_rules * sizeof x->rules[0]);
    return p;
}
