#include "port/afxdp.h"
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "base/checksum.h"
#include "flow/openflow.h"
#include "port/device.h"
#include "port/xdp_program.h"
#include "port/xdp_socket.h"

#define SEGMENTS_MAX 128
#define GATHERED (SEGMENTS_MAX + 64)   /* packets that are sent in one call */
#define TAGS 8                 /* bytes that tags may add to an MTU's frame */

struct afxdp {
    struct xdp_program program;
    struct steerer steerer;    /* of a port that takes the VTEP's packets alone; else without maps */
    bool native;
    bool partial;              /* the other end may leave checksums open, and the frame doesn't say so: a veth's */
    uint32_t busy_poll;        /* microseconds, 0 = not */
    unsigned n_senders;        /* queues that packets may leave by */
    uint64_t lost[PORT_MAX_QUEUES];        /* of the kernel's count, what is in the port's already. The queue's worker */
    struct xdp_socket sockets[PORT_MAX_QUEUES];
};

static const char *const mode_names[] = {[DP_XDP_OFF] = "off", [DP_XDP_BEST_EFFORT] = "best-effort",
                                         [DP_XDP_ZERO_COPY] = "native-with-zerocopy", [DP_XDP_NATIVE] = "native",
                                         [DP_XDP_GENERIC] = "generic"};

static void close_all(struct afxdp *x, unsigned n)
{
    xdp_program_detach(&x->program);
    for (unsigned i = 0; i < n; i++)
        xdp_socket_close(&x->sockets[i]);
}

static int open_all(struct afxdp *x, const struct port *p, const struct dp_port *conf, int ifindex, bool native, enum xdp_copying copying,
                    fault *f)
{
    unsigned n = p->n_queues, opened = 0;
    int e = xdp_program_attach(&x->program, ifindex, n, native, conf->steering ? &x->steerer : NULL, f);
    for (; !e && opened < n; opened++) {
        struct xdp_socket *s = &x->sockets[opened];
        if ((e = xdp_socket_open(s, ifindex, opened, p->mtu, copying, f)))
            break;
        if ((conf->busy_poll && (e = xdp_socket_busy_poll(s, conf->busy_poll, f))) || (e = xdp_program_steer(&x->program, opened, s->fd, f))) {
            opened++;
            break;
        }
    }
    if (e)
        close_all(x, opened);
    x->native = native;
    return e;
}

static int open_as(struct afxdp *x, const struct port *p, const struct dp_port *conf, int ifindex, fault *f)
{
    switch (conf->xdp_mode) {
    case DP_XDP_ZERO_COPY:
        return open_all(x, p, conf, ifindex, true, XDP_COPY_NEVER, f);
    case DP_XDP_NATIVE:
        return open_all(x, p, conf, ifindex, true, XDP_COPY_ALWAYS, f);
    case DP_XDP_GENERIC:
        return open_all(x, p, conf, ifindex, false, XDP_COPY_ALWAYS, f);
    default:
        /* Generic XDP is tried for what a driver can't, not where the interface is another's. */
        return open_all(x, p, conf, ifindex, true, XDP_COPY_IF_NEEDED, f) &&
               (f->error == EBUSY || open_all(x, p, conf, ifindex, false, XDP_COPY_ALWAYS, f)) ? -f->error : 0;
    }
}

int afxdp_open(struct port *p, const struct dp_port *conf, int ifindex, fault *f)
{
    unsigned receive, send;
    device_queues(conf->ifname, &receive, &send);
    if (receive > PORT_MAX_QUEUES)
        return fault_set(f, E2BIG, "xdp_mode", "%u queues are more than %u (ethtool -L)", receive, PORT_MAX_QUEUES);
    struct afxdp *x = aligned_alloc(64, (sizeof *x + 63) / 64 * 64);
    if (!x)
        return fault_set(f, ENOMEM, "", "out of memory");
    memset(x, 0, sizeof *x);
    x->steerer = (struct steerer){-1, -1};
    p->n_queues = receive;
    x->n_senders = send < receive ? send : receive;
    x->busy_poll = conf->busy_poll;
    x->partial = device_is_veth(conf->ifname);
    int e = conf->steering ? steerer_open(&x->steerer, receive, f) : 0;
    if (!e)
        e = open_as(x, p, conf, ifindex, f);
    if (e) {
        steerer_close(&x->steerer);
        p->n_queues = 1;
        free(x);
        return e;
    }
    for (unsigned i = 0; i < receive; i++)
        p->queues[i].fd = x->sockets[i].fd;
    p->driver = x;
    p->ops = &afxdp_ops;
    return 0;
}

static void afxdp_close(struct port *p, bool keep)
{
    struct afxdp *x = p->driver;
    close_all(x, p->n_queues);
    steerer_close(&x->steerer);
    free(x);
}

static void afxdp_steer(struct port *p, const struct steering *what)
{
    struct afxdp *x = p->driver;
    if (p->conf.steering)
        steerer_set(&x->steerer, what);
}

static struct xdp_socket *socket_of(struct rxq *q)
{
    return &((struct afxdp *)q->port->driver)->sockets[q - q->port->queues];
}

/* A veth hands a packet over as its sender's stack made it, and XDP doesn't say that its checksum was left to a device that there is not:
 * the field has the pseudo-header's sum then. One checksum of 65,535 looks so by chance, and is computed to what it was. */
static void find_open_checksum(struct packet *p)
{
    const uint8_t *d = p->data;
    uint32_t at = 14;
    if (p->len < at + 20)
        return;
    uint16_t type = get16(d + 12);
    for (int tags = 0; tags < 2 && (type == 0x8100 || type == 0x88a8); tags++, at += 4)
        type = get16(d + at + 2);
    bool v6 = type == 0x86dd;
    if ((!v6 && type != 0x0800) || p->len < at + (v6 ? 40 : 20))
        return;
    const uint8_t *ip = d + at;
    uint8_t proto = v6 ? ip[6] : ip[9];
    uint32_t header = v6 ? 40 : (ip[0] & 15) * 4u, end = at + (v6 ? 40u + get16(ip + 4) : get16(ip + 2));
    uint32_t l4 = at + header, offset = proto == 6 ? 16 : 6;
    if ((proto != 6 && proto != 17) || header < 20 || (!v6 && get16(ip + 6) & 0x3fff) || end > p->len || end < l4 + offset + 2)
        return;
    uint16_t open = csum_fold(csum_pseudo(ip + (v6 ? 8 : 12), ip + (v6 ? 24 : 16), v6, proto, end - l4)), field;
    memcpy(&field, d + l4 + offset, 2);
    if (field != open || !field)
        return;
    p->len = end;              /* padding is not to be summed */
    p->vnet.flags = VNET_NEEDS_CSUM;
    p->vnet.csum_start = (uint16_t)l4;
    p->vnet.csum_offset = (uint16_t)offset;
}

/* What the kernel lost goes to the port's counter when it may have lost something. */
static void count_losses(struct afxdp *x, const struct rxq *q, struct port_io *io)
{
    struct xdp_losses l;
    unsigned i = (unsigned)(q - q->port->queues);
    xdp_socket_losses(&x->sockets[i], &l);
    uint64_t all = l.too_long + l.ring_full + l.no_frames;
    io->counters->rx_drops += all - x->lost[i];
    x->lost[i] = all;
}

static unsigned afxdp_rx(struct rxq *q, struct port_io *io, struct packet **out, unsigned max)
{
    struct afxdp *x = q->port->driver;
    struct xdp_socket *s = socket_of(q);
    if (q->head)
        return rxq_pop(q, io, out, max);
    if (x->busy_poll)
        xdp_socket_poll(s);
    uint32_t arrived = xdp_socket_arrived(s), n = 0;
    if (arrived >= XDP_FRAMES / 2)
        count_losses(x, q, io);
    for (; n < arrived && n < max && (out[n] = packet_alloc(io->pool)); n++) {
        uint32_t len;
        const uint8_t *frame = xdp_socket_frame(s, &len);
        memcpy(out[n]->data, frame, len);
        out[n]->len = len;
        xdp_socket_give_back(s);
        if (x->partial)
            find_open_checksum(out[n]);
    }
    if (n)
        xdp_socket_received(s);
    return n;
}

/* Frames that need no more work. Takes over their references. */
static void send_batch(struct port *p, struct xdp_socket *s, struct port_io *io, struct packet **packets, unsigned n)
{
    uint32_t most = p->mtu + 14 + TAGS, room = s->chunk;
    bool any = false;
    if (!n)
        return;
    xdp_socket_lock(s);
    for (unsigned i = 0; i < n; i++) {
        uint32_t len = packets[i]->len;
        uint8_t *to = len <= most && len <= room ? xdp_socket_room(s) : NULL;
        if (to) {
            packet_read(packets[i], 0, to, len);
            xdp_socket_queue(s, len);
            any = true;
            io->counters->tx_packets++;
            io->counters->tx_bytes += len;
        } else if (len > most || len > room) {
            io->counters->tx_errors++;
            io->drops[DROP_TOO_LONG]++;
        } else {
            io->counters->tx_drops++;
            io->drops[DROP_TX_FULL]++;
        }
    }
    if (any)
        xdp_socket_send(s);
    xdp_socket_unlock(s);
    packet_unref_all(packets, n);
}

static void afxdp_tx(struct port *p, struct port_io *io, struct packet **packets, unsigned n)
{
    struct afxdp *x = p->driver;
    struct xdp_socket *s = &x->sockets[io->lane % x->n_senders];
    struct packet *ready[GATHERED];
    unsigned k = 0;
    for (unsigned i = 0; i < n; i++) {
        /* All together: a call for each would cost as much as ten packets. */
        if (k > GATHERED - SEGMENTS_MAX) {
            send_batch(p, s, io, ready, k);
            k = 0;
        }
        if (!(packets[i]->vnet.flags & VNET_NEEDS_CSUM) && !packet_is_gso(packets[i])) {
            ready[k++] = packets[i];
            continue;
        }
        packet_whole(packets[i]);
        k += port_segment(packets[i], io, ready + k, SEGMENTS_MAX);
    }
    send_batch(p, s, io, ready, k);
}

static uint32_t afxdp_state(struct port *p)
{
    int flags = device_flags(p->conf.ifname);
    return flags >= 0 && flags & IFF_UP && flags & IFF_RUNNING ? OFPPS_LIVE : OFPPS_LINK_DOWN;
}

static int afxdp_describe(struct port *p, char *out, size_t size)
{
    struct afxdp *x = p->driver;
    size_t at = 0;
#define SAY(...) (at += at < size ? (size_t)snprintf(out + at, size - at, __VA_ARGS__) : 0)
    SAY("io af_xdp\nxdp_mode %s\nprogram %s\n", mode_names[p->conf.xdp_mode], x->native ? "native" : "generic");
    if (p->conf.steering)
        SAY("steering vtep\n");
    if (x->busy_poll)
        SAY("busy_poll %u microseconds\n", x->busy_poll);
    for (unsigned i = 0; i < p->n_queues; i++) {
        struct xdp_losses l;
        xdp_socket_losses(&x->sockets[i], &l);
        SAY("queue.%u %s, worker %u, lost %llu too long, %llu with a full ring, %llu without frames", i,
            x->sockets[i].zero_copy ? "zero-copy" : "copy", p->queues[i].worker, (unsigned long long)l.too_long,
            (unsigned long long)l.ring_full, (unsigned long long)l.no_frames);
        if (p->conf.steering)
            SAY(", %llu left to the kernel", (unsigned long long)steerer_passed(&x->steerer, i));
        SAY("\n");
    }
#undef SAY
    return at < size ? 0 : -ENOBUFS;
}

const struct port_ops afxdp_ops = {.name = "netdev", .raw = true, .takes_loans = true, .close = afxdp_close, .rx = afxdp_rx, .tx = afxdp_tx,
                                   .state = afxdp_state, .steer = afxdp_steer, .describe = afxdp_describe};
