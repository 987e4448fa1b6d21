/* A bridge's OpenFlow tables and the messages that change them (OpenFlow 1.3.5, 6.4). Main thread, but for lookups. */
#ifndef VSWITCH_TABLE_H
#define VSWITCH_TABLE_H
#include "flow/bridge.h"
#include "flow/rule.h"

struct table_stats {           /* one worker's */
    uint64_t misses;
};

struct table {
    struct classifier cls;
    struct bridge *bridge;
    struct rule *rules;        /* newest first */
    uint32_t n_rules;
    _Atomic uint32_t n_conjunctive;
    uint8_t id;
    struct dp_table conf;
    bool scarce;               /* fewer free places than conf.vacancy_down since the last event */
    struct tally *_Atomic tallies;   /* of the cookies that learn actions limit */
    uint64_t removed_packets;  /* of rules that are gone, so that matches never fall */
    struct table_stats stats[];
};

/* What a flow-mod asks besides changing rules. */
struct flow_mod_result {
    uint32_t buffer_id;        /* OFP_NO_BUFFER, or the packet to send through the tables now */
    uint32_t n_changed;        /* rules added, changed or removed */
};

/* Called for each rule removed by a timeout, and for each deleted rule with OFPFF_SEND_FLOW_REM. */
typedef void (*rule_removed_fn)(struct bridge *b, const struct rule *r, uint8_t reason);

/* Reader: as classifier_lookup, conjunctions included, which may set the key's conj_id. */
struct cls_rule *table_lookup(struct table *t, uint32_t version, union key_words *k, const uint64_t known[KEY_WORDS],
                              uint64_t wc[KEY_WORDS]);

/* Carries out a flow_mod that a packet taught: a rule that is there already just lives on; another is not added where the table has
 * `limit` rules (0 = any number) with its cookie. */
int flow_learn(struct bridge *b, const uint8_t *body, size_t len, uint32_t limit, fault *f);

/* Carries out the body of an OFPT_FLOW_MOD. 0, or a negative errno with a fault; then nothing has changed. */
int flow_mod(struct bridge *b, const uint8_t *body, size_t len, struct flow_mod_result *result, fault *f);

/* Shortens a rule's timeouts to at most these, where they are not 0 (Nicira's fin_timeout). */
void rule_shorten(struct rule *r, uint16_t idle, uint16_t hard);

#define TABLE_MAX_ENTRIES 1000000

/* Configures one table or, with table_id OFPTT_ALL, all of them. 0, or a negative errno with an OFPET_TABLE_MOD_FAILED fault. */
int table_configure(struct bridge *b, const struct dp_table *conf, fault *f);
/* The table's configuration and how full it is. */
void table_describe(const struct table *t, struct dp_table *out);
/* Makes room for a rule of this importance where the table is full and may evict. False: there is none. */
bool table_make_room(struct table *t, uint16_t importance);
/* After rules came or went: tells of what was crossed. */
void table_check_vacancy(struct table *t);

/* Removes every rule. */
void table_clear(struct table *t);
void table_free(struct table *t);

/* Removes rules whose time has come. `now` and `until` in cycles: it stops then, and goes on there the next time. Whether it has
 * come to the end. */
bool bridge_expire(struct bridge *b, uint64_t now, uint64_t until);

/* A dump of the rules that an ofp_flow_stats_request body selects, as ofp_flow_stats (OpenFlow 1.3.5, 7.3.5.2) with 1.4's
 * importance, in as many steps as its reader likes. A rule that is there all the while is told of once; one that comes or
 * goes meanwhile, perhaps. NULL with a fault. */
struct flow_dump *flow_dump_new(struct bridge *b, const uint8_t *request, size_t len, uint64_t now, fault *f);
/* Whole entries up to `size` bytes, and no further one once there are `enough`; `*end` is set with the last. */
size_t flow_dump_next(struct flow_dump *d, uint8_t *out, size_t size, size_t enough, bool *end);
void flow_dump_free(struct flow_dump *d);
/* One rule as such an entry; `size` of 65536 is always enough. */
size_t flow_entry_put(const struct rule *r, uint64_t now, uint8_t *out, size_t size);
/* Writes an ofp_aggregate_stats_reply (24 bytes). */
int flow_aggregate(struct bridge *b, const uint8_t *request, size_t len, uint8_t reply[24], fault *f);
/* Writes the table's ofp_table_stats (24 bytes). */
void table_stats_put(struct bridge *b, uint8_t table_id, uint8_t out[24]);
/* Writes the body of an OFPT_FLOW_REMOVED; returns its length. `out` has room for 40 + 1024 bytes. */
size_t flow_removed_put(const struct rule *r, uint8_t reason, uint64_t now, uint8_t *out);

#endif
