/* A tenant's caches on one worker: decisions made before, so that the next packet that would go the same way needn't walk
 * the tables. Private to the worker: no locks, no atomics.
 *
 * Two levels. The megaflow cache holds programs under (value, mask) of the key, grouped by mask. The exact-match cache
 * remembers by a hash of the whole key which megaflow a packet hit; the hit is checked against the megaflow's value and
 * mask, so a collision costs time and never a wrong decision.
 *
 * An entry is good only while its generation is the tenant's. A stale entry is never used, nor are the rules and ports that
 * its program names touched: they may be gone. */
#ifndef VSWITCH_CACHE_H
#define VSWITCH_CACHE_H
#include <stdbool.h>
#include "flow/flow_room.h"
#include "flow/key.h"
#include "flow/program.h"

#define CACHE_EMC_WAYS 4           /* a cache line of entries that share a place */
#define CACHE_EMC_MAX 32768        /* places */
#define CACHE_MAX_MASKS 64
#define CACHE_FEW_MASKS 2          /* so many are asked sooner than the exact-match level, */
#define CACHE_FEW_FLOWS 1024       /* while their flows are no more, which caches nearby hold; one mask always is */
#define CACHE_BURST 32             /* keys of one cache_lookup_all */
#define CACHE_IDLE_S 10            /* seconds without a packet that end a flow */
#define CACHE_FLOW_BYTES 512     /* of program for each flow that there may be */

struct mask_table;

struct megaflow {              /* what a lookup reads lies in its first two cache lines, as a rule */
    uint64_t generation;
    struct program *program;
    struct mask_table *masks;
    uint32_t hash;
    uint32_t serial;           /* changes when the memory becomes another megaflow */
    uint64_t used;             /* clock */
    const void *counted;       /* what its use will count in, to be fetched early */
    uint64_t value[CACHE_WORDS];
} __attribute__((aligned(64)));

struct mask_table {
    uint32_t map;
    uint32_t n_words;
    uint8_t word[CACHE_WORDS]; /* which, in order */
    uint32_t n, used, size;
    uint64_t hits;
    struct megaflow **slots;
    struct megaflow *recent;   /* that a packet hit: with few flows, the next one's as a rule. NULL or in this table */
    uint64_t mask[CACHE_WORDS];
};

struct emc_entry {
    uint32_t hash, serial;
    struct megaflow *megaflow;
};

struct emc_place {
    struct emc_entry at[CACHE_EMC_WAYS];
};

struct cache {
    struct mask_table *tables[CACHE_MAX_MASKS + 1];
    uint32_t n_tables;
    uint32_t n_flows, max_flows;
    uint64_t bytes, max_bytes; /* of programs */
    uint32_t next_serial;
    uint32_t sweep_table, sweep_slot;
    struct flow_room room;
    uint64_t emc_hits, megaflow_hits, misses, stale;
    uint64_t since_ranked;
    /* Room for CACHE_EMC_MAX places, which cost nothing before they are used; emc_mask + 1 of them are. */
    struct emc_place *emc;
    uint32_t emc_mask, emc_evictions;
    uint32_t emc_used;         /* places from the first on that may have memory */
};

struct cache *cache_new(uint32_t max_flows);
void cache_free(struct cache *c);

/* Hash of a packet's whole key. */
uint32_t key_hash(const union key_words *k);

/* Whether the exact-match level is asked first. */
static inline bool cache_is_exact_first(const struct cache *c)
{
    return c->n_tables > CACHE_FEW_MASKS || (c->n_tables > 1 && c->n_flows > CACHE_FEW_FLOWS);
}

/* The megaflow for a key, or NULL. It may be stale: compare its generation. */
struct megaflow *cache_lookup(struct cache *c, const union key_words *k, uint32_t hash);
/* The same for `n` keys, at most CACHE_BURST, with the memory that each step needs fetched a step ahead for all. */
void cache_lookup_all(struct cache *c, const union key_words *const *keys, unsigned n, struct megaflow **out);
/* The same without the exact-match level. */
struct megaflow *cache_lookup_masks(struct cache *c, const union key_words *k);

/* Whether it holds for everything that its port receives: no two megaflows of a generation contradict each other, so none with a
 * longer mask can mean anything else. */
bool cache_by_port(const struct megaflow *m);

/* Caches `program` (taken over, which counts in `counted`) for the packets that agree with `k` in `wc`. `stale` is the out-of-date megaflow that the
 * packet hit, or NULL. Beyond CACHE_MAX_MASKS masks the entry is for exactly this key. Where the cache is full, entries that
 * weren't used for long make room, a few at a time: nobody waits for the whole to be emptied, and an attacker's flows push out
 * each other rather than the few that are used all the time. */
void cache_insert(struct cache *c, const union key_words *k, uint32_t hash, const uint64_t wc[CACHE_WORDS],
                  uint64_t generation, struct program *program, const void *counted, struct megaflow *stale, uint64_t now);
void cache_remove(struct cache *c, struct megaflow *m);
void cache_clear(struct cache *c);
/* Looks at the next `n` slots and removes what has idled for `idle` cycles; memory that stayed empty as long, and the exact-match level's
 * when there are no flows, goes back to the system.
 * Called often with a small n. Returns whether all has been looked at since it last did. */
bool cache_sweep(struct cache *c, uint64_t now, uint64_t idle, unsigned n);

#endif
