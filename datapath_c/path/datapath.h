/* Everything the process holds. Changed by the main thread. */
#ifndef VSWITCH_DATAPATH_H
#define VSWITCH_DATAPATH_H
#include <stddef.h>
#include "base/fault.h"
#include "base/mailbox.h"
#include "flow/bridge.h"
#include "path/rebalance.h"

struct worker;
struct vtep;
struct rule;
struct vnet_hdr;

struct datapath {
    unsigned n_workers;
    bool threaded;             /* false: a test steps the workers itself */
    bool poll;                 /* workers never sleep */
    bool no_caches;            /* every packet walks the tables: for tests that compare */
    struct worker *workers[DP_MAX_WORKERS];
    struct rule_stats_room *rule_stats;
    struct tenant *tenants[DP_MAX_TENANTS];
    struct bridge *bridges[DP_MAX_BRIDGES];
    struct port *ports[DP_MAX_PORTS];          /* by slot */
    struct mailbox mail;       /* from workers to the main thread */
    int watch_fd;              /* epoll set of the drivers' struct watch: watch_run when it is readable */
    struct vtep *vtep;
    struct balancer balancer;
    uint64_t incarnation;
    uint32_t policy;           /* enum dp_policy */
    uint64_t slice;            /* cycles of a turn */
    uint32_t slice_ns;
    uint64_t promised;         /* all tenants' cpu.min together */
    uint64_t ordered;          /* clock, when the last packet-out came */
    uint64_t next_ageing;      /* when learned addresses are looked through again */
    uint32_t tick_bridge, tick_port;   /* how far this tick's housekeeping has come */
    bool ticking;
    bool tick_again;           /* some bridge isn't through with its timeouts */
    bool ageing;               /* in this tick, learned addresses are looked through */

    int shm_fd;
    void *shm;
    uint64_t shm_size;

    /* Set by who wants to know (channel); any may be NULL. Main thread. */
    void (*rule_removed)(struct bridge *b, const struct rule *r, uint8_t reason);
    void (*rule_changed)(struct bridge *b, const struct rule *r, uint16_t what, uint8_t reason);   /* of watched bridges */
    void (*stats_triggered)(struct bridge *b, const struct rule *r);
    void (*packet_in)(struct bridge *b, const uint8_t *body, size_t len);
    void (*port_status)(struct bridge *b, struct port *p, uint32_t reason);
    void (*table_status)(struct bridge *b, const struct dp_table *t);
    void *channel;
    /* The channel's socket while nothing waits to be sent on it, else -1: workers may write a packet-in to it, framed as
     * channel/contract.h says. It is closed after a grace period. */
    _Atomic int packet_in_fd;
    uint32_t request_xid, request_item;        /* what is being carried out for the channel; 0 = nothing */
};

struct datapath *datapath_new(unsigned n_workers, bool threaded, bool poll, int *error);
/* Ends the workers and frees everything; with `keep`, devices stay for a successor. */
void datapath_free(struct datapath *dp, bool keep);

/* How workers share their time, from now on. 0 or a negative errno with a fault. */
int datapath_set_scheduler(struct datapath *dp, const struct dp_scheduler *s, fault *f);

/* Tenants, bridges, ports. 0 or a negative errno with a fault, and nothing changed. */
int datapath_set_tenant(struct datapath *dp, const struct dp_tenant *conf, fault *f);
int datapath_remove_tenant(struct datapath *dp, uint32_t id, fault *f);
int datapath_set_bridge(struct datapath *dp, const struct dp_bridge *conf, fault *f);
int datapath_remove_bridge(struct datapath *dp, uint32_t id, fault *f);
/* `conf` is filled in with the port as it is. */
int datapath_add_port(struct datapath *dp, struct dp_port *conf, fault *f);
int datapath_remove_port(struct datapath *dp, uint32_t bridge, uint32_t port_no, fault *f);
int datapath_modify_port(struct datapath *dp, uint32_t bridge, const struct dp_port_mod *m, fault *f);

struct bridge *datapath_bridge(struct datapath *dp, uint32_t id, fault *f);
struct port *datapath_port(struct datapath *dp, uint32_t bridge, uint32_t port_no, fault *f);
void datapath_port_conf(struct port *p, struct dp_port *conf);

/* Housekeeping, a few times a second: timeouts, ageing, link states, freeing. */
void datapath_tick(struct datapath *dp);
/* The same in pieces: begins where the last one has ended; goes on for about `cycles` and returns whether there is more. */
bool datapath_begin_tick(struct datapath *dp);
bool datapath_tick_some(struct datapath *dp, uint64_t cycles);

/* Sends an OFPT_PACKET_OUT body on its way. It is carried out by a worker, charged to the bridge's tenant. */
int datapath_packet_out(struct bridge *b, const uint8_t *body, size_t len, fault *f);
/* Sends the buffered packet through the tables, as a flow-mod with a buffer_id asks. */
int datapath_send_buffered(struct bridge *b, uint32_t buffer_id, fault *f);
/* A frame arrives at a dummy port. */
int datapath_inject(struct port *p, const uint8_t *frame, size_t len, const struct vnet_hdr *vnet, fault *f);
/* A frame arrives at a port of any kind whose rx looks at its queue's own packets: as its driver tells it. */
int datapath_arrive(struct port *p, const uint8_t *frame, size_t len, const struct vnet_hdr *vnet, fault *f);
/* Calls done(arg) on the main thread when every worker has finished what it had begun for the tenant (0: for anybody). */
void datapath_barrier(struct datapath *dp, uint32_t tenant, void (*done)(void *), void *arg);

/* Counters. */
struct dp_shm_worker *shm_worker(const struct datapath *dp, unsigned worker);
struct dp_shm_account *shm_account(const struct datapath *dp, unsigned worker, uint32_t tenant);
struct dp_shm_port *shm_port(const struct datapath *dp, unsigned worker, uint32_t slot);
struct dp_shm_control *shm_control(const struct datapath *dp, uint32_t tenant);
int shm_create(struct datapath *dp);
void shm_destroy(struct datapath *dp);

#endif
