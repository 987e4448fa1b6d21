#include "tunnel/kernel_routes.h"
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "port/device.h"

#define ROUNDS 64              /* messages read at once, before others have their turn */
#define RECEIVE_BUFFER (1 << 20)
#define ANSWER_MS 200          /* the kernel answers at once */

static const struct dp_addr nobody;

/* ---- requests ---- */

struct request {
    struct nlmsghdr n;
    union {
        struct rtmsg route;
        struct ndmsg neighbour;
    };
    char attributes[64];
};

static void begin(struct request *q, uint16_t type, uint16_t flags, size_t body)
{
    memset(q, 0, sizeof *q);
    q->n = (struct nlmsghdr){.nlmsg_len = NLMSG_LENGTH(body), .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags};
}

static size_t address_size(const struct dp_addr *a)
{
    return address_is_v6(a) ? 16 : 4;
}

static uint8_t family(const struct dp_addr *a)
{
    return address_is_v6(a) ? AF_INET6 : AF_INET;
}

static void add_address(struct request *q, uint16_t type, const struct dp_addr *a)
{
    struct rtattr *t = (struct rtattr *)((char *)q + NLMSG_ALIGN(q->n.nlmsg_len));
    size_t size = address_size(a);
    t->rta_type = type;
    t->rta_len = (uint16_t)RTA_LENGTH(size);
    memcpy(RTA_DATA(t), a->ip + 16 - size, size);
    q->n.nlmsg_len = (uint32_t)(NLMSG_ALIGN(q->n.nlmsg_len) + RTA_ALIGN(t->rta_len));
}

/* An address of an attribute, or of part of one. */
static struct dp_addr read_address(const void *data, size_t size)
{
    struct dp_addr a = {{[10] = size == 4 ? 0xff : 0, size == 4 ? 0xff : 0}};
    memcpy(a.ip + 16 - size, data, size);
    return a;
}

/* The kernel's answer, in `room`; NULL where it is an error, or none. */
static struct nlmsghdr *ask(struct kernel_routes *k, struct request *q, void *room, size_t size)
{
    q->n.nlmsg_seq = ++k->sequence;
    if (send(k->ask_fd, q, q->n.nlmsg_len, 0) < 0)
        return NULL;
    for (ssize_t n; (n = recv(k->ask_fd, room, size, 0)) > 0;) {
        struct nlmsghdr *h = room;
        if (!NLMSG_OK(h, n) || h->nlmsg_seq != k->sequence)
            continue;          /* late, of a request that was given up */
        return h->nlmsg_type == NLMSG_ERROR ? NULL : h;
    }
    return NULL;
}

/* Whom frames for the address go to by way of the device. */
static bool find_hop(struct kernel_routes *k, const struct dp_addr *ip, struct dp_addr *hop)
{
    char room[2048] __attribute__((aligned(8)));
    struct request q;
    begin(&q, RTM_GETROUTE, 0, sizeof q.route);
    q.route.rtm_family = family(ip);
    q.route.rtm_dst_len = (uint8_t)(address_size(ip) * 8);
    add_address(&q, RTA_DST, ip);
    k->lookups++;
    struct nlmsghdr *h = ask(k, &q, room, sizeof room);
    if (!h || h->nlmsg_type != RTM_NEWROUTE)
        return false;
    struct rtmsg *r = NLMSG_DATA(h);
    int left = (int)RTM_PAYLOAD(h), out = 0;
    *hop = *ip;
    for (struct rtattr *a = RTM_RTA(r); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        size_t size = RTA_PAYLOAD(a);
        if (a->rta_type == RTA_OIF && size == 4)
            memcpy(&out, RTA_DATA(a), 4);
        else if (a->rta_type == RTA_GATEWAY && (size == 4 || size == 16))
            *hop = read_address(RTA_DATA(a), size);
        else if (a->rta_type == RTA_VIA && (size == 6 || size == 18))      /* of the other family: RFC 5549 */
            *hop = read_address(((struct rtvia *)RTA_DATA(a))->rtvia_addr, size - 2);
    }
    return r->rtm_type == RTN_UNICAST && out == k->ifindex;
}

/* ---- neighbours ---- */

/* The address in a message about a neighbour of our device, and its Ethernet address: NULL while it has none that is good. */
static bool read_neighbour(const struct kernel_routes *k, struct nlmsghdr *h, struct dp_addr *ip, const uint8_t **mac, uint16_t *state)
{
    struct ndmsg *m = NLMSG_DATA(h);
    int left = (int)NLMSG_PAYLOAD(h, sizeof *m);
    bool named = false;
    *mac = NULL;
    *state = m->ndm_state;
    for (struct rtattr *a = (struct rtattr *)((char *)m + NLMSG_ALIGN(sizeof *m)); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        size_t size = RTA_PAYLOAD(a);
        if (a->rta_type == NDA_DST && (size == 4 || size == 16)) {
            *ip = read_address(RTA_DATA(a), size);
            named = true;
        } else if (a->rta_type == NDA_LLADDR && size == 6) {
            *mac = RTA_DATA(a);
        }
    }
    if (h->nlmsg_type == RTM_DELNEIGH ||
        !(m->ndm_state & (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)))
        *mac = NULL;
    return named && m->ndm_ifindex == k->ifindex;
}

static void set_mac(struct neighbour *e, const uint8_t *mac)
{
    if (mac)
        neighbour_tell(e, mac);
    else
        atomic_store_explicit(&e->mac, 0, memory_order_release);
}

/* What the kernel knows of a hop now. */
static bool look_up(struct kernel_routes *k, const struct dp_addr *hop, uint8_t mac[6], uint16_t *state)
{
    char room[1024] __attribute__((aligned(8)));
    struct request q;
    struct dp_addr who;
    const uint8_t *there;
    begin(&q, RTM_GETNEIGH, 0, sizeof q.neighbour);
    q.neighbour.ndm_family = family(hop);
    q.neighbour.ndm_ifindex = k->ifindex;
    add_address(&q, NDA_DST, hop);
    struct nlmsghdr *h = ask(k, &q, room, sizeof room);
    if (!h || h->nlmsg_type != RTM_NEWNEIGH || !read_neighbour(k, h, &who, &there, state) || !there)
        return false;
    memcpy(mac, there, 6);
    return true;
}

/* As a packet of the kernel's own would: it asks where it doesn't know, and makes sure of what it has not heard of for long. */
static void use(struct kernel_routes *k, const struct dp_addr *hop)
{
    char room[1024] __attribute__((aligned(8)));
    struct request q;
    begin(&q, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_ACK, sizeof q.neighbour);
    q.neighbour.ndm_family = family(hop);
    q.neighbour.ndm_ifindex = k->ifindex;
    q.neighbour.ndm_flags = NTF_USE;
    add_address(&q, NDA_DST, hop);
    ask(k, &q, room, sizeof room);
}

static void resolve(struct kernel_routes *k, struct neighbour *e)
{
    struct dp_addr hop;
    uint8_t mac[6];
    uint16_t state = 0;
    bool route = k->ifindex && find_hop(k, &e->ip, &hop);
    atomic_store_explicit(&e->no_route, !route, memory_order_relaxed);
    e->hop = route ? hop : nobody;
    if (!route) {
        set_mac(e, NULL);
        return;
    }
    bool known = look_up(k, &hop, mac, &state);
    set_mac(e, known ? mac : NULL);
    if (!known || state & NUD_STALE)
        use(k, &hop);
}

static void each(struct kernel_routes *k, bool all)
{
    for (unsigned i = 0; i < MAX_NEIGHBOURS; i++) {
        struct neighbour *e = &k->neighbours->at[i];
        if (atomic_load_explicit(&e->use, memory_order_acquire) != NEIGHBOUR_THERE)
            continue;
        if (atomic_exchange(&e->wanted, false) || all)
            resolve(k, e);
    }
}

/* ---- what is announced ---- */

static void find_device(struct kernel_routes *k)
{
    uint8_t mac[6];
    uint64_t bytes = 0;
    int index = device_index(k->device);
    k->ifindex = index > 0 ? index : 0;
    if (k->ifindex && !device_get_mac(k->device, mac))
        memcpy(&bytes, mac, 6);
    atomic_store_explicit(&k->mac, bytes, memory_order_release);
}

static void note(struct kernel_routes *k, struct nlmsghdr *h)
{
    struct dp_addr who;
    const uint8_t *mac;
    uint16_t state;
    if (!read_neighbour(k, h, &who, &mac, &state))
        return;
    for (unsigned i = 0; i < MAX_NEIGHBOURS; i++) {
        struct neighbour *e = &k->neighbours->at[i];
        if (atomic_load_explicit(&e->use, memory_order_acquire) == NEIGHBOUR_THERE && !memcmp(&e->hop, &who, sizeof who))
            set_mac(e, mac);
    }
}

static void changed(struct watch *w, uint32_t events)
{
    struct kernel_routes *k = (struct kernel_routes *)((char *)w - offsetof(struct kernel_routes, changes));
    char room[16384] __attribute__((aligned(8)));
    bool again = false;
    for (int i = 0; i < ROUNDS; i++) {
        ssize_t n = recv(w->fd, room, sizeof room, MSG_DONTWAIT);
        if (n < 0 && errno == ENOBUFS) {
            again = true;      /* some were lost */
            continue;
        }
        if (n <= 0)
            break;
        for (struct nlmsghdr *h = (struct nlmsghdr *)room; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            k->announcements++;
            if (h->nlmsg_type == RTM_NEWNEIGH || h->nlmsg_type == RTM_DELNEIGH)
                note(k, h);
            else
                again = true;
        }
    }
    if (again) {
        find_device(k);
        each(k, true);
    }
}

static void want(struct watch *w, uint32_t events)
{
    struct kernel_routes *k = (struct kernel_routes *)((char *)w - offsetof(struct kernel_routes, wanted));
    uint64_t times;
    if (read(w->fd, &times, sizeof times) == sizeof times)
        each(k, false);
}

void kernel_routes_want(struct kernel_routes *k, struct neighbour *e)
{
    uint64_t one = 1;
    if (!atomic_exchange(&e->wanted, true) && write(k->wanted.fd, &one, sizeof one) < 0)
        return;                /* it is readable as it is */
}

/* ---- beginning and end ---- */

static int netlink(bool listens)
{
    static const int groups[] = {RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR,
                                 RTNLGRP_IPV6_ROUTE};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), size = RECEIVE_BUFFER;
    struct timeval patience = {.tv_usec = ANSWER_MS * 1000};
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    struct sockaddr_nl any = {.nl_family = AF_NETLINK};
    if (bind(fd, (struct sockaddr *)&any, sizeof any)) {       /* without a port of its own it counts as the kernel's, which isn't told */
        int e = -errno;
        close(fd);
        return e;
    }
    for (size_t i = 0; listens && i < sizeof groups / sizeof groups[0]; i++)
        if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof groups[i])) {
            int e = -errno;
            close(fd);
            return e;
        }
    return fd;
}

int kernel_routes_begin(struct kernel_routes *k, int watch_fd, const char *device, struct neighbours *n, fault *f)
{
    snprintf(k->device, sizeof k->device, "%s", device);
    k->neighbours = n;
    k->watch_fd = watch_fd;
    k->ask_fd = netlink(false);
    k->changes = (struct watch){.fd = netlink(true), .ready = changed};
    k->wanted = (struct watch){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .ready = want};
    if (k->ask_fd < 0 || k->changes.fd < 0 || k->wanted.fd < 0 || watch_begin(watch_fd, &k->changes, EPOLLIN) ||
        watch_begin(watch_fd, &k->wanted, EPOLLIN)) {
        int e = errno;
        kernel_routes_end(k);
        kernel_routes_free(k);
        return fault_set(f, e, "uplink_device", "can't follow the kernel's routes: %s", strerror(e));
    }
    find_device(k);
    return 0;
}

void kernel_routes_end(struct kernel_routes *k)
{
    if (!k->device[0])
        return;
    int changes = k->changes.fd;
    watch_end(k->watch_fd, &k->changes);
    if (changes >= 0)
        close(changes);
    if (k->wanted.fd >= 0)
        epoll_ctl(k->watch_fd, EPOLL_CTL_DEL, k->wanted.fd, NULL);
    if (k->ask_fd >= 0)
        close(k->ask_fd);
    k->ask_fd = -1;
}

void kernel_routes_free(struct kernel_routes *k)
{
    if (k->device[0] && k->wanted.fd >= 0)
        close(k->wanted.fd);
}
