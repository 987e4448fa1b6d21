#include "tunnel/uplink.h"
#include <errno.h>
#include <stdio.h>
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/step.h"
#include "flow/bridge.h"
#include "flow/openflow.h"
#include "path/worker.h"
#include "tunnel/inner.h"
#include "tunnel/vtep.h"
#include "tunnel/vxlan.h"

#define STALE_S 30             /* a neighbour that was not heard of for so long is asked again, and used meanwhile */
#define BACKLOG 256            /* frames of a VNI that wait for its tenant's turns: more would have left the caches when it is theirs */
#define TAKE_UNITS 2           /* of base/step.h, on virtual clocks: what a packet is told apart and decapsulated for */
#define TTL 64
#define FIRST_PORT 49152       /* of the source ports that flows are spread over (RFC 7348, 5) */
#define PORT_BITS 14

static uint32_t now_s(void)
{
    return (uint32_t)(clock_now() / clock_hz) + 1;     /* never 0, which means never */
}

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

/* The entry of an address, made if need be; NULL when there are too many. */
static struct neighbour *neighbour(struct uplink *u, uint32_t ip, bool make)
{
    for (uint32_t i = hash_finish(hash_word(0, ip));; i++) {
        struct neighbour *e = &u->neighbours[i % UPLINK_NEIGHBOURS];
        uint32_t there = atomic_load_explicit(&e->ip, memory_order_acquire);
        if (there == ip)
            return e;
        if (there)
            continue;
        if (!make || atomic_load(&u->n) >= UPLINK_NEIGHBOURS * 3 / 4)
            return NULL;
        if (atomic_compare_exchange_strong(&e->ip, &there, ip)) {
            atomic_fetch_add(&u->n, 1);
            return e;
        }
        if (there == ip)
            return e;
    }
}

static void make_arp(struct packet *p, uint16_t op, const uint8_t own_mac[6], uint32_t own, const uint8_t mac[6], uint32_t ip)
{
    static const uint8_t start[8] = {0, 1, 8, 0, 6, 4, 0, 0}, broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, unknown[6];
    uint8_t *d = p->data;
    memset(d, 0, 60);
    memcpy(d, op == 1 ? broadcast : mac, 6);
    memcpy(d + 6, own_mac, 6);
    put16(d + 12, 0x0806);
    memcpy(d + 14, start, 8);
    put16(d + 20, op);
    memcpy(d + 22, own_mac, 6);
    memcpy(d + 28, &own, 4);
    memcpy(d + 32, op == 1 ? unknown : mac, 6);
    memcpy(d + 38, &ip, 4);
    p->len = 60;
}

static uint32_t own_address(const struct vtep *v)
{
    uint32_t ip;
    memcpy(&ip, v->conf.local4.ip + 12, 4);
    return ip;
}

static void send_arp(struct port *up, const struct vtep *v, struct port_io *io, uint16_t op, const uint8_t *mac, uint32_t ip)
{
    struct packet *p = packet_alloc(io->pool);
    if (!p) {
        io->drops[DROP_NO_BUFFER]++;
        return;
    }
    make_arp(p, op, up->conf.mac, own_address(v), mac, ip);
    up->ops->tx(up, io, &p, 1);
}

/* The remote's address on the link; 0 while it isn't known. Asks where it is time to. */
static uint64_t resolve(struct port *up, struct vtep *v, struct port_io *io, uint32_t ip)
{
    struct neighbour *e = neighbour(&v->uplink, ip, true);
    if (!e)
        return 0;
    uint64_t mac = atomic_load_explicit(&e->mac, memory_order_acquire);
    uint32_t now = now_s(), asked = atomic_load_explicit(&e->asked, memory_order_relaxed);
    if (mac && now - atomic_load_explicit(&e->heard, memory_order_relaxed) < STALE_S)
        return mac;
    if (asked != now && atomic_compare_exchange_strong(&e->asked, &asked, now))
        send_arp(up, v, io, 1, NULL, ip);
    return mac;
}

/* Whether the frame was ARP of the VTEP's. A sender whom we don't send to is not noted: nobody fills the table but our own remotes. */
static bool take_arp(struct worker *w, struct port *up, struct vtep *v, struct packet *p)
{
    static const uint8_t start[6] = {0, 1, 8, 0, 6, 4};
    const uint8_t *a = p->data + 14;
    uint32_t own = own_address(v), sender, target;
    if (p->len < 42 || memcmp(a, start, 6))
        return false;
    memcpy(&sender, a + 14, 4);
    memcpy(&target, a + 24, 4);
    struct neighbour *e = sender ? neighbour(&v->uplink, sender, false) : NULL;
    if (e && !(a[8] & 1)) {
        uint64_t mac = 0;
        memcpy(&mac, a + 8, 6);
        atomic_store_explicit(&e->mac, mac, memory_order_release);
        atomic_store_explicit(&e->heard, now_s(), memory_order_relaxed);
    }
    if (target != own)
        return false;
    if (get16(a + 6) == 1) {
        struct port_io io = worker_io(w, up);
        send_arp(up, v, &io, 2, a + 8, sender);
    }
    return true;
}

/* ---- receiving ---- */

/* Length of the outer headers of a frame for the VTEP, VXLAN's not included; 0 when it is none. */
static uint32_t outer_headers(const struct vtep *v, const struct port *up, const struct packet *p)
{
    const uint8_t *d = p->data;
    uint32_t own = own_address(v), at = 14 + (d[14] & 15) * 4u;
    if (p->len < 14 + 20 + 8 + VXLAN_HEADER || get16(d + 12) != 0x0800 || d[14] >> 4 != 4 || at < 34 || at > 74 ||
        p->len < at + 8 + VXLAN_HEADER || d[23] != 17 || get16(d + 20) & 0x3fff || memcmp(d + 30, &own, 4) ||
        memcmp(d, up->conf.mac, 6) || get16(d + at + 2) != v->conf.port)
        return 0;
    uint32_t total = get16(d + 16), udp = get16(d + at + 4);
    return total >= at - 14 + udp && total <= p->len - 14 && udp >= 8 + VXLAN_HEADER ? at + 8 : 0;
}

/* What an offloading sender left open in the inner frame is open still; of the outer one it doesn't matter. */
static void inner_offloads(struct packet *p, uint32_t outer)
{
    if (p->vnet.gso_type == VNET_GSO_NONE && p->vnet.flags & VNET_NEEDS_CSUM && p->vnet.csum_start >= outer + VXLAN_HEADER + 14)
        p->vnet.csum_start = (uint16_t)(p->vnet.csum_start - outer - VXLAN_HEADER);
    else
        p->vnet = (struct vnet_hdr){0};
}

/* What the last packet was told by: as a rule the next one's is the same. */
struct demux {
    uint32_t vni;
    struct port *port;         /* NULL: nobody's, or none looked up yet */
    struct wtenant *owner;
    bool fed;                  /* its queue has got something, and nobody was woken */
    uint32_t from;             /* network order */
    uint64_t source;           /* MAC address that was learned there last */
};

static void wake_fed(struct worker *w, struct demux *d)
{
    if (d->fed)
        worker_wake(w, &d->port->queues[0]);
    d->fed = false;
}

static struct wtenant *owner_of(struct worker *w, struct vtep *v, struct demux *d, uint32_t vni)
{
    if (d->port && d->vni == vni)
        return d->owner;
    wake_fed(w, d);
    d->vni = vni;
    d->source = 0;
    d->owner = vtep_owner(v, w, vni, &d->port);
    return d->owner;
}

static void learn(struct worker *w, struct demux *d, const struct packet *p, uint32_t from)
{
    uint64_t source = 0;
    memcpy(&source, p->data + 6, 6);
    if (source == d->source && from == d->from)
        return;
    vxlan_learn(d->port, p, w->now_s);
    d->source = source;
    d->from = from;
}

/* Decapsulates, and queues for whom it is. Returns the tenant, or NULL when it is nobody's. What finds no room is dropped before more is
 * done for it. */
static struct wtenant *take_tunnelled(struct worker *w, struct vtep *v, struct demux *d, struct packet *p, uint32_t outer)
{
    const uint8_t *vxlan = p->data + outer;
    uint32_t end = outer - 8 + get16(vxlan - 4);       /* of UDP: short frames are padded */
    struct wtenant *t = NULL;
    if (end < outer + VXLAN_HEADER + 14 || !(vxlan[0] & 0x08))
        vtep_nobodys(w, p, DROP_BAD_TUNNEL);
    else if (!(t = owner_of(w, v, d, get32(vxlan + 4) >> 8)))
        vtep_nobodys(w, p, DROP_UNKNOWN_VNI);
    else if (d->port->queues[0].n >= BACKLOG || !packet_hand_over(p, &t->pool))
        vtep_lose(w, t, d->port, p);
    else {
        uint32_t from;
        memcpy(&from, p->data + 26, 4);
        packet_whole(p);
        if (p->bare)
            packet_begin_key(p);
        inner_offloads(p, outer);
        p->len = end;
        packet_pull(p, outer + VXLAN_HEADER);
        struct key *k = &p->key.key;
        k->tunnel_id = htobe64(d->vni);
        memcpy(k->tun_src + 10, "\xff\xff", 2);
        memcpy(k->tun_src + 12, &from, 4);
        memcpy(k->tun_dst, v->conf.local4.ip, 16);
        learn(w, d, p, from);
        d->fed |= rxq_push(&d->port->queues[0], p);
    }
    return t;
}

/* `n` packets' share of the time, `each`, is their tenant's rather than the turn's. */
static void charge_owner(struct worker *w, uint64_t *bucket, struct wtenant *owner, unsigned n, uint64_t each)
{
    uint64_t share = n * each;
    account_move(&w->clerk, bucket, &owner->account->cycles[DP_STAGE_TUNNEL], share);
    /* Not this turn's time, but theirs; unless they owe a slice already: else whoever floods the tunnel could have it received at
     * nobody's cost, and would never come to work off what was received. */
    if (!runqueue_owes(&w->sched.queue, &owner->subject.entity))
        w->turn_start += share;
    worker_charge(w, owner, share);
}

unsigned uplink_receive(struct worker *w, struct wtenant *t, struct port *up, struct packet **batch, unsigned n)
{
    struct vtep *v = __atomic_load_n(&w->dp->vtep, __ATOMIC_ACQUIRE);
    if (!v || atomic_load_explicit(&v->uplink.port, memory_order_acquire) != up || w->id)
        return n;
    struct wtenant *owners[BATCH];
    struct demux d = {0};
    unsigned kept = 0, taken = 0;
    uint64_t *bucket = w->clerk.bucket;
    worker_account(w, bucket);
    uint64_t before = w->now;
    for (unsigned i = 0; i < n; i++) {
        struct packet *p = batch[i];
        uint32_t outer = p->len >= 42 ? outer_headers(v, up, p) : 0;
        if (outer) {
            struct wtenant *owner = take_tunnelled(w, v, &d, p, outer);
            if (owner && owner != t) {
                owner->fed = t->feeds = true;
                owners[taken++] = owner;
            }
        } else if (p->len >= 42 && get16(p->data + 12) == 0x0806 && take_arp(w, up, v, p)) {
            packet_unref(p);
        } else {
            batch[kept++] = p;
        }
    }
    wake_fed(w, &d);
    step_spend(n * TAKE_UNITS);
    worker_account(w, bucket);
    uint64_t each = (w->now - before) / n;
    for (unsigned i = 0, k; i < taken; i += k) {
        for (k = 1; i + k < taken && owners[i + k] == owners[i]; k++)
            ;
        charge_owner(w, bucket, owners[i], k, each);
    }
    return kept;
}

/* ---- sending ---- */

struct template {
    uint8_t bytes[UPLINK_OVERHEAD];
    uint32_t sum;              /* of the IPv4 header, without its length */
};

static void make_template(struct template *t, const struct vtep *v, const struct port *up, const struct port *p, uint64_t mac,
                          uint32_t remote)
{
    uint8_t *d = t->bytes;
    uint32_t own = own_address(v);
    memset(d, 0, sizeof t->bytes);
    memcpy(d, &mac, 6);
    memcpy(d + 6, up->conf.mac, 6);
    put16(d + 12, 0x0800);
    d[14] = 0x45;
    put16(d + 20, 0x4000);     /* don't fragment */
    d[22] = TTL;
    d[23] = 17;
    memcpy(d + 26, &own, 4);
    memcpy(d + 30, &remote, 4);
    t->sum = 0;
    for (unsigned i = 14; i < 34; i += 2)
        t->sum += get16(d + i);
    put16(d + 36, v->conf.port);
    d[42] = 0x08;
    put32(d + 46, p->conf.vni << 8);
}

static uint16_t fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)(sum + (sum >> 16));
}

/* The checksum of UDP over IPv4, where it is wanted; else zero (RFC 7348, 5). */
static uint16_t outer_checksum(const uint8_t *d, uint32_t udp)
{
    uint16_t sum = (uint16_t)~csum_fold(csum_partial(d + 34, udp, csum_pseudo(d + 26, d + 30, false, 17, udp)));
    return sum ? sum : 0xffff;
}

static void encapsulate(const struct template *t, struct packet *p, bool checksum)
{
    uint32_t udp = p->len + VXLAN_HEADER + 8, ip = udp + 20, hash = inner_hash(p);
    packet_push(p, UPLINK_OVERHEAD);
    uint8_t *d = p->data;
    memcpy(d, t->bytes, UPLINK_OVERHEAD);
    put16(d + 16, (uint16_t)ip);
    put16(d + 24, (uint16_t)~fold(t->sum + ip));
    put16(d + 34, (uint16_t)(FIRST_PORT + (hash >> (32 - PORT_BITS))));
    put16(d + 38, (uint16_t)udp);
    if (checksum) {
        uint16_t sum = outer_checksum(d, udp);
        memcpy(d + 40, &sum, 2);
    }
}

/* Packets on their way: in `out`, and those whose frame others will send too in `shared`. */
struct leaving {
    unsigned n, n_shared;
    struct packet *out[PORT_STAGE], *shared[PORT_STAGE];
};

/* A packet that others will send too: noted, or a copy of it where this port sends it more than once. */
static struct packet *shared_once(struct leaving *l, struct packet *p)
{
    for (unsigned i = 0; i < l->n_shared; i++)
        if (l->shared[i] == p) {
            packet_pull(p, UPLINK_OVERHEAD);
            struct packet *copy = packet_copy(p);
            packet_push(p, UPLINK_OVERHEAD);
            packet_unref(p);
            return copy;
        }
    return l->shared[l->n_shared++] = p;
}

/* Those that can go, encapsulated; the others are counted. */
static void encapsulate_all(const struct template *t, const struct vtep *v, const struct port *up, struct port_io *io,
                            struct packet **packets, unsigned n, struct leaving *l)
{
    uint32_t most = up->mtu && up->mtu + 14 < PACKET_MAX ? up->mtu + 14 : PACKET_MAX;
    bool checksum = v->conf.uplink_checksum, whole = checksum || !up->ops->takes_loans;
    l->n = l->n_shared = 0;
    for (unsigned i = 0; i < n; i++) {
        struct packet *p = packets[i];
        if (__builtin_expect(p->len + UPLINK_OVERHEAD > most || packet_headroom(p) < UPLINK_OVERHEAD, 0)) {
            io->drops[DROP_TOO_LONG]++;
            io->counters->tx_errors++;
            packet_unref(p);
            continue;
        }
        if (whole)
            packet_whole(p);
        if (p->refs > 1 && !(p = shared_once(l, p))) {
            io->drops[DROP_NO_BUFFER]++;
            continue;
        }
        encapsulate(t, p, checksum);
        if (p->lender)
            p->head = (uint16_t)(p->head + UPLINK_OVERHEAD);
        l->out[l->n++] = p;
    }
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
static void send_some(const struct template *t, const struct vtep *v, struct port *up, struct port_io *io, struct port_io *through,
                      struct packet **packets, unsigned n)
{
    struct leaving l;
    encapsulate_all(t, v, up, io, packets, n, &l);
    uint64_t before = through->counters->tx_packets, bytes = through->counters->tx_bytes;
    if (l.n)
        up->ops->tx(up, through, l.out, l.n);
    for (unsigned j = 0; j < l.n_shared; j++) {
        packet_pull(l.shared[j], UPLINK_OVERHEAD);
        if (l.shared[j]->lender)
            l.shared[j]->head = (uint16_t)(l.shared[j]->head - UPLINK_OVERHEAD);
    }
    uint64_t went = through->counters->tx_packets - before;
    io->counters->tx_packets += went;
    io->counters->tx_bytes += through->counters->tx_bytes - bytes - went * UPLINK_OVERHEAD;
    io->counters->tx_drops += l.n - went;
}

bool uplink_send(struct datapath *dp, struct port *p, struct port_io *io, uint32_t remote, struct packet **packets, unsigned n)
{
    struct vtep *v = __atomic_load_n(&dp->vtep, __ATOMIC_ACQUIRE);
    struct port *up = v ? atomic_load_explicit(&v->uplink.port, memory_order_acquire) : NULL;
    if (!v || !v->conf.uplink_port[0])
        return false;
    if (!up)
        return refuse(io, DROP_NO_PORT, packets, n);
    struct port_io through = {io->worker, io->pool, shm_port(dp, io->worker, up->slot), io->drops};
    uint64_t mac = resolve(up, v, &through, remote);
    if (atomic_load_explicit(&up->config, memory_order_relaxed) & (OFPPC_PORT_DOWN | OFPPC_NO_FWD))
        return refuse(io, DROP_PORT_CONFIG, packets, n);
    if (!mac)
        return refuse(io, DROP_NO_NEIGHBOUR, packets, n);
    struct template t;
    make_template(&t, v, up, p, mac, remote);
    for (unsigned i = 0; i < n; i += PORT_STAGE)
        send_some(&t, v, up, io, &through, packets + i, n - i < PORT_STAGE ? n - i : PORT_STAGE);
    return true;
}
