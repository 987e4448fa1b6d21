/* Groups (OpenFlow 1.3.5, 5.6; 1.5.1, 5.10). A group is replaced as a whole when it changes; workers read it and count in their
 * own row of `counts`. */
#ifndef VSWITCH_GROUP_H
#define VSWITCH_GROUP_H
#include "base/fault.h"
#include "base/packet.h"
#include "flow/bridge.h"

#define GROUP_MAX_BUCKETS 1024
#define BRIDGE_MAX_GROUPS 65536
#define GROUP_HASH_FIELDS 16

enum group_type { GROUP_ALL = 0, GROUP_SELECT = 1, GROUP_INDIRECT = 2, GROUP_FF = 3 };

struct bucket {
    uint32_t id;
    uint16_t weight;           /* select */
    uint32_t watch_port, watch_group;
    uint32_t actions_len;
    const uint8_t *actions;
    const uint8_t *raw;        /* as it came: OpenFlow 1.5's ofp_bucket */
    uint32_t raw_len;
};

struct group_counts {
    uint64_t packets, bytes;
};

struct group {
    uint32_t id;
    uint8_t type;
    uint64_t created;          /* clock */
    struct group_counts base;  /* of the group that it took the place of */
    uint32_t n_buckets;
    uint32_t size;             /* bytes, for quotas */
    uint32_t n_workers;
    uint32_t mark;             /* of a walk through groups that name each other; main thread */
    uint8_t n_fields;          /* select: hash only these; 0 = all that tell flows apart */
    uint8_t fields[GROUP_HASH_FIELDS];
    const uint8_t *properties; /* as they came */
    uint32_t properties_len;
    struct group_counts *counts;   /* n_workers rows: the group, then its buckets */
    struct bucket buckets[];   /* bytes and counts lie behind them */
};

struct group *group_find(const struct bridge *b, uint32_t id);
/* Whether the bucket may be used: OpenFlow 1.3.5, 5.6.1. Buckets without a watch live. */
bool bucket_live(const struct bridge *b, const struct bucket *k, unsigned depth);
/* The share of a bucket in a flow's draw; the greatest wins. A flow keeps its bucket while that is there. */
double bucket_score(uint32_t hash, const struct bucket *k);
/* What a packet is drawn by. */
uint32_t group_hash(const struct group *g, const union key_words *k);

static inline void group_count(const struct group *g, unsigned worker, unsigned row, uint32_t bytes)
{
    struct group_counts *c = &g->counts[worker * (1 + g->n_buckets) + row];
    __atomic_store_n(&c->packets, c->packets + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&c->bytes, c->bytes + bytes, __ATOMIC_RELAXED);
}

/* Main thread. Carries out an OpenFlow 1.5 ofp_group_mod body. 0, or a negative errno with a fault; then nothing has changed. */
int group_mod(struct bridge *b, const uint8_t *body, size_t len, fault *f);
/* Writes the group's ofp_group_desc of 1.5 resp. ofp_group_stats of 1.3; returns its length, 0 where it has no room. */
size_t group_desc_put(const struct group *g, uint8_t *out, size_t size);
size_t group_stats_put(const struct bridge *b, const struct group *g, uint64_t now, uint8_t *out, size_t size);
/* Frees the bridge's groups; nobody reads them any more. */
void groups_free(struct bridge *b);

#endif
