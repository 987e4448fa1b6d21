/* An existing interface (a veth, a NIC, the tap that QEMU opened): through AF_XDP (afxdp.h) where that is asked for and can be had, else
 * through AF_PACKET with virtio-net headers, so that a guest's partial checksums and GSO frames pass both ways. With the latter, the
 * kernel's stack sees what arrives as well: give the interface no addresses, or let it take the VTEP's packets alone (steering.h). Of these the
 * kernel's copies end at a socket of ours that keeps nothing: without it, the kernel would tell their senders that nobody listens. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "base/bytes.h"
#include "flow/openflow.h"
#include "port/afxdp.h"
#include "port/device.h"
#include "port/port.h"
#include "port/steering.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#define BATCH_MAX 64
#define SEGMENTS_MAX 128
#define RECEIVE_BUFFER (4 << 20)

struct netdev {
    char *fallback;            /* why it isn't AF_XDP, or NULL */
    struct steerer steerer;
    int ends[2];               /* where the kernel's copies end, over IPv4 and IPv6; -1: nowhere */
    bool others;               /* another program has the VTEP's port: they are its */
};

/* `filter`: a program's descriptor, or -1; what it doesn't take is nobody's here, so the device need not hear it. */
static int open_socket(int index, int filter, fault *f, const char *ifname)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fault_set(f, errno, "ifname", "AF_PACKET: %s", strerror(errno));
    int one = 1, size = RECEIVE_BUFFER;
    struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htobe16(ETH_P_ALL), .sll_ifindex = index};
    struct packet_mreq promiscuous = {.mr_ifindex = index, .mr_type = PACKET_MR_PROMISC};
    if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) ||
        setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof one) ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) ||
        (filter >= 0 && setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &filter, sizeof filter)) ||
        bind(fd, (struct sockaddr *)&a, sizeof a) ||
        (filter < 0 && setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous))) {
        int e = errno;
        close(fd);
        return fault_set(f, e, "ifname", "%s: %s", ifname, strerror(e));
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    return fd;
}

/* Binds what the kernel's copies end at: a socket whose filter takes none. */
static int open_end(const void *address, int v6, uint16_t port)
{
    struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = {1, &none};
    struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = port};
    memcpy(v6 ? (void *)&to6.sin6_addr : (void *)&to4.sin_addr, address, v6 ? 16 : 4);
    int one = 1, fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_FREEBIND : IP_FREEBIND, &one, sizeof one);
    if (!setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) &&
        !bind(fd, v6 ? (struct sockaddr *)&to6 : (struct sockaddr *)&to4, v6 ? sizeof to6 : sizeof to4))
        return fd;
    int e = errno;
    close(fd);
    return -e;
}

static void close_ends(struct netdev *n)
{
    for (int v6 = 0; v6 < 2; v6++) {
        if (n->ends[v6] >= 0)
            close(n->ends[v6]);
        n->ends[v6] = -1;
    }
    n->others = false;
}

static void netdev_steer(struct port *p, const struct steering *what)
{
    static const uint8_t unset[16];
    struct netdev *n = p->driver;
    if (!p->conf.steering)
        return;
    steerer_set(&n->steerer, what);
    close_ends(n);
    if (what->own)
        return;                /* not the kernel's: it ignores them */
    if (what->local4)
        n->others |= (n->ends[0] = open_end(&what->local4, 0, what->port)) < 0;
    if (memcmp(what->local6, unset, 16))
        n->others |= (n->ends[1] = open_end(what->local6, 1, what->port)) < 0;
}

static void netdev_free(struct netdev *n)
{
    close_ends(n);
    steerer_close(&n->steerer);
    free(n->fallback);
    free(n);
}

/* AF_PACKET; `fallback` says why it isn't AF_XDP, or is empty. */
static int open_packet(struct port *p, const struct dp_port *conf, int index, const char *fallback, fault *f)
{
    struct netdev *n = malloc(sizeof *n);
    if (!n)
        return fault_set(f, ENOMEM, "", "out of memory");
    *n = (struct netdev){.fallback = fallback[0] ? strdup(fallback) : NULL, .steerer = {-1, -1}, .ends = {-1, -1}};
    int filter = -1, fd = conf->steering ? steerer_open(&n->steerer, 1, f) : 0;
    if (!fd && conf->steering)
        fd = filter = steerer_load_filter(&n->steerer, f);
    if (fd >= 0)
        fd = open_socket(index, filter, f, conf->ifname);
    if (filter >= 0)
        close(filter);         /* the socket holds it */
    if (fd < 0) {
        netdev_free(n);
        return fd;
    }
    p->queues[0].fd = fd;
    p->driver = n;
    return 0;
}

static int netdev_open(struct port *p, struct dp_port *conf, fault *f)
{
    int index = device_index(conf->ifname);
    if (index <= 0)
        return fault_set(f, ENOENT, "ifname", "no device %s", conf->ifname);
    if (conf->mtu && device_set_mtu(conf->ifname, conf->mtu))
        return fault_set(f, EINVAL, "mtu", "%s does not take %u", conf->ifname, conf->mtu);
    device_get_mtu(conf->ifname, &conf->mtu);
    device_get_mac(conf->ifname, conf->mac);
    device_up(conf->ifname);
    p->mtu = conf->mtu;
    conf->speed_kbps = 10000000;
    fault without = {0};
    if (conf->xdp_mode && !afxdp_open(p, conf, index, &without))
        return 0;
    return open_packet(p, conf, index, without.reason, f);
}

static void netdev_close(struct port *p, bool keep)
{
    close(p->queues[0].fd);
    netdev_free(p->driver);
}

/* The kernel keeps an outer VLAN tag beside the frame: put it back. */
static void restore_vlan(struct packet *p, struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
            continue;
        struct tpacket_auxdata aux;
        memcpy(&aux, CMSG_DATA(c), sizeof aux);
        if (!(aux.tp_status & TP_STATUS_VLAN_VALID) || p->len < 12)
            return;
        packet_push(p, 4);
        memmove(p->data, p->data + 4, 12);
        put16(p->data + 12, aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : 0x8100);
        put16(p->data + 14, aux.tp_vlan_tci);
        if (p->vnet.flags & VNET_NEEDS_CSUM)
            p->vnet.csum_start = (uint16_t)(p->vnet.csum_start + 4);
        if (p->vnet.hdr_len)
            p->vnet.hdr_len = (uint16_t)(p->vnet.hdr_len + 4);
        return;
    }
}

static unsigned netdev_rx(struct rxq *q, struct port_io *io, struct packet **out, unsigned max)
{
    struct mmsghdr m[BATCH_MAX];
    struct iovec v[BATCH_MAX][2];
    char control[BATCH_MAX][CMSG_SPACE(sizeof(struct tpacket_auxdata))];
    unsigned room = 0;
    if (max > BATCH_MAX)
        max = BATCH_MAX;
    for (; room < max && (out[room] = packet_alloc(io->pool)); room++) {
        struct packet *p = out[room];
        v[room][0] = (struct iovec){&p->vnet, sizeof p->vnet};
        v[room][1] = (struct iovec){p->data, PACKET_MAX};
        m[room] = (struct mmsghdr){.msg_hdr = {.msg_iov = v[room], .msg_iovlen = 2, .msg_control = control[room],
                                               .msg_controllen = sizeof control[room]}};
    }
    int got = room ? recvmmsg(q->fd, m, room, MSG_DONTWAIT, NULL) : 0;
    unsigned n = got > 0 ? (unsigned)got : 0;
    if (got < 0 && errno != EAGAIN && errno != ENETDOWN)
        io->counters->rx_errors++;
    for (unsigned i = n; i < room; i++)
        packet_unref(out[i]);
    for (unsigned i = 0; i < n; i++) {
        out[i]->len = m[i].msg_len - (uint32_t)sizeof out[i]->vnet;
        restore_vlan(out[i], &m[i].msg_hdr);
    }
    return n;
}

static void send_batch(struct port *p, struct port_io *io, struct packet **packets, unsigned n)
{
    struct mmsghdr m[PORT_STAGE];
    struct iovec v[PORT_STAGE][2];
    for (unsigned i = 0; i < n; i++) {
        v[i][0] = (struct iovec){&packets[i]->vnet, sizeof packets[i]->vnet};
        v[i][1] = (struct iovec){packets[i]->data, packets[i]->len};
        m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = v[i], .msg_iovlen = 2}};
    }
    for (unsigned i = 0; i < n;) {
        int sent = sendmmsg(p->queues[0].fd, m + i, n - i, MSG_DONTWAIT);
        if (sent > 0) {
            for (int j = 0; j < sent; j++, i++) {
                io->counters->tx_packets++;
                io->counters->tx_bytes += packets[i]->len;
            }
            continue;
        }
        if (errno == EAGAIN || errno == ENOBUFS) {
            io->counters->tx_drops++;
            io->drops[DROP_TX_FULL]++;
        } else {
            io->counters->tx_errors++;
            io->drops[errno == EMSGSIZE ? DROP_TOO_LONG : DROP_TX_ERROR]++;
        }
        i++;
    }
    for (unsigned i = 0; i < n; i++)
        packet_unref(packets[i]);
}

/* UDP segments, and datagrams to be fragmented, are cut: kernels before 6.2 don't take the former here. */
static void netdev_tx(struct port *p, struct port_io *io, struct packet **packets, unsigned n)
{
    unsigned begin = 0;
    for (unsigned i = 0; i < n; i++) {
        if (__builtin_expect(packets[i]->vnet.gso_type != VNET_GSO_UDP_L4 && packets[i]->vnet.gso_type != VNET_GSO_UDP, 1))
            continue;
        struct packet *segments[SEGMENTS_MAX];
        send_batch(p, io, packets + begin, i - begin);
        unsigned k = port_segment(packets[i], io, segments, SEGMENTS_MAX);
        for (unsigned at = 0; at < k; at += PORT_STAGE)
            send_batch(p, io, segments + at, k - at < PORT_STAGE ? k - at : PORT_STAGE);
        begin = i + 1;
    }
    send_batch(p, io, packets + begin, n - begin);
}

static uint32_t netdev_state(struct port *p)
{
    int flags = device_flags(p->conf.ifname);
    return flags >= 0 && flags & IFF_UP && flags & IFF_RUNNING ? OFPPS_LIVE : OFPPS_LINK_DOWN;
}

static int netdev_describe(struct port *p, char *out, size_t size)
{
    const struct netdev *n = p->driver;
    int at = snprintf(out, size, "io af_packet\n");
    if (n->fallback)
        at += snprintf(out + at, size - (size_t)at, "fallback %s\n", n->fallback);
    if (p->conf.steering && (size_t)at < size)
        at += snprintf(out + at, size - (size_t)at, "steering vtep, %llu left to the kernel%s\n",
                       (unsigned long long)steerer_passed(&n->steerer, 0), n->others ? ", another program has the tunnels' port too" : "");
    return (size_t)at < size ? 0 : -ENOBUFS;
}

const struct port_ops netdev_ops = {.name = "netdev", .merges = true, .raw = true, .open = netdev_open, .close = netdev_close, .rx = netdev_rx,
                                    .tx = netdev_tx, .state = netdev_state, .steer = netdev_steer, .describe = netdev_describe};
