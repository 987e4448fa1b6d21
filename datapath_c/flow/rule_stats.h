/* Where workers count what rules match. A rule has a slot of a worker's only when that worker first counts on it, and slots are given out
 * one behind the other: what traffic counts in lies close together, in as few cache lines and pages as there are rules that are hit,
 * however many others there are.
 *
 * Rules are made and freed by the main thread, which sees to it that there are as many slots as rules: a worker always finds one. Slots are
 * given back by the main thread after a grace period. The memory stays until the end: as many slots as were in use at a time. */
#ifndef VSWITCH_RULE_STATS_H
#define VSWITCH_RULE_STATS_H
#include <stdatomic.h>
#include <stdint.h>

#define RULE_STATS_FIRST 4096  /* slots of the first piece; each other is as large as all before it together */
#define RULE_STATS_PIECES 21   /* for 2^32 rules */

struct rule_stats {            /* one worker's */
    union {
        uint64_t packets;
        struct rule_stats *next;   /* while it is no rule's */
    };
    uint64_t bytes;
    uint64_t used;             /* clock of the last packet, 0 = none */
    uint64_t cycles;           /* spent on its packets, an estimate from samples */
} __attribute__((aligned(32)));

/* One worker's slots. */
struct rule_stats_shelf {
    struct rule_stats *free;   /* the worker's, as are the next two: */
    uint32_t piece;
    uint64_t at;               /* the first slot of that piece that was never used */
    struct rule_stats *_Atomic returned;   /* pushed by the main thread, taken all at once by the worker */
    struct rule_stats *_Atomic pieces[RULE_STATS_PIECES];
} __attribute__((aligned(64)));

struct rule_stats_room {
    unsigned n_workers, n_pieces;
    uint64_t n_rules, n_slots;
    struct rule_stats_shelf shelves[];
};

struct rule_stats_room *rule_stats_room_new(unsigned n_workers);
/* Nobody may be using it. */
void rule_stats_room_free(struct rule_stats_room *room);

/* One more rule. 0 or -ENOMEM. Main thread. */
int rule_stats_add_rule(struct rule_stats_room *room);
/* One less, with the slots that it had (NULL: none), by worker. Main thread. */
void rule_stats_remove_rule(struct rule_stats_room *room, struct rule_stats *_Atomic *slots);
/* A slot of zeros. No more of them may be in use than there are rules. The worker's thread. */
struct rule_stats *rule_stats_take(struct rule_stats_room *room, unsigned worker);

#endif
