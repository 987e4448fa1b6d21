/* A packet on its way through a worker, and the worker's pool of them.
 *
 * A packet belongs to the worker whose pool it came from and is never seen by another thread. Its frame lies at `data`, with
 * at least PACKET_HEADROOM bytes before it when it arrives, for tags and tunnels. Buffers hold a whole 64 KiB segment with
 * its headers; a page that no frame reaches is never touched.
 *
 * A long frame from a guest may be on loan: its first `head` bytes are at `data`, the rest still lies in the guest's buffer, so that
 * it is copied once, to where it goes. Whoever needs more than the head calls packet_whole first; packet_own and packet_copy do.
 * What the guest does to its bytes meanwhile is its own affair: nothing is decided by them.
 *
 * References: packet_alloc gives one; a packet staged on several ports has one a port; packet_unref gives back. A packet
 * with more than one reference must not be changed: packet_own first. */
#ifndef VSWITCH_PACKET_H
#define VSWITCH_PACKET_H
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "flow/key.h"

#define PACKET_HEADROOM 256
#define PACKET_MAX 65792            /* 65,535 bytes of IP, two tags, Ethernet, and slack */
#define OFFSET_NONE 0xffff

/* virtio 1.1, 5.1.6: as TUNSETVNETHDRSZ 10 and PACKET_VNET_HDR have it. Little-endian, which x86 is. */
struct vnet_hdr {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
};

#define VNET_NEEDS_CSUM 1
#define VNET_DATA_VALID 2
#define VNET_GSO_NONE 0
#define VNET_GSO_TCPV4 1
#define VNET_GSO_UDP 3
#define VNET_GSO_TCPV6 4
#define VNET_GSO_UDP_L4 5
#define VNET_GSO_ECN 0x80

struct port;
struct lender;

/* A stretch of a guest's memory. */
struct packet_piece {
    const uint8_t *at;
    uint32_t len;
};

/* What every packet needs comes first, in one cache line, and of that the second half is cleared when a packet begins. What only
 * parsed packets have comes behind. */
struct packet {
    uint8_t *data;
    uint8_t *buffer;
    uint32_t len;
    uint32_t refs;
    union {
        struct port *rx_port;  /* where the current bridge got it; NULL for the controller */
        struct packet *queued; /* while it waits to be received (port/port.h): the one behind it */
    };
    struct packet_pool *pool;
    struct lender *lender;     /* here and below cleared; NULL: the frame is whole */
    struct vnet_hdr vnet;
    uint8_t hops : 6;          /* bridges passed through patch ports */
    uint8_t malformed : 1;
    uint8_t bare : 1;          /* nothing below is filled in yet: parse() does it from rx_port, and where
                                * that is a tunnel's, from its outer headers, which still lie before the frame */
    uint32_t queue_id;         /* of set-queue */

    struct packet *next;
    uint16_t head, n_rest;     /* of a frame on loan, as all up to `one` */
    uint16_t loan;             /* the lender's name for it */
    uint16_t l2_5;             /* offset of the first MPLS label, or OFFSET_NONE */
    uint16_t l3;               /* of IP or ARP */
    uint16_t l4;               /* of TCP, UDP, SCTP, ICMP; OFFSET_NONE in later fragments */
    const struct packet_piece *rest;
    struct packet_piece one;   /* where `rest` points if it is one piece */
    uint64_t tun_id;           /* what a VXLAN port that sends it shall use; network order as in the key */
    uint8_t tun_dst[16];
    union key_words key;       /* its first CACHE_WORDS words */
} __attribute__((aligned(64)));

_Static_assert(offsetof(struct packet, next) == 64, "a packet's first line");

/* Who lends buffers: `take_back` is called once for each loan, by the packet's worker. */
struct lender {
    void (*take_back)(struct lender *l, struct packet *p);
};

/* A pool has packets of its own, or draws on another one's (`store`) within bounds: it may hold half as many packets as are
 * free, and POOL_MIN in any case while there are any. So one who holds all that it may leaves two thirds to others, two leave
 * half, and so on (dynamic thresholds: Choudhury, Hahne, IEEE/ACM ToN '98). */
struct packet_pool {
    struct packet_pool *store; /* whose packets these are: itself, or another pool */
    uint32_t held;             /* packets in use that were taken from this pool */
    struct packet **free;      /* here and below: of a store; what was given back last is taken first */
    struct packet *packets;
    uint8_t *memory;
    uint32_t n, n_free;
};

#define POOL_MIN 64

/* 0 or -ENOMEM. */
int packet_pool_init(struct packet_pool *pool, uint32_t n);
void packet_pool_destroy(struct packet_pool *pool);

static inline void packet_pool_share(struct packet_pool *pool, struct packet_pool *store)
{
    *pool = (struct packet_pool){.store = store};
}

/* Whether the pool may have one more of its store's packets. */
static inline bool packet_pool_allows(const struct packet_pool *pool)
{
    return pool->held < POOL_MIN || pool->held < pool->store->n_free / 2 || pool->store == pool;
}

/* So many packets more the pool may have that others of its store have now. */
static inline uint32_t packet_pool_may_hold(const struct packet_pool *pool)
{
    uint32_t half = pool->store->n_free / 2, most = half > POOL_MIN ? half : POOL_MIN;
    return most > pool->held ? most - pool->held : 0;
}

/* The packet counts as that pool's from now on; false when it may not have more. Both pools have the same store. */
static inline bool packet_hand_over(struct packet *p, struct packet_pool *to)
{
    if (!packet_pool_allows(to))
        return false;
    p->pool->held--;
    to->held++;
    p->pool = to;
    return true;
}

/* What a bare packet begins with, but for its length. */
static inline void packet_begin(struct packet *p, struct packet_pool *pool)
{
    p->pool = pool;
    p->data = p->buffer + PACKET_HEADROOM;
    p->refs = 1;
    memset(&p->lender, 0, offsetof(struct packet, next) - offsetof(struct packet, lender));
    p->bare = true;
}

/* What it has besides: the fields of the key that are the pipeline's; the frame's are parse()'s. */
static inline void packet_begin_key(struct packet *p)
{
    memset(&p->tun_id, 0, offsetof(struct packet, key) - offsetof(struct packet, tun_id) + offsetof(struct key, eth_dst));
    p->key.key.in_phy_port = 0;
    p->next = NULL;
    p->bare = false;
}

/* An empty packet with its headroom, or NULL when the pool is empty. */
static inline struct packet *packet_alloc(struct packet_pool *pool)
{
    struct packet_pool *store = pool->store;
    if (!store->n_free || !packet_pool_allows(pool))
        return NULL;
    struct packet *p = store->free[--store->n_free];
    pool->held++;
    packet_begin(p, pool);
    packet_begin_key(p);
    p->len = 0;
    return p;
}

/* So many packets the pool may have more, at least. */
static inline uint32_t packet_pool_room(const struct packet_pool *pool)
{
    uint32_t n_free = pool->store->n_free, few = pool->held < POOL_MIN ? POOL_MIN - pool->held : 0;
    /* Each one taken leaves half a one less to take. */
    uint32_t many = n_free / 2 > pool->held ? (n_free / 2 - pool->held) * 2 / 3 : 0;
    uint32_t room = pool->store == pool ? n_free : few > many ? few : many;
    return room < n_free ? room : n_free;
}

/* `n` packets, for which there is room: the caller calls packet_begin of each that it uses, in order, and packet_return for the
 * others. The array is good until then; packets that were begun may be given back meanwhile. */
static inline struct packet **packet_take(struct packet_pool *pool, unsigned n)
{
    struct packet_pool *store = pool->store;
    store->n_free -= n;
    pool->held += n;
    return store->free + store->n_free;
}

static inline void packet_return(struct packet_pool *pool, struct packet **left, unsigned n)
{
    struct packet_pool *store = pool->store;
    memmove(store->free + store->n_free, left, n * sizeof *left);
    store->n_free += n;
    pool->held -= n;
}

static inline void packet_unref(struct packet *p)
{
    assert(p->refs > 0);
    if (--p->refs == 0) {
        if (p->lender)
            p->lender->take_back(p->lender, p);
        struct packet_pool *store = p->pool->store;
        p->pool->held--;
        store->free[store->n_free++] = p;
    }
}

/* packet_unref of `n` packets. */
static inline void packet_unref_all(struct packet **packets, unsigned n)
{
    struct packet_pool *pool = n ? packets[0]->pool : NULL;
    for (unsigned i = 0; i < n;) {
        struct packet_pool *store = pool->store;
        struct packet **to = store->free + store->n_free, **begin = to;
        for (; i < n && packets[i]->refs == 1 && !packets[i]->lender && packets[i]->pool == pool; i++)
            *to++ = packets[i];
        store->n_free += (uint32_t)(to - begin);
        pool->held -= (uint32_t)(to - begin);
        if (i < n)
            packet_unref(packets[i++]);
    }
}

/* Fetches the rest of a frame on loan, and gives the loan back. */
void packet_fetch(struct packet *p);

static inline void packet_whole(struct packet *p)
{
    if (__builtin_expect(p->lender != NULL, 0))
        packet_fetch(p);
}

/* Copies `len` bytes of the frame from `at` on, wherever they lie. */
void packet_read(const struct packet *p, uint32_t at, uint8_t *to, uint32_t len);

/* Copies what is known of a packet besides its frame. */
void packet_copy_meta(struct packet *to, const struct packet *from);
/* A copy with one reference, or NULL. */
struct packet *packet_copy(const struct packet *p);
/* The caller's reference, exchanged for one that nobody shares, of a whole frame; NULL (and the reference gone) when the pool is empty. */
struct packet *packet_own(struct packet *p);
/* Makes room for `n` bytes at the start, or takes them away. Within PACKET_HEADROOM. */
static inline void packet_push(struct packet *p, uint32_t n)
{
    assert(p->data - p->buffer >= n);
    p->data -= n;
    p->len += n;
}

static inline void packet_pull(struct packet *p, uint32_t n)
{
    assert(p->len >= n);
    p->data += n;
    p->len -= n;
}

static inline uint32_t packet_headroom(const struct packet *p)
{
    return (uint32_t)(p->data - p->buffer);
}

static inline bool packet_is_gso(const struct packet *p)
{
    return p->vnet.gso_type != VNET_GSO_NONE;
}

#endif
