/* A whole datapath in one thread, on a virtual clock that stands still: what tests, fuzzers and benchmarks drive in process.
 * One at a time in a process. Functions return 0 or a negative errno unless they say otherwise; `error`, where there is one,
 * is filled in on failure. */
#ifndef VSWITCH_SIM_H
#define VSWITCH_SIM_H
#include "channel/contract.h"
/* cffi: begin */
struct sim;

struct sim *sim_new(uint32_t n_workers);
void sim_free(struct sim *s);
/* Without caches every packet walks the tables. */
void sim_use_caches(struct sim *s, int on);
void sim_warp(struct sim *s, uint64_t milliseconds);

int sim_set_tenant(struct sim *s, const struct dp_tenant *t, struct dp_error *error);
int sim_set_bridge(struct sim *s, const struct dp_bridge *b, struct dp_error *error);
int sim_add_port(struct sim *s, struct dp_port *p, struct dp_error *error);
int sim_remove_port(struct sim *s, uint32_t bridge, uint32_t port_no, struct dp_error *error);
/* The tunnel end point; its uplink may be a dummy port. */
int sim_set_vtep(struct sim *s, const struct dp_vtep *v, struct dp_error *error);
int sim_set_queues(struct sim *s, uint32_t bridge, const struct dp_queues *head, const struct dp_queue *queues,
                   struct dp_error *error);
/* `out` has DP_MAX_QUEUES places. */
int sim_queues(struct sim *s, uint32_t bridge, uint32_t port_no, struct dp_queues *head, struct dp_queue *out);
int sim_modify_port(struct sim *s, uint32_t bridge, const struct dp_port_mod *m, struct dp_error *error);
/* OF bodies, as on the channel. */
/* OpenFlow 1.5's group_mod and 1.3's meter_mod bodies; what the channel's DP_GROUP_DESC and the others give (`what` is the
 * request's type): bytes, or a negative errno. */
int sim_group_mod(struct sim *s, uint32_t bridge, const uint8_t *body, uint32_t len, struct dp_error *error);
int sim_meter_mod(struct sim *s, uint32_t bridge, const uint8_t *body, uint32_t len, struct dp_error *error);
int sim_tell(struct sim *s, uint32_t bridge, uint32_t what, uint32_t number, uint8_t *out, uint32_t size,
             struct dp_error *error);
/* A bundle of flow_mods: 0 opens, 1 commits, 2 discards. */
int sim_bundle(struct sim *s, uint32_t bridge, uint32_t step, struct dp_error *error);
int sim_flow_mod(struct sim *s, uint32_t bridge, const uint8_t *body, uint32_t len, struct dp_error *error);
int sim_packet_out(struct sim *s, uint32_t bridge, const uint8_t *body, uint32_t len, struct dp_error *error);
/* Writes ofp_flow_stats entries; returns the bytes, or a negative errno (-ENOBUFS: `size` is too small). */
int sim_flow_stats(struct sim *s, uint32_t bridge, const uint8_t *request, uint32_t len, uint8_t *out, uint32_t size,
                   struct dp_error *error);

/* A frame arrives at a dummy port. sim_run lets the workers go on until nothing is left to do. */
int sim_inject(struct sim *s, uint32_t bridge, uint32_t port_no, const uint8_t *frame, uint32_t len, struct dp_error *error);
void sim_run(struct sim *s);
/* The oldest frame that a dummy port has sent: its length, 0 when there is none, or a negative errno. */
int sim_collect(struct sim *s, uint32_t bridge, uint32_t port_no, uint8_t *out, uint32_t size);
/* The oldest packet-in body: its length, 0 when there is none. */
int sim_packet_in(struct sim *s, uint32_t *bridge, uint8_t *out, uint32_t size);
/* The oldest flow-removed body, likewise. */
int sim_flow_removed(struct sim *s, uint32_t *bridge, uint8_t *out, uint32_t size);
const void *sim_shm(struct sim *s);
/* Caches of a tenant on worker 0. */
int sim_cache(struct sim *s, uint32_t tenant, struct dp_cache *out);
/* cffi: end */
#endif
