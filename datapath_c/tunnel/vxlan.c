#include "tunnel/vxlan.h"
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "base/bytes.h"
#include "base/clock.h"
#include "base/defer.h"
#include "base/step.h"
#include "flow/bridge.h"
#include "path/datapath.h"
#include "path/parse.h"
#include "tunnel/inner.h"
#include "tunnel/vtep.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#define OVERLAY_MTU 1450       /* of an underlay with 1,500 */
#define LEARNED_MAX 8192
#define LEARNED_AGEING 300     /* seconds */
#define SEGMENTS_MAX 128
#define TRAIN_MAX 40           /* segments in one send: all of them stay under 64 KiB */
#define TRAIN_BYTES 65000

struct remotes {
    uint32_t n;
    struct dp_addr at[];
};

struct vxlan {
    struct datapath *dp;
    uint8_t header[VXLAN_HEADER];
    bool learning;
    struct remotes *_Atomic flood;
    struct mac_table macs;     /* address to index of `seen`, plus 1 */
    _Atomic uint32_t n_seen;
    struct dp_addr seen[DP_MAX_REMOTES];
};

static int vxlan_open(struct port *p, struct dp_port *conf, fault *f)
{
    struct vxlan *x = calloc(1, sizeof *x);
    if (!x)
        return fault_set(f, ENOMEM, "", "out of memory");
    x->dp = p->bridge->dp;
    x->learning = conf->learning;
    x->header[0] = 0x08;
    put32(x->header + 4, conf->vni << 8);
    mac_table_init(&x->macs, LEARNED_MAX);
    p->driver = x;
    p->mtu = conf->mtu = conf->mtu ? conf->mtu : OVERLAY_MTU;
    p->queues[0].worker = 0;
    int e = vtep_add_port(x->dp, conf->vni, p, f);
    if (e) {
        mac_table_destroy(&x->macs);
        free(x);
    }
    return e;
}

static void vxlan_close(struct port *p, bool keep)
{
    struct vxlan *x = p->driver;
    free(atomic_load(&x->flood));
    mac_table_destroy(&x->macs);
    free(x);
}

int vxlan_set_remotes(struct port *p, const struct dp_addr *addrs, uint32_t n, fault *f)
{
    struct vxlan *x = p->driver;
    if (p->ops != &vxlan_ops)
        return fault_set(f, EINVAL, "port", "port %u is not a vxlan port", p->port_no);
    struct remotes *new = malloc(sizeof *new + n * sizeof new->at[0]), *old = atomic_load(&x->flood);
    if (!new)
        return fault_set(f, ENOMEM, "", "out of memory");
    new->n = n;
    memcpy(new->at, addrs, n * sizeof new->at[0]);
    atomic_store_explicit(&x->flood, new, memory_order_release);
    if (old)
        defer(free, old);
    return 0;
}

uint32_t vxlan_remotes(const struct port *p, struct dp_addr out[DP_MAX_REMOTES])
{
    const struct remotes *r = p->ops == &vxlan_ops ? atomic_load(&((struct vxlan *)p->driver)->flood) : NULL;
    if (r)
        memcpy(out, r->at, r->n * sizeof r->at[0]);
    return r ? r->n : 0;
}

void vxlan_learn(struct port *p, const uint8_t source[6], const struct dp_addr *remote, uint32_t now)
{
    struct vxlan *x = p->driver;
    if (!x->learning || source[0] & 1)
        return;
    uint32_t n = atomic_load_explicit(&x->n_seen, memory_order_relaxed), i = 0;
    while (i < n && memcmp(&x->seen[i], remote, sizeof *remote))
        i++;
    if (i == n) {
        if (n == DP_MAX_REMOTES)
            return;
        x->seen[n] = *remote;
        atomic_store_explicit(&x->n_seen, n + 1, memory_order_release);
    }
    mac_learn(&x->macs, source, 0, i + 1, now);
}

static socklen_t make_address(const struct dp_addr *a, uint16_t port, struct sockaddr_storage *s, int *v6)
{
    static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    memset(s, 0, sizeof *s);
    *v6 = memcmp(a->ip, v4_prefix, 12) != 0;
    if (*v6) {
        struct sockaddr_in6 *in = (struct sockaddr_in6 *)s;
        in->sin6_family = AF_INET6;
        in->sin6_port = htobe16(port);
        memcpy(&in->sin6_addr, a->ip, 16);
        return sizeof *in;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)s;
    in->sin_family = AF_INET;
    in->sin_port = htobe16(port);
    memcpy(&in->sin_addr, a->ip + 12, 4);
    return sizeof *in;
}

/* Sends `n` frames of one flow, all as long as the first but for a shorter last, in one call (UDP GSO). */
static int send_train(const struct vxlan *x, int fd, struct sockaddr_storage *to, socklen_t to_len, struct packet **s, unsigned n)
{
    struct iovec v[TRAIN_MAX * 2];
    char control[CMSG_SPACE(sizeof(uint16_t))] = {0};
    for (unsigned i = 0; i < n; i++) {
        v[2 * i] = (struct iovec){(void *)x->header, VXLAN_HEADER};
        v[2 * i + 1] = (struct iovec){s[i]->data, s[i]->len};
    }
    struct msghdr m = {.msg_name = to, .msg_namelen = to_len, .msg_iov = v, .msg_iovlen = 2 * n};
    if (n > 1) {
        m.msg_control = control;
        m.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = IPPROTO_UDP;
        c->cmsg_type = UDP_SEGMENT;
        c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
        uint16_t size = (uint16_t)(s[0]->len + VXLAN_HEADER);
        memcpy(CMSG_DATA(c), &size, sizeof size);
    }
    return sendmsg(fd, &m, MSG_DONTWAIT) < 0 ? -errno : 0;
}

static void count(struct port_io *io, int e, struct packet **s, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (!e) {
            io->counters->tx_packets++;
            io->counters->tx_bytes += s[i]->len;
        } else if (e == -EAGAIN || e == -ENOBUFS) {
            io->counters->tx_drops++;
            io->drops[DROP_TX_FULL]++;
        } else {
            io->counters->tx_errors++;
            io->drops[e == -EMSGSIZE ? DROP_TOO_LONG : DROP_TX_ERROR]++;
        }
    }
}

/* Takes over a reference of each. */
static void send_to(struct port *p, struct port_io *io, const struct dp_addr *remote, struct packet **s, unsigned n)
{
    struct vxlan *x = p->driver;
    struct vtep *v = __atomic_load_n(&x->dp->vtep, __ATOMIC_ACQUIRE);
    struct sockaddr_storage to;
    int v6;
    socklen_t len = make_address(remote, v ? v->conf.port : VTEP_PORT, &to, &v6);
    if (uplink_send(x->dp, p, io, remote, s, n))
        return;
    int fd = vtep_socket(v, v6, inner_hash(s[0]));
    if (fd < 0) {
        io->drops[DROP_NO_REMOTE] += n;
        packet_unref_all(s, n);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        packet_whole(s[i]);
    for (unsigned i = 0; i < n;) {
        unsigned train = 1;
        uint32_t bytes = s[i]->len + VXLAN_HEADER;
        while (i + train < n && train < TRAIN_MAX && bytes + s[i + train]->len + VXLAN_HEADER < TRAIN_BYTES &&
               s[i + train - 1]->len == s[i]->len && s[i + train]->len <= s[i]->len)
            bytes += s[i + train++]->len + VXLAN_HEADER;
        int e = send_train(x, fd, &to, len, s + i, train);
        if (e && train > 1 && e != -EAGAIN) {
            /* Longer than the underlay's MTU, say: one by one, so that the kernel may fragment them. */
            for (unsigned j = 0; j < train; j++)
                count(io, send_train(x, fd, &to, len, s + i + j, 1), s + i + j, 1);
        } else {
            count(io, e, s + i, train);
        }
        i += train;
    }
    packet_unref_all(s, n);
}

/* Where a frame goes: to one remote (true) or to all of *flood, which is NULL where it goes nowhere. */
static bool decide(struct port *p, const struct packet *packet, uint32_t now, struct dp_addr *one, struct remotes **flood)
{
    static const uint8_t unset[16];
    struct vxlan *x = p->driver;
    uint32_t learned;
    *flood = NULL;
    if (!packet->bare && packet->tun_id && be64toh(packet->tun_id) != p->conf.vni)
        return false;          /* another bridge's VNI is not this tenant's to send to */
    if (!packet->bare && memcmp(packet->tun_dst, unset, 16)) {
        memcpy(one->ip, packet->tun_dst, 16);
        return true;
    }
    if (!(packet->data[0] & 1) && (learned = mac_lookup(&x->macs, packet->data, 0, now, LEARNED_AGEING))) {
        *one = x->seen[learned - 1];
        return true;
    }
    struct remotes *all = atomic_load_explicit(&x->flood, memory_order_acquire);
    if (all && all->n == 1) {
        *one = all->at[0];
        return true;
    }
    *flood = all && all->n ? all : NULL;
    return false;
}

static void send_frame(struct port *p, struct port_io *io, struct packet *packet, const struct dp_addr *one, const struct remotes *flood)
{
    struct packet *s[SEGMENTS_MAX];
    packet_whole(packet);
    if (packet->bare)
        parse(packet);
    unsigned n = port_segment(packet, io, s, SEGMENTS_MAX);
    if (n && one)
        send_to(p, io, one, s, n);
    for (uint32_t i = 0; n && !one && i < flood->n; i++) {
        for (unsigned j = 0; i + 1 < flood->n && j < n; j++)
            s[j]->refs++;
        send_to(p, io, &flood->at[i], s, n);
    }
}

static unsigned vxlan_rx(struct rxq *q, struct port_io *io, struct packet **out, unsigned max)
{
    unsigned n = rxq_pop(q, io, out, max);
    step_spend(n);
    for (unsigned i = 0; i < n; i++)
        if (!out[i]->bare)     /* else the uplink's guest has said what is open */
            inner_restore_offloads(out[i], q->port->mtu);
    return n;
}

/* Frames for one remote that need no work and follow each other: an uplink takes them all at once. */
struct group {
    struct dp_addr to;
    unsigned n;
    struct packet **at;
};

static void send_group(struct port *p, struct port_io *io, struct group *g)
{
    if (g->n)
        send_to(p, io, &g->to, g->at, g->n);
    g->n = 0;
}

/* Of those behind the group, how many go where its last one goes and need no work either: they are bare, so that no action named a remote. */
static unsigned count_alike(const struct group *g, unsigned n)
{
    const struct packet *last = g->at[g->n - 1];
    unsigned k = 0;
    uint64_t to = get64(last->data) >> 16;
    for (; last->bare && k < n; k++) {
        const struct packet *p = g->at[g->n + k];
        uint16_t wishes;       /* flags and gso_type */
        memcpy(&wishes, &p->vnet, sizeof wishes);
        if (!p->bare || wishes || get64(p->data) >> 16 != to)
            break;
    }
    return k;
}

static void vxlan_tx(struct port *p, struct port_io *io, struct packet **packets, unsigned n)
{
    struct vxlan *x = p->driver;
    struct vtep *v = __atomic_load_n(&x->dp->vtep, __ATOMIC_ACQUIRE);
    bool uplink = v && v->conf.uplink_port[0];
    uint32_t now = (uint32_t)(clock_now() / clock_hz);
    struct group g;
    g.n = 0;
    for (unsigned i = 0; i < n; i++) {
        struct packet *packet = packets[i];
        struct dp_addr one;
        struct remotes *flood;
        bool single = decide(p, packet, now, &one, &flood);
        bool plain = uplink && single && !(packet->vnet.flags | packet->vnet.gso_type);
        if (g.n && (!plain || memcmp(&g.to, &one, sizeof one)))
            send_group(p, io, &g);
        if (plain) {
            g.to = one;
            if (!g.n++)
                g.at = packets + i;
            unsigned more = count_alike(&g, n - i - 1);
            g.n += more;
            i += more;
        } else if (single || flood) {
            send_frame(p, io, packet, single ? &one : NULL, flood);
        } else {
            io->drops[DROP_NO_REMOTE]++;
            packet_unref(packet);
        }
    }
    send_group(p, io, &g);
}

static int vxlan_describe(struct port *p, char *out, size_t size)
{
    return uplink_describe(p->bridge->dp, out, size);
}

const struct port_ops vxlan_ops = {.name = "vxlan", .raw = true, .open = vxlan_open, .close = vxlan_close, .rx = vxlan_rx,
                                   .tx = vxlan_tx, .describe = vxlan_describe};
