/* Tuple-space search: the rules of one table, grouped by mask (a subtable each), hashed within.
 *
 * One writer, the main thread; any number of readers inside an RCU read-side section (workers between two quiescent
 * states). What a writer unlinks is freed after a grace period (base/defer.h), so a reader that still holds a rule may go on
 * using it until it is quiescent.
 *
 * A rule is there for the versions from `added` to before `removed`: so a bundle of changes, made one after the other, comes
 * into force at one moment, when the bridge's version moves on. Lookups say which version they mean.
 *
 * A lookup visits subtables by falling highest priority and stops when no later one can hold a better rule. Every bit that
 * it looked at is reported, so that a cache can hold the decision for all packets that agree in those bits. */
#ifndef VSWITCH_CLASSIFIER_H
#define VSWITCH_CLASSIFIER_H
#include <stdatomic.h>
#include "flow/match.h"

/* Embedded in struct rule. Its masked value follows in memory of its own. */
struct cls_rule {
    _Atomic(struct cls_rule *) next;  /* same value, lower priority */
    struct subtable *subtable;
    uint64_t *value;                  /* the subtable's words, in order of its map */
    uint32_t hash;
    uint16_t priority;
    _Atomic uint32_t added, removed;  /* versions of the bridge from which on, and before which, readers see it */
};

#define CLS_FOREVER UINT32_MAX

static inline bool cls_visible(const struct cls_rule *r, uint32_t version)
{
    return atomic_load_explicit(&((struct cls_rule *)r)->added, memory_order_relaxed) <= version &&
           version < atomic_load_explicit(&((struct cls_rule *)r)->removed, memory_order_relaxed);
}

struct subtable {
    uint32_t map;                     /* words that the mask has */
    uint8_t n_words;
    uint16_t max_priority;            /* of its rules; may be too high, never too low */
    uint32_t n_rules, n_heads, removed;
    struct slots *_Atomic slots;
    uint8_t n_fields;
    uint8_t fields[64];               /* what the mask may be of, for whoever writes matches */
    uint64_t mask[];
};

struct slots {
    uint32_t size;                    /* a power of two */
    uint32_t used;                    /* slots that are or were taken */
    _Atomic(struct cls_rule *) slot[];
};

/* The order that readers see. Priorities are copied into it, so that order and priorities change together. */
struct subtables {
    uint32_t n;
    struct {
        struct subtable *s;
        uint32_t max_priority;
    } at[];
};

struct classifier {
    struct subtables *_Atomic subtables;   /* by falling max_priority */
    uint32_t n_rules;
};

void classifier_init(struct classifier *c);
/* Frees the structure, not the rules; nobody may be reading. */
void classifier_destroy(struct classifier *c);

/* How many bytes of value a match needs: callers allocate rules with that room. */
size_t match_words(const struct match *m);

/* Adds a rule; `r->value` has room for the match's words and is filled in; its versions are set. There must be no rule with
 * the same match and priority in the same version. 0 or -ENOMEM. */
int classifier_insert(struct classifier *c, struct cls_rule *r, const struct match *m, uint16_t priority);
void classifier_remove(struct classifier *c, struct cls_rule *r);
/* Takes all rules out at once. */
void classifier_clear(struct classifier *c);
/* The rule with exactly this match and priority, or NULL. */
struct cls_rule *classifier_find(struct classifier *c, const struct match *m, uint16_t priority, uint32_t version);
/* A rule of this priority whose match has a packet in common with `m`, or NULL (OFPFF_CHECK_OVERLAP). */
struct cls_rule *classifier_overlap(struct classifier *c, const struct match *m, uint16_t priority, uint32_t version);
/* Reader: the highest rule that matches `k`, or NULL. ORs the bits looked at into `wc`, less those in `known`. */
struct cls_rule *classifier_lookup(struct classifier *c, uint32_t version, const union key_words *k,
                                   const uint64_t known[KEY_WORDS], uint64_t wc[KEY_WORDS]);
/* Reader: every rule that matches, of which those that `is_soft` says are put into `soft` (at most `max`, `*n` of them), and
 * the highest of the others is the result. Looks into every subtable. */
struct cls_rule *classifier_split(struct classifier *c, uint32_t version, const union key_words *k,
                                  const uint64_t known[KEY_WORDS], uint64_t wc[KEY_WORDS], bool (*is_soft)(const struct cls_rule *, void *),
                                  struct cls_rule **soft, unsigned max, unsigned *n);
/* The rule's match in full. */
void cls_rule_match(const struct cls_rule *r, struct match *m);

#endif
