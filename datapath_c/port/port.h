/* A port: where packets come from and go to. Drivers know packets, not rules.
 *
 * The main thread opens and closes ports. A worker receives from the queues (struct rxq) that are its own; any worker may
 * send to any port. A driver that has a file descriptor per queue makes it readable when there is something to receive; the
 * others (dummy, vxlan) are fed by rxq_push on the queue's worker. */
#ifndef VSWITCH_PORT_H
#define VSWITCH_PORT_H
#include <stdatomic.h>
#include <stdbool.h>
#include "base/fault.h"
#include "base/packet.h"
#include "path/drops.h"

#define PORT_MAX_QUEUES 16
#define PORT_STAGE 64
#define RXQ_BACKLOG 1024

struct port;
struct bridge;
struct megaflow;
struct qos;
struct steering;

/* What a driver needs of the worker that calls it. */
struct port_io {
    unsigned worker;
    struct packet_pool *pool;
    struct dp_shm_port *counters;   /* this port's row of this worker */
    uint64_t *drops;                /* of the tenant, by enum drop */
    unsigned lane;                  /* of the queue that what is sent came from, as in struct rxq */
};

struct rxq {
    struct port *port;
    int fd;                    /* -1: fed by rxq_push */
    unsigned worker;           /* who polls it */
    unsigned lane;             /* its first worker: ports with several queues to send by choose by it, and go on so wherever it moves */
    _Atomic uint64_t cycles;   /* that its packets have cost, all stages; its worker writes */
    uint64_t cycles_before;    /* the main thread's: at the beginning of an interval (path/rebalance.h) */
    bool registered;           /* the worker knows it */
    bool active;               /* in its tenant's list of queues that may have packets */
    struct rxq *next;          /* in that list */
    struct packet *head, *tail;/* pushed packets */
    unsigned n;
    bool polled;               /* a ring that the worker looks at itself: in its list while it has nothing */
    struct rxq *next_quiet, *prev_quiet;
    uint64_t last_ready;       /* clock */
};

struct port_ops {
    const char *name;
    bool merges;               /* it takes large TCP segments, and each call costs much: they are worth making (merge.h) */
    bool takes_loans;          /* tx copes with packets whose rest is on loan */
    bool raw;                  /* tx needs the frame alone: neither the packet's offsets nor its hash */
    /* Fills in what `conf` leaves open. 0 or a negative errno with a fault; the port is freed by the caller then. */
    int (*open)(struct port *p, struct dp_port *conf, fault *f);
    /* Workers no longer use the port. `keep`: the datapath ends but the device shall stay for its successor. */
    void (*close)(struct port *p, bool keep);
    /* At most `max` packets; each with one reference. */
    unsigned (*rx)(struct rxq *q, struct port_io *io, struct packet **out, unsigned max);
    /* Sends, or counts why not. Takes over one reference of each. */
    void (*tx)(struct port *p, struct port_io *io, struct packet **packets, unsigned n);
    /* Main thread, about once a second: current OFPPS_* state, and speed in conf. */
    uint32_t (*state)(struct port *p);
    /* Of queues that are rings in memory: a busy worker looks at them rather than being told. Whether something waits: a look,
     * no call. */
    bool (*ready)(struct rxq *q);
    /* About how many wait, at most `most`: likewise a look. NULL where that can't be told. */
    unsigned (*waiting)(struct rxq *q, unsigned most);
    /* Asks for q->fd to become readable when something comes, or not to. Returns whether something is there already. */
    bool (*notify)(struct rxq *q, bool on);
    /* Of drivers that can leave packets to the kernel: what is the VTEP's, which a port with conf.steering takes alone. Main thread. */
    void (*steer)(struct port *p, const struct steering *what);
    /* What the driver knows of itself: lines of a name, a space and a text. 0 or -ENOBUFS. Main thread. */
    int (*describe)(struct port *p, char *out, size_t size);
};

extern const struct port_ops tap_ops, netdev_ops, vxlan_ops, patch_ops, dummy_ops, vhost_ops;

struct stage {                 /* packets of one worker on their way to the port */
    struct port *next;         /* in the tenant's list of ports to flush */
    unsigned n;
    uint32_t cost;             /* cycles of a packet, moving average; 0 = none measured yet */
    struct packet *at[PORT_STAGE];
    /* The megaflow of everything that this port receives, where the port alone decided; path/lookup.c's. */
    struct megaflow *direct;
    uint32_t direct_serial;
};

struct port {
    uint32_t port_no;
    uint32_t slot;
    const struct port_ops *ops;
    struct bridge *bridge;
    struct dp_port conf;
    _Atomic uint32_t config;   /* OFPPC_* */
    _Atomic uint32_t state;    /* OFPPS_* */
    _Atomic bool underlay;     /* it is, or was, the VTEP's uplink: tunnel/decapsulate.h looks at what it receives first */
    _Atomic bool merges;       /* a tunnel's: what came through it last went to a port that does */
    uint32_t mtu;              /* bytes of IP, 0 = no limit */
    uint64_t opened;           /* clock */
    void *driver;
    struct qos *_Atomic qos;   /* queues and rate (qos.h), or NULL */
    unsigned n_queues;
    struct rxq queues[PORT_MAX_QUEUES];
    struct stage stages[];     /* one a worker */
};

/* Puts a packet on a queue without a descriptor; false (and the reference stays the caller's) when it is full. Called on
 * the queue's worker, which must then wake the queue. */
static inline bool rxq_push(struct rxq *q, struct packet *p)
{
    if (q->n >= RXQ_BACKLOG)
        return false;
    p->queued = NULL;
    if (q->tail)
        q->tail->queued = p;
    else
        q->head = p;
    q->tail = p;
    q->n++;
    return true;
}

/* Whether it can send: OpenFlow's liveness of a port (1.3.5, 6.5). */
static inline bool port_live(const struct port *p)
{
    return !(atomic_load_explicit(&p->config, memory_order_relaxed) & 1) &&        /* OFPPC_PORT_DOWN */
           !(atomic_load_explicit(&p->state, memory_order_relaxed) & 1);           /* OFPPS_LINK_DOWN */
}

/* rx of ports that are fed by rxq_push. */
unsigned rxq_pop(struct rxq *q, struct port_io *io, struct packet **out, unsigned max);

/* Splits a GSO packet into TCP segments or datagrams no longer than its gso_size asks, each with its headers and checksums complete, or one
 * datagram (UFO) into fragments, and
 * completes the checksum of a packet that left it to the device. Appends to `out` at most `max` packets, whose number it
 * returns; takes over the reference of `p`. What can't be had (no buffers) is counted in io->drops. */
unsigned port_segment(struct packet *p, struct port_io *io, struct packet **out, unsigned max);

#endif
