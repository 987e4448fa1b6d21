#include "flow/bridge.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/defer.h"
#include "flow/bundle.h"
#include "flow/group.h"
#include "flow/meter.h"
#include "flow/rule_list.h"
#include "port/port.h"

struct port *bridge_port(const struct bridge *b, uint32_t port_no)
{
    struct port_map *m = atomic_load_explicit(&((struct bridge *)b)->ports, memory_order_acquire);
    uint32_t low = 0, high = m ? m->n : 0;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (m->at[mid]->port_no < port_no)
            low = mid + 1;
        else
            high = mid;
    }
    return m && low < m->n && m->at[low]->port_no == port_no ? m->at[low] : NULL;
}

int bridge_change_ports(struct bridge *b, struct port *add, struct port *drop)
{
    struct port_map *old = atomic_load_explicit(&b->ports, memory_order_relaxed);
    uint32_t n = old ? old->n : 0;
    struct port_map *new = malloc(sizeof *new + (n + 1) * sizeof new->at[0]);
    if (!new)
        return -ENOMEM;
    new->n = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (add && old->at[i]->port_no > add->port_no) {
            new->at[new->n++] = add;
            add = NULL;
        }
        if (old->at[i] != drop)
            new->at[new->n++] = old->at[i];
    }
    if (add)
        new->at[new->n++] = add;
    atomic_store_explicit(&b->ports, new, memory_order_release);
    if (old)
        defer(free, old);
    tenant_changed(b->tenant);
    return 0;
}

struct bridge *bridge_new(struct datapath *dp, struct tenant *t, const struct dp_bridge *conf)
{
    struct bridge *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->conf = *conf;
    b->tenant = t;
    b->dp = dp;
    atomic_init(&b->miss, conf->miss);
    mac_table_init(&b->macs, conf->mac_max);
    for (int i = 0; i < BRIDGE_BUFFERS; i++)
        b->buffers[i].id = OFP_NO_BUFFER;
    t->n_bridges++;
    return b;
}

static void free_bridge(void *bridge)
{
    struct bridge *b = bridge;
    for (int i = 0; i < OFPTT_MAX; i++) {
        struct table *t = atomic_load_explicit(&b->tables[i], memory_order_relaxed);
        if (t)
            table_free(t);
    }
    for (int i = 0; i < BRIDGE_BUFFERS; i++)
        free(b->buffers[i].data);
    mac_table_destroy(&b->macs);
    free(b->forget);
    groups_free(b);
    meters_free(b);
    free(atomic_load_explicit(&b->ports, memory_order_relaxed));
    free(b);
}

void bridge_free(struct bridge *b)
{
    cursors_end(b);
    if (b->bundle)
        bundle_discard(b);
    for (int i = 0; i < OFPTT_MAX; i++) {
        struct table *t = atomic_load_explicit(&b->tables[i], memory_order_relaxed);
        if (t)
            table_clear(t);
    }
    struct id_map *groups = atomic_load_explicit(&b->groups, memory_order_relaxed);
    for (uint32_t i = 0; groups && i < groups->n; i++)
        b->tenant->rule_bytes -= ((struct group *)groups->at[i].object)->size;
    b->tenant->n_bridges--;
    tenant_changed(b->tenant);
    defer(free_bridge, b);
}
