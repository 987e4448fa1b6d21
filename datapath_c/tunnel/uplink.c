#include "tunnel/uplink.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/clock.h"
#include "flow/bridge.h"
#include "flow/openflow.h"
#include "path/worker.h"
#include "port/steering.h"
#include "tunnel/ask.h"
#include "tunnel/inner.h"
#include "tunnel/vtep.h"

#define STALE_S 30             /* a neighbour that was not heard of for so long is asked again, and used meanwhile */
#define TTL 64
#define FIRST_PORT 49152       /* of the source ports that flows are spread over (RFC 7348, 5) */
#define PORT_BITS 14
#define ROOM_FOR_ONE 256       /* bytes that telling of a neighbour and of how many more there are may take */

/* ---- which port ---- */

static bool named(const struct dp_vtep *c, const char *bridge, const char *port)
{
    return c->uplink_port[0] && !strcmp(c->uplink_bridge, bridge) && !strcmp(c->uplink_port, port);
}

bool uplink_is(const struct datapath *dp, const struct bridge *b, const struct dp_port *conf)
{
    return dp->vtep && named(&dp->vtep->conf, b->conf.name, conf->name);
}

void uplink_added(struct datapath *dp, struct port *p)
{
    if (!uplink_is(dp, p->bridge, &p->conf))
        return;
    atomic_store_explicit(&dp->vtep->uplink.port, p, memory_order_release);
    atomic_store_explicit(&p->underlay, true, memory_order_release);
    uplink_steer(dp, dp->vtep);
}

void uplink_steer(struct datapath *dp, const struct vtep *v)
{
    static const struct steering nothing;
    struct steering its = {0};
    struct port *up = v ? atomic_load(&v->uplink.port) : NULL;
    if (up) {
        its.port = htobe16(v->conf.port);
        its.own = !v->conf.uplink_device[0];
        memcpy(&its.local4, v->conf.local4.ip + 12, 4);
        if (!v->conf.any6)
            memcpy(its.local6, v->conf.local6.ip, 16);
    }
    for (uint32_t i = 0; i < DP_MAX_PORTS; i++)
        if (dp->ports[i] && dp->ports[i]->ops->steer)
            dp->ports[i]->ops->steer(dp->ports[i], dp->ports[i] == up ? &its : &nothing);
}

bool uplink_removed(struct datapath *dp, struct port *p)
{
    if (!dp->vtep || atomic_load(&dp->vtep->uplink.port) != p)
        return false;
    atomic_store(&dp->vtep->uplink.port, NULL);
    return true;
}

int uplink_find(struct datapath *dp, struct vtep *v, fault *f)
{
    for (uint32_t i = 0; i < DP_MAX_PORTS; i++) {
        struct port *p = dp->ports[i];
        if (!p || !named(&v->conf, p->bridge->conf.name, p->conf.name))
            continue;
        for (unsigned q = 0; q < p->n_queues; q++)
            if (p->queues[q].worker)
                return fault_set(f, EINVAL, "uplink", "the port is served by another worker than tunnels are: name it before it is added");
        atomic_store(&v->uplink.port, p);
        atomic_store(&p->underlay, true);
    }
    return 0;
}

/* ---- neighbours ---- */

uint64_t uplink_mac(const struct vtep *v, const struct port *up)
{
    uint64_t mac = 0;
    if (v->conf.uplink_device[0])
        return atomic_load_explicit(&v->uplink.kernel.mac, memory_order_acquire);
    memcpy(&mac, up->conf.mac, 6);
    return mac;
}

/* The remote's address on the link; 0 while it isn't known, and then *why. Asks where it is time to. */
static uint64_t resolve(struct port *up, struct vtep *v, struct port_io *io, const struct dp_addr *ip, enum drop *why)
{
    struct neighbour *e = neighbour_find(&v->uplink.neighbours, ip, true);
    *why = DROP_NO_NEIGHBOUR;
    if (!e)
        return 0;
    uint64_t mac = atomic_load_explicit(&e->mac, memory_order_acquire);
    uint32_t now = neighbour_clock(), asked = atomic_load_explicit(&e->asked, memory_order_relaxed);
    if (mac && now - atomic_load_explicit(&e->heard, memory_order_relaxed) < STALE_S)
        return mac;
    if (asked != now && atomic_compare_exchange_strong(&e->asked, &asked, now)) {
        if (v->conf.uplink_device[0])
            kernel_routes_want(&v->uplink.kernel, e);
        else
            ask_send(up, v, io, ip);
    }
    if (atomic_load_explicit(&e->no_route, memory_order_relaxed))
        *why = DROP_NO_ROUTE;
    return mac;
}

/* ---- sending ---- */

struct template {
    uint8_t bytes[UPLINK_OVERHEAD6];
    uint32_t len;              /* UPLINK_OVERHEAD, or UPLINK_OVERHEAD6 */
    uint32_t sum;              /* of the IPv4 header, without its length */
    uint32_t fits;             /* bytes of the inner frame that its lengths are for; 0: none yet */
};

static void make_ipv4(struct template *t, const struct vtep *v, const struct dp_addr *remote)
{
    uint8_t *d = t->bytes;
    t->len = UPLINK_OVERHEAD;
    put16(d + 12, 0x0800);
    d[14] = 0x45;
    put16(d + 20, 0x4000);     /* don't fragment */
    d[22] = TTL;
    d[23] = 17;
    memcpy(d + 26, v->conf.local4.ip + 12, 4);
    memcpy(d + 30, remote->ip + 12, 4);
    t->sum = 0;
    for (unsigned i = 14; i < 34; i += 2)
        t->sum += get16(d + i);
}

static void make_ipv6(struct template *t, const struct vtep *v, const struct dp_addr *remote)
{
    uint8_t *d = t->bytes;
    t->len = UPLINK_OVERHEAD6;
    put16(d + 12, 0x86dd);
    d[14] = 0x60;
    d[20] = 17;
    d[21] = TTL;
    memcpy(d + 22, v->conf.local6.ip, 16);
    memcpy(d + 38, remote->ip, 16);
}

static void make_template(struct template *t, const struct vtep *v, uint64_t own, const struct port *p, uint64_t mac,
                          const struct dp_addr *remote)
{
    uint8_t *d = t->bytes;
    memset(d, 0, sizeof t->bytes);
    memcpy(d, &mac, 6);
    memcpy(d + 6, &own, 6);
    if (address_is_v6(remote))
        make_ipv6(t, v, remote);
    else
        make_ipv4(t, v, remote);
    put16(d + t->len - 14, v->conf.port);
    t->fits = 0;
    d[t->len - 8] = 0x08;
    put32(d + t->len - 4, p->conf.vni << 8);
}

static uint16_t fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)(sum + (sum >> 16));
}

/* The checksum of UDP over IPv4, where it is wanted, else zero (RFC 7348, 5); over IPv6, always (RFC 8200, 8.1). */
static uint16_t outer_checksum(const uint8_t *d, uint32_t udp, bool v6)
{
    uint64_t pseudo = v6 ? csum_pseudo(d + 22, d + 38, true, 17, udp) : csum_pseudo(d + 26, d + 30, false, 17, udp);
    uint16_t sum = (uint16_t)~csum_fold(csum_partial(d + (v6 ? 54 : 34), udp, pseudo));
    return sum ? sum : 0xffff;
}

/* For frames of another length than the last one's. */
static __attribute__((noinline)) void fit(struct template *t, uint32_t inner)
{
    uint8_t *d = t->bytes;
    uint32_t udp = inner + VXLAN_HEADER + 8, ip = udp + 20;
    put16(d + t->len - 12, (uint16_t)udp);
    if (t->len == UPLINK_OVERHEAD6) {
        put16(d + 18, (uint16_t)udp);
    } else {
        put16(d + 16, (uint16_t)ip);
        put16(d + 24, (uint16_t)~fold(t->sum + ip));
    }
    t->fits = inner;
}

static inline __attribute__((always_inline)) void encapsulate(const struct template *t, struct packet *p, bool checksum, bool v6)
{
    const uint32_t n = v6 ? UPLINK_OVERHEAD6 : UPLINK_OVERHEAD;
    uint32_t hash = inner_hash(p);
    packet_push(p, n);
    uint8_t *d = p->data;
    memcpy(d, t->bytes, n);
    put16(d + n - 16, (uint16_t)(FIRST_PORT + (hash >> (32 - PORT_BITS))));
    if (checksum || v6) {
        uint16_t sum = outer_checksum(d, p->len - (n - 16), v6);
        memcpy(d + n - 10, &sum, 2);
    }
}

/* Packets on their way: in `out`, and those whose frame others will send too in `shared`. */
struct leaving {
    unsigned n, n_shared;
    struct packet *out[PORT_STAGE], *shared[PORT_STAGE];
};

/* A packet that others will send too: noted, or a copy of it where this port sends it more than once. */
static struct packet *shared_once(struct leaving *l, struct packet *p, uint32_t overhead)
{
    for (unsigned i = 0; i < l->n_shared; i++)
        if (l->shared[i] == p) {
            packet_pull(p, overhead);
            struct packet *copy = packet_copy(p);
            packet_push(p, overhead);
            packet_unref(p);
            return copy;
        }
    return l->shared[l->n_shared++] = p;
}

/* Those that can go, encapsulated; the others are counted. */
static inline __attribute__((always_inline)) void encapsulate_all(struct template *t, const struct port *up, struct port_io *io,
                                                                  struct packet **packets, unsigned n, struct leaving *l, bool whole,
                                                                  bool checksum, bool v6)
{
    uint32_t most = up->mtu && up->mtu + 14 < PACKET_MAX ? up->mtu + 14 : PACKET_MAX, going = 0;
    const uint32_t len = v6 ? UPLINK_OVERHEAD6 : UPLINK_OVERHEAD;
    l->n_shared = 0;
    for (unsigned i = 0; i < n; i++) {
        struct packet *p = packets[i];
        if (__builtin_expect((p->len != t->fits && p->len + len > most) || packet_headroom(p) < len, 0)) {
            io->drops[DROP_TOO_LONG]++;
            io->counters->tx_errors++;
            packet_unref(p);
            continue;
        }
        if (whole)
            packet_whole(p);
        if (p->refs > 1 && !(p = shared_once(l, p, len))) {
            io->drops[DROP_NO_BUFFER]++;
            continue;
        }
        if (p->len != t->fits)
            fit(t, p->len);
        encapsulate(t, p, checksum, v6);
        if (p->lender)
            p->head = (uint16_t)(p->head + len);
        l->out[going++] = p;
    }
    l->n = going;
}

bool uplink_is_ring(const struct port *p)
{
    struct vtep *v = __atomic_load_n(&p->bridge->dp->vtep, __ATOMIC_ACQUIRE);
    const struct port *up = v ? atomic_load_explicit(&v->uplink.port, memory_order_acquire) : NULL;
    return up && up->ops->takes_loans;
}

static bool refuse(struct port_io *io, enum drop why, struct packet **packets, unsigned n)
{
    io->drops[why] += n;
    io->counters->tx_drops += n;
    packet_unref_all(packets, n);
    return true;
}

/* At most PORT_STAGE. */
static void send_some(struct template *t, const struct vtep *v, struct port *up, struct port_io *io, struct port_io *through,
                      struct packet **packets, unsigned n)
{
    struct leaving l;
    bool checksum = v->conf.uplink_checksum;
    if (t->len == UPLINK_OVERHEAD6)
        encapsulate_all(t, up, io, packets, n, &l, true, true, true);
    else if (checksum || !up->ops->takes_loans)
        encapsulate_all(t, up, io, packets, n, &l, true, checksum, false);
    else
        encapsulate_all(t, up, io, packets, n, &l, false, false, false);
    uint64_t before = through->counters->tx_packets, bytes = through->counters->tx_bytes;
    if (l.n)
        up->ops->tx(up, through, l.out, l.n);
    for (unsigned j = 0; j < l.n_shared; j++) {
        packet_pull(l.shared[j], t->len);
        if (l.shared[j]->lender)
            l.shared[j]->head = (uint16_t)(l.shared[j]->head - t->len);
    }
    uint64_t went = through->counters->tx_packets - before;
    io->counters->tx_packets += went;
    io->counters->tx_bytes += through->counters->tx_bytes - bytes - went * t->len;
    io->counters->tx_drops += l.n - went;
}

/* Whether the VTEP's tunnels of the remote's family go through its uplink. */
static bool takes(const struct vtep *v, const struct dp_addr *remote)
{
    return v && v->conf.uplink_port[0] && (address_is_v6(remote) ? address_is_set(&v->conf.local6) && !v->conf.any6
                                                                 : address_is_set(&v->conf.local4));
}

bool uplink_send(struct datapath *dp, struct port *p, struct port_io *io, const struct dp_addr *remote, struct packet **packets, unsigned n)
{
    struct vtep *v = __atomic_load_n(&dp->vtep, __ATOMIC_ACQUIRE);
    struct port *up = v ? atomic_load_explicit(&v->uplink.port, memory_order_acquire) : NULL;
    if (!takes(v, remote))
        return false;
    if (!up)
        return refuse(io, DROP_NO_PORT, packets, n);
    struct port_io through = {io->worker, io->pool, shm_port(dp, io->worker, up->slot), io->drops, io->lane};
    enum drop why;
    uint64_t mac = resolve(up, v, &through, remote, &why), own = uplink_mac(v, up);
    if (atomic_load_explicit(&up->config, memory_order_relaxed) & (OFPPC_PORT_DOWN | OFPPC_NO_FWD))
        return refuse(io, DROP_PORT_CONFIG, packets, n);
    if (!mac || !own)
        return refuse(io, why, packets, n);
    struct template t;
    make_template(&t, v, own, p, mac, remote);
    for (unsigned i = 0; i < n; i += PORT_STAGE)
        send_some(&t, v, up, io, &through, packets + i, n - i < PORT_STAGE ? n - i : PORT_STAGE);
    return true;
}

/* ---- for people ---- */

static size_t say(char *out, size_t size, size_t at, const char *format, ...) __attribute__((format(printf, 4, 5)));
static size_t say(char *out, size_t size, size_t at, const char *format, ...)
{
    va_list a;
    va_start(a, format);
    int n = at < size ? vsnprintf(out + at, size - at, format, a) : 0;
    va_end(a);
    return at + (size_t)(n > 0 ? n : 0);
}

static void address_text(const struct dp_addr *a, char text[INET6_ADDRSTRLEN])
{
    bool v6 = address_is_v6(a);
    inet_ntop(v6 ? AF_INET6 : AF_INET, v6 ? a->ip : a->ip + 12, text, INET6_ADDRSTRLEN);
}

static size_t say_neighbour(struct neighbour *e, char *out, size_t size, size_t at)
{
    char ip[INET6_ADDRSTRLEN], hop[INET6_ADDRSTRLEN];
    uint64_t mac = atomic_load(&e->mac);
    const uint8_t *m = (const uint8_t *)&mac;
    address_text(&e->ip, ip);
    at = say(out, size, at, "neighbour.%s ", ip);
    if (address_is_set(&e->hop) && memcmp(&e->hop, &e->ip, sizeof e->ip)) {
        address_text(&e->hop, hop);
        at = say(out, size, at, "via %s ", hop);
    }
    if (!mac)
        return say(out, size, at, "%s\n", atomic_load(&e->no_route) ? "no route" : "asked");
    return say(out, size, at, "%02x:%02x:%02x:%02x:%02x:%02x, told %u s ago\n", m[0], m[1], m[2], m[3], m[4], m[5],
               neighbour_clock() - atomic_load(&e->heard));
}

int uplink_describe(const struct datapath *dp, char *out, size_t size)
{
    struct vtep *v = dp->vtep;
    if (!v || !v->conf.uplink_port[0])
        return 0;
    struct uplink *u = &v->uplink;
    size_t at = say(out, size, 0, "uplink %s/%s%s\n", v->conf.uplink_bridge, v->conf.uplink_port,
                    atomic_load(&u->port) ? "" : ", which there is not");
    if (v->conf.uplink_device[0])
        at = say(out, size, at, "uplink_device %s%s, %llu routes looked up, %llu changes told\n", v->conf.uplink_device,
                 u->kernel.ifindex ? "" : ", which there is not", (unsigned long long)u->kernel.lookups,
                 (unsigned long long)u->kernel.announcements);
    unsigned left = 0;
    for (unsigned i = 0; i < MAX_NEIGHBOURS; i++) {
        struct neighbour *e = &u->neighbours.at[i];
        if (atomic_load_explicit(&e->use, memory_order_acquire) != NEIGHBOUR_THERE)
            continue;
        if (size - at < ROOM_FOR_ONE)
            left++;
        else
            at = say_neighbour(e, out, size, at);
    }
    if (left)
        at = say(out, size, at, "neighbours %u more\n", left);
    return at < size ? 0 : -ENOBUFS;
}
