/* A tap device that the switch makes and owns: a container's or the host's end of a port.
 *
 * Frames carry a virtio-net header, so a 64 KiB segment or a partial checksum passes whole. The device is persistent and
 * carries an alias that says whose it is: when the datapath has crashed, its successor finds the device in whatever network
 * namespace it was moved to, with its addresses, and takes it over. Closing the port destroys it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>
#include "flow/cache.h"
#include "flow/openflow.h"
#include "port/device.h"
#include "port/port.h"

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#define TAP_DEFAULT_MTU 1500
#define SEGMENTS_MAX 128
#define TCP_HEADERS 66         /* Ethernet, IPv4, TCP with timestamps */
#define AHEAD (64 - (PACKET_HEADROOM + TCP_HEADERS) % 64)

_Static_assert(PACKET_MAX - AHEAD >= 65535 + 14 + 8, "a whole segment with two tags");

static bool kernel_has_uso;    /* Linux 6.2: it takes and gives UDP segments; set before any tap is used */

static void make_alias(const struct dp_port *conf, char *alias, size_t size)
{
    snprintf(alias, size, "vswitch:%u/%u:%02x%02x%02x%02x%02x%02x", conf->bridge, conf->port_no, conf->mac[0],
             conf->mac[1], conf->mac[2], conf->mac[3], conf->mac[4], conf->mac[5]);
}

static int open_queue(const char *ifname, bool multi_queue, fault *f)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return fault_set(f, errno, "ifname", "/dev/net/tun: %s", strerror(errno));
    struct ifreq r = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (multi_queue ? IFF_MULTI_QUEUE : 0))};
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", ifname);
    int header = sizeof(struct vnet_hdr);
    if (ioctl(fd, TUNSETIFF, &r)) {
        int e = errno;
        close(fd);
        return fault_set(f, e, "ifname", "can't have tap %s: %s", ifname, strerror(e));
    }
    ioctl(fd, TUNSETVNETHDRSZ, &header);
    unsigned offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    if (!ioctl(fd, TUNSETOFFLOAD, offloads | TUN_F_USO4 | TUN_F_USO6))
        kernel_has_uso = true;
    else
        ioctl(fd, TUNSETOFFLOAD, offloads);
    return fd;
}

static void close_queues(struct port *p)
{
    for (unsigned i = 0; i < p->n_queues; i++)
        if (p->queues[i].fd >= 0)
            close(p->queues[i].fd);
}

static int open_queues(struct port *p, const char *ifname, fault *f)
{
    for (unsigned i = 0; i < p->n_queues; i++) {
        int fd = open_queue(ifname, p->n_queues > 1, f);
        if (fd < 0) {
            close_queues(p);
            return fd;
        }
        p->queues[i].fd = fd;
    }
    return 0;
}

/* Takes over a device that a predecessor left. 1 when there was one. */
static int take_over(struct port *p, const struct dp_port *conf, const char *alias, fault *f)
{
    char ifname[16];
    int ns, previous;
    if (device_find_alias(alias, &ns, ifname))
        return 0;
    previous = netns_enter(ns);
    close(ns);
    if (previous < 0)
        return 0;
    int e = open_queues(p, ifname, f);
    netns_leave(previous);
    return e ? e : 1;
}

static int make_device(struct port *p, struct dp_port *conf, const char *alias, fault *f)
{
    int e;
    if (device_index(conf->ifname) > 0)
        return fault_set(f, EEXIST, "ifname", "there is a device %s that is not this port's", conf->ifname);
    if ((e = open_queues(p, conf->ifname, f)))
        return e;
    if ((e = device_set_mac(conf->ifname, conf->mac)) ||
        (e = device_set_mtu(conf->ifname, conf->mtu ? conf->mtu : TAP_DEFAULT_MTU))) {
        close_queues(p);
        return fault_set(f, -e, conf->mtu ? "mtu" : "mac", "tap %s: %s", conf->ifname, strerror(-e));
    }
    device_set_alias(conf->ifname, alias);
    device_up(conf->ifname);
    ioctl(p->queues[0].fd, TUNSETPERSIST, 1);
    return 0;
}

static int tap_open(struct port *p, struct dp_port *conf, fault *f)
{
    char alias[64];
    if (!conf->ifname[0])
        return fault_set(f, EINVAL, "ifname", "a tap needs a device name");
    p->n_queues = conf->n_queues ? conf->n_queues : 1;
    make_alias(conf, alias, sizeof alias);
    int taken = take_over(p, conf, alias, f);
    if (taken < 0)
        return taken;
    if (!taken) {
        int e = make_device(p, conf, alias, f);
        if (e)
            return e;
    }
    if (!conf->mtu)
        conf->mtu = TAP_DEFAULT_MTU;
    conf->n_queues = p->n_queues;
    conf->speed_kbps = 10000000;
    p->mtu = conf->mtu;
    return 0;
}

static void tap_close(struct port *p, bool keep)
{
    if (!keep)
        ioctl(p->queues[0].fd, TUNSETPERSIST, 0);
    close_queues(p);
}

static unsigned tap_rx(struct rxq *q, struct port_io *io, struct packet **out, unsigned max)
{
    unsigned n = 0;
    while (n < max) {
        struct packet *p = packet_alloc(io->pool);
        if (!p)
            break;
        /* Long frames are mostly TCP: the kernel copies its payload from and to a cache line's start, which is faster. */
        p->data += AHEAD;
        struct iovec v[2] = {{&p->vnet, sizeof p->vnet}, {p->data, PACKET_MAX - AHEAD}};
        ssize_t got = readv(q->fd, v, 2);
        if (got < (ssize_t)sizeof p->vnet) {
            packet_unref(p);
            if (got < 0 && errno != EAGAIN)
                io->counters->rx_errors++;
            break;
        }
        p->len = (uint32_t)got - (uint32_t)sizeof p->vnet;
        out[n++] = p;
    }
    return n;
}

static void tap_tx(struct port *p, struct port_io *io, struct packet **packets, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct packet *packet = packets[i];
        if (__builtin_expect(packet->vnet.gso_type == VNET_GSO_UDP_L4 && !kernel_has_uso, 0)) {
            struct packet *segments[SEGMENTS_MAX];
            tap_tx(p, io, segments, port_segment(packet, io, segments, SEGMENTS_MAX));
            continue;
        }
        int fd = p->queues[p->n_queues > 1 ? key_hash(&packet->key) % p->n_queues : 0].fd;
        struct iovec v[2] = {{&packet->vnet, sizeof packet->vnet}, {packet->data, packet->len}};
        if (writev(fd, v, 2) >= 0) {
            io->counters->tx_packets++;
            io->counters->tx_bytes += packet->len;
        } else if (errno == EAGAIN) {
            io->counters->tx_drops++;
            io->drops[DROP_TX_FULL]++;
        } else {
            io->counters->tx_errors++;
            io->drops[DROP_TX_ERROR]++;
        }
        packet_unref(packet);
    }
}

static uint32_t tap_state(struct port *p)
{
    struct ifreq r;
    if (ioctl(p->queues[0].fd, TUNGETIFF, &r))
        return OFPPS_LINK_DOWN;    /* the device went with the namespace that it was moved to */
    /* One that was moved to another namespace can't be seen from here: its user decides, and a write tells. */
    int flags = device_flags(p->conf.ifname);
    return flags >= 0 && !(flags & IFF_UP) ? OFPPS_LINK_DOWN : OFPPS_LIVE;
}

const struct port_ops tap_ops = {.name = "tap", .merges = true, .open = tap_open, .close = tap_close, .rx = tap_rx, .tx = tap_tx,
                                 .state = tap_state};
