/* A rule (flow entry) and what belongs to it. Made, changed and freed by the main thread; workers read it and count in
 * their own slot of `stats`. */
#ifndef VSWITCH_RULE_H
#define VSWITCH_RULE_H
#include "flow/classifier.h"

/* Instructions as they came (OpenFlow 1.3 TLVs, checked), replaced as a whole. */
struct instructions {
    uint32_t len;
    uint8_t bytes[];
};

struct rule_stats {            /* one worker's */
    uint64_t packets, bytes;
    uint64_t used;             /* clock of the last packet, 0 = none */
    uint64_t cycles;           /* spent on its packets, an estimate from samples */
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
    struct rule_stats stats[]; /* one a worker; the masked value lies behind them */
};

struct rule_totals {
    uint64_t packets, bytes, used;
};

struct rule *rule_new(const struct match *m, unsigned n_workers);
void rule_free(void *rule);
struct instructions *instructions_new(const uint8_t *bytes, uint32_t len);
void rule_totals(const struct rule *r, unsigned n_workers, struct rule_totals *t);

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
