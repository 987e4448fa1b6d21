#include "base/packet.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Not a power of two, so that the headers of packets in a batch don't fall into the same cache sets. */
#define BUFFER_STRIDE (PACKET_HEADROOM + PACKET_MAX + 4096 + 192)

int packet_pool_init(struct packet_pool *pool, uint32_t n)
{
    size_t bytes = (size_t)n * BUFFER_STRIDE;
    pool->packets = aligned_alloc(64, ((size_t)n * sizeof *pool->packets + 63) / 64 * 64);
    pool->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!pool->packets || pool->memory == MAP_FAILED)
        return -ENOMEM;
    pool->n = pool->n_free = n;
    pool->free = NULL;
    for (uint32_t i = n; i-- > 0;) {
        struct packet *p = &pool->packets[i];
        memset(p, 0, sizeof *p);
        p->buffer = pool->memory + (size_t)i * BUFFER_STRIDE;
        p->pool = pool;
        p->next = pool->free;
        pool->free = p;
    }
    return 0;
}

void packet_pool_destroy(struct packet_pool *pool)
{
    munmap(pool->memory, (size_t)pool->n * BUFFER_STRIDE);
    free(pool->packets);
}

struct packet *packet_copy(const struct packet *p)
{
    struct packet *c = packet_alloc(p->pool);
    if (!c)
        return NULL;
    c->data = c->buffer + packet_headroom(p);
    c->len = p->len;
    c->l2_5 = p->l2_5;
    c->l3 = p->l3;
    c->l4 = p->l4;
    c->hops = p->hops;
    c->malformed = p->malformed;
    c->vnet = p->vnet;
    c->rx_port = p->rx_port;
    c->hash = p->hash;
    c->queue_id = p->queue_id;
    c->tun_id = p->tun_id;
    memcpy(c->tun_dst, p->tun_dst, sizeof c->tun_dst);
    c->key = p->key;
    memcpy(c->data, p->data, p->len);
    return c;
}

struct packet *packet_own(struct packet *p)
{
    if (p->refs == 1)
        return p;
    struct packet *c = packet_copy(p);
    packet_unref(p);
    return c;
}
