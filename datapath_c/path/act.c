#include "path/act.h"
#include "base/bytes.h"
#include "base/step.h"
#include "flow/group.h"
#include "flow/meter.h"
#include "flow/rule.h"
#include "path/headers.h"
#include "path/learn.h"
#include "path/output.h"
#include "path/packet_in.h"
#include "path/slow_path.h"
#include "path/tx.h"

static enum drop change(struct packet *p, const struct op *op)
{
    switch (op->code) {
    case OP_SET_FIELD:
        return set_field(p, (enum field_id)op->field, op->value);
    case OP_PUSH_VLAN:
        return push_vlan(p, op->arg);
    case OP_POP_VLAN:
        return pop_vlan(p);
    case OP_PUSH_MPLS:
        return push_mpls(p, op->arg);
    case OP_POP_MPLS:
        return pop_mpls(p, op->arg);
    case OP_PUSH_PBB:
        return push_pbb(p, op->arg);
    case OP_POP_PBB:
        return pop_pbb(p);
    case OP_SET_MPLS_TTL:
        return set_mpls_ttl(p, (uint8_t)op->arg);
    case OP_DEC_MPLS_TTL:
        return dec_mpls_ttl(p);
    case OP_SET_NW_TTL:
        return set_nw_ttl(p, (uint8_t)op->arg);
    case OP_DEC_NW_TTL:
        return dec_nw_ttl(p);
    case OP_COPY_TTL_OUT:
        return copy_ttl_out(p);
    case OP_TRUNC:
        return trunc_packet(p, op->arg32);
    default:
        return copy_ttl_in(p);
    }
}

/* The ops of a clone, on a copy. */
static void act_copy(struct worker *w, struct wtenant *t, struct bridge *b, const struct packet *p, const struct op *ops,
                     unsigned n)
{
    struct packet *copy = packet_copy(p);
    if (!copy)
        t->account->drops[DROP_NO_BUFFER]++;
    else if ((copy = act_run(w, t, b, copy, ops, n)))
        packet_unref(copy);
}

/* One of the clones behind an OP_SELECT, drawn by the packet's headers. */
static void select_section(struct worker *w, struct wtenant *t, struct bridge *b, const struct packet *p, const struct op *op)
{
    uint32_t hash = group_hash(op->group, &p->key);
    const struct op *best = NULL;
    double best_score = 0;
    for (const struct op *s = op + 1, *end = s + op->row; s < end && !step_ending(); s += 1 + s->arg32) {
        step(STEP_PROBE);
        double score = bucket_score(hash, &op->group->buckets[s[1].row - 1]);
        if (score > best_score) {
            best = s;
            best_score = score;
        }
    }
    if (best)
        act_copy(w, t, b, p, best + 1, best->arg32);
}

/* The packet as the meter leaves it, or NULL. */
static struct packet *meter(struct worker *w, struct wtenant *t, struct packet *p, struct meter *m)
{
    uint8_t levels;
    switch (meter_packet(m, w->id, p, w->now, &levels)) {
    case METER_DROP:
        t->account->drops[DROP_METER]++;
        packet_unref(p);
        return NULL;
    case METER_REMARK:
        if ((p = packet_own(p)))
            raise_drop_precedence(p, levels);
        else
            t->account->drops[DROP_NO_BUFFER]++;
        return p;
    default:
        return p;
    }
}

struct packet *act_run(struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p, const struct op *ops,
                       unsigned n)
{
    const struct op *context = NULL;
    for (unsigned i = 0; i < n && !step_ending(); i++) {
        const struct op *op = &ops[i];
        step(1);
        switch (op->code) {
        case OP_OUTPUT:
            if (op->port == p->rx_port)
                t->account->drops[DROP_IN_PORT]++;
            else
                output_port(w, t, op->port, p);
            break;
        case OP_OUTPUT_IN_PORT:
            if (p->rx_port)
                output_port(w, t, p->rx_port, p);
            else
                t->account->drops[DROP_NO_PORT]++;
            break;
        case OP_NORMAL:
            output_normal(w, t, b, p);
            break;
        case OP_FLOOD:
            output_flood(w, t, b, p, op->arg);
            break;
        case OP_CONTROLLER:
            packet_whole(p);
            packet_in(w, t, b, p, context ? context : op, op);
            context = NULL;
            break;
        case OP_CONTEXT:
            context = context ? context : op;
            break;
        case OP_CLONE:
            act_copy(w, t, b, p, op + 1, op->arg32);
            i += op->arg32;
            break;
        case OP_GROUP:
            group_count(op->group, w->id, 0, p->len);
            break;
        case OP_BUCKET:
            group_count(op->group, w->id, op->row, p->len);
            break;
        case OP_SELECT:
            select_section(w, t, b, p, op);
            i += op->row;
            break;
        case OP_COUNT:
            count_rules(w, &(struct rule_stats *){rule_stats(op->rule, w->id)}, 1, NULL, 1, p->len);
            break;
        case OP_METER:
            if (!(p = meter(w, t, p, op->meter)))
                return NULL;
            break;
        case OP_LEARN:
            learn(w, t, b, (struct learned *)op->bytes);
            break;
        case OP_FIN_TIMEOUT:
            fin_timeout(w, t, b, op->rule, op->arg, op->arg2);
            break;
        case OP_SET_QUEUE:
            p->queue_id = op->arg32;
            break;
        case OP_DROP:
            t->account->drops[op->arg]++;
            break;
        default: {
            if (!(p = packet_own(p))) {
                t->account->drops[DROP_NO_BUFFER]++;
                return NULL;
            }
            enum drop why = change(p, op);
            if (why == N_DROPS)
                break;
            if (why == DROP_TTL)
                packet_in_ttl(w, t, b, p);
            t->account->drops[why]++;
            packet_unref(p);
            return NULL;
        }
        }
    }
    return p;
}

void act(struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p, const struct program *program)
{
    count_rules(w, program->counts, program->n_rules, program->miss, 1, p->len);
    if ((p = act_run(w, t, b, p, program->ops, program->n_ops)))
        packet_unref(p);
}

/* To one port; whether the packets are its now: the last one takes them over. */
static bool send_raw(struct worker *w, struct wtenant *t, const struct port *in, struct port *out, struct packet **packets, unsigned n,
                     bool last)
{
    uint32_t config = atomic_load_explicit(&out->config, memory_order_relaxed);
    if (out == in) {
        t->account->drops[DROP_IN_PORT] += n;
    } else if (config & (OFPPC_PORT_DOWN | OFPPC_NO_FWD)) {
        t->account->drops[DROP_PORT_CONFIG] += n;
    } else if (!last) {
        for (unsigned i = 0; i < n; i++)
            tx_stage(w, t, out, packets[i]);
    } else {
        tx_stage_all(w, t, out, packets, n);
        return true;
    }
    return false;
}

void act_raw(struct worker *w, struct wtenant *t, struct port *in, struct packet **packets, unsigned n, uint64_t bytes,
             const struct megaflow *m)
{
    if (m->out) {
        count_rules(w, &m->counted, 1, NULL, n, bytes);
        if (!send_raw(w, t, in, m->out, packets, n, true))
            packet_unref_all(packets, n);
        return;
    }
    const struct program *program = m->program;
    count_rules(w, program->counts, program->n_rules, program->miss, n, bytes);
    for (unsigned k = 0; k < program->n_ops; k++)
        if (send_raw(w, t, in, program->ops[k].port, packets, n, k + 1 == program->n_ops))
            return;
    packet_unref_all(packets, n);
}
/* Next: the ports' stages, which tx flushes. */
