#include "port/xdp_socket.h"
#include <errno.h>
#include <linux/if_xdp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#define SO_BUSY_POLL_BUDGET 70
#endif
#define MASK (XDP_FRAMES - 1)
#define LINK_HEADERS 22        /* Ethernet and two tags */
#define SENDS 4                /* calls beyond those that a full ring needs, before what the device doesn't take waits for the next batch */
#define A_CALL_SENDS 32        /* frames, in copy mode (Linux, TX_BATCH_SIZE) */
#define BUSY_BUDGET 64         /* packets of one busy poll, as NAPI's own */

/* Index 0 of a half's frames. */
#define TX_BASE XDP_FRAMES

static int map_ring(struct xdp_ring *r, int fd, const struct xdp_ring_offset *o, size_t item, off_t page)
{
    r->size = o->desc + XDP_FRAMES * item;
    r->mapping = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, page);
    if (r->mapping == MAP_FAILED) {
        r->mapping = NULL;
        return -1;
    }
    uint8_t *at = r->mapping;
    r->producer = (_Atomic uint32_t *)(at + o->producer);
    r->consumer = (_Atomic uint32_t *)(at + o->consumer);
    r->flags = (_Atomic uint32_t *)(at + o->flags);
    r->at = at + o->desc;
    return 0;
}

static int make_memory(struct xdp_socket *s)
{
    size_t size = (size_t)2 * XDP_FRAMES * s->chunk;
    s->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (s->memory == MAP_FAILED) {
        s->memory = NULL;
        return -1;
    }
    struct xdp_umem_reg m = {.addr = (uintptr_t)s->memory, .len = size, .chunk_size = s->chunk};
    return setsockopt(s->fd, SOL_XDP, XDP_UMEM_REG, &m, sizeof m);
}

static int make_rings(struct xdp_socket *s)
{
    int length = XDP_FRAMES;
    struct xdp_mmap_offsets o;
    socklen_t len = sizeof o;
    return setsockopt(s->fd, SOL_XDP, XDP_UMEM_FILL_RING, &length, sizeof length) ||
           setsockopt(s->fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &length, sizeof length) ||
           setsockopt(s->fd, SOL_XDP, XDP_RX_RING, &length, sizeof length) ||
           setsockopt(s->fd, SOL_XDP, XDP_TX_RING, &length, sizeof length) ||
           getsockopt(s->fd, SOL_XDP, XDP_MMAP_OFFSETS, &o, &len) ||
           map_ring(&s->fill, s->fd, &o.fr, sizeof(uint64_t), (off_t)XDP_UMEM_PGOFF_FILL_RING) ||
           map_ring(&s->completion, s->fd, &o.cr, sizeof(uint64_t), (off_t)XDP_UMEM_PGOFF_COMPLETION_RING) ||
           map_ring(&s->rx, s->fd, &o.rx, sizeof(struct xdp_desc), XDP_PGOFF_RX_RING) ||
           map_ring(&s->tx, s->fd, &o.tx, sizeof(struct xdp_desc), XDP_PGOFF_TX_RING);
}

static int bind_queue(struct xdp_socket *s, int ifindex, unsigned queue, enum xdp_copying copying)
{
    static const uint16_t flags[] = {[XDP_COPY_IF_NEEDED] = 0, [XDP_COPY_NEVER] = XDP_ZEROCOPY, [XDP_COPY_ALWAYS] = XDP_COPY};
    struct sockaddr_xdp a = {.sxdp_family = AF_XDP, .sxdp_ifindex = (uint32_t)ifindex, .sxdp_queue_id = queue,
                             .sxdp_flags = flags[copying] | XDP_USE_NEED_WAKEUP};
    struct xdp_options o = {0};
    socklen_t len = sizeof o;
    if (bind(s->fd, (struct sockaddr *)&a, sizeof a))
        return -1;
    s->zero_copy = !getsockopt(s->fd, SOL_XDP, XDP_OPTIONS, &o, &len) && o.flags & XDP_OPTIONS_ZEROCOPY;
    return 0;
}

int xdp_socket_open(struct xdp_socket *s, int ifindex, unsigned queue, uint32_t mtu, enum xdp_copying copying, fault *f)
{
    memset(s, 0, sizeof *s);
    s->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0)
        return fault_set(f, errno, "xdp_mode", "AF_XDP: %s", strerror(errno));
    for (s->chunk = 2048; s->chunk < mtu + LINK_HEADERS + XDP_CHUNK_ROOM; s->chunk *= 2)
        ;
    const char *what = "memory";
    errno = EMSGSIZE;
    if (s->chunk <= XDP_CHUNK_MAX && !make_memory(s) && (what = "rings") && !make_rings(s) &&
        (what = "bind") && !bind_queue(s, ifindex, queue, copying)) {
        uint64_t *fill = s->fill.at;
        for (uint32_t i = 0; i < XDP_FRAMES; i++) {
            fill[i] = (uint64_t)i * s->chunk;
            s->free[i] = (uint64_t)(TX_BASE + i) * s->chunk;
        }
        s->n_free = XDP_FRAMES;
        s->fill.mine = XDP_FRAMES;
        xdp_socket_received(s);
        return 0;
    }
    int e = errno;
    xdp_socket_close(s);
    if (e == EMSGSIZE)
        return fault_set(f, e, "xdp_mode", "frames of an MTU of %u are longer than a page", mtu);
    return fault_set(f, e, "xdp_mode", "queue %u: %s: %s", queue, what, e == EBUSY ? "another program's socket has it" : strerror(e));
}

int xdp_socket_busy_poll(struct xdp_socket *s, uint32_t microseconds, fault *f)
{
    int one = 1, us = (int)microseconds, budget = BUSY_BUDGET;
    if (setsockopt(s->fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &one, sizeof one) ||
        setsockopt(s->fd, SOL_SOCKET, SO_BUSY_POLL, &us, sizeof us) ||
        setsockopt(s->fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget, sizeof budget))
        return fault_set(f, errno, "busy_poll", "the kernel can't: %s", strerror(errno));
    return 0;
}

static void unmap(struct xdp_ring *r)
{
    if (r->mapping)
        munmap(r->mapping, r->size);
}

void xdp_socket_close(struct xdp_socket *s)
{
    if (!s->chunk)
        return;
    close(s->fd);
    unmap(&s->fill);
    unmap(&s->completion);
    unmap(&s->rx);
    unmap(&s->tx);
    if (s->memory)
        munmap(s->memory, (size_t)2 * XDP_FRAMES * s->chunk);
    memset(s, 0, sizeof *s);
}

void xdp_socket_losses(const struct xdp_socket *s, struct xdp_losses *l)
{
    struct xdp_statistics k = {0};
    socklen_t len = sizeof k;
    getsockopt(s->fd, SOL_XDP, XDP_STATISTICS, &k, &len);
    *l = (struct xdp_losses){.too_long = k.rx_dropped, .ring_full = k.rx_ring_full, .no_frames = k.rx_fill_ring_empty_descs};
}

/* ---- receiving ---- */

const uint8_t *xdp_socket_frame(const struct xdp_socket *s, uint32_t *len)
{
    const struct xdp_desc *d = (const struct xdp_desc *)s->rx.at + (s->rx.mine & MASK);
    *len = d->len;
    return s->memory + d->addr;
}

void xdp_socket_give_back(struct xdp_socket *s)
{
    /* There is always room: the ring is as long as there are frames. */
    const struct xdp_desc *d = (const struct xdp_desc *)s->rx.at + (s->rx.mine & MASK);
    ((uint64_t *)s->fill.at)[s->fill.mine & MASK] = d->addr & ~(uint64_t)(s->chunk - 1);
    s->fill.mine++;
    s->rx.mine++;
}

void xdp_socket_received(struct xdp_socket *s)
{
    atomic_store_explicit(s->rx.consumer, s->rx.mine, memory_order_release);
    atomic_store_explicit(s->fill.producer, s->fill.mine, memory_order_release);
    if (atomic_load_explicit(s->fill.flags, memory_order_relaxed) & XDP_RING_NEED_WAKEUP)
        recvfrom(s->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

void xdp_socket_poll(struct xdp_socket *s)
{
    recvfrom(s->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

/* ---- sending ---- */

void xdp_socket_lock(struct xdp_socket *s)
{
    while (atomic_exchange_explicit(&s->lock, true, memory_order_acquire))
        while (atomic_load_explicit(&s->lock, memory_order_relaxed))
            __builtin_ia32_pause();
}

void xdp_socket_unlock(struct xdp_socket *s)
{
    atomic_store_explicit(&s->lock, false, memory_order_release);
}

static void take_back(struct xdp_socket *s)
{
    struct xdp_ring *c = &s->completion;
    uint32_t until = atomic_load_explicit(c->producer, memory_order_acquire);
    if (c->mine == until)
        return;
    while (c->mine != until)
        s->free[s->n_free++] = ((uint64_t *)c->at)[c->mine++ & MASK];
    atomic_store_explicit(c->consumer, c->mine, memory_order_release);
}

uint8_t *xdp_socket_room(struct xdp_socket *s)
{
    if (!s->n_free)
        take_back(s);
    return s->n_free ? s->memory + s->free[s->n_free - 1] : NULL;
}

void xdp_socket_queue(struct xdp_socket *s, uint32_t len)
{
    ((struct xdp_desc *)s->tx.at)[s->tx.mine++ & MASK] = (struct xdp_desc){.addr = s->free[--s->n_free], .len = len};
}

void xdp_socket_send(struct xdp_socket *s)
{
    struct xdp_ring *t = &s->tx;
    atomic_store_explicit(t->producer, t->mine, memory_order_release);
    /* In copy mode the call is what sends. */
    uint32_t waiting = t->mine - atomic_load_explicit(t->consumer, memory_order_acquire);
    unsigned calls = waiting / A_CALL_SENDS + SENDS;
    while (waiting && calls-- && atomic_load_explicit(t->flags, memory_order_relaxed) & XDP_RING_NEED_WAKEUP) {
        if (sendto(s->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN && errno != EBUSY)
            break;
        waiting = s->zero_copy ? 0 : t->mine - atomic_load_explicit(t->consumer, memory_order_acquire);
    }
    take_back(s);
}
