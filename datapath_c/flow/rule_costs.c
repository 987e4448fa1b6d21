#include "flow/rule_costs.h"
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "path/datapath.h"

#define ENTRY_MAX 4096         /* bytes of a rule that is told of; longer ones aren't */

struct dear {
    uint64_t cycles;
    size_t len;
    uint8_t *entry;
};

struct rule_costs {
    struct cursor cursor;
    struct bridge *bridge;     /* NULL when it is gone */
    unsigned table;
    uint32_t k, n;
    struct dear at[RULE_COSTS_MAX];    /* by falling cycles */
};

static struct rule *first_rule(const struct rule_costs *c)
{
    struct table *t = atomic_load_explicit(&c->bridge->tables[c->table], memory_order_relaxed);
    return t ? t->rules : NULL;
}

struct rule_costs *rule_costs_new(struct bridge *b, uint32_t k)
{
    struct rule_costs *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->bridge = b;
    c->k = k < RULE_COSTS_MAX ? k : RULE_COSTS_MAX;
    c->cursor = (struct cursor){.next = b->cursors, .at = first_rule(c), .bridge = &c->bridge};
    b->cursors = &c->cursor;
    return c;
}

static void note(struct rule_costs *c, const struct rule *r, uint64_t cycles)
{
    static uint8_t entry[65536];
    size_t len = flow_entry_put(r, clock_now(), entry, sizeof entry);
    uint8_t *copy = len <= ENTRY_MAX ? malloc(len) : NULL;
    if (!copy)
        return;
    memcpy(copy, entry, len);
    if (c->n == c->k)
        free(c->at[--c->n].entry);
    uint32_t i = c->n++;
    for (; i && c->at[i - 1].cycles < cycles; i--)
        c->at[i] = c->at[i - 1];
    c->at[i] = (struct dear){cycles, len, copy};
}

bool rule_costs_step(struct rule_costs *c, unsigned n)
{
    while (c->bridge && n--) {
        struct rule *r = c->cursor.at;
        if (!r) {
            if (++c->table == OFPTT_MAX)
                return true;
            c->cursor.at = first_rule(c);
            continue;
        }
        uint64_t cycles = rule_cycles(r);
        if (cycles && c->k && (c->n < c->k || cycles > c->at[c->n - 1].cycles))
            note(c, r, cycles);
        c->cursor.at = r->next;
    }
    return !c->bridge;
}

size_t rule_costs_at(const struct rule_costs *c, uint32_t i, uint64_t *cycles, const uint8_t **entry)
{
    if (i >= c->n)
        return 0;
    *cycles = c->at[i].cycles;
    *entry = c->at[i].entry;
    return c->at[i].len;
}

void rule_costs_free(struct rule_costs *c)
{
    struct cursor **link = c->bridge ? &c->bridge->cursors : NULL;
    while (link && *link && *link != &c->cursor)
        link = &(*link)->next;
    if (link && *link)
        *link = c->cursor.next;
    for (uint32_t i = 0; i < c->n; i++)
        free(c->at[i].entry);
    free(c);
}
