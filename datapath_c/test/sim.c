#include "test/sim.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/defer.h"
#include "flow/cache.h"
#include "flow/bundle.h"
#include "flow/group.h"
#include "flow/meter.h"
#include "flow/table.h"
#include "path/worker.h"
#include "test/sim_inside.h"
#include "port/dummy.h"
#include "port/qos.h"
#include "tunnel/vtep.h"

struct note {
    struct note *next;
    uint32_t bridge;
    size_t len;
    uint8_t body[];
};

struct notes {
    struct note *first, **last;
};

struct sim {
    struct datapath *dp;
    struct notes packet_ins, removed;
};

static void append(struct notes *n, uint32_t bridge, const uint8_t *body, size_t len)
{
    struct note *note = malloc(sizeof *note + len);
    if (!note)
        abort();
    *note = (struct note){.bridge = bridge, .len = len};
    memcpy(note->body, body, len);
    *n->last = note;
    n->last = &note->next;
}

static int take(struct notes *n, uint32_t *bridge, uint8_t *out, uint32_t size)
{
    struct note *note = n->first;
    if (!note)
        return 0;
    if (note->len > size)
        return -ENOBUFS;
    int len = (int)note->len;
    *bridge = note->bridge;
    memcpy(out, note->body, note->len);
    n->first = note->next;
    if (!n->first)
        n->last = &n->first;
    free(note);
    return len;
}

static void on_packet_in(struct bridge *b, const uint8_t *body, size_t len)
{
    struct dp_packet_in head;
    memcpy(&head, body, sizeof head);
    size_t skip = sizeof head + head.userdata_len;
    append(&((struct sim *)b->dp->channel)->packet_ins, b->conf.id, body + skip, len - skip);
}

static void on_rule_removed(struct bridge *b, const struct rule *r, uint8_t reason)
{
    uint8_t body[40 + 1024];
    size_t len = flow_removed_put(r, reason, clock_now(), body);
    append(&((struct sim *)b->dp->channel)->removed, b->conf.id, body, len);
}

struct datapath *sim_datapath(struct sim *s)
{
    return s->dp;
}

struct sim *sim_new(uint32_t n_workers)
{
    return sim_new_on(n_workers, true);
}

struct sim *sim_new_on(uint32_t n_workers, bool virtual_clock)
{
    int error;
    struct sim *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    clock_init(virtual_clock);
    s->packet_ins.last = &s->packet_ins.first;
    s->removed.last = &s->removed.first;
    s->dp = datapath_new(n_workers, false, false, &error);
    if (!s->dp) {
        free(s);
        return NULL;
    }
    s->dp->channel = s;
    s->dp->packet_in = on_packet_in;
    s->dp->rule_removed = on_rule_removed;
    return s;
}

void sim_free(struct sim *s)
{
    uint32_t bridge;
    static uint8_t body[70000];
    datapath_free(s->dp, false);
    while (take(&s->packet_ins, &bridge, body, sizeof body) > 0)
        ;
    while (take(&s->removed, &bridge, body, sizeof body) > 0)
        ;
    free(s);
}

void sim_use_caches(struct sim *s, int on)
{
    s->dp->no_caches = !on;
}

void sim_warp(struct sim *s, uint64_t milliseconds)
{
    clock_warp(clock_from_ms(milliseconds));
    for (unsigned i = 0; i < s->dp->n_workers; i++)
        worker_step(s->dp->workers[i]);
    datapath_tick(s->dp);
}

int sim_set_tenant(struct sim *s, const struct dp_tenant *t, struct dp_error *error)
{
    return datapath_set_tenant(s->dp, t, error);
}

int sim_set_bridge(struct sim *s, const struct dp_bridge *b, struct dp_error *error)
{
    return datapath_set_bridge(s->dp, b, error);
}

int sim_add_port(struct sim *s, struct dp_port *p, struct dp_error *error)
{
    return datapath_add_port(s->dp, p, error);
}

int sim_remove_port(struct sim *s, uint32_t bridge, uint32_t port_no, struct dp_error *error)
{
    return datapath_remove_port(s->dp, bridge, port_no, error);
}

int sim_set_vtep(struct sim *s, const struct dp_vtep *v, struct dp_error *error)
{
    return vtep_set(s->dp, v, error);
}

int sim_set_queues(struct sim *s, uint32_t bridge, const struct dp_queues *head, const struct dp_queue *queues,
                   struct dp_error *error)
{
    struct port *p = datapath_port(s->dp, bridge, head->port_no, error);
    return p ? qos_set(p, head, queues, error) : -ENOENT;
}

int sim_queues(struct sim *s, uint32_t bridge, uint32_t port_no, struct dp_queues *head, struct dp_queue *out)
{
    fault f;
    struct port *p = datapath_port(s->dp, bridge, port_no, &f);
    if (!p)
        return -ENOENT;
    qos_describe(p, clock_now(), head, out);
    return 0;
}

int sim_modify_port(struct sim *s, uint32_t bridge, const struct dp_port_mod *m, struct dp_error *error)
{
    return datapath_modify_port(s->dp, bridge, m, error);
}

int sim_group_mod(struct sim *s, uint32_t bridge, const uint8_t *body, uint32_t len, struct dp_error *error)
{
    struct bridge *b = datapath_bridge(s->dp, bridge, error);
    return b ? group_mod(b, body, len, error) : -ENOENT;
}

int sim_meter_mod(struct sim *s, uint32_t bridge, const uint8_t *body, uint32_t len, struct dp_error *error)
{
    struct bridge *b = datapath_bridge(s->dp, bridge, error);
    return b ? meter_mod(b, body, len, error) : -ENOENT;
}

int sim_tell(struct sim *s, uint32_t bridge, uint32_t what, uint32_t number, uint8_t *out, uint32_t size,
             struct dp_error *error)
{
    struct bridge *b = datapath_bridge(s->dp, bridge, error);
    if (!b)
        return -ENOENT;
    struct group *g = group_find(b, number);
    struct meter *m = meter_find(b, number);
    switch (what) {
    case DP_GROUP_DESC:
        return g ? (int)group_desc_put(g, out, size) : 0;
    case DP_GROUP_STATS:
        return g ? (int)group_stats_put(b, g, clock_now(), out, size) : 0;
    case DP_METER_CONFIG:
        return m ? (int)meter_config_put(m, out) : 0;
    default:
        return m ? (int)meter_stats_put(b, m, clock_now(), out) : 0;
    }
}

int sim_bundle(struct sim *s, uint32_t bridge, uint32_t step, struct dp_error *error)
{
    struct bridge *b = datapath_bridge(s->dp, bridge, error);
    if (!b)
        return -ENOENT;
    if (step == 0)
        return bundle_open(b, 1, error);
    if (step == 1)
        bundle_commit(b);
    else
        bundle_discard(b);
    return 0;
}

int sim_flow_mod(struct sim *s, uint32_t bridge, const uint8_t *body, uint32_t len, struct dp_error *error)
{
    struct bridge *b = datapath_bridge(s->dp, bridge, error);
    struct flow_mod_result r;
    if (!b)
        return -ENOENT;
    int e = flow_mod(b, body, len, &r, error);
    if (!e && r.buffer_id != OFP_NO_BUFFER)
        e = datapath_send_buffered(b, r.buffer_id, error);
    return e;
}

int sim_packet_out(struct sim *s, uint32_t bridge, const uint8_t *body, uint32_t len, struct dp_error *error)
{
    struct bridge *b = datapath_bridge(s->dp, bridge, error);
    return b ? datapath_packet_out(b, body, len, error) : -ENOENT;
}

int sim_flow_stats(struct sim *s, uint32_t bridge, const uint8_t *request, uint32_t len, uint8_t *out, uint32_t size,
                   struct dp_error *error)
{
    struct bridge *b = datapath_bridge(s->dp, bridge, error);
    struct flow_dump *d = b ? flow_dump_new(b, request, len, clock_now(), error) : NULL;
    bool end;
    if (!d)
        return -error->error;
    size_t n = flow_dump_next(d, out, size, size, &end);
    flow_dump_free(d);
    return end ? (int)n : -ENOBUFS;
}

int sim_inject(struct sim *s, uint32_t bridge, uint32_t port_no, const uint8_t *frame, uint32_t len, struct dp_error *error)
{
    struct port *p = datapath_port(s->dp, bridge, port_no, error);
    return p ? datapath_inject(p, frame, len, NULL, error) : -ENOENT;
}

void sim_run(struct sim *s)
{
    bool any;
    do {
        any = false;
        for (unsigned i = 0; i < s->dp->n_workers; i++)
            any |= worker_step(s->dp->workers[i]);
    } while (any);
    mailbox_drain(&s->dp->mail, s->dp);
    if (defer_pending() > 1000)
        defer_run();
}

int sim_collect(struct sim *s, uint32_t bridge, uint32_t port_no, uint8_t *out, uint32_t size)
{
    struct dp_error error;
    struct vnet_hdr vnet;
    uint32_t len;
    struct port *p = datapath_port(s->dp, bridge, port_no, &error);
    if (!p || p->ops != &dummy_ops)
        return -ENOENT;
    return dummy_collect(p, out, size, &len, &vnet) ? (int)len : 0;
}

int sim_packet_in(struct sim *s, uint32_t *bridge, uint8_t *out, uint32_t size)
{
    return take(&s->packet_ins, bridge, out, size);
}

int sim_flow_removed(struct sim *s, uint32_t *bridge, uint8_t *out, uint32_t size)
{
    return take(&s->removed, bridge, out, size);
}

const void *sim_shm(struct sim *s)
{
    return s->dp->shm;
}

int sim_cache(struct sim *s, uint32_t tenant, struct dp_cache *out)
{
    const struct wtenant *t = tenant < DP_MAX_TENANTS ? s->dp->workers[0]->tenants[tenant] : NULL;
    const struct cache *c = t ? t->cache : NULL;
    if (!c)
        return -ENOENT;
    *out = (struct dp_cache){tenant, 0, c->n_flows, c->n_tables, c->emc_hits, c->megaflow_hits, c->misses, c->stale};
    return 0;
}
