#include "flow/translate.h"
#include <assert.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "flow/translating.h"

/* Slots of the action set, in the order in which it is carried out (OpenFlow 1.3.5, 5.10). */
enum { SET_TTL_IN, SET_POP_PBB, SET_POP_MPLS, SET_POP_VLAN, SET_PUSH_MPLS, SET_PUSH_PBB, SET_PUSH_VLAN, SET_TTL_OUT,
       SET_DEC_MPLS, SET_DEC_NW, SET_MPLS_TTL, SET_NW_TTL, SET_FIELDS, SET_QUEUE, SET_GROUP, SET_OUTPUT, N_SET };

_Static_assert(N_SET <= 32, "the action set fits");

void translation_init(struct translation *x, struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p)
{
    memset(x, 0, offsetof(struct translation, ops));
    memset(x->set, 0, sizeof x->set);
    x->set_table = 0;
    x->set_cookie = x->cookie = 0;
    x->table_id = 0;
    x->in_miss = x->has_set = x->has_fields = false;
    x->n_others = 0;
    x->rule = NULL;
    x->worker = w;
    x->tenant = t;
    x->bridge = b;
    x->packet = p;
    x->version = atomic_load_explicit(&b->version, memory_order_acquire);
    memcpy(&x->key, &p->key, CACHE_WORDS * 8);
    memset(x->key.w + CACHE_WORDS, 0, sizeof x->key - CACHE_WORDS * 8);
    memset(x->known + CACHE_WORDS, 0xff, sizeof x->known - CACHE_WORDS * 8);
    x->key.key.actset_output = htobe32(OFPP_UNSET);
    x->cacheable = true;
    /* The cache is the tenant's; the bridge tells its bridges apart. */
    ((union key_words *)x->wc)->key.bridge = 0xffffffff;
}

void translate_actions(struct translation *x, const uint8_t *actions, size_t len)
{
    for (size_t at = 0; at + 8 <= len && !x->stop && !x->exit && !x->overflow; at += get16(actions + at + 2)) {
        step(1);
        standard_action(x, actions + at);
    }
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

/* The port that the action set outputs to, as rules may match it (OpenFlow 1.5.1, 5.6.1). */
static void note_output(struct translation *x)
{
    uint32_t port = x->set[SET_GROUP] || !x->set[SET_OUTPUT] ? OFPP_UNSET : get32(x->set[SET_OUTPUT] + 4);
    x->key.key.actset_output = htobe32(port);
}

/* Actions that have no place in the standard's order keep theirs among themselves, before output. */
static void write_other(struct translation *x, const uint8_t *a)
{
    if (x->n_others < TRANSLATE_MAX_OTHERS)
        x->others[x->n_others++] = a;
    else
        x->overflow = true;
}

static void write_actions(struct translation *x, const uint8_t *actions, size_t len)
{
    x->has_set |= len > 0;
    for (size_t at = 0; at + 8 <= len; at += get16(actions + at + 2)) {
        const uint8_t *a = actions + at;
        step(1);
        if (get16(a) == OFPAT_SET_FIELD) {
            struct field_header h;
            field_header_parse(a + 4, 8, &h);
            if (!x->has_fields)
                memset(x->set_fields, 0, sizeof x->set_fields);
            x->has_fields = true;
            x->set_fields[h.field] = a;
            continue;
        }
        int slot = set_slot(get16(a));
        if (slot < 0) {
            write_other(x, a);
            continue;
        }
        x->set[slot] = a;
        if (slot == SET_OUTPUT) {
            x->set_table = x->table_id;
            x->set_cookie = x->cookie;
        }
    }
    note_output(x);
}

static void clear_actions(struct translation *x)
{
    memset(x->set, 0, sizeof x->set);
    x->n_others = 0;
    x->has_set = x->has_fields = false;
    note_output(x);
}

static void run_action_set(struct translation *x)
{
    for (int slot = 0; slot < N_SET && !x->stop && x->has_set; slot++) {
        if (slot == SET_FIELDS) {
            for (int i = 0; i < N_ALL_FIELDS && x->has_fields; i++)
                if (x->set_fields[i])
                    standard_action(x, x->set_fields[i]);
            for (unsigned i = 0; i < x->n_others && !x->overflow; i++)
                standard_action(x, x->others[i]);
        } else if (x->set[slot]) {
            if (slot == SET_OUTPUT && x->set[SET_GROUP])
                continue;      /* the group decides */
            if (slot == SET_OUTPUT) {
                x->table_id = x->set_table;
                x->cookie = x->set_cookie;
            }
            standard_action(x, x->set[slot]);
        }
    }
}

/* An action set that another one takes the place of, for a while. */
struct saved_set {
    const uint8_t *set[N_SET], *fields[N_ALL_FIELDS], *others[TRANSLATE_MAX_OTHERS];
    unsigned n_others;
    bool has_set, has_fields;
    uint8_t set_table, table_id;
    uint64_t set_cookie;
    uint32_t actset_output;
};

static void begin_set(struct translation *x, struct saved_set *saved, const uint8_t *actions, size_t len)
{
    memcpy(saved->set, x->set, sizeof saved->set);
    if ((saved->has_fields = x->has_fields))
        memcpy(saved->fields, x->set_fields, sizeof saved->fields);
    memcpy(saved->others, x->others, x->n_others * sizeof x->others[0]);
    saved->n_others = x->n_others;
    saved->has_set = x->has_set;
    saved->set_table = x->set_table;
    saved->table_id = x->table_id;
    saved->set_cookie = x->set_cookie;
    saved->actset_output = x->key.key.actset_output;
    clear_actions(x);
    write_actions(x, actions, len);
}

static void end_set(struct translation *x, const struct saved_set *saved)
{
    memcpy(x->set, saved->set, sizeof saved->set);
    if ((x->has_fields = saved->has_fields))
        memcpy(x->set_fields, saved->fields, sizeof saved->fields);
    memcpy(x->others, saved->others, saved->n_others * sizeof x->others[0]);
    x->n_others = saved->n_others;
    x->has_set = saved->has_set;
    x->set_table = saved->set_table;
    x->table_id = saved->table_id;
    x->set_cookie = saved->set_cookie;
    x->key.key.actset_output = saved->actset_output;
}

void run_as_action_set(struct translation *x, const uint8_t *actions, size_t len)
{
    struct saved_set saved;
    begin_set(x, &saved, actions, len);
    run_action_set(x);
    end_set(x, &saved);
}

/* Carries out a rule's instructions in the order of 5.9, whatever order they came in. Returns the next table, or -1. */
static int run_instructions(struct translation *x, const struct instructions *list)
{
    const uint8_t *at[OFPIT_STAT_TRIGGER + 1] = {0};
    for (size_t o = 0; o + 8 <= list->len; o += get16(list->bytes + o + 2))
        at[get16(list->bytes + o)] = list->bytes + o;
    const uint8_t *i;
    if ((i = at[OFPIT_METER]))
        meter_action(x, get32(i + 4));
    if ((i = at[OFPIT_APPLY_ACTIONS]))
        translate_actions(x, i + 8, get16(i + 2) - 8u);
    if (x->stop || x->exit || x->overflow)
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

/* Returns the table that the packet goes on to, or -1. */
static int table_miss(struct translation *x, int id, struct table *t)
{
    uint32_t miss = atomic_load_explicit(&x->bridge->miss, memory_order_acquire), config = t ? t->conf.config : 0;
    if (id == 0 && miss == DP_MISS_NORMAL) {
        TRACE(x, "%2d. no rule: the bridge forwards like a learning switch\n", id);
        output(x, OFPP_NORMAL, 0);
        return -1;
    }
    x->miss = t;
    if (config & DP_TABLE_MISS_CONTINUE && id + 1 < OFPTT_MAX) {
        TRACE(x, "%2d. no rule: the packet goes on\n", id);
        return id + 1;
    }
    if (miss == DP_MISS_CONTROLLER && !(config & DP_TABLE_MISS_DROP)) {
        TRACE(x, "%2d. no rule: the packet goes to the controller\n", id);
        x->table_id = (uint8_t)id;
        x->cookie = UINT64_MAX;
        x->output = true;
        controller(x, x->bridge->conf.miss_send_len, 0, OFPR_NO_MATCH, NULL);
        return -1;
    }
    TRACE(x, "%2d. no rule\n", id);
    if (!x->output)
        emit_drop(x, DROP_NO_RULE);
    return -1;
}

/* The rule of table `id` for the packet, counted. NULL when there is none or no room to note it. */
static struct rule *find_rule(struct translation *x, int id, struct table **table)
{
    assert(id < OFPTT_MAX);
    struct table *t = *table = atomic_load_explicit(&x->bridge->tables[id], memory_order_acquire);
    refresh_key(x);
    step(STEP_PROBE);
    if (step_ending())
        x->overflow = true;
    if (!x->packet || x->overflow)
        return NULL;
    struct cls_rule *c = t ? table_lookup(t, x->version, &x->key, x->known, x->wc) : NULL;
    if (!c)
        return NULL;
    if (x->n_rules == TRANSLATE_MAX_RULES || x->lookups++ == TRANSLATE_MAX_LOOKUPS) {
        x->overflow = true;
        return NULL;
    }
    struct rule *r = rule_of(c);
    if (x->metered)
        emit(x, OP_COUNT)->rule = r;
    else if (x->worker)
        x->counts[x->n_rules++] = rule_stats(r, x->worker->id);
    x->rule = r;
    x->table_id = (uint8_t)id;
    x->cookie = r->cookie;
    x->in_miss = rule_is_miss(r);
    TRACE(x, "%2d. priority %u, cookie 0x%llx%s\n", id, c->priority, (unsigned long long)r->cookie,
          x->in_miss ? " (table-miss)" : "");
    return r;
}

/* Whether the walk came to its end with a rule in every table: only then is the action set carried out (OpenFlow 1.3.5, 5.4
 * drops the packet otherwise). */
static bool walk_tables(struct translation *x, int id, bool resubmitted)
{
    while (id >= 0) {
        struct table *t;
        struct rule *r = find_rule(x, id, &t);
        if (!x->packet || x->overflow)
            return false;
        if (!r) {
            if (resubmitted) {
                x->miss = t ? t : x->miss;
                return false;
            }
            if ((id = table_miss(x, id, t)) >= 0)
                continue;
            return false;
        }
        id = run_instructions(x, atomic_load_explicit(&r->instructions, memory_order_acquire));
        if (x->overflow || x->stop)
            return false;
        if (x->exit)
            return true;
        if (id >= 0 && !x->egress && bridge_egress(x->bridge, id)) {
            /* The rule is older than the bridge's egress tables. */
            emit_drop(x, DROP_NO_RULE);
            return false;
        }
        x->set_table = x->set[SET_OUTPUT] ? x->set_table : x->table_id;
    }
    return true;
}

void walk_egress(struct translation *x, uint32_t port_no)
{
    struct saved_key saved;
    struct saved_set set;
    uint8_t to_port[16] = {0, OFPAT_OUTPUT, 0, 16};
    uint64_t cookie = x->cookie;
    bool in_miss = x->in_miss;
    struct rule *rule = x->rule;
    if (x->overflow || x->depth == TRANSLATE_MAX_DEPTH || !section_begin(x, &saved)) {
        x->overflow = true;
        return;
    }
    TRACE(x, "    to port %u through the egress tables\n", port_no);
    number_put(to_port + 4, 4, port_no);
    begin_set(x, &set, to_port, sizeof to_port);
    x->depth++;
    x->egress = true;
    x->output = false;
    if (walk_tables(x, (int)x->bridge->conf.egress_table, false) && !x->stop && !x->overflow) {
        x->exit = false;
        run_action_set(x);
        if (!x->output && x->packet && !x->stop)
            emit_drop(x, DROP_EXPLICIT);
    }
    x->exit = x->egress = false;
    x->output = true;
    x->depth--;
    end_set(x, &set);
    section_end(x, &saved);
    x->cookie = cookie;
    x->in_miss = in_miss;
    x->rule = rule;
}

void walk(struct translation *x, int id, bool resubmitted)
{
    if (x->depth == TRANSLATE_MAX_DEPTH) {
        x->overflow = true;
        return;
    }
    x->depth++;
    bool whole = walk_tables(x, id, resubmitted);
    x->depth--;
    if (x->depth || resubmitted || !whole)
        return;
    x->exit = false;
    run_action_set(x);
    if (!x->output && x->packet && !x->stop)
        emit_drop(x, DROP_EXPLICIT);
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
    walk(x, 0, false);
}

#define RAW_OPS 4              /* of a raw program: a batch goes through them without a look at the clock */

struct program *translation_program(const struct translation *x)
{
    size_t ops = x->n_ops * sizeof x->ops[0], counts = x->n_rules * sizeof x->counts[0];
    struct program *p = malloc(sizeof *p + ops + counts + x->n_bytes);
    if (!p)
        return NULL;
    p->size = (uint32_t)(sizeof *p + ops + counts + x->n_bytes);
    p->n_ops = (uint16_t)x->n_ops;
    p->n_rules = (uint16_t)x->n_rules;
    p->miss = x->miss;
    p->raw = x->n_ops <= RAW_OPS;
    for (unsigned i = 0; i < x->n_ops; i++)
        p->raw &= x->ops[i].code == OP_OUTPUT && x->ops[i].port->ops->raw;
    p->counts = (struct rule_stats **)(p->ops + x->n_ops);
    step_copy(p->ops, x->ops, ops);
    step_copy(p->counts, x->counts, counts);
    uint8_t *bytes = (uint8_t *)p->counts + counts;
    step_copy(bytes, x->bytes, x->n_bytes);
    for (unsigned i = 0; i < p->n_ops; i++)
        if (p->ops[i].code == OP_LEARN)
            p->ops[i].bytes = bytes + (p->ops[i].bytes - x->bytes);
    return p;
}
