/* An existing interface (a veth, a NIC, the tap that QEMU opened): through AF_XDP (afxdp.h) where that is asked for and can be had, else
 * through AF_PACKET with virtio-net headers, so that a guest's partial checksums and GSO frames pass both ways. With the latter, the
 * kernel's stack sees what arrives as well: give the interface no addresses. */
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
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

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#define BATCH_MAX 64
#define SEGMENTS_MAX 128
#define RECEIVE_BUFFER (4 << 20)

static int open_socket(int index, fault *f, const char *ifname)
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
        bind(fd, (struct sockaddr *)&a, sizeof a) ||
        setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous)) {
        int e = errno;
        close(fd);
        return fault_set(f, e, "ifname", "%s: %s", ifname, strerror(e));
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    return fd;
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
    int fd = open_socket(index, f, conf->ifname);
    if (fd < 0)
        return fd;
    p->queues[0].fd = fd;
    p->driver = conf->xdp_mode ? strdup(without.reason) : NULL;
    return 0;
}

static void netdev_close(struct port *p, bool keep)
{
    close(p->queues[0].fd);
    free(p->driver);           /* why it isn't AF_XDP */
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
    int n = p->driver ? snprintf(out, size, "io af_packet\nfallback %s\n", (const char *)p->driver) : snprintf(out, size, "io af_packet\n");
    return (size_t)n < size ? 0 : -ENOBUFS;
}

const struct port_ops netdev_ops = {.name = "netdev", .raw = true, .open = netdev_open, .close = netdev_close, .rx = netdev_rx,
                                    .tx = netdev_tx, .state = netdev_state, .describe = netdev_describe};
