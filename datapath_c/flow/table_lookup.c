/* The lookup in a table that has conjunctive rules (Open vSwitch's conjunction action, ovs-fields(7)).
 *
 * A conjunctive rule is one clause of a conjunction: its actions name ids, and of each id which clause it is of how many.
 * When for some id every clause has a rule of the same priority that matches, the packet's conj_id is that id, and the table
 * is looked up again. Rules of one priority decide together; a rule of higher priority that isn't conjunctive wins. */
#include "flow/table.h"
#include "base/bytes.h"
#include "base/step.h"
#include "flow/nicira.h"

#define MAX_SOFT 128           /* conjunctive rules that match one packet */
#define MAX_IDS 128            /* of one priority */

struct seen {
    uint32_t id;
    uint64_t clauses;          /* bit i: clause i has matched */
    uint8_t n;
};

/* Notes the clauses that a rule is; whether that completes a conjunction, and which. */
static bool note_clauses(const struct rule *r, struct seen *seen, unsigned *n_seen, uint32_t *complete)
{
    const struct instructions *list = atomic_load_explicit(&((struct rule *)r)->instructions, memory_order_acquire);
    for (size_t o = 0; o + 8 <= list->len; o += get16(list->bytes + o + 2)) {
        const uint8_t *i = list->bytes + o;
        if (get16(i) != OFPIT_APPLY_ACTIONS)
            continue;
        for (size_t at = 8; at + 16 <= get16(i + 2); at += get16(i + at + 2)) {
            const uint8_t *a = i + at;
            step(1);
            if (get16(a) != OFPAT_EXPERIMENTER || get32(a + 4) != NX_VENDOR || get16(a + 8) != NXAST_CONJUNCTION)
                continue;
            uint32_t id = get32(a + 12);
            unsigned k = 0;
            while (k < *n_seen && seen[k].id != id)
                k++;
            if (k == MAX_IDS)
                continue;
            if (k == *n_seen)
                seen[(*n_seen)++] = (struct seen){.id = id, .n = a[11]};
            seen[k].clauses |= (uint64_t)1 << a[10];
            if (seen[k].n == a[11] && seen[k].clauses == (a[11] == 64 ? UINT64_MAX : ((uint64_t)1 << a[11]) - 1)) {
                *complete = id;
                return true;
            }
        }
    }
    return false;
}

static bool conjunctive(const struct cls_rule *c, void *unused)
{
    return ((const struct rule *)c)->conjunctive;
}

struct cls_rule *table_lookup(struct table *t, uint32_t version, union key_words *k, const uint64_t known[KEY_WORDS],
                              uint64_t wc[KEY_WORDS])
{
    if (!atomic_load_explicit(&t->n_conjunctive, memory_order_acquire))
        return classifier_lookup(&t->cls, version, k, known, wc);
    struct cls_rule *soft[MAX_SOFT];
    unsigned n = 0;
    struct cls_rule *hard = classifier_split(&t->cls, version, k, known, wc, conjunctive, soft, MAX_SOFT, &n);
    /* By falling priority; insertion sort, for there are few. */
    for (unsigned i = 1; i < n; i++) {
        step(STEP_CHECK);
        for (unsigned j = i; j && soft[j]->priority > soft[j - 1]->priority; j--) {
            struct cls_rule *other = soft[j];
            soft[j] = soft[j - 1];
            soft[j - 1] = other;
        }
    }
    for (unsigned i = 0; i < n && (!hard || soft[i]->priority >= hard->priority);) {
        struct seen seen[MAX_IDS];
        unsigned n_seen = 0;
        uint16_t priority = soft[i]->priority;
        for (; i < n && soft[i]->priority == priority; i++) {
            uint32_t id, was = k->key.conj_id;
            if (!note_clauses(rule_of(soft[i]), seen, &n_seen, &id))
                continue;
            k->key.conj_id = htobe32(id);
            unsigned more = 0;
            struct cls_rule *found = classifier_split(&t->cls, version, k, known, wc, conjunctive, soft, 0, &more);
            k->key.conj_id = was;
            if (found && (!hard || found->priority >= hard->priority)) {
                k->key.conj_id = htobe32(id);
                return found;
            }
            break;
        }
        while (i < n && soft[i]->priority == priority)
            i++;
    }
    return hard;
}
