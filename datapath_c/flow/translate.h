/* From tables to a program: one packet's walk through a bridge's OpenFlow tables (OpenFlow 1.3.5, 5.1 to 5.10).
 *
 * The walk notes every bit of the packet's key that a decision looked at. All packets of the bridge that agree with this one
 * in those bits would have gone the same way, so the program may be cached under them (a megaflow). */
#ifndef VSWITCH_TRANSLATE_H
#define VSWITCH_TRANSLATE_H
#include <stdio.h>
#include "flow/fields.h"
#include "flow/program.h"
#include "flow/subfield.h"
#include "path/worker.h"

#define TRANSLATE_MAX_OPS 2048
#define TRANSLATE_MAX_RULES 1024
#define TRANSLATE_MAX_DEPTH 64         /* resubmits and clones within each other */
#define TRANSLATE_MAX_LOOKUPS 1024     /* of tables, for one packet */
#define TRANSLATE_MAX_OTHERS 64        /* experimenter actions in an action set */
#define TRANSLATE_STACK 64             /* values that Nicira's push has put there */
#define TRANSLATE_BYTES 16384          /* of what ops point to */

/* Ops for a copy of the packet: those from `start` on, but for the copy itself. */
struct section {
    unsigned start;
    struct packet *outer;      /* the packet that goes on afterwards, where the copy has been made already */
    bool real;
};

struct translation {
    struct worker *worker;     /* NULL: only trace, carry nothing out */
    struct wtenant *tenant;
    struct bridge *bridge;
    uint32_t version;          /* of the bridge's rules */
    struct packet *packet;     /* NULL once something carried out on the way consumed it */
    FILE *trace;               /* NULL, or where each step is told */

    union key_words key;       /* as the actions so far have left it */
    uint64_t known[KEY_WORDS]; /* bits of key that no longer depend on the packet as it arrived */
    uint64_t wc[KEY_WORDS];    /* bits of the packet's own key that decisions looked at */
    bool cacheable;
    bool stale_key;            /* actions have changed the packet in ways that only parsing it again can tell */

    unsigned n_ops, n_rules;
    struct table *miss;
    bool output;               /* some action sends the packet somewhere */
    bool overflow;
    bool exit;                 /* Nicira's exit: no further action but those of the action set */
    bool in_port_written;
    bool metered;              /* what follows may not happen to each packet */
    bool egress;               /* in the egress tables, for the port in key.actset_output */
    unsigned depth, lookups;
    bool stop;                 /* the packet goes no further: a TTL has run out */
    unsigned decremented[2];   /* how often each TTL was: MPLS, IP */
    unsigned n_sections, n_stack, n_bytes;
    struct op ops[TRANSLATE_MAX_OPS];
    struct section sections[TRANSLATE_MAX_DEPTH];
    struct rule_stats *counts[TRANSLATE_MAX_RULES];    /* of the rules that matched; without a worker, none */
    const uint8_t *set[32];    /* the action set: one action a kind, in the order of 5.10 */
    const uint8_t *set_fields[N_ALL_FIELDS];
    const uint8_t *others[TRANSLATE_MAX_OTHERS];
    unsigned n_others;
    bool has_set, has_fields;  /* anything was written to it; to set_fields, which is undefined else */
    uint8_t set_table;
    uint64_t set_cookie, cookie;
    uint8_t table_id;
    bool in_miss;
    struct rule *rule;         /* whose actions these are, or NULL */
    u128 stack[TRANSLATE_STACK];
    _Alignas(8) uint8_t bytes[TRANSLATE_BYTES];
};

void translation_init(struct translation *x, struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p);
/* Walks the tables from table 0. The ops not yet carried out are in x->ops. */
void translate(struct translation *x);
/* Translates an action list (packet-out). */
void translate_actions(struct translation *x, const uint8_t *actions, size_t len);
/* A copy of the outcome, or NULL without memory. The caller frees it. */
struct program *translation_program(const struct translation *x);

#endif
