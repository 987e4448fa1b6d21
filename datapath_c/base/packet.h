/* A packet on its way through a worker, and the worker's pool of them.
 *
 * A packet belongs to the worker whose pool it came from and is never seen by another thread. Its frame lies at `data`, with
 * at least PACKET_HEADROOM bytes before it when it arrives, for tags and tunnels. Buffers hold a whole 64 KiB segment with
 * its headers; a page that no frame reaches is never touched.
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

struct packet {
    uint8_t *data;
    uint32_t len;
    uint32_t refs;
    uint16_t l2_5;             /* offset of the first MPLS label, or OFFSET_NONE */
    uint16_t l3;               /* of IP or ARP */
    uint16_t l4;               /* of TCP, UDP, SCTP, ICMP; OFFSET_NONE in later fragments */
    uint8_t hops;              /* bridges passed through patch ports */
    uint8_t malformed;
    struct vnet_hdr vnet;
    struct port *rx_port;      /* where the current bridge got it; NULL for the controller */
    uint32_t hash;
    uint32_t queue_id;         /* of set-queue */
    struct packet *next;
    struct packet_pool *pool;
    uint64_t tun_id;           /* what a VXLAN port that sends it shall use; network order as in the key */
    uint8_t tun_dst[16];
    union key_words key;       /* its first CACHE_WORDS words */
    uint8_t *buffer;
};

/* A pool has packets of its own, or draws on another one's (`store`) within bounds: it may hold half as many packets as are
 * free, and POOL_MIN in any case while there are any. So one who holds all that it may leaves two thirds to others, two leave
 * half, and so on (dynamic thresholds: Choudhury, Hahne, IEEE/ACM ToN '98). */
struct packet_pool {
    struct packet_pool *store; /* whose packets these are: itself, or another pool */
    uint32_t held;             /* packets in use that were taken from this pool */
    struct packet *free;       /* here and below: of a store */
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

/* An empty packet with its headroom, or NULL when there is none, or the pool may have no more. */
static inline struct packet *packet_alloc(struct packet_pool *pool)
{
    struct packet_pool *store = pool->store;
    struct packet *p = store->free;
    if (!p || !packet_pool_allows(pool))
        return NULL;
    store->free = p->next;
    store->n_free--;
    pool->held++;
    p->pool = pool;
    p->data = p->buffer + PACKET_HEADROOM;
    p->len = 0;
    p->refs = 1;
    p->hops = 0;
    p->malformed = 0;
    p->vnet = (struct vnet_hdr){0};
    p->queue_id = 0;
    p->next = NULL;
    p->tun_id = 0;
    memset(p->tun_dst, 0, sizeof p->tun_dst);
    memset(&p->key, 0, offsetof(struct key, eth_dst));   /* the pipeline's fields; the frame's are parse()'s */
    p->key.key.in_phy_port = 0;
    return p;
}

static inline void packet_unref(struct packet *p)
{
    assert(p->refs > 0);
    if (--p->refs == 0) {
        struct packet_pool *store = p->pool->store;
        p->pool->held--;
        p->next = store->free;
        store->free = p;
        store->n_free++;
    }
}

/* Copies what is known of a packet besides its frame. */
void packet_copy_meta(struct packet *to, const struct packet *from);
/* A copy with one reference, or NULL. */
struct packet *packet_copy(const struct packet *p);
/* The caller's reference, exchanged for one that nobody shares; NULL (and the reference gone) when the pool is empty. */
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
