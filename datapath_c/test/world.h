/* A small world for tests and benchmarks: a datapath in one thread on a virtual clock on which work takes time (clock_counted),
 * tenants with a bridge each, dummy ports, and rules by what they match and do. Functions abort when they fail. */
#ifndef VSWITCH_TEST_WORLD_H
#define VSWITCH_TEST_WORLD_H
#include "path/worker.h"

#define WORLD_UNIT 12          /* cycles, of 1 ns on this clock, that a unit of work takes: base/step.h */

struct world {
    struct datapath *dp;
    struct worker *w;
};

/* Actions and instructions that are being put together. */
struct actions {
    uint8_t bytes[65536];
    uint32_t len;
};

struct udp_match {             /* 0 in a mask: not looked at */
    uint32_t in_port, src, src_mask, dst, dst_mask;
    uint16_t sport, sport_mask, dport, dport_mask;
};

void world_open(struct world *w);
void world_close(struct world *w);
/* Tenant `id` with bridge `id` and `ports` dummy ports from 1 on. */
void world_tenant(struct world *w, uint32_t id, uint32_t weight, uint32_t ports);

void act_clear(struct actions *a);
void act_output(struct actions *a, uint32_t port);
void act_group(struct actions *a, uint32_t group);
/* A rule for UDP over IPv4: apply `a` (NULL: nothing), then go to a table (-1: nowhere). */
void world_rule(struct world *w, uint32_t bridge, uint8_t table, uint16_t priority, const struct udp_match *m,
                const struct actions *a, int next);
/* A group of that type whose every bucket has the same actions. */
void world_group(struct world *w, uint32_t bridge, uint32_t id, uint8_t type, uint32_t buckets, const struct actions *a);

/* A UDP frame of `len` bytes (at least 60). */
void world_frame(uint8_t *out, uint32_t len, uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport);
void world_inject(struct world *w, uint32_t bridge, uint32_t port, const uint8_t *frame, uint32_t len);
/* Frames that the port has sent, which are forgotten. */
unsigned world_collect(struct world *w, uint32_t bridge, uint32_t port);
/* Steps until nothing is left to do. */
void world_run(struct world *w);
struct wtenant *world_account(struct world *w, uint32_t tenant);

#endif
