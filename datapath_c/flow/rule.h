/* A rule (flow entry) and what belongs to it. Made, changed and freed by the main thread; workers read it, and each makes and counts in
 * its own slot of `stats`. */
#ifndef VSWITCH_RULE_H
#define VSWITCH_RULE_H
#include "flow/classifier.h"
#include "flow/rule_stats.h"

/* Instructions as they came (OpenFlow 1.3 TLVs, checked), replaced as a whole. */
struct instructions {
    uint32_t len;
    uint8_t bytes[];
};

struct table;
struct trigger;

struct rule {
    struct cls_rule cls;
    struct table *table;
    struct rule *next, **prev; /* in its table's list */
    struct rule *timed_next, **timed_prev;   /* in its bridge's list of rules with timeouts or a trigger, if it has one */
    struct instructions *_Atomic instructions;
    struct trigger *trigger;   /* of its statistics, or NULL. Main thread */
    struct rule *successor_of; /* in a bundle: the rule whose counts it will go on with */
    uint64_t cookie;
    uint64_t created;          /* clock */
    uint64_t packets_base, bytes_base;   /* subtracted from the sums: what was counted before a reset */
    uint16_t idle_timeout, hard_timeout; /* seconds, 0 = none */
    uint16_t flags;            /* OFPFF_* */
    uint16_t importance;       /* OpenFlow 1.4.1, 6.5 */
    bool conjunctive;          /* its actions are clauses of conjunctions */
    bool limits;               /* it has learn actions with a limit (flow/tally.h) */
    uint32_t size;             /* bytes, for quotas */
    struct rule_stats_room *room;
    struct rule_stats *_Atomic stats[];    /* one a worker, NULL before it counts; the masked value lies behind them */
};

struct rule_totals {
    uint64_t packets, bytes, used;
};

/* `room` is where its workers will count. NULL without memory. */
struct rule *rule_new(const struct match *m, struct rule_stats_room *room);
void rule_free(void *rule);
struct instructions *instructions_new(const uint8_t *bytes, uint32_t len);
void rule_totals(const struct rule *r, struct rule_totals *t);
uint64_t rule_cycles(const struct rule *r);
/* Where the worker counts what matches the rule. The worker's thread. */
struct rule_stats *rule_stats(struct rule *r, unsigned worker);

static inline struct rule *rule_of(struct cls_rule *c)
{
    return (struct rule *)c;
}

/* Priority 0 and no match: the table-miss entry (OpenFlow 1.3.5, 5.4). */
static inline bool rule_is_miss(const struct rule *r)
{
    return r->cls.priority == 0 && r->cls.subtable->map == 0;
}

#endif
