/* OFPIT_STAT_TRIGGER (OpenFlow 1.5.1, 7.2.5): a rule whose statistics are told of when they pass thresholds. Main thread. */
#ifndef VSWITCH_TRIGGER_H
#define VSWITCH_TRIGGER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/fault.h"

struct rule_totals;
struct trigger;

/* Checks the instruction: flags, and a list of OXS fields (duration, idle time, flows, packets, bytes), each once. 0, or a
 * negative errno with the fault. */
int trigger_check(const uint8_t *instruction, size_t len, fault *f);
/* What checked instructions ask for. *made is NULL where they ask for nothing. 0 or -ENOMEM. */
int trigger_new(const uint8_t *instructions, size_t len, struct trigger **made);
/* Whether some threshold has been passed since the last look. `age` and `idle` are cycles. */
bool trigger_look(struct trigger *t, const struct rule_totals *totals, uint64_t age, uint64_t idle);

#endif
