#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "flow/bridge.h"
#include "path/datapath.h"
#include "port/vhost.h"

static int epoll_set(const struct vhost *d)
{
    return d->port->bridge->dp->watch_fd;
}

static void close_fds(struct vhost *d)
{
    while (d->n_in_fds)
        close(d->in_fds[--d->n_in_fds]);
}

/* Reads on towards `want` bytes of d->in. 1 when they are there, 0 when there is nothing more now, -1 at the end. */
static int read_towards(struct vhost *d, size_t want)
{
    while (d->in_len < want) {
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof d->in_fds)];
        } control;
        struct iovec v = {(uint8_t *)&d->in + offsetof(struct vhost_msg, request) + d->in_len, want - d->in_len};
        struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        ssize_t n = recvmsg(d->peer.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        for (struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL; c; c = CMSG_NXTHDR(&m, c)) {
            if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                continue;
            size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t i = 0; i < count; i++) {
                int fd;
                memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
                if (d->n_in_fds < VHOST_TABLE_REGIONS)
                    d->in_fds[d->n_in_fds++] = fd;
                else
                    close(fd);
            }
        }
        if (n <= 0)
            return -1;
        d->in_len += (size_t)n;
    }
    return 1;
}

/* At most so many messages before others have their turn. */
#define MESSAGES_PER_TURN 32

static void on_peer(struct watch *w, uint32_t events)
{
    struct vhost *d = (struct vhost *)((char *)w - offsetof(struct vhost, peer));
    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        int got = read_towards(d, VHOST_HEADER);
        if (got > 0) {
            if (d->in.size > VHOST_BODY_MAX) {
                vhost_disconnect(d, "a message is too long");
                return;
            }
            got = read_towards(d, VHOST_HEADER + d->in.size);
        }
        if (!got)
            return;
        const char *why = got < 0 ? "the monitor has gone" : vhost_handle(d);
        close_fds(d);
        d->in_len = 0;
        if (why) {
            vhost_disconnect(d, why);
            return;
        }
    }
}

static void greet(struct vhost *d, int fd)
{
    d->peer.fd = fd;
    d->in_len = 0;
    d->features = d->protocol_features = 0;
    d->status = 0;
    d->connections++;
    d->last_error[0] = 0;
    if (watch_begin(epoll_set(d), &d->peer, EPOLLIN))
        vhost_disconnect(d, "out of memory");
}

void vhost_disconnect(struct vhost *d, const char *why)
{
    if (d->peer.fd < 0)
        return;
    int fd = d->peer.fd;
    watch_end(epoll_set(d), &d->peer);
    close(fd);
    close_fds(d);
    vhost_reset(d);
    snprintf(d->last_error, sizeof d->last_error, "%s", why);
}

static void on_connection(struct watch *w, uint32_t events)
{
    struct vhost *d = (struct vhost *)((char *)w - offsetof(struct vhost, listener));
    int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    /* A monitor that comes anew has lost the old connection, whether we know it yet or not. */
    vhost_disconnect(d, "another connection came");
    greet(d, fd);
}

static int address(const struct vhost *d, struct sockaddr_un *a)
{
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(a->sun_path, sizeof a->sun_path, "%.*s", (int)sizeof a->sun_path - 1, d->path);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static int try_connect(struct vhost *d)
{
    struct sockaddr_un a;
    int fd = address(d, &a);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&a, sizeof a)) {
        int e = -errno;
        close(fd);
        return e;
    }
    greet(d, fd);
    return 0;
}

static int try_listen(struct vhost *d, fault *f)
{
    struct sockaddr_un a;
    struct stat st;
    int fd = address(d, &a);
    if (fd < 0)
        return fault_set(f, errno, "socket", "%s", strerror(errno));
    if (!lstat(d->path, &st) && S_ISSOCK(st.st_mode)) {
        /* Left behind, if nobody listens any more. */
        int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (probe >= 0 && connect(probe, (struct sockaddr *)&a, sizeof a) && errno == ECONNREFUSED)
            unlink(d->path);
        if (probe >= 0)
            close(probe);
    }
    if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4)) {
        int e = errno;
        close(fd);
        return fault_set(f, e, "socket", "can't listen at %s: %s", d->path, strerror(e));
    }
    d->listener.fd = fd;
    int e = watch_begin(epoll_set(d), &d->listener, EPOLLIN);
    if (e) {
        close(fd);
        unlink(d->path);
        return fault_set(f, -e, "socket", "%s", strerror(-e));
    }
    return 0;
}

int vhost_socket_open(struct vhost *d, fault *f)
{
    d->listener = (struct watch){.fd = -1, .ready = on_connection};
    d->peer = (struct watch){.fd = -1, .ready = on_peer};
    if (!d->client)
        return try_listen(d, f);
    int e = try_connect(d);
    if (e)
        snprintf(d->last_error, sizeof d->last_error, "can't connect: %s", strerror(-e));
    return 0;                  /* a monitor that isn't there yet is waited for */
}

void vhost_socket_tick(struct vhost *d)
{
    if (d->client && d->peer.fd < 0) {
        int e = try_connect(d);
        if (e && !d->connections)
            snprintf(d->last_error, sizeof d->last_error, "can't connect: %s", strerror(-e));
    }
}

void vhost_socket_close(struct vhost *d, bool keep)
{
    vhost_disconnect(d, "the port was closed");
    if (d->listener.fd >= 0) {
        int fd = d->listener.fd;
        watch_end(epoll_set(d), &d->listener);
        close(fd);
        unlink(d->path);
    }
}

const char *vhost_reply(struct vhost *d, const void *body, uint32_t size, int fd)
{
    struct vhost_msg m = {.request = d->in.request, .flags = VHOST_VERSION | VHOST_REPLY, .size = size};
    memcpy(m.bytes, body, size);
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {{0}};
    struct iovec v = {&m.request, VHOST_HEADER + size};
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
    if (fd >= 0) {
        h.msg_control = &control;
        h.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ssize_t n = sendmsg(d->peer.fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n == (ssize_t)v.iov_len ? NULL : "the monitor does not read its replies";
}
