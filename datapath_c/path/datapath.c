#include "path/datapath.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/defer.h"
#include "flow/cache.h"
#include "flow/table.h"
#include "path/lookup.h"
#include "path/promises.h"
#include "path/turn.h"
#include "path/worker.h"
#include "path/workers_run.h"
#include "tunnel/uplink.h"
#include "tunnel/vtep.h"

#define TICK_PORTS 64          /* looked at between two looks at the clock; divides DP_MAX_PORTS */
#define AGEING_SECONDS 5       /* lookups ignore what has aged; this only makes room */
#define DEFAULT_AGEING 300
#define DEFAULT_MACS 8192
#define DEFAULT_RULES 1000000

static struct datapath *the_datapath;

static void end_turns(struct worker *w, void *tenant)
{
    worker_end_turns(w, *(uint32_t *)tenant);
}

/* Suspended turns hold back too much memory. */
static void release_memory(uint32_t tenant)
{
    workers_run(the_datapath, end_turns, &tenant);
}

struct datapath *datapath_new(unsigned n_workers, bool threaded, bool poll, int *error)
{
    struct datapath *dp = calloc(1, sizeof *dp);
    fault unused;
    *error = -ENOMEM;
    if (!dp)
        return NULL;
    dp->n_workers = n_workers;
    dp->threaded = threaded;
    dp->poll = poll;
    atomic_init(&dp->packet_in_fd, -1);
    datapath_set_scheduler(dp, &(struct dp_scheduler){0}, &unused);
    if (getrandom(&dp->incarnation, sizeof dp->incarnation, 0) != sizeof dp->incarnation)
        dp->incarnation = clock_now();
    if ((*error = shm_create(dp)) || (*error = mailbox_init(&dp->mail))) {
        free(dp);
        return NULL;
    }
    dp->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!(dp->rule_stats = rule_stats_room_new(n_workers))) {
        *error = -ENOMEM;
        return NULL;
    }
    for (unsigned i = 0; i < n_workers; i++)
        if (!(dp->workers[i] = worker_new(dp, i, error)))
            return NULL;
    the_datapath = dp;
    defer_release = release_memory;
    for (unsigned i = 0; threaded && i < n_workers; i++)
        if ((*error = worker_start(dp->workers[i])))
            return NULL;
    return dp;
}

static void close_port(struct datapath *dp, struct port *p, bool keep);

void datapath_free(struct datapath *dp, bool keep)
{
    for (uint32_t i = 0; i < DP_MAX_PORTS; i++)
        if (dp->ports[i])
            close_port(dp, dp->ports[i], keep);
    for (unsigned i = 0; dp->threaded && i < dp->n_workers; i++)
        worker_stop(dp->workers[i]);
    dp->threaded = false;
    for (unsigned i = 0; i < dp->n_workers; i++)
        worker_end_turns(dp->workers[i], 0);
    defer_release = NULL;
    vtep_close(dp);
    mailbox_drain(&dp->mail, dp);
    for (uint32_t i = 0; i < DP_MAX_BRIDGES; i++)
        if (dp->bridges[i])
            bridge_free(dp->bridges[i]);
    while (defer_pending() || defer_held())
        defer_run();
    for (unsigned i = 0; i < dp->n_workers; i++)
        worker_free(dp->workers[i]);
    rule_stats_room_free(dp->rule_stats);
    for (uint32_t i = 0; i < DP_MAX_TENANTS; i++)
        free(dp->tenants[i]);
    mailbox_close(&dp->mail);
    close(dp->watch_fd);
    shm_destroy(dp);
    free(dp);
}

int datapath_set_tenant(struct datapath *dp, const struct dp_tenant *conf, fault *f)
{
    if (conf->id == 0 || conf->id >= DP_MAX_TENANTS)
        return fault_set(f, EINVAL, "id", "%u is not in 1..%u", conf->id, DP_MAX_TENANTS - 1);
    int e = promises_check(dp, conf, f);
    if (e)
        return e;
    struct tenant *t = dp->tenants[conf->id];
    if (!t) {
        if (!(t = calloc(1, sizeof *t)))
            return fault_set(f, ENOMEM, "", "out of memory");
        for (unsigned i = 0; i < dp->n_workers; i++)
            memset(shm_account(dp, i, conf->id), 0, sizeof(struct dp_shm_account));
    }
    t->conf = *conf;
    t->conf.name[DP_NAME_MAX - 1] = 0;
    if (!t->conf.max_rules)
        t->conf.max_rules = DEFAULT_RULES;
    dp->tenants[conf->id] = t;
    promises_changed(dp, t);
    return 0;
}

struct farewell {
    uint32_t id;
    struct wtenant *parts[DP_MAX_WORKERS];
};

/* The worker's part of a tenant goes. Freeing it may take long: that is the main thread's. */
static void forget_tenant(struct worker *w, void *arg)
{
    struct farewell *f = arg;
    struct wtenant *t = f->parts[w->id] = w->tenants[f->id];
    if (!t)
        return;
    turn_end(w, t);
    turn_finish_jobs(w, t);
    scheduler_sleep(&w->sched, &t->subject, w->now);
    w->tenants[f->id] = NULL;
}

int datapath_remove_tenant(struct datapath *dp, uint32_t id, fault *f)
{
    struct tenant *t = id < DP_MAX_TENANTS ? dp->tenants[id] : NULL;
    if (!t)
        return fault_set(f, ENOENT, "tenant", "no tenant %u", id);
    if (t->n_bridges)
        return fault_set(f, EBUSY, "tenant", "owns %u bridges", t->n_bridges);
    struct farewell bye = {.id = id};
    workers_run(dp, forget_tenant, &bye);
    dp->tenants[id] = NULL;
    for (unsigned i = 0; i < dp->n_workers; i++) {
        if (bye.parts[i] && bye.parts[i]->cache)
            cache_free(bye.parts[i]->cache);
        free(bye.parts[i]);
    }
    defer(free, t);
    return 0;
}

struct bridge *datapath_bridge(struct datapath *dp, uint32_t id, fault *f)
{
    struct bridge *b = id < DP_MAX_BRIDGES ? dp->bridges[id] : NULL;
    if (!b)
        fault_set(f, ENOENT, "bridge", "no bridge %u", id);
    return b;
}

struct port *datapath_port(struct datapath *dp, uint32_t bridge, uint32_t port_no, fault *f)
{
    struct bridge *b = datapath_bridge(dp, bridge, f);
    if (!b)
        return NULL;
    struct port *p = bridge_port(b, port_no);
    if (!p)
        fault_openflow(f, OFPET_BAD_REQUEST, OFPBRC_BAD_PORT, "port", "bridge %s has no port %u", b->conf.name, port_no);
    if (!p)
        f->error = ENOENT;
    return p;
}

int datapath_set_bridge(struct datapath *dp, const struct dp_bridge *in, fault *f)
{
    struct dp_bridge conf = *in;
    if (conf.id == 0 || conf.id >= DP_MAX_BRIDGES)
        return fault_set(f, EINVAL, "id", "%u is not in 1..%u", conf.id, DP_MAX_BRIDGES - 1);
    if (conf.miss > DP_MISS_CONTROLLER)
        return fault_set(f, EINVAL, "miss", "%u is not in 0..2", conf.miss);
    if ((conf.config_flags & OFPC_FRAG_MASK) > OFPC_FRAG_DROP)
        return fault_openflow(f, 10, 0, "config_flags", "fragments are not reassembled (0x%x)", conf.config_flags);
    if (conf.egress_table >= OFPTT_MAX)
        return fault_set(f, EINVAL, "egress_table", "%u is not in 0..%u", conf.egress_table, OFPTT_MAX - 1);
    if (conf.mac_max > 1 << 20)
        return fault_set(f, EINVAL, "mac_max", "%u is more than %u", conf.mac_max, 1 << 20);
    struct tenant *t = conf.tenant < DP_MAX_TENANTS ? dp->tenants[conf.tenant] : NULL;
    if (!t)
        return fault_set(f, ENOENT, "tenant", "no tenant %u", conf.tenant);
    conf.name[DP_NAME_MAX - 1] = 0;
    conf.mac_ageing = conf.mac_ageing ? conf.mac_ageing : DEFAULT_AGEING;
    conf.mac_max = conf.mac_max ? conf.mac_max : DEFAULT_MACS;
    struct bridge *b = dp->bridges[conf.id];
    if (b) {
        if (b->tenant != t)
            return fault_set(f, EINVAL, "tenant", "a bridge stays with its tenant");
        if (b->conf.mac_max != conf.mac_max)
            return fault_set(f, EINVAL, "mac_max", "can't change while the bridge is there");
        b->conf = conf;
        atomic_store_explicit(&b->miss, conf.miss, memory_order_release);
        tenant_changed(t);
        return 0;
    }
    if (!(b = bridge_new(dp, t, &conf)))
        return fault_set(f, ENOMEM, "", "out of memory");
    __atomic_store_n(&dp->bridges[conf.id], b, __ATOMIC_RELEASE);
    return 0;
}

int datapath_remove_bridge(struct datapath *dp, uint32_t id, fault *f)
{
    struct bridge *b = datapath_bridge(dp, id, f);
    if (!b)
        return -ENOENT;
    struct port_map *m;
    while ((m = atomic_load(&b->ports)) && m->n)
        close_port(dp, m->at[m->n - 1], false);
    __atomic_store_n(&dp->bridges[id], NULL, __ATOMIC_RELEASE);
    bridge_free(b);
    defer_run();
    return 0;
}

static const struct port_ops *ops_of(uint32_t kind)
{
    switch (kind) {
    case DP_PORT_TAP:
        return &tap_ops;
    case DP_PORT_NETDEV:
        return &netdev_ops;
    case DP_PORT_VXLAN:
        return &vxlan_ops;
    case DP_PORT_PATCH:
        return &patch_ops;
    case DP_PORT_DUMMY:
        return &dummy_ops;
    case DP_PORT_VHOST_USER:
        return &vhost_ops;
    default:
        return NULL;
    }
}

static uint32_t free_port_no(const struct bridge *b)
{
    struct port_map *m = atomic_load(&((struct bridge *)b)->ports);
    uint32_t no = 1;
    for (uint32_t i = 0; m && i < m->n && m->at[i]->port_no == no; i++)
        no++;
    return no;
}

static int free_slot(struct datapath *dp)
{
    for (uint32_t i = 0; i < DP_MAX_PORTS; i++)
        if (!dp->ports[i])
            return (int)i;
    return -ENOSPC;
}

static void random_mac(uint8_t mac[6])
{
    if (getrandom(mac, 6, 0) != 6)
        memset(mac, 0x5a, 6);
    mac[0] = (mac[0] & 0xfc) | 2;
}

static void watch_queues(struct worker *w, void *arg)
{
    struct port *p = arg;
    struct wtenant *t = worker_tenant(w, p->bridge->tenant);
    if (t)
        lookup_cache(w, t);    /* made now, so that no packet waits for it */
    for (unsigned i = 0; i < p->n_queues; i++)
        if (p->queues[i].worker == w->id)
            worker_watch(w, &p->queues[i]);
}

static int check_port(struct datapath *dp, const struct dp_port *c, struct bridge *b, fault *f)
{
    if (!ops_of(c->kind))
        return fault_set(f, EINVAL, "kind", "unknown kind %u", c->kind);
    if (c->port_no > OFPP_MAX && c->port_no != OFPP_LOCAL)
        return fault_set(f, EINVAL, "port_no", "0x%x is not in 1..0x%x", c->port_no, OFPP_MAX);
    if (c->port_no && bridge_port(b, c->port_no))
        return fault_set(f, EEXIST, "port_no", "bridge %s has a port %u", b->conf.name, c->port_no);
    if (c->n_queues > PORT_MAX_QUEUES)
        return fault_set(f, EINVAL, "queues", "%u is more than %u", c->n_queues, PORT_MAX_QUEUES);
    if (c->xdp_mode > DP_XDP_GENERIC)
        return fault_set(f, EINVAL, "xdp_mode", "unknown mode %u", c->xdp_mode);
    if (c->steering > DP_STEER_VTEP)
        return fault_set(f, EINVAL, "steering", "unknown value %u", c->steering);
    if (c->busy_poll > INT32_MAX)
        return fault_set(f, EINVAL, "busy_poll", "%u microseconds are too many", c->busy_poll);
    if (c->kind == DP_PORT_PATCH) {
        struct bridge *peer = datapath_bridge(dp, c->peer_bridge, f);
        if (peer && peer->tenant != b->tenant)
            return fault_set(f, EPERM, "peer_bridge", "belongs to another tenant");
    }
    return 0;
}

int datapath_add_port(struct datapath *dp, struct dp_port *conf, fault *f)
{
    struct bridge *b = datapath_bridge(dp, conf->bridge, f);
    if (!b)
        return -ENOENT;
    int e = check_port(dp, conf, b, f);
    if (e)
        return e;
    int slot = free_slot(dp);
    if (slot < 0)
        return fault_set(f, ENOSPC, "port", "all %u ports are in use", DP_MAX_PORTS);
    struct port *p = calloc(1, sizeof *p + dp->n_workers * sizeof p->stages[0]);
    if (!p)
        return fault_set(f, ENOMEM, "", "out of memory");
    static const uint8_t none[6];
    conf->name[DP_NAME_MAX - 1] = 0;
    conf->ifname[15] = 0;
    if (!memcmp(conf->mac, none, 6))
        random_mac(conf->mac);
    if (!conf->port_no)
        conf->port_no = free_port_no(b);
    p->ops = ops_of(conf->kind);
    p->bridge = b;
    p->port_no = conf->port_no;
    p->slot = conf->slot = (uint32_t)slot;
    p->n_queues = 1;
    p->opened = clock_now();
    for (unsigned i = 0; i < PORT_MAX_QUEUES; i++)
        p->queues[i] = (struct rxq){.port = p, .fd = -1, .worker = ((unsigned)slot + i) % dp->n_workers};
    if (uplink_is(dp, b, conf))
        for (unsigned i = 0; i < PORT_MAX_QUEUES; i++)
            p->queues[i].worker = 0;
    for (unsigned i = 0; i < PORT_MAX_QUEUES; i++)
        p->queues[i].lane = p->queues[i].worker;
    p->conf = *conf;
    if ((e = p->ops->open(p, conf, f))) {
        free(p);
        return e;
    }
    p->conf = *conf;
    atomic_store(&p->config, conf->config);
    atomic_store(&p->state, p->ops->state ? p->ops->state(p) : OFPPS_LIVE);
    for (unsigned i = 0; i < dp->n_workers; i++)
        memset(shm_port(dp, i, p->slot), 0, sizeof(struct dp_shm_port));
    dp->ports[slot] = p;
    if (bridge_change_ports(b, p, NULL)) {
        dp->ports[slot] = NULL;
        p->ops->close(p, false);
        free(p);
        return fault_set(f, ENOMEM, "", "out of memory");
    }
    for (unsigned i = 0; i < p->n_queues; i++)
        b->tenant->queues[p->queues[i].worker]++;
    promises_changed(dp, b->tenant);
    uplink_added(dp, p);
    workers_run(dp, watch_queues, p);
    datapath_port_conf(p, conf);
    if (dp->port_status)
        dp->port_status(b, p, DP_PORT_ADDED);
    return 0;
}

static void end_all_turns(struct worker *w, void *arg)
{
    worker_end_turns(w, 0);
}

static void unwatch_queues(struct worker *w, void *arg)
{
    struct port *p = arg;
    struct wtenant *t = w->tenants[p->bridge->tenant->conf.id];
    if (t)
        turn_end(w, t);        /* it may have the port in hand */
    for (unsigned i = 0; i < p->n_queues; i++)
        if (p->queues[i].worker == w->id)
            worker_unwatch(w, &p->queues[i]);
}

static void free_port(void *arg)
{
    struct port *p = arg;
    free(atomic_load_explicit(&p->qos, memory_order_relaxed));
    free(p);
}

static void close_port(struct datapath *dp, struct port *p, bool keep)
{
    struct bridge *b = p->bridge;
    if (dp->port_status && !keep)
        dp->port_status(b, p, DP_PORT_DELETED);
    rebalance_settle(dp, p);
    bridge_change_ports(b, NULL, p);
    vtep_forget_port(dp, p);
    if (uplink_removed(dp, p))
        workers_run(dp, end_all_turns, NULL);          /* any tenant's may be sending through it */
    dp->ports[p->slot] = NULL;
    mac_sweep(&b->macs, (uint32_t)(clock_now() / clock_hz), b->conf.mac_ageing, p->port_no);
    /* After this no worker receives from it, and whoever was sending to it has finished. */
    workers_run(dp, unwatch_queues, p);
    for (unsigned i = 0; i < p->n_queues; i++)
        b->tenant->queues[p->queues[i].worker]--;
    promises_changed(dp, b->tenant);
    p->ops->close(p, keep);
    defer(free_port, p);
}

int datapath_remove_port(struct datapath *dp, uint32_t bridge, uint32_t port_no, fault *f)
{
    struct port *p = datapath_port(dp, bridge, port_no, f);
    if (!p)
        return -f->error;
    close_port(dp, p, false);
    return 0;
}

int datapath_modify_port(struct datapath *dp, uint32_t bridge, const struct dp_port_mod *m, fault *f)
{
    static const uint8_t none[6];
    struct port *p = datapath_port(dp, bridge, m->port_no, f);
    if (!p) {
        f->of_type = OFPET_PORT_MOD_FAILED;
        f->of_code = OFPPMFC_BAD_PORT;
        return -f->error;
    }
    if (memcmp(m->mac, none, 6) && memcmp(m->mac, p->conf.mac, 6))
        return fault_openflow(f, OFPET_PORT_MOD_FAILED, OFPPMFC_BAD_HW_ADDR, "hw_addr", "not the port's");
    uint32_t all = OFPPC_PORT_DOWN | OFPPC_NO_RECV | OFPPC_NO_FLOOD | OFPPC_NO_FWD | OFPPC_NO_PACKET_IN;
    if (m->mask & ~all || m->config & ~all)
        return fault_openflow(f, OFPET_PORT_MOD_FAILED, OFPPMFC_BAD_CONFIG, "config", "unknown bits");
    p->conf.config = (p->conf.config & ~m->mask) | (m->config & m->mask);
    if (atomic_exchange(&p->config, p->conf.config) != p->conf.config) {
        tenant_changed(p->bridge->tenant);
        if (dp->port_status)
            dp->port_status(p->bridge, p, DP_PORT_MODIFIED);
    }
    return 0;
}

void datapath_port_conf(struct port *p, struct dp_port *conf)
{
    *conf = p->conf;
    conf->config = atomic_load(&p->config);
    conf->state = atomic_load(&p->state);
    conf->slot = p->slot;
}

/* Port states: a few system calls each. */
static void look_at_ports(struct datapath *dp, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        struct port *p = dp->ports[i];
        if (!p || !p->ops->state)
            continue;
        uint32_t state = p->ops->state(p);
        if (atomic_exchange(&p->state, state) == state)
            continue;
        tenant_changed(p->bridge->tenant);     /* groups and bundles choose by it */
        if (dp->port_status)
            dp->port_status(p->bridge, p, DP_PORT_MODIFIED);
    }
}

/* A bridge's timeouts; whether it is through with them. */
static bool tick_bridge(struct datapath *dp, struct bridge *b, uint64_t now, uint64_t until)
{
    uint64_t start = clock_now();
    defer_owner(b->tenant->conf.id);
    bool done = bridge_expire(b, now, until);
    defer_owner(0);
    if (done && dp->ageing)
        mac_sweep(&b->macs, (uint32_t)(now / clock_hz), b->conf.mac_ageing, 0);
    shm_control(dp, b->tenant->conf.id)->cycles += clock_now() - start;
    return done;
}

bool datapath_tick_some(struct datapath *dp, uint64_t cycles)
{
    uint64_t now = clock_now(), until = now + cycles;
    if (!dp->ticking)
        return false;
    while (dp->tick_bridge < DP_MAX_BRIDGES) {
        struct bridge *b = dp->bridges[dp->tick_bridge];
        if (b && !tick_bridge(dp, b, now, until)) {
            /* The others get their turn before it goes on. */
            dp->tick_bridge++;
            dp->tick_again = true;
        } else {
            dp->tick_bridge++;
        }
        if (b && clock_now() >= until)
            return true;
    }
    for (; dp->tick_port < DP_MAX_PORTS; dp->tick_port += TICK_PORTS) {
        if (clock_now() >= until)
            return true;
        look_at_ports(dp, dp->tick_port, dp->tick_port + TICK_PORTS);
    }
    if (dp->tick_again) {
        dp->tick_again = false;
        dp->tick_bridge = 0;
        return true;
    }
    dp->ticking = false;
    defer_run();
    return false;
}

bool datapath_begin_tick(struct datapath *dp)
{
    if (dp->ticking)
        return false;
    uint64_t now = clock_now();
    dp->ticking = true;
    rebalance_tick(dp);
    dp->tick_bridge = dp->tick_port = 0;
    if ((dp->ageing = now >= dp->next_ageing))
        dp->next_ageing = now + AGEING_SECONDS * clock_hz;
    return true;
}

void datapath_tick(struct datapath *dp)
{
    datapath_begin_tick(dp);
    while (datapath_tick_some(dp, clock_from_ms(1000)))
        ;
}
