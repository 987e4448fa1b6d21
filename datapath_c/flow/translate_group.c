/* Groups and meters as ops. A select group's bucket is chosen when the program runs, so that one cached decision serves all of
 * a group's flows; where a bucket does what only a look at the changed packet can tell, it is chosen now. */
#include "base/bytes.h"
#include "flow/group.h"
#include "flow/meter.h"
#include "flow/translating.h"

#define BUCKET_UNITS 8         /* of base/step.h: the action set and the key are put by and fetched back */

static void bucket_section(struct translation *x, const struct group *g, uint32_t i)
{
    struct saved_key saved;
    step(BUCKET_UNITS);
    if (step_ending())
        x->overflow = true;
    if (x->overflow || !section_begin(x, &saved))
        return;
    struct op *op = emit(x, OP_BUCKET);
    op->group = g;
    op->row = i + 1;
    run_as_action_set(x, g->buckets[i].actions, g->buckets[i].actions_len);
    section_end(x, &saved);
}

/* Whether no action of the list has to parse the packet again (refresh_key). */
static bool is_plain(const uint8_t *actions, size_t len)
{
    unsigned tags = 0;
    for (size_t at = 0; at + 8 <= len; at += get16(actions + at + 2))
        switch (get16(actions + at)) {
        case OFPAT_SET_FIELD:
            if (actions[at + 6] & 1)
                return false;
            break;
        case OFPAT_OUTPUT:
            if (get32(actions + at + 4) == OFPP_TABLE)
                return false;
            break;
        case OFPAT_PUSH_VLAN:
        case OFPAT_POP_VLAN:
            if (tags++)
                return false;
            break;
        case OFPAT_SET_QUEUE:
        case OFPAT_SET_NW_TTL:
        case OFPAT_DEC_NW_TTL:
            break;
        default:
            return false;
        }
    return true;
}

static bool usable(const struct translation *x, const struct group *g, uint32_t i)
{
    const struct bucket *k = &g->buckets[i];
    return k->weight && bucket_live(x->bridge, k, 0);
}

static void select_now(struct translation *x, const struct group *g)
{
    int best = -1;
    double best_score = 0;
    x->cacheable = false;
    uint32_t hash = group_hash(g, &x->key);
    for (uint32_t i = 0; i < g->n_buckets; i++) {
        step(STEP_PROBE);
        double score = usable(x, g, i) ? bucket_score(hash, &g->buckets[i]) : 0;
        if (score > best_score) {
            best = (int)i;
            best_score = score;
        }
    }
    if (best >= 0)
        bucket_section(x, g, (uint32_t)best);
}

static void select_bucket(struct translation *x, const struct group *g)
{
    bool plain = !x->stale_key && x->n_sections == 0 && !x->bridge->conf.egress_table;
    for (uint32_t i = 0; i < g->n_buckets && plain; i++) {
        step(STEP_PROBE);
        plain = is_plain(g->buckets[i].actions, g->buckets[i].actions_len);
    }
    if (!plain) {
        select_now(x, g);
        return;
    }
    unsigned at = x->n_ops;
    emit(x, OP_SELECT)->group = g;
    for (uint32_t i = 0; i < g->n_buckets && !x->overflow; i++)
        if (usable(x, g, i))
            bucket_section(x, g, i);
    if (!x->overflow)
        x->ops[at].row = x->n_ops - at - 1;
}

void group_action(struct translation *x, uint32_t id)
{
    const struct group *g = group_find(x->bridge, id);
    if (!g || x->overflow || x->depth == TRANSLATE_MAX_DEPTH) {
        emit_drop(x, DROP_LOOP);
        return;
    }
    TRACE(x, "    group %u\n", id);
    x->depth++;
    x->output = true;
    emit(x, OP_GROUP)->group = g;
    switch (g->type) {
    case GROUP_SELECT:
        select_bucket(x, g);
        break;
    case GROUP_FF:
        for (uint32_t i = 0; i < g->n_buckets; i++) {
            step(1);
            if (bucket_live(x->bridge, &g->buckets[i], 0)) {
                bucket_section(x, g, i);
                break;
            }
        }
        break;
    default:
        for (uint32_t i = 0; i < g->n_buckets && !x->overflow; i++)
            bucket_section(x, g, i);
    }
    x->depth--;
}

void meter_action(struct translation *x, uint32_t id)
{
    struct meter *m = meter_find(x->bridge, id);
    if (!m)
        return;
    emit(x, OP_METER)->meter = m;
    x->metered = true;
    if (meter_remarks(m))
        x->stale_key = true;   /* tables after it look at the DSCP as it is then */
}
