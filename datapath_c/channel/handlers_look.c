/* Looking inside: learned addresses, trace, caches; and dummy ports. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/clock.h"
#include "channel/handlers.h"
#include "channel/lanes.h"
#include "flow/cache.h"
#include "flow/describe.h"
#include "flow/rule_costs.h"
#include "flow/translate.h"
#include "path/parse.h"
#include "port/dummy.h"

#define MAX_MACS 3000          /* in one message */

int handle_mac_list(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    if (!b)
        return -ENOENT;
    struct dp_mac *list = malloc(b->conf.mac_max * sizeof *list);
    if (!list)
        return fault_set(f, ENOMEM, "", "out of memory");
    uint32_t n = mac_list(&b->macs, (uint32_t)(clock_now() / clock_hz), list, b->conf.mac_max), at = 0;
    for (; n - at > MAX_MACS; at += MAX_MACS)
        reply_more(c, m, list + at, MAX_MACS * sizeof *list);
    reply(c, m, list + at, (n - at) * sizeof *list);
    free(list);
    return 0;
}

int handle_mac_flush(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    if (!b)
        return -ENOENT;
    mac_sweep(&b->macs, 0, 1, 0xffffffff);
    reply(c, m, NULL, 0);
    return 0;
}

int handle_trace(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    struct dp_trace t;
    if (!b)
        return -ENOENT;
    memcpy(&t, body, sizeof t);
    size_t len = m->len - sizeof t, size = 0;
    if (len < 14)
        return fault_set(f, EINVAL, "frame", "%zu bytes", len);
    struct packet p = {.data = (uint8_t *)body + sizeof t, .len = (uint32_t)len, .refs = 1};
    p.rx_port = bridge_port(b, t.in_port);
    if (!p.rx_port)
        return fault_set(f, ENOENT, "in_port", "bridge %s has no port %u", b->conf.name, t.in_port);
    p.key.key.in_port = p.key.key.in_phy_port = htobe32(t.in_port);
    p.key.key.bridge = b->conf.id;
    parse(&p);
    char *text = NULL;
    FILE *out = open_memstream(&text, &size);
    struct translation *x = malloc(sizeof *x);
    if (!out || !x) {
        free(x);
        return fault_set(f, ENOMEM, "", "out of memory");
    }
    fprintf(out, "bridge %s, port %u (%s), %zu bytes\n", b->conf.name, t.in_port, p.rx_port->conf.name, len);
    translation_init(x, NULL, NULL, b, &p);
    x->trace = out;
    translate(x);
    fprintf(out, "actions:\n");
    describe_ops(out, x->ops, x->n_ops);
    fprintf(out, "megaflow: %s", x->cacheable ? "all packets that agree in " : "none, each such packet walks the tables");
    if (x->cacheable)
        describe_mask(out, x->wc);
    fprintf(out, "\n");
    fclose(out);
    reply(c, m, text, size < 60000 ? size : 60000);
    free(text);
    free(x);
    return 0;
}

int handle_inject(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct dp_port_ref r;
    memcpy(&r, body, sizeof r);
    struct port *p = datapath_port(client_datapath(c), m->object, r.port_no, f);
    if (!p)
        return -ENOENT;
    int e = datapath_inject(p, body + sizeof r, m->len - sizeof r, NULL, f);
    if (!e)
        reply(c, m, NULL, 0);
    return e;
}

int handle_collect(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct dp_port_ref r;
    memcpy(&r, body, sizeof r);
    struct port *p = datapath_port(client_datapath(c), m->object, r.port_no, f);
    if (!p)
        return -ENOENT;
    if (p->ops != &dummy_ops)
        return fault_set(f, EINVAL, "port", "port %u is not a dummy", p->port_no);
    uint8_t *out = malloc(DP_MSG_MAX);
    if (!out)
        return fault_set(f, ENOMEM, "", "out of memory");
    struct dp_batch head = {0};
    uint32_t at = sizeof head, room = DP_MSG_MAX - sizeof *m, len;
    struct vnet_hdr vnet;
    while (at + 4 < room && dummy_collect(p, out + at + 4, room - at - 4, &len, &vnet)) {
        memcpy(out + at, &len, 4);
        at += 4 + len;
        head.n++;
    }
    memcpy(out, &head, sizeof head);
    reply(c, m, out, at);
    free(out);
    return 0;
}

int handle_cache_stats(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct datapath *dp = client_datapath(c);
    struct dp_cache list[512];
    size_t n = 0;
    for (unsigned w = 0; w < dp->n_workers; w++)
        for (uint32_t i = 0; i < DP_MAX_TENANTS; i++) {
            const struct wtenant *t = dp->workers[w]->tenants[i];
            const struct cache *k = t ? t->cache : NULL;
            if (!k)
                continue;
            if (n == 512) {
                reply_more(c, m, list, sizeof list);
                n = 0;
            }
            list[n++] = (struct dp_cache){i, w, k->n_flows, k->n_tables, k->emc_hits, k->megaflow_hits, k->misses, k->stale};
        }
    reply(c, m, list, n * sizeof list[0]);
    return 0;
}

int handle_shutdown(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    reply(c, m, NULL, 0);
    server_stop(c);
    return 0;
}

#define COSTS_STEP 512         /* rules looked at in one step */

static bool costs_step(struct client *c, const struct dp_msg *request, void *context)
{
    static uint8_t out[DP_MSG_MAX - sizeof(struct dp_msg)];
    const uint8_t *entry;
    size_t len = 0, n;
    struct dp_rule_cost head;
    if (!rule_costs_step(context, COSTS_STEP))
        return false;
    for (uint32_t i = 0; (n = rule_costs_at(context, i, &head.cycles, &entry)); i++) {
        if (len + sizeof head + n > sizeof out) {
            reply_more(c, request, out, len);
            len = 0;
        }
        head.len = n;
        memcpy(out + len, &head, sizeof head);
        memcpy(out + len + sizeof head, entry, n);
        len += sizeof head + n;
    }
    reply(c, request, out, len);
    return true;
}

static void costs_free(void *context)
{
    rule_costs_free(context);
}

int handle_rule_costs(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    struct dp_number k;
    if (!b)
        return -ENOENT;
    memcpy(&k, body, sizeof k);
    struct rule_costs *costs = rule_costs_new(b, k.number);
    if (!costs)
        return fault_set(f, ENOMEM, "", "out of memory");
    return lanes_continue(client_lanes(c), c, m, costs_step, costs_free, costs, f);
}
