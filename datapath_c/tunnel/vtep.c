#include "tunnel/vtep.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/bytes.h"
#include "base/defer.h"
#include "base/step.h"
#include "path/worker.h"
#include "path/workers_run.h"
#include "tunnel/train.h"
#include "tunnel/vxlan.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#define DATAGRAM_UNITS 16      /* of base/step.h, on virtual clocks: the kernel's part of one, and telling it apart */
#define SOCKET_BUFFER (8 << 20)

static void fill_address(struct sockaddr_storage *s, socklen_t *len, const struct dp_addr *a, int v6, uint16_t port, bool any)
{
    memset(s, 0, sizeof *s);
    if (v6) {
        struct sockaddr_in6 *in = (struct sockaddr_in6 *)s;
        in->sin6_family = AF_INET6;
        in->sin6_port = htobe16(port);
        if (!any)
            memcpy(&in->sin6_addr, a->ip, 16);
        *len = sizeof *in;
    } else {
        struct sockaddr_in *in = (struct sockaddr_in *)s;
        in->sin_family = AF_INET;
        in->sin_port = htobe16(port);
        memcpy(&in->sin_addr, a->ip + 12, 4);
        *len = sizeof *in;
    }
}

/* `shared`: with others of the same address and port. */
static int open_socket(const struct dp_addr *a, int v6, uint16_t port, bool any, bool shared)
{
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int size = SOCKET_BUFFER, one = 1, fragment = IP_PMTUDISC_DONT;
    struct sockaddr_storage s;
    socklen_t len;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    if (v6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
        setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &fragment, sizeof fragment);
    } else {
        setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &fragment, sizeof fragment);
    }
    if (shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    fill_address(&s, &len, a, v6, port, any);
    if (bind(fd, (struct sockaddr *)&s, len)) {
        int e = -errno;
        close(fd);
        return e;
    }
    return fd;
}

static void close_sockets(struct vtep *v)
{
    for (int v6 = 0; v6 < 2; v6++) {
        for (int i = 0; i < VTEP_RECEIVERS; i++)
            if (v->receive[v6][i] >= 0)
                close(v->receive[v6][i]);
        for (int i = 0; i < VTEP_SENDERS; i++)
            if (v->send[v6][i] >= 0)
                close(v->send[v6][i]);
    }
    if (v->ready_fd >= 0)
        close(v->ready_fd);
}

/* Which of the sockets, in the order in which they were bound: by the VNI, the three bytes behind flags and reserved ones. Neighbouring
 * VNIs get different ones. What is too short goes to the first. */
static bool tell_apart_by_vni(int fd)
{
    struct sock_filter code[] = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 4}, {BPF_ALU | BPF_RSH | BPF_K, 0, 0, 8},
                                 {BPF_ALU | BPF_MOD | BPF_K, 0, 0, VTEP_RECEIVERS}, {BPF_RET | BPF_A, 0, 0, 0}};
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    return !setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program);
}

static void free_vtep(void *vtep)
{
    struct vtep *v = vtep;
    close_sockets(v);
    kernel_routes_free(&v->uplink.kernel);
    free(v);
}

/* Sockets that share a port share it with whoever else wants to: another program that has it is told of, as without sharing. */
static bool port_is_free(const struct dp_addr *a, int v6, uint16_t port, bool any)
{
    int fd = open_socket(a, v6, port, any, false);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static int open_family(struct vtep *v, int v6, fault *f)
{
    const struct dp_addr *a = v6 ? &v->conf.local6 : &v->conf.local4;
    bool any = v6 && v->conf.any6;
    if ((!address_is_set(a) && !any) || (!any && v->conf.uplink_port[0]))
        return 0;              /* through the uplink, if at all */
    int one = 1;
    for (int i = 0; i < VTEP_RECEIVERS; i++) {
        int fd = open_socket(a, v6, v->conf.port, any, i > 0 || port_is_free(a, v6, v->conf.port, any));
        if (fd < 0)
            return fault_set(f, -fd, v6 ? "local6" : "local4", "can't bind UDP port %u: %s", v->conf.port, strerror(-fd));
        setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof one);
        v->receive[v6][i] = fd;
        if (i == 0 && !tell_apart_by_vni(fd))
            break;             /* an old kernel: one socket for all */
    }
    for (int i = 0; i < VTEP_SENDERS; i++)
        if ((v->send[v6][i] = open_socket(a, v6, 0, any, false)) < 0)
            return fault_set(f, -v->send[v6][i], v6 ? "local6" : "local4", "can't open a socket to send from");
    return 0;
}

static uint32_t place(int v6, int i)
{
    return (uint32_t)(v6 * VTEP_RECEIVERS + i);
}

static int watch(struct datapath *dp, struct vtep *v)
{
    v->ready_fd = epoll_create1(EPOLL_CLOEXEC);
    if (v->ready_fd < 0)
        return -errno;
    for (int v6 = 0; v6 < 2; v6++)
        for (int i = 0; i < VTEP_RECEIVERS; i++) {
            struct epoll_event e = {.events = EPOLLIN, .data.u32 = place(v6, i)};
            if (v->receive[v6][i] >= 0)
                epoll_ctl(v->ready_fd, EPOLL_CTL_ADD, v->receive[v6][i], &e);
        }
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = dp};
    return epoll_ctl(dp->workers[0]->epoll_fd, EPOLL_CTL_ADD, v->ready_fd, &e) ? -errno : 0;
}

static void nothing(struct worker *w, void *arg)
{
}

/* Stops receiving; when this returns no worker uses the sockets. */
static void stop_receiving(struct datapath *dp, struct vtep *v)
{
    int fds[2][VTEP_RECEIVERS], ready_fd = v->ready_fd;
    memcpy(fds, v->receive, sizeof fds);
    epoll_ctl(dp->workers[0]->epoll_fd, EPOLL_CTL_DEL, ready_fd, NULL);
    memset(v->receive, 0xff, sizeof v->receive);
    v->ready_fd = -1;
    workers_run(dp, nothing, NULL);
    close(ready_fd);
    for (int v6 = 0; v6 < 2; v6++)
        for (int i = 0; i < VTEP_RECEIVERS; i++)
            if (fds[v6][i] >= 0)
                close(fds[v6][i]);
}

static int check_uplink(struct datapath *dp, struct vtep *v, fault *f)
{
    static const uint8_t any4[16] = {[10] = 0xff, 0xff};
    bool has6 = address_is_set(&v->conf.local6) && !v->conf.any6;
    if (!v->conf.uplink_port[0])
        return v->conf.uplink_device[0] ? fault_set(f, EINVAL, "uplink_device", "is for an uplink") : 0;
    if ((!address_is_set(&v->conf.local4) && !has6) || !memcmp(v->conf.local4.ip, any4, 16))
        return fault_set(f, EINVAL, "local4", "an uplink needs the address that the tunnel end point has on it");
    return uplink_find(dp, v, f);
}

int vtep_set(struct datapath *dp, const struct dp_vtep *conf, fault *f)
{
    struct vtep *old = dp->vtep, *v = calloc(1, sizeof *v);
    if (!v)
        return fault_set(f, ENOMEM, "", "out of memory");
    v->conf = *conf;
    if (!v->conf.port)
        v->conf.port = VTEP_PORT;
    memset(v->receive, 0xff, sizeof v->receive);
    memset(v->send, 0xff, sizeof v->send);
    v->ready_fd = -1;
    if (old && !memcmp(&old->conf, &v->conf, sizeof v->conf)) {
        free(v);
        return 0;
    }
    rebalance_settle(dp, NULL);    /* a queue of the uplink's may not be on its way to another worker */
    int e = check_uplink(dp, v, f);
    if (!e && v->conf.uplink_device[0])
        e = kernel_routes_begin(&v->uplink.kernel, dp->watch_fd, v->conf.uplink_device, &v->uplink.neighbours, f);
    if (e) {
        free(v);
        return e;
    }
    /* The same UDP port can't be bound twice: the old socket is closed first and opened again if the new one fails. */
    if (old)
        stop_receiving(dp, old);
    uplink_steer(dp, NULL);
    e = open_family(v, 0, f);
    if (!e)
        e = open_family(v, 1, f);
    if (e) {
        kernel_routes_end(&v->uplink.kernel);
        free_vtep(v);
        fault unused;
        if (old && !open_family(old, 0, &unused) && !open_family(old, 1, &unused))
            watch(dp, old);
        uplink_steer(dp, old);
        return e;
    }
    atomic_init(&v->vnis, old ? atomic_load(&old->vnis) : NULL);
    __atomic_store_n(&dp->vtep, v, __ATOMIC_RELEASE);
    watch(dp, v);
    uplink_steer(dp, v);
    if (old) {
        kernel_routes_end(&old->uplink.kernel);
        defer(free_vtep, old);
    }
    return 0;
}

void vtep_close(struct datapath *dp)
{
    if (!dp->vtep)
        return;
    free(atomic_load(&dp->vtep->vnis));
    kernel_routes_end(&dp->vtep->uplink.kernel);
    free_vtep(dp->vtep);
    dp->vtep = NULL;
}

static struct port *find(const struct vtep *v, uint32_t vni)
{
    struct vni_map *m = atomic_load_explicit(&((struct vtep *)v)->vnis, memory_order_acquire);
    uint32_t low = 0, high = m ? m->n : 0;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (m->at[mid].vni < vni)
            low = mid + 1;
        else
            high = mid;
    }
    return m && low < m->n && m->at[low].vni == vni ? m->at[low].port : NULL;
}

static int change_map(struct vtep *v, uint32_t vni, struct port *add, struct port *drop)
{
    struct vni_map *old = atomic_load(&v->vnis);
    uint32_t n = old ? old->n : 0, i = 0;
    struct vni_map *new = malloc(sizeof *new + (n + 1) * sizeof new->at[0]);
    if (!new)
        return -ENOMEM;
    new->n = 0;
    for (; i < n; i++) {
        if (add && old->at[i].vni > vni) {
            new->at[new->n].vni = vni;
            new->at[new->n++].port = add;
            add = NULL;
        }
        if (!drop || old->at[i].port != drop)
            new->at[new->n++] = old->at[i];
    }
    if (add) {
        new->at[new->n].vni = vni;
        new->at[new->n++].port = add;
    }
    atomic_store_explicit(&v->vnis, new, memory_order_release);
    if (old)
        defer(free, old);
    return 0;
}

/* There is always an end point to hang VNIs on, if only one without sockets. */
static struct vtep *get_vtep(struct datapath *dp)
{
    if (dp->vtep)
        return dp->vtep;
    struct dp_vtep none = {0};
    fault f;
    return vtep_set(dp, &none, &f) ? NULL : dp->vtep;
}

int vtep_add_port(struct datapath *dp, uint32_t vni, struct port *p, fault *f)
{
    struct vtep *v = get_vtep(dp);
    if (vni > 0xffffff)
        return fault_set(f, EINVAL, "vni", "%u is not in 0..16777215", vni);
    if (v && find(v, vni))
        return fault_set(f, EEXIST, "vni", "VNI %u is in use", vni);
    if (!v || change_map(v, vni, p, NULL))
        return fault_set(f, ENOMEM, "", "out of memory");
    return 0;
}

void vtep_forget_port(struct datapath *dp, struct port *p)
{
    if (dp->vtep && p->ops == &vxlan_ops)
        change_map(dp->vtep, 0, NULL, p);
}

bool vtep_listens(const struct datapath *dp)
{
    const struct vtep *v = __atomic_load_n(&dp->vtep, __ATOMIC_ACQUIRE);
    return v && (v->receive[0][0] >= 0 || v->receive[1][0] >= 0);
}

int vtep_socket(const struct vtep *v, int v6, uint32_t hash)
{
    return v ? v->send[v6][hash % VTEP_SENDERS] : -1;
}

static void map_address(const struct sockaddr_storage *s, uint8_t out[16])
{
    if (s->ss_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)s)->sin6_addr, 16);
        return;
    }
    memset(out, 0, 10);
    memset(out + 10, 0xff, 2);
    memcpy(out + 12, &((const struct sockaddr_in *)s)->sin_addr, 4);
}

void vtep_lose(struct worker *w, struct wtenant *t, const struct port *port, struct packet *p)
{
    t->account->drops[DROP_TENANT_QUEUE]++;
    shm_port(w->dp, w->id, port->slot)->rx_drops++;
    packet_unref(p);
}

void vtep_nobodys(struct worker *w, struct packet *p, enum drop why)
{
    shm_account(w->dp, w->id, 0)->drops[why]++;
    packet_unref(p);
}

struct wtenant *vtep_owner(const struct vtep *v, struct worker *w, uint32_t vni, struct port **port)
{
    *port = find(v, vni);
    struct wtenant *t = *port ? worker_tenant(w, (*port)->bridge->tenant) : NULL;
    if (t && !(*port)->queues[0].registered)
        t = NULL;
    if (!t)
        *port = NULL;
    return t;
}

/* A frame that came through a tunnel's socket, from its VXLAN header on, from `from` (as dp_addr has it): to its VNI's port's queue. Returns
 * whose it is, or NULL when it is nobody's. */
static struct wtenant *take(struct vtep *v, struct worker *w, struct packet *p, const uint8_t from[16], int v6)
{
    if (p->len < VXLAN_HEADER + 14 || !(p->data[0] & 0x08)) {
        vtep_nobodys(w, p, DROP_BAD_TUNNEL);
        return NULL;
    }
    struct port *port;
    uint32_t vni = get32(p->data + 4) >> 8;
    struct wtenant *t = vtep_owner(v, w, vni, &port);
    if (!t) {
        vtep_nobodys(w, p, DROP_UNKNOWN_VNI);
        return NULL;
    }
    if (port->queues[0].n >= RXQ_BACKLOG) {
        vtep_lose(w, t, port, p);
        return t;
    }
    packet_pull(p, VXLAN_HEADER);
    struct key *k = &p->key.key;
    k->tunnel_id = htobe64(vni);
    memcpy(k->tun_src, from, 16);
    memcpy(k->tun_dst, (v6 ? &v->conf.local6 : &v->conf.local4)->ip, 16);
    struct dp_addr remote;
    memcpy(remote.ip, from, 16);
    vxlan_learn(port, p->data + 6, &remote, w->now_s);
    if (packet_hand_over(p, &t->pool) && rxq_push(&port->queues[0], p))
        worker_wake(w, &port->queues[0]);
    else
        vtep_lose(w, t, port, p);
    return t;
}

/* Size of the datagrams in a train, or that of the only one. */
static uint32_t datagram_size(struct msghdr *m, uint32_t len)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int size;
            memcpy(&size, CMSG_DATA(c), sizeof size);
            return size > VXLAN_HEADER ? (uint32_t)size : len;
        }
    return len;
}

/* Receives a batch; owners[i] is the tenant of its i-th packet, or NULL. */
static unsigned receive_from(struct vtep *v, struct worker *w, int fd, int v6, unsigned max, struct wtenant **owners, bool *more)
{
    struct mmsghdr m[BATCH];
    struct iovec iov[BATCH];
    struct sockaddr_storage from[BATCH];
    char control[BATCH][CMSG_SPACE(sizeof(int))];
    struct packet *packets[BATCH], *parts[TRAIN_PACKETS];
    unsigned room = 0, n = 0;
    for (; room < max && (packets[room] = packet_alloc(&w->pool)); room++) {
        iov[room] = (struct iovec){packets[room]->data, PACKET_MAX};
        m[room] = (struct mmsghdr){.msg_hdr = {.msg_name = &from[room], .msg_namelen = sizeof from[room],
                                               .msg_iov = &iov[room], .msg_iovlen = 1, .msg_control = control[room],
                                               .msg_controllen = sizeof control[room]}};
    }
    int got = room ? recvmmsg(fd, m, room, MSG_DONTWAIT, NULL) : 0;
    unsigned received = got > 0 ? (unsigned)got : 0;
    step_spend(STEP_SYSCALL + received * DATAGRAM_UNITS);
    *more = room && received == room;
    for (unsigned i = received; i < room; i++)
        packet_unref(packets[i]);
    for (unsigned i = 0; i < received; i++) {
        packets[i]->len = m[i].msg_len;
        unsigned k = train_unpack(packets[i], datagram_size(&m[i].msg_hdr, m[i].msg_len), parts,
                                  &shm_account(w->dp, w->id, 0)->drops[DROP_NO_BUFFER]);
        uint8_t address[16];
        map_address(&from[i], address);
        for (unsigned j = 0; j < k; j++)
            owners[n++] = take(v, w, parts[j], address, v6);
    }
    return n;
}

/* Each packet's share of the batch goes to the tenant it was for. Returns what is left, and what is owed by those who owe a
 * slice or more already: else whoever floods the tunnel could have it received at everybody's cost. */
static uint64_t charge_owners(struct worker *w, struct wtenant **owners, unsigned n, uint64_t cycles)
{
    uint64_t share = n ? cycles / n : 0, left = cycles;
    for (unsigned i = 0; i < n; i++) {
        struct wtenant *t = owners[i];
        if (!t)
            continue;
        account_move(&w->clerk, &w->row->system[DP_SYS_DEMUX], &t->account->cycles[DP_STAGE_TUNNEL], share);
        if (!runqueue_owes(&w->sched.queue, &t->subject.entity))
            left -= share;
        worker_charge(w, t, share);
    }
    return left;
}

/* The next socket in turn that may have something, or -1. */
static int next_ready(struct vtep *v)
{
    if (!v->ready) {
        struct epoll_event events[2 * VTEP_RECEIVERS];
        int n = epoll_wait(v->ready_fd, events, 2 * VTEP_RECEIVERS, 0);
        for (int i = 0; i < n; i++)
            v->ready |= 1ull << events[i].data.u32;
    }
    if (!v->ready)
        return -1;
    uint64_t later = v->ready & ~((1ull << v->next) - 1);
    int found = __builtin_ctzll(later ? later : v->ready);
    v->next = ((unsigned)found + 1) % (2 * VTEP_RECEIVERS);
    return found;
}

uint64_t vtep_receive(struct vtep *v, struct worker *w, bool *more)
{
    uint64_t start = w->now, left;
    *more = false;
    if (!v || v->ready_fd < 0)
        return 0;
    struct wtenant *owners[BATCH * TRAIN_PACKETS];
    worker_account(w, &w->row->system[DP_SYS_DEMUX]);
    uint64_t before = w->now;
    int at = next_ready(v);
    unsigned n = 0;
    bool again = false;
    if (at >= 0) {
        int v6 = at / VTEP_RECEIVERS, fd = v->receive[v6][at % VTEP_RECEIVERS];
        /* As many datagrams as fit into half a slice, by what they cost the last time. */
        uint64_t fit = w->slice / 2 / (v->cost[v6] + 1);
        n = receive_from(v, w, fd, v6, fit < 1 ? 1 : fit < BATCH ? (unsigned)fit : BATCH, owners, &again);
        if (!again)
            v->ready &= ~(1ull << at);
        *more = true;          /* until nothing is ready */
    }
    worker_account(w, &w->row->system[DP_SYS_POLL]);
    if (n)
        v->cost[at / VTEP_RECEIVERS] = (v->cost[at / VTEP_RECEIVERS] + (w->now - before) / n) / 2;
    left = charge_owners(w, owners, n, w->now - before);
    uint64_t all = w->now - start;
    return left < all ? left : all;
}
