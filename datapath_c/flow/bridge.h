/* Tenants own bridges; a bridge owns its tables, ports and learned addresses. Nothing here is shared by two tenants.
 *
 * Main thread changes, workers read (RCU). Whatever changes how a packet of the tenant is forwarded ends with
 * tenant_changed(): cached decisions made before count as out of date from then on. */
#ifndef VSWITCH_BRIDGE_H
#define VSWITCH_BRIDGE_H
#include <stdatomic.h>
#include "channel/contract.h"
#include "flow/id_map.h"
#include "flow/mac_table.h"
#include "flow/openflow.h"
#include "sched/limit.h"

struct port;
struct table;
struct rule;
struct bundle;
struct cursor;
struct datapath;

struct tenant {
    struct dp_tenant conf;
    _Atomic uint64_t generation;
    struct limit limit;        /* cpu.max */
    uint16_t queues[DP_MAX_WORKERS];   /* that it has on each worker */
    uint32_t n_bridges;
    uint32_t n_rules;
    uint64_t rule_bytes;
};

/* Ports of a bridge by number, replaced as a whole. */
struct port_map {
    uint32_t n;
    struct port *at[];         /* by rising port_no */
};

struct buffered {              /* a packet that a packet-in told of in part */
    uint32_t id;               /* OFP_NO_BUFFER = free */
    uint32_t in_port;
    uint32_t len;
    uint8_t *data;
};

#define BRIDGE_BUFFERS 256

struct bridge {
    struct dp_bridge conf;     /* as set; read by workers: conf.id, mac_ageing, config_flags, miss_send_len */
    struct tenant *tenant;
    struct datapath *dp;
    _Atomic uint32_t miss;     /* enum dp_miss */
    struct table *_Atomic tables[OFPTT_MAX];   /* NULL until a rule comes */
    id_map_ref groups, meters;
    uint32_t group_mark;       /* of the last walk through groups that name each other */
    struct port_map *_Atomic ports;
    struct mac_table macs;
    struct rule *timed;        /* rules with timeouts */
    struct rule *expiring;     /* among them: the next that a look through them, which stopped on the way, goes on with */
    uint32_t n_rules;
    _Atomic uint32_t version;  /* which of the rules packets see; moves on when a bundle is committed */
    struct bundle *bundle;     /* being put together, or NULL */
    struct cursor *cursors;    /* dumps under way */
    struct forget {            /* what rules that are gone had taught, and goes with them (Nicira's delete_learned) */
        uint64_t cookie;
        uint8_t table;
    } *forget;
    uint32_t n_forget;
    bool watched;              /* somebody wants to know how rules change */
    _Atomic uint32_t events;   /* packet-ins between worker and control plane: bounded by DP_EVENT_BACKLOG */
    struct buffered buffers[BRIDGE_BUFFERS];
    uint32_t next_buffer;
};

/* Whether packets that go to a port walk this table (OpenFlow 1.5.1, 5.1). */
static inline bool bridge_egress(const struct bridge *b, int table_id)
{
    return b->conf.egress_table && table_id >= (int)b->conf.egress_table;
}

static inline void tenant_changed(struct tenant *t)
{
    /* G0: what was changed before is seen by a worker that sees the new generation (G1, path/lookup.c). */
    atomic_fetch_add_explicit(&t->generation, 1, memory_order_release);
}

/* The port of that number, or NULL. Readers inside a read-side section. */
struct port *bridge_port(const struct bridge *b, uint32_t port_no);
/* Publishes the port map with `add` and without `drop` (either may be NULL). 0 or -ENOMEM. */
int bridge_change_ports(struct bridge *b, struct port *add, struct port *drop);

struct bridge *bridge_new(struct datapath *dp, struct tenant *t, const struct dp_bridge *conf);
/* Frees a bridge whose ports are gone, after a grace period. */
void bridge_free(struct bridge *b);

#endif
