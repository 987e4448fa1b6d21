#include "port/vhost.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/bytes.h"
#include "flow/bridge.h"
#include "flow/openflow.h"
#include "path/datapath.h"

#define TOO_LONG_MAX 4         /* frames of a batch that are passed over for others behind them */
#define BIT(n) (1ull << (n))
#define SEGMENTS_MAX 128
#define MIN_GSO_SIZE 8         /* Linux sends no less (TCP_MIN_SND_MSS less 40 bytes of options) */

/* What an Ethernet device of virtio may have (virtio 1.2, 5.1.3 and 6) and we can do. The control queue is the monitor's. */
static const uint64_t all_features =
    BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_GUEST_TSO4) |
    BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |
    BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_CTRL_VQ) |
    BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_VLAN) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | BIT(VIRTIO_NET_F_MQ) |
    BIT(VIRTIO_NET_F_GUEST_UFO) | BIT(VIRTIO_NET_F_HOST_UFO) | BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6) |
    BIT(VIRTIO_NET_F_HOST_USO) |
    BIT(VIRTIO_F_NOTIFY_ON_EMPTY) | BIT(VHOST_F_LOG_ALL) | BIT(VIRTIO_F_ANY_LAYOUT) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
    BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER);

unsigned vring_fail(struct vhost_ring *v, const char *format, ...)
{
    /* The first reason is the one that counts, and only its finder writes it. */
    if (atomic_exchange(&v->failed, true))
        return 0;
    va_list a;
    va_start(a, format);
    vsnprintf(v->fault, sizeof v->fault, format, a);
    va_end(a);
    atomic_store_explicit(&v->running, false, memory_order_release);
    uint64_t one = 1;
    if (v->err_fd >= 0 && write(v->err_fd, &one, sizeof one) < 0)
        return 0;              /* the monitor doesn't listen: the port's status has the reason */
    return 0;
}

void vring_call(struct vhost_ring *v)
{
    uint64_t one = 1;
    if (write(v->call_fd, &one, sizeof one) == sizeof one)
        v->calls++;
}

/* By the headers before `l4`. */
static bool is_v6(const struct packet *p, uint32_t l4)
{
    uint32_t at = 14;
    while (at + 4 < l4 && (get16(p->data + at - 2) == 0x8100 || get16(p->data + at - 2) == 0x88a8))
        at += 4;
    return at < l4 && p->data[at] >> 4 == 6;
}

/* Whether the ring's side does with packets of this kind what the header says. */
static bool takes_kind(const struct vhost_ring *v, const struct packet *p, uint8_t type, uint32_t l4)
{
    switch (type) {
    case VNET_GSO_TCPV4:
    case VNET_GSO_TCPV4 | VNET_GSO_ECN:
        return v->offload_tso4;
    case VNET_GSO_TCPV6:
    case VNET_GSO_TCPV6 | VNET_GSO_ECN:
        return v->offload_tso6;
    case VNET_GSO_UDP:
        return v->offload_ufo;
    case VNET_GSO_UDP_L4:
        return is_v6(p, l4) ? v->offload_uso6 : v->offload_uso4;
    default:
        return type == VNET_GSO_NONE;
    }
}

bool vhost_header_in(const struct vhost_ring *v, struct packet *p, const struct virtio_net_hdr *h)
{
    struct vnet_hdr *to = &p->vnet;
    if (!(h->flags | h->gso_type) || !v->offload_csum)
        return true;           /* as packet_alloc left it */
    if (h->flags & VNET_NEEDS_CSUM) {
        if (h->csum_start < 14 || (uint32_t)h->csum_start + h->csum_offset + 2 > p->len)
            return false;
        to->flags = VNET_NEEDS_CSUM;
        to->csum_start = h->csum_start;
        to->csum_offset = h->csum_offset;
    }
    if (h->gso_type == VNET_GSO_NONE)
        return true;
    bool udp = h->gso_type == VNET_GSO_UDP || h->gso_type == VNET_GSO_UDP_L4;
    if (!(to->flags & VNET_NEEDS_CSUM) || h->csum_offset != (udp ? 6 : 16) || h->gso_size < MIN_GSO_SIZE ||
        (uint32_t)h->csum_start + (udp ? 8 : 20) > p->len || !takes_kind(v, p, h->gso_type, h->csum_start))
        return false;
    /* The segments' headers end where the TCP header does, whatever hdr_len says (virtio 1.2, 5.1.6.2: only a hint). */
    uint32_t headers = h->csum_start + (udp ? 8 : (p->data[h->csum_start + 12] >> 4) * 4u);
    if (headers > p->len)
        return false;
    to->gso_type = h->gso_type;
    to->gso_size = h->gso_size;
    to->hdr_len = (uint16_t)headers;
    return true;
}

/* ---- the port ---- */

static int vhost_open(struct port *p, struct dp_port *conf, fault *f)
{
    conf->socket[sizeof conf->socket - 1] = 0;
    if (!conf->socket[0])
        return fault_set(f, EINVAL, "socket", "a vhost-user port needs a path");
    struct vhost *d = aligned_alloc(64, (sizeof *d + 63) / 64 * 64);
    if (!d)
        return fault_set(f, ENOMEM, "", "out of memory");
    memset(d, 0, sizeof *d);
    d->port = p;
    d->client = conf->client;
    memcpy(d->path, conf->socket, sizeof d->path);
    d->n_pairs = conf->n_queues ? conf->n_queues : 1;
    d->offered = all_features;
    p->driver = d;
    p->n_queues = d->n_pairs;
    conf->n_queues = d->n_pairs;
    conf->speed_kbps = 10000000;
    p->mtu = conf->mtu;
    for (unsigned i = 0; i < VHOST_MAX_RINGS; i++)
        d->rings[i] = (struct vhost_ring){.dev = d, .kick_fd = -1, .call_fd = -1, .err_fd = -1};
    int e = vhost_socket_open(d, f);
    if (e)
        free(d);
    return e;
}

static void vhost_close(struct port *p, bool keep)
{
    struct vhost *d = p->driver;
    vhost_socket_close(d, keep);
    free(d);
}

static struct vhost_ring *rx_ring(struct rxq *q)
{
    struct vhost *d = q->port->driver;
    return &d->rings[2 * (q - q->port->queues) + 1];
}

static bool usable(struct vhost_ring *v)
{
    return atomic_load_explicit(&v->running, memory_order_acquire);
}

static unsigned vhost_rx(struct rxq *q, struct port_io *io, struct packet **out, unsigned max)
{
    struct vhost_ring *v = rx_ring(q);
    if (q->head)
        return rxq_pop(q, io, out, max);
    if (!usable(v))
        return 0;
    return v->packed ? packed_rx(v, io, out, max) : split_rx(v, io, out, max);
}

static bool vhost_ready(struct rxq *q)
{
    struct vhost_ring *v = rx_ring(q);
    return q->head || (usable(v) && (v->packed ? packed_ready(v) : split_ready(v)));
}

static unsigned vhost_waiting(struct rxq *q, unsigned most)
{
    struct vhost_ring *v = rx_ring(q);
    unsigned n = q->n + (!usable(v) ? 0 : v->packed ? packed_waiting(v) : split_waiting(v));
    return n < most ? n : most;
}

static bool vhost_notify(struct rxq *q, bool on)
{
    struct vhost_ring *v = rx_ring(q);
    return usable(v) && (v->packed ? packed_notify(v, on) : split_notify(v, on));
}

/* A ring that a sender may use. What came from one queue goes by one ring, so that it stays in order. */
static struct vhost_ring *tx_ring(struct vhost *d, unsigned lane)
{
    unsigned n = d->n_pairs, first = lane % n;
    for (unsigned i = 0; i < n; i++) {
        struct vhost_ring *v = &d->rings[2 * ((first + i) % n)];
        if (usable(v))
            return v;
    }
    return NULL;
}

static bool takes_whole(const struct vhost_ring *v, const struct packet *p)
{
    if (!(p->vnet.flags | p->vnet.gso_type))
        return true;
    return !(p->vnet.flags & VNET_NEEDS_CSUM && !v->offload_csum) && takes_kind(v, p, p->vnet.gso_type, p->vnet.csum_start);
}

static void lock(struct vhost_ring *v)
{
    while (atomic_exchange_explicit(&v->lock, true, memory_order_acquire))
        while (atomic_load_explicit(&v->lock, memory_order_relaxed))
            __builtin_ia32_pause();
}

static void unlock(struct vhost_ring *v)
{
    atomic_store_explicit(&v->lock, false, memory_order_release);
}

/* Puts packets into the ring, in order, without those few that are too long for the buffers that there are. */
static unsigned fill(struct vhost_ring *v, struct port_io *io, struct packet **packets, unsigned n)
{
    unsigned sent = 0, too_long = 0;
    for (unsigned at = 0; at < n; at++) {
        unsigned k = v->packed ? packed_tx(v, io, packets + at, n - at) : split_tx(v, io, packets + at, n - at);
        sent += k;
        at += k;
        /* To have tried may have taken a walk through all that is in the ring. */
        if (at < n && (!(v->packed ? packed_ready(v) : split_ready(v)) || ++too_long == TOO_LONG_MAX))
            break;
    }
    return sent;
}

/* Sends packets that the ring takes as they are, and gives their references back. */
static void send_batch(struct vhost_ring *v, struct port_io *io, struct packet **packets, unsigned n)
{
    unsigned sent = 0;
    if (v) {
        lock(v);
        if (usable(v))
            sent = fill(v, io, packets, n);
        unlock(v);
    }
    packet_unref_all(packets, n);
    io->counters->tx_packets += sent;
    io->counters->tx_drops += n - sent;
    io->drops[v ? DROP_TX_FULL : DROP_NO_GUEST] += n - sent;
}

static void vhost_tx(struct port *p, struct port_io *io, struct packet **packets, unsigned n)
{
    struct vhost_ring *v = tx_ring(p->driver, io->lane);
    unsigned begin = 0, wishes = 0;
    for (unsigned i = 0; i < n; i++)
        wishes |= *(const uint16_t *)&packets[i]->vnet;    /* flags and gso_type */
    for (unsigned i = 0; v && wishes && i < n; i++) {
        if (takes_whole(v, packets[i]))
            continue;
        struct packet *segments[SEGMENTS_MAX];
        send_batch(v, io, packets + begin, i - begin);
        packet_whole(packets[i]);
        unsigned k = port_segment(packets[i], io, segments, SEGMENTS_MAX);
        send_batch(v, io, segments, k);
        begin = i + 1;
    }
    send_batch(v, io, packets + begin, n - begin);
}

static bool connected(const struct vhost *d)
{
    for (unsigned i = 0; i < 2 * d->n_pairs; i++)
        if (atomic_load(&((struct vhost *)d)->rings[i].running))
            return true;
    return false;
}

static uint32_t vhost_state(struct port *p)
{
    struct vhost *d = p->driver;
    if (atomic_load(&d->memory.truncated))
        vhost_disconnect(d, "the monitor cut the memory short that it shares");
    vhost_socket_tick(d);
    return connected(d) ? OFPPS_LIVE : OFPPS_LINK_DOWN;
}

static int vhost_describe(struct port *p, char *out, size_t size)
{
    struct vhost *d = p->driver;
    static const char *const names[64] = {
        [VIRTIO_NET_F_CSUM] = "csum", [VIRTIO_NET_F_GUEST_CSUM] = "guest_csum", [VIRTIO_NET_F_MTU] = "mtu",
        [VIRTIO_NET_F_GUEST_TSO4] = "guest_tso4", [VIRTIO_NET_F_GUEST_TSO6] = "guest_tso6", [VIRTIO_NET_F_HOST_TSO4] = "host_tso4",
        [VIRTIO_NET_F_HOST_TSO6] = "host_tso6", [VIRTIO_NET_F_MRG_RXBUF] = "mrg_rxbuf", [VIRTIO_NET_F_MQ] = "mq",
        [VIRTIO_NET_F_GUEST_UFO] = "guest_ufo", [VIRTIO_NET_F_HOST_UFO] = "host_ufo", [VIRTIO_NET_F_GUEST_USO4] = "guest_uso4",
        [VIRTIO_NET_F_GUEST_USO6] = "guest_uso6", [VIRTIO_NET_F_HOST_USO] = "host_uso", [VIRTIO_NET_F_GUEST_ANNOUNCE] = "guest_announce", [VHOST_F_LOG_ALL] = "log_all", [VIRTIO_RING_F_INDIRECT_DESC] = "indirect_desc",
        [VIRTIO_RING_F_EVENT_IDX] = "event_idx", [VIRTIO_F_VERSION_1] = "version_1", [VIRTIO_F_RING_PACKED] = "ring_packed",
        [VIRTIO_F_IN_ORDER] = "in_order"};
    size_t at = 0;
#define SAY(...) (at += at < size ? (size_t)snprintf(out + at, size - at, __VA_ARGS__) : 0)
    SAY("mode %s\nconnected %s\nconnections %llu\n", d->client ? "client" : "server", d->peer.fd >= 0 ? "yes" : "no",
        (unsigned long long)d->connections);
    if (d->last_error[0])
        SAY("last_error %s\n", d->last_error);
    if (d->peer.fd >= 0) {
        SAY("features");
        for (unsigned i = 0; i < 64; i++)
            if (d->features >> i & 1 && names[i])
                SAY(" %s", names[i]);
        uint64_t bytes = 0;
        for (unsigned i = 0; i < d->memory.n; i++)
            bytes += d->memory.at[i].size;
        SAY("\nmemory %llu bytes in %u regions\n", (unsigned long long)bytes, d->memory.n);
        if (d->features & BIT(VHOST_F_LOG_ALL))
            SAY("migration dirty pages are logged, %zu bytes of bits\n", d->memory.log_size);
        if (d->announced)
            SAY("announced %llu\n", (unsigned long long)d->announced);
    }
    for (unsigned i = 0; i < 2 * d->n_pairs; i++) {
        struct vhost_ring *v = &d->rings[i];
        const char *state = atomic_load(&v->failed) ? v->fault : atomic_load(&v->running) ? "running" : "stopped";
        SAY("ring.%u %s, size %u, interrupts %llu", i, state, v->size, (unsigned long long)v->calls);
        SAY(v->taken_over ? ", taken over from a datapath that died\n" : "\n");
    }
#undef SAY
    return at < size ? 0 : -ENOBUFS;
}

const struct port_ops vhost_ops = {.name = "vhost-user", .raw = true, .takes_loans = true, .open = vhost_open, .close = vhost_close, .rx = vhost_rx,
                                   .tx = vhost_tx, .state = vhost_state, .ready = vhost_ready, .waiting = vhost_waiting, .notify = vhost_notify,
                                   .describe = vhost_describe};
