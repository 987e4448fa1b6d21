#include "base/packet.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "base/step.h"

/* Not a power of two, so that the headers of packets in a batch don't fall into the same cache sets. */
#define BUFFER_STRIDE (PACKET_HEADROOM + PACKET_MAX + 4096 + 192)

int packet_pool_init(struct packet_pool *pool, uint32_t n)
{
    size_t bytes = (size_t)n * BUFFER_STRIDE;
    pool->packets = aligned_alloc(64, (size_t)n * sizeof *pool->packets);
    pool->free = malloc((size_t)n * sizeof(struct packet *));
    pool->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!pool->packets || !pool->free || pool->memory == MAP_FAILED)
        return -ENOMEM;
    pool->n = pool->n_free = n;
    pool->store = pool;
    pool->held = 0;
    for (uint32_t i = n; i-- > 0;) {
        struct packet *p = &pool->packets[i];
        memset(p, 0, sizeof *p);
        p->buffer = pool->memory + (size_t)i * BUFFER_STRIDE;
        p->pool = pool;
        pool->free[n - 1 - i] = p;
    }
    return 0;
}

void packet_pool_destroy(struct packet_pool *pool)
{
    munmap(pool->memory, (size_t)pool->n * BUFFER_STRIDE);
    free(pool->free);
    free(pool->packets);
}

void packet_read(const struct packet *p, uint32_t at, uint8_t *to, uint32_t len)
{
    uint32_t here = p->lender ? p->head : p->len;
    if (at < here) {
        uint32_t take = len < here - at ? len : here - at;
        memcpy(to, p->data + at, take);
        to += take;
        len -= take;
        at += take;
    }
    at -= here;
    for (unsigned i = 0; len && i < p->n_rest; i++) {
        const struct packet_piece *piece = &p->rest[i];
        if (at >= piece->len) {
            at -= piece->len;
            continue;
        }
        uint32_t take = len < piece->len - at ? len : piece->len - at;
        memmove(to, piece->at + at, take);     /* a guest may send to itself, from where it receives */
        to += take;
        len -= take;
        at = 0;
    }
}

/* packet_read in steps. In each of them somebody else may fetch the frame. */
static void read_in_steps(const struct packet *p, uint32_t at, uint8_t *to, uint32_t len)
{
    while (len) {
        uint32_t take = len < STEP_COPY ? len : STEP_COPY;
        packet_read(p, at, to, take);
        at += take;
        to += take;
        if ((len -= take))
            step(STEP_COPY_UNITS);
    }
}

void packet_fetch(struct packet *p)
{
    for (uint32_t at = p->head; p->lender && at < p->len; at += STEP_COPY) {
        packet_read(p, at, p->data + at, p->len - at < STEP_COPY ? p->len - at : STEP_COPY);
        if (p->len - at > STEP_COPY)
            step(STEP_COPY_UNITS);
    }
    struct lender *l = p->lender;
    p->lender = NULL;
    if (l)
        l->take_back(l, p);
}

void packet_copy_meta(struct packet *to, const struct packet *from)
{
    to->l2_5 = from->l2_5;
    to->l3 = from->l3;
    to->l4 = from->l4;
    to->hops = from->hops;
    to->malformed = from->malformed;
    to->bare = from->bare;
    to->vnet = from->vnet;
    to->rx_port = from->rx_port;
    to->queue_id = from->queue_id;
    to->tun_id = from->tun_id;
    memcpy(to->tun_dst, from->tun_dst, sizeof to->tun_dst);
    to->key = from->key;
}

struct packet *packet_copy(const struct packet *p)
{
    struct packet *c = packet_alloc(p->pool);
    if (!c)
        return NULL;
    c->data = c->buffer + packet_headroom(p);
    c->len = p->len;
    packet_copy_meta(c, p);
    read_in_steps(p, 0, c->data, p->len);
    return c;
}

struct packet *packet_own(struct packet *p)
{
    if (p->refs == 1) {
        packet_whole(p);
        return p;
    }
    struct packet *c = packet_copy(p);
    packet_unref(p);
    return c;
}
