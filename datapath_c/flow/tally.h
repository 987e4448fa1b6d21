/* How many of a table's rules have a cookie: kept only where a learn action with a limit asks (ovs-actions(7), "learn"). Changed by the
 * main thread, read by workers. */
#ifndef VSWITCH_TALLY_H
#define VSWITCH_TALLY_H
#include "flow/rule.h"

struct bridge;

struct tally {
    struct tally *_Atomic next;
    uint64_t cookie;
    uint32_t users;            /* learn actions that ask */
    _Atomic uint32_t n;        /* rules; those of a bundle that is not in force count too */
};

#define TALLIES_MAX 64         /* cookies a table */

/* Whether a learn action with a limit may name this cookie and table. */
bool tally_room(const struct bridge *b, uint8_t table, uint64_t cookie);
/* The actions of a list came (`by` 1) or went (-1). Whether one of them has a limit. 0 memory: the cookie counts as having reached it. */
bool tallies_use(struct bridge *b, const struct instructions *list, int by);
/* A rule with this cookie came or went. */
void tally_rule(struct table *t, uint64_t cookie, int by);
/* All rules are gone. */
void tallies_reset(struct table *t);
void tallies_free(struct table *t);
/* Whether one more rule with this cookie is within the limit. Any thread. */
bool tally_below(const struct table *t, uint64_t cookie, uint32_t limit);

#endif
