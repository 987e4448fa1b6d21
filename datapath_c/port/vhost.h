/* A port that is a virtual machine's network device: the back-end of vhost-user (QEMU's docs/interop/vhost-user.rst) over rings of
 * virtio 1.2 (2.7 split, 2.8 packed).
 *
 *   vhost.c           the port: opening, its state, receiving and sending, when to be told and when to look
 *   vhost_socket.c    the connection to the monitor: listening or connecting, again and again; messages whole
 *   vhost_request.c   what each message does
 *   vhost_memory.c    the guest's memory
 *   vhost_split.c     a split ring      vhost_packed.c    a packed ring
 *
 * The guest is not trusted. Whatever lies in its memory is read once, to private memory, and checked there. A ring that makes no
 * sense is stopped, with the reason in the port's status, until the driver sets it up again; nothing else is harmed.
 *
 * A datapath may die at any instruction, and its successor goes on in the ring where it was, without the front-end's help: no buffer
 * is lost to the guest, and none is given back twice. Frames of the last batch may be, or come twice. For that, buffers are given back
 * in the order in which they were taken, and each by a single store: a split ring's by its used index, a packed ring's by the eight
 * bytes of its descriptor behind the address. VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD, which is for devices that give back out of order,
 * is not offered (QEMU has it for disks alone).
 *
 * The main thread owns the device; a ring is a worker's (its receive rings') or whoever holds its lock (its send rings') while
 * `running`. The main thread clears `running`, waits for every worker to have passed (workers_run), and only then changes a ring
 * or the memory. */
#ifndef VSWITCH_VHOST_H
#define VSWITCH_VHOST_H
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include "base/watch.h"
#include "port/port.h"
#include "port/vhost_memory.h"

#define VHOST_MAX_RINGS (2 * PORT_MAX_QUEUES)
#define VHOST_MAX_SIZE 32768
#define VHOST_MAX_CHAIN 256        /* descriptors of one buffer that are followed: 64 KiB by pages, and a lot to spare */
#define VHOST_BURST 64
#define VHOST_COPY_MAX 32768       /* bytes of frames that aren't short copied in one call, and what its last frame has beyond */
#define VHOST_FAULT_MAX 96

#define VHOST_AHEAD 64             /* a power of two */

struct vhost;

/* A buffer of one descriptor that lies in one piece: read and checked before its turn, so that its lines are on their way from the
 * other core while the packets before it are worked on. */
struct vhost_buffer {
    uint8_t *at;
    uint64_t guest;            /* its guest-physical address */
    uint32_t len;
    uint16_t head;             /* descriptor (packed: buffer id) */
    uint8_t pad[10];
};

/* A buffer that was taken. */
struct vhost_back {
    uint16_t id, n;            /* n: descriptors */
};

/* Even: the guest receives, we send. Odd: the guest sends, we receive. */
struct vhost_ring {
    struct vhost *dev;
    _Atomic bool running;      /* workers use it */
    bool packed, event_idx, in_order, mergeable, indirect;
    bool logged;               /* writes to guest memory are noted */
    uint8_t header;            /* bytes of the virtio-net header: 10 or 12 */
    bool offload_csum, offload_tso4, offload_tso6, offload_ufo, offload_uso4, offload_uso6;    /* what the guest may send or can take */
    bool quiet;                /* the guest was asked not to kick */
    uint16_t size, mask;
    uint16_t avail, used;      /* where we are: next to take, next to give back (packed: positions) */
    bool avail_wrap, used_wrap;/* packed */
    uint16_t seen;             /* buffers from `avail` up to here are in `ahead`, by position */
    uint16_t taken;            /* packed: `ahead` has those from `taken` to `seen`, counted since the ring began */
    uint16_t seen_at;          /* packed: the descriptor after the last one seen */
    bool seen_wrap;
    uint16_t signalled;        /* `used` when the guest was last interrupted */
    bool signalled_valid;
    struct vhost_memory *memory;
    union {
        struct {
            struct vring_desc *desc;
            struct vring_avail *driver;
            struct vring_used *device;
        };
        struct {
            struct vring_packed_desc *pdesc;
            struct vring_packed_desc_event *driver_event, *device_event;
        };
    };
    uint64_t log_addr;         /* guest-physical address of the used ring, for the log */
    struct lender lender;      /* of frames that the guest sends; take_back is the worker's */
    struct packet **loans;     /* by head descriptor (packed: by buffer id): packets that hold the guest's buffers */
    struct vhost_back *back;   /* packed: buffers to be given back when all are that are out */
    uint16_t n_loans, returned;/* out; packed: in `back` */
    int call_fd;
    _Atomic bool lock;         /* of senders */
    struct vhost_buffer ahead[VHOST_AHEAD];
    uint64_t kicks, calls;     /* seen, made */
    _Atomic bool failed;       /* it made no sense; `fault` says why */
    char fault[VHOST_FAULT_MAX];

    /* The main thread's. */
    bool enabled, started;
    bool has_addr, has_kick, log_used;
    int kick_fd, err_fd;
    struct vhost_msg_addr addr;
    uint32_t base;             /* of SET_VRING_BASE */
    bool taken_over;           /* it began where a datapath that died had been, not where it was said to */
    bool owes_call;            /* who died may have given back and not told: the guest is interrupted for that */
} __attribute__((aligned(64)));

struct vhost {
    struct port *port;
    bool client;               /* we connect; else we listen */
    char path[108];
    struct watch listener, peer;
    struct vhost_msg in;       /* being received */
    size_t in_len;
    int in_fds[VHOST_TABLE_REGIONS];
    unsigned n_in_fds;
    uint64_t features, protocol_features;
    uint64_t offered;          /* features that this port has at all */
    uint8_t status;
    uint16_t guest_mtu;
    unsigned n_pairs;          /* the most queue pairs */
    uint64_t connections;
    uint64_t announced;        /* times that the guest was announced for it (SEND_RARP) */
    char last_error[VHOST_FAULT_MAX];  /* why the last connection ended, or "" */
    struct vhost_memory memory;
    struct vhost_ring rings[VHOST_MAX_RINGS];
};

/* Rings, by worker. `fault` text is a printf format; the ring stops. Returns 0 for the caller's convenience. */
unsigned vring_fail(struct vhost_ring *v, const char *format, ...) __attribute__((format(printf, 2, 3)));

unsigned split_rx(struct vhost_ring *v, struct port_io *io, struct packet **out, unsigned max);
/* Sends what finds room, in order; returns how many of them, and counts their bytes. Takes no reference. */
unsigned split_tx(struct vhost_ring *v, struct port_io *io, struct packet **packets, unsigned n);
/* Fetches what packets still have on loan: the ring ends. */
void packed_take_back(struct lender *l, struct packet *p);
void split_take_back(struct lender *l, struct packet *p);
/* Where the ring goes on that begins: v->used and v->avail. Main thread; the ring's memory and size are known. */
void split_place(struct vhost_ring *v);
void packed_place(struct vhost_ring *v);
/* The ring ends here, in order: whoever begins again says where. */
void packed_end(struct vhost_ring *v);
void split_recall(struct vhost_ring *v);
bool split_ready(const struct vhost_ring *v);
unsigned split_waiting(const struct vhost_ring *v);
/* Asks the guest to kick or not to. Returns whether something is there. */
bool split_notify(struct vhost_ring *v, bool on);
unsigned packed_rx(struct vhost_ring *v, struct port_io *io, struct packet **out, unsigned max);
unsigned packed_tx(struct vhost_ring *v, struct port_io *io, struct packet **packets, unsigned n);
bool packed_ready(const struct vhost_ring *v);
/* Within a factor of two. */
unsigned packed_waiting(const struct vhost_ring *v);
bool packed_notify(struct vhost_ring *v, bool on);

/* Interrupts the guest. */
void vring_call(struct vhost_ring *v);

/* A virtio-net header from a guest, made good: what it may not ask for, or what makes no sense, is refused. `p` has its frame. */
bool vhost_header_in(const struct vhost_ring *v, struct packet *p, const struct virtio_net_hdr *h);

/* Main thread. */
/* 0, or a negative errno and a fault. */
int vhost_socket_open(struct vhost *d, fault *f);
void vhost_socket_close(struct vhost *d, bool keep);
/* A connection that is wanted and not there is tried again: called about every 250 ms. */
void vhost_socket_tick(struct vhost *d);
/* Ends the connection; the port waits for the next. */
void vhost_disconnect(struct vhost *d, const char *why);
/* Carries out the message in d->in, whose descriptors it takes over. 0, or the reason why the connection must end. */
const char *vhost_handle(struct vhost *d);
/* Stops and forgets all rings and the memory. */
void vhost_reset(struct vhost *d);
/* Sends a reply to the message in d->in. */
const char *vhost_reply(struct vhost *d, const void *body, uint32_t size, int fd);

void vring_start(struct vhost_ring *v);
void vring_stop(struct vhost_ring *v);
uint64_t vhost_features(const struct vhost *d);
uint64_t vhost_protocol_features(void);

#endif
