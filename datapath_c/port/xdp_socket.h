/* An AF_XDP socket on one queue of an interface, with memory of its own: frames in chunks of one size, half of them for what arrives and
 * half for what leaves, and four rings that it shares with the kernel (Linux, Documentation/networking/af_xdp.rst).
 *
 * One thread receives. Those that send take `lock` for what they do to the sending half: never while a turn may be left. */
#ifndef VSWITCH_XDP_SOCKET_H
#define VSWITCH_XDP_SOCKET_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/fault.h"

#define XDP_FRAMES 2048        /* of each half; a power of two, and the length of every ring */
#define XDP_CHUNK_MAX 4096     /* a page: the most that the kernel takes without huge pages */
#define XDP_CHUNK_ROOM 256     /* of a chunk, before an arriving frame: the kernel's own */

struct xdp_ring {
    _Atomic uint32_t *producer, *consumer, *flags;
    void *at;                  /* addresses (uint64_t), or struct xdp_desc */
    uint32_t mine;             /* the index that we move, as the kernel will see it */
    void *mapping;
    size_t size;
};

struct xdp_socket {
    int fd;
    bool zero_copy;
    uint32_t chunk;            /* bytes, a power of two */
    uint8_t *memory;
    struct xdp_ring fill, rx;              /* the receiver's */
    _Atomic bool lock;
    struct xdp_ring tx, completion;        /* the senders' */
    uint32_t n_free;
    uint64_t free[XDP_FRAMES];
};

struct xdp_losses {            /* frames that the kernel had to drop for this socket, since it was opened */
    uint64_t too_long, ring_full, no_frames;
};

/* How the socket is bound: to what the driver can, to one of them. */
enum xdp_copying { XDP_COPY_IF_NEEDED, XDP_COPY_NEVER, XDP_COPY_ALWAYS };

/* `mtu` decides the size of chunks. 0 or a negative errno with a fault. Main thread, as the next two. */
int xdp_socket_open(struct xdp_socket *s, int ifindex, unsigned queue, uint32_t mtu, enum xdp_copying copying, fault *f);
/* The kernel is asked to receive when we do, on our time, for up to `microseconds` at once (Linux 5.11). */
int xdp_socket_busy_poll(struct xdp_socket *s, uint32_t microseconds, fault *f);
/* No effect on one that is all zeroes. */
void xdp_socket_close(struct xdp_socket *s);
/* Any thread. */
void xdp_socket_losses(const struct xdp_socket *s, struct xdp_losses *l);

/* How many frames have arrived. */
static inline uint32_t xdp_socket_arrived(const struct xdp_socket *s)
{
    return atomic_load_explicit(s->rx.producer, memory_order_acquire) - s->rx.mine;
}

/* The next that has arrived, which there is, and its length; the caller reads it and calls the second, which lets the kernel have its
 * place again, after any number of them the third. */
const uint8_t *xdp_socket_frame(const struct xdp_socket *s, uint32_t *len);
void xdp_socket_give_back(struct xdp_socket *s);
void xdp_socket_received(struct xdp_socket *s);
/* Lets the kernel receive on our time, where it was asked to. */
void xdp_socket_poll(struct xdp_socket *s);

/* Sending, with the lock. Room for a frame of up to `chunk` bytes, or NULL while all are on their way; it is filled and queued, and any
 * number of them sent. */
void xdp_socket_lock(struct xdp_socket *s);
void xdp_socket_unlock(struct xdp_socket *s);
uint8_t *xdp_socket_room(struct xdp_socket *s);
void xdp_socket_queue(struct xdp_socket *s, uint32_t len);
void xdp_socket_send(struct xdp_socket *s);

#endif
