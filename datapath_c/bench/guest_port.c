#include "bench/guest_port.h"
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "port/vhost_message.h"

#define BIT(n) (1ull << (n))
#define GUEST_BASE (1ull << 32)    /* guest-physical address of the memory */
#define HUGE (2ull << 20)
#define FRAME_PAD 128              /* the frame's place in its buffer: a cache line's start, as DPDK's and Linux' headroom has it */

static const char *transmit(struct guest_port *p, struct vhost_msg *m, const int *fds, unsigned n)
{
    m->flags = VHOST_VERSION;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control = {{0}};
    struct iovec v = {&m->request, VHOST_HEADER + m->size};
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
    if (n) {
        h.msg_control = &control;
        h.msg_controllen = CMSG_SPACE(n * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    }
    return sendmsg(p->fd, &h, MSG_NOSIGNAL) == (ssize_t)v.iov_len ? NULL : "the back-end has gone";
}

static const char *send_u64(struct guest_port *p, uint32_t request, uint64_t value, int fd)
{
    struct vhost_msg m = {.request = request, .size = 8, .u64 = value};
    return transmit(p, &m, &fd, fd >= 0);
}

static const char *send_state(struct guest_port *p, uint32_t request, uint32_t index, uint32_t num)
{
    struct vhost_msg m = {.request = request, .size = 8, .state = {index, num}};
    return transmit(p, &m, NULL, 0);
}

static const char *ask_u64(struct guest_port *p, uint32_t request, uint64_t *value)
{
    struct vhost_msg m = {.request = request};
    const char *why = transmit(p, &m, NULL, 0);
    if (why)
        return why;
    struct pollfd f = {p->fd, POLLIN, 0};
    if (poll(&f, 1, 10000) <= 0)
        return "the back-end does not answer";
    if (recv(p->fd, &m.request, VHOST_HEADER + 8, MSG_WAITALL) != VHOST_HEADER + 8)
        return "the back-end has gone";
    *value = m.u64;
    return NULL;
}

static const char *find(struct guest_port *p, double seconds)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", p->path);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->listen) {
        unlink(p->path);
        struct pollfd f = {s, POLLIN, 0};
        if (bind(s, (struct sockaddr *)&a, sizeof a) || listen(s, 1))
            return strerror(errno);
        if (poll(&f, 1, (int)(seconds * 1000)) > 0)
            p->fd = accept(s, NULL, NULL);
        close(s);
        return p->fd >= 0 ? NULL : "no back-end came";
    }
    for (int i = 0; i <= seconds * 20; i++) {
        if (!connect(s, (struct sockaddr *)&a, sizeof a)) {
            p->fd = s;
            return NULL;
        }
        usleep(50000);
    }
    return strerror(errno);
}

static const char *make_memory(struct guest_port *p)
{
    uint64_t size = 0;
    for (unsigned i = 0; i < 2 * p->n_pairs; i++) {
        struct guest_ring *r = &p->rings[i];
        r->send = i & 1;
        r->size = p->size;
        r->packed = p->packed;
        r->event_idx = p->event_idx;
        r->header = 12;
        r->pad = FRAME_PAD;
        r->buffer_len = p->buffer_len;
        uint32_t room = r->send ? p->frame_max : p->buffer_len;
        r->stride = (FRAME_PAD + room + 127) / 64 * 64;
        size += guest_ring_bytes(r);
    }
    p->memory_size = size = (size + HUGE - 1) / HUGE * HUGE;
    p->memory_fd = p->huge ? memfd_create("guest", MFD_CLOEXEC | MFD_HUGETLB) : -1;
    for (int i = 0; i < 2; i++) {
        if (p->memory_fd < 0)
            p->memory_fd = memfd_create("guest", MFD_CLOEXEC);
        p->memory = MAP_FAILED;
        if (!ftruncate(p->memory_fd, (off_t)size))
            p->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, p->memory_fd, 0);
        if (p->memory != MAP_FAILED)
            break;
        close(p->memory_fd);
        p->memory_fd = -1;     /* there are not enough huge pages */
        p->huge = false;
    }
    if (p->memory == MAP_FAILED)
        return strerror(errno);
    madvise(p->memory, size, MADV_HUGEPAGE);
    memset(p->memory, 0, size);
    uint8_t *at = p->memory;
    for (unsigned i = 0; i < 2 * p->n_pairs; i++) {
        guest_ring_place(&p->rings[i], at, GUEST_BASE + (uint64_t)(at - p->memory));
        at += guest_ring_bytes(&p->rings[i]);
    }
    return NULL;
}

static uint64_t wanted_features(const struct guest_port *p)
{
    uint64_t f = BIT(VIRTIO_F_VERSION_1) | BIT(VHOST_USER_F_PROTOCOL_FEATURES);
    if (p->packed)
        f |= BIT(VIRTIO_F_RING_PACKED);
    if (p->mergeable)
        f |= BIT(VIRTIO_NET_F_MRG_RXBUF);
    if (p->event_idx)
        f |= BIT(VIRTIO_RING_F_EVENT_IDX);
    if (p->in_order)
        f |= BIT(VIRTIO_F_IN_ORDER);
    if (p->indirect)
        f |= BIT(VIRTIO_RING_F_INDIRECT_DESC);
    if (p->n_pairs > 1)
        f |= BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_CTRL_VQ);
    if (p->offloads)
        f |= BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |
             BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6);
    if (p->udp_offloads)       /* apart, for Open vSwitch has not all of them */
        f |= BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_HOST_UFO) | BIT(VIRTIO_NET_F_GUEST_UFO) |
             BIT(VIRTIO_NET_F_HOST_USO) | BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6);
    return f;
}

static const char *set_ring(struct guest_port *p, unsigned i)
{
    struct guest_ring *r = &p->rings[i];
    int call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    r->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    uint64_t user = (uint64_t)(uintptr_t)r->base;
    struct vhost_msg addr = {.request = VHOST_SET_VRING_ADDR, .size = sizeof addr.addr, .addr = {.index = i, .desc = user,
        .avail = user + (uint64_t)((uint8_t *)r->avail - r->base), .used = user + (uint64_t)((uint8_t *)r->used - r->base)}};
    const char *why;
    if ((why = send_u64(p, VHOST_SET_VRING_CALL, i, call)) || (why = send_state(p, VHOST_SET_VRING_NUM, i, r->size)) ||
        (why = send_state(p, VHOST_SET_VRING_BASE, i, r->packed ? 0x80008000 : 0)) || (why = transmit(p, &addr, NULL, 0)) ||
        (why = send_u64(p, VHOST_SET_VRING_KICK, i, r->kick_fd)))
        return why;
    close(call);
    return NULL;
}

const char *guest_port_open(struct guest_port *p, double seconds)
{
    uint64_t offered, protocol, pairs;
    const char *why;
    p->fd = -1;
    if ((why = make_memory(p)) || (why = find(p, seconds)) || (why = send_u64(p, VHOST_SET_OWNER, 0, -1)) ||
        (why = ask_u64(p, VHOST_GET_FEATURES, &offered)))
        return why;
    p->features = wanted_features(p);
    static char missing[64];
    if (p->features & ~offered) {
        snprintf(missing, sizeof missing, "the back-end lacks the features 0x%llx", (unsigned long long)(p->features & ~offered));
        return missing;
    }
    if ((why = ask_u64(p, VHOST_GET_PROTOCOL_FEATURES, &protocol)) ||
        (why = send_u64(p, VHOST_SET_PROTOCOL_FEATURES, protocol & (BIT(VHOST_P_MQ) | BIT(VHOST_P_MTU)), -1)))
        return why;
    if (p->n_pairs > 1) {
        if ((why = ask_u64(p, VHOST_GET_QUEUE_NUM, &pairs)))
            return why;
        if (pairs < p->n_pairs)
            return "the back-end has fewer queues";
    }
    struct vhost_msg table = {.request = VHOST_SET_MEM_TABLE, .size = 8 + sizeof(struct vhost_msg_region),
        .table = {.n = 1, .at = {{GUEST_BASE, p->memory_size, (uint64_t)(uintptr_t)p->memory, 0}}}};
    if ((why = send_u64(p, VHOST_SET_FEATURES, p->features, -1)) || (why = transmit(p, &table, &p->memory_fd, 1)))
        return why;
    for (unsigned i = 0; i < 2 * p->n_pairs; i++)
        if ((why = set_ring(p, i)))
            return why;
    for (unsigned i = 0; i < 2 * p->n_pairs; i++)
        if ((why = send_state(p, VHOST_SET_VRING_ENABLE, i, 1)))
            return why;
    for (unsigned i = 0; i < 2 * p->n_pairs; i += 2) {
        struct guest_ring *r = &p->rings[i];
        while (r->n_free)
            guest_ring_put(r, guest_ring_slot(r), 0);
        guest_ring_publish(r);
    }
    return NULL;
}

void guest_port_close(struct guest_port *p)
{
    if (p->fd >= 0)
        close(p->fd);
    if (p->listen)
        unlink(p->path);
}
