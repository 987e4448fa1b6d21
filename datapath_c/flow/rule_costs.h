/* Which of a bridge's rules the workers spend most time on. Cycles are sampled by the workers (path/process.c): an estimate,
 * good for rules that matter. Main thread. */
#ifndef VSWITCH_RULE_COSTS_H
#define VSWITCH_RULE_COSTS_H
#include "flow/rule_list.h"

#define RULE_COSTS_MAX 64

struct rule_costs;

/* A look through all rules for the `k` dearest (at most RULE_COSTS_MAX), in as many steps as its reader likes. NULL without
 * memory. */
struct rule_costs *rule_costs_new(struct bridge *b, uint32_t k);
/* Looks at `n` more rules; whether that was all. */
bool rule_costs_step(struct rule_costs *c, unsigned n);
/* The i-th dearest: its cycles, and its ofp_flow_stats entry. Its length, 0 past the last. */
size_t rule_costs_at(const struct rule_costs *c, uint32_t i, uint64_t *cycles, const uint8_t **entry);
void rule_costs_free(struct rule_costs *c);

#endif
