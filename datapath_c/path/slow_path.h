/* A packet that no cache knows walks through the tables. */
#ifndef VSWITCH_SLOW_PATH_H
#define VSWITCH_SLOW_PATH_H
#include "flow/cache.h"
#include "path/worker.h"

/* Decides for a packet, caches the decision if others may share it, and carries it out. Takes over the reference. */
void slow_path(struct worker *w, struct wtenant *t, struct packet *p);

/* Says that so many cycles were spent on what these rules decided about; shared out evenly. */
void charge_rules(struct rule_stats *const *counts, unsigned n, uint64_t cycles);
/* Counts a packet of `len` bytes on the rules that decided about it. */
void count_rules(struct worker *w, struct rule_stats *const *counts, unsigned n, struct table *miss, uint64_t packets,
                 uint64_t bytes);

#endif
