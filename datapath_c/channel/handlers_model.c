/* Tenants, bridges, ports, the tunnel end point. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "channel/handlers.h"
#include "port/port.h"
#include "port/qos.h"
#include "tunnel/vtep.h"
#include "tunnel/vxlan.h"

/* A list on its way, in messages of at most DP_MSG_MAX: however many there could be, room for one message is enough. */
struct listing {
    struct client *client;
    const struct dp_msg *request;
    size_t len;
    uint8_t items[DP_MSG_MAX - sizeof(struct dp_msg)];
};

static void list_begin(struct listing *l, struct client *c, const struct dp_msg *request)
{
    l->client = c;
    l->request = request;
    l->len = 0;
}

static void list_add(struct listing *l, const void *item, size_t size)
{
    if (l->len + size > sizeof l->items) {
        reply_more(l->client, l->request, l->items, l->len);
        l->len = 0;
    }
    memcpy(l->items + l->len, item, size);
    l->len += size;
}

static void list_end(const struct listing *l)
{
    reply(l->client, l->request, l->items, l->len);
}

int handle_hello(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct datapath *dp = client_datapath(c);
    struct dp_hello h;
    memcpy(&h, body, sizeof h);
    if (h.version != DP_CONTRACT_VERSION)
        return fault_set(f, EPROTO, "version", "version %u, not %u", h.version, DP_CONTRACT_VERSION);
    client_set_role(c, h.role);
    struct dp_hello_reply r = {.version = DP_CONTRACT_VERSION, .pid = (uint32_t)getpid(), .n_workers = dp->n_workers,
                               .policy = dp->policy, .tsc_hz = clock_hz, .incarnation = dp->incarnation, .shm_size = dp->shm_size};
    reply_fd(c, m, &r, sizeof r, dp->shm_fd);
    return 0;
}

int handle_scheduler_set(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct dp_scheduler s;
    memcpy(&s, body, sizeof s);
    int e = datapath_set_scheduler(client_datapath(c), &s, f);
    if (!e)
        reply(c, m, NULL, 0);
    return e;
}

int handle_scheduler_get(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    const struct datapath *dp = client_datapath(c);
    reply(c, m, &(struct dp_scheduler){.policy = dp->policy, .slice_ns = dp->slice_ns}, sizeof(struct dp_scheduler));
    return 0;
}

int handle_balance_set(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct dp_balance b;
    memcpy(&b, body, sizeof b);
    int e = rebalance_set(client_datapath(c), &b, f);
    if (!e)
        reply(c, m, NULL, 0);
    return e;
}

int handle_balance_get(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    reply(c, m, &client_datapath(c)->balancer.conf, sizeof(struct dp_balance));
    return 0;
}

int handle_tenant_set(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct dp_tenant t;
    memcpy(&t, body, sizeof t);
    int e = datapath_set_tenant(client_datapath(c), &t, f);
    if (!e)
        reply(c, m, NULL, 0);
    return e;
}

int handle_tenant_del(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    int e = datapath_remove_tenant(client_datapath(c), m->object, f);
    if (!e)
        reply(c, m, NULL, 0);
    return e;
}

int handle_tenant_list(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct datapath *dp = client_datapath(c);
    struct listing list;
    list_begin(&list, c, m);
    for (uint32_t i = 0; i < DP_MAX_TENANTS; i++)
        if (dp->tenants[i])
            list_add(&list, &dp->tenants[i]->conf, sizeof dp->tenants[i]->conf);
    list_end(&list);
    return 0;
}

int handle_bridge_set(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct dp_bridge b;
    memcpy(&b, body, sizeof b);
    int e = datapath_set_bridge(client_datapath(c), &b, f);
    if (!e)
        reply(c, m, NULL, 0);
    return e;
}

int handle_bridge_del(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    int e = datapath_remove_bridge(client_datapath(c), m->object, f);
    if (!e)
        reply(c, m, NULL, 0);
    return e;
}

int handle_bridge_list(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct datapath *dp = client_datapath(c);
    struct listing list;
    list_begin(&list, c, m);
    for (uint32_t i = 0; i < DP_MAX_BRIDGES; i++) {
        if (!dp->bridges[i])
            continue;
        struct dp_bridge b = dp->bridges[i]->conf;
        b.miss = atomic_load(&dp->bridges[i]->miss);
        b.n_rules = dp->bridges[i]->n_rules;
        list_add(&list, &b, sizeof b);
    }
    list_end(&list);
    return 0;
}

int handle_port_add(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct dp_port p;
    memcpy(&p, body, sizeof p);
    int e = datapath_add_port(client_datapath(c), &p, f);
    if (!e)
        reply(c, m, &p, sizeof p);
    return e;
}

int handle_port_del(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct dp_port_ref r;
    memcpy(&r, body, sizeof r);
    int e = datapath_remove_port(client_datapath(c), m->object, r.port_no, f);
    if (!e)
        reply(c, m, NULL, 0);
    return e;
}

int handle_port_mod(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct dp_port_mod mod;
    memcpy(&mod, body, sizeof mod);
    int e = datapath_modify_port(client_datapath(c), m->object, &mod, f);
    if (!e)
        reply(c, m, NULL, 0);
    return e;
}

int handle_port_list(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct datapath *dp = client_datapath(c);
    if (m->object && !datapath_bridge(dp, m->object, f))
        return -ENOENT;
    struct listing list;
    list_begin(&list, c, m);
    for (uint32_t i = 0; i < DP_MAX_PORTS; i++) {
        struct port *p = dp->ports[i];
        struct dp_port conf;
        if (p && (!m->object || p->bridge->conf.id == m->object)) {
            datapath_port_conf(p, &conf);
            list_add(&list, &conf, sizeof conf);
        }
    }
    list_end(&list);
    return 0;
}

int handle_port_detail(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    char text[8192] = "";
    struct dp_port_ref r;
    memcpy(&r, body, sizeof r);
    struct port *p = datapath_port(client_datapath(c), m->object, r.port_no, f);
    if (!p)
        return -f->error;
    int e = p->ops->describe ? p->ops->describe(p, text, sizeof text) : 0;
    if (e)
        return fault_set(f, -e, "", "there is more to say of the port than one message holds");
    reply(c, m, text, strlen(text));
    return 0;
}

int handle_vtep_set(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct dp_vtep v;
    memcpy(&v, body, sizeof v);
    v.uplink_bridge[DP_NAME_MAX - 1] = v.uplink_port[DP_NAME_MAX - 1] = v.uplink_device[sizeof v.uplink_device - 1] = 0;
    int e = vtep_set(client_datapath(c), &v, f);
    if (!e)
        reply(c, m, NULL, 0);
    return e;
}

int handle_vtep_get(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct datapath *dp = client_datapath(c);
    struct dp_vtep none = {0};
    reply(c, m, dp->vtep ? &dp->vtep->conf : &none, sizeof none);
    return 0;
}

int handle_remotes_set(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct dp_remotes r;
    memcpy(&r, body, sizeof r);
    if (r.n > DP_MAX_REMOTES || m->len != sizeof r + r.n * sizeof(struct dp_addr))
        return fault_set(f, EINVAL, "remotes", "%u of them in %u bytes", r.n, m->len);
    struct port *p = datapath_port(client_datapath(c), m->object, r.port_no, f);
    if (!p)
        return -ENOENT;
    int e = vxlan_set_remotes(p, (const struct dp_addr *)(body + sizeof r), r.n, f);
    if (!e)
        reply(c, m, NULL, 0);
    return e;
}

int handle_remotes_get(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct dp_port_ref r;
    memcpy(&r, body, sizeof r);
    struct port *p = datapath_port(client_datapath(c), m->object, r.port_no, f);
    if (!p)
        return -ENOENT;
    struct {
        struct dp_remotes head;
        struct dp_addr at[DP_MAX_REMOTES];
    } out = {.head.port_no = r.port_no};
    out.head.n = vxlan_remotes(p, out.at);
    reply(c, m, &out, sizeof out.head + out.head.n * sizeof out.at[0]);
    return 0;
}

int handle_queues_set(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct dp_queues head;
    struct dp_queue queues[DP_MAX_QUEUES];
    memcpy(&head, body, sizeof head);
    if (head.n > DP_MAX_QUEUES || m->len != sizeof head + head.n * sizeof queues[0])
        return fault_set(f, EINVAL, "queues", "%u of them in %u bytes", head.n, m->len);
    memcpy(queues, body + sizeof head, head.n * sizeof queues[0]);
    struct port *p = datapath_port(client_datapath(c), m->object, head.port_no, f);
    if (!p)
        return -ENOENT;
    int e = qos_set(p, &head, queues, f);
    if (!e)
        reply(c, m, NULL, 0);
    return e;
}

int handle_queues_get(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct dp_port_ref r;
    struct {
        struct dp_queues head;
        struct dp_queue at[DP_MAX_QUEUES];
    } out;
    memcpy(&r, body, sizeof r);
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    if (!b || (r.port_no != OFPP_ANY && !datapath_port(client_datapath(c), m->object, r.port_no, f)))
        return -ENOENT;
    struct port_map *ports = atomic_load(&b->ports);
    for (uint32_t i = 0; ports && i < ports->n; i++) {
        if (r.port_no != OFPP_ANY && r.port_no != ports->at[i]->port_no)
            continue;
        qos_describe(ports->at[i], clock_now(), &out.head, out.at);
        reply_more(c, m, &out, sizeof out.head + out.head.n * sizeof out.at[0]);
    }
    reply(c, m, NULL, 0);
    return 0;
}
