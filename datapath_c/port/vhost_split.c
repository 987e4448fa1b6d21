/* A split ring (virtio 1.2, 2.7), from the device's side. */
#include "port/vhost.h"
#include "port/vhost_frame.h"

#define AHEAD 32

/* The pieces of the buffer that begins with descriptor `head`; 0 when it makes no sense (the ring has failed then). */
static unsigned gather(struct vhost_ring *v, uint16_t head, bool to_write, struct piece *pieces, unsigned max)
{
    const struct vring_desc *table = v->desc;
    uint32_t size = v->size, i = head;
    unsigned n = 0;
    bool inside = false;
    for (unsigned hops = 0; hops < VHOST_MAX_CHAIN; hops++) {
        if (i >= size)
            return vring_fail(v, "descriptor %u of a table of %u", i, size);
        struct vring_desc d;
        memcpy(&d, (const void *)&table[i], sizeof d);
        if (d.flags & VRING_DESC_F_INDIRECT) {
            uint32_t len = d.len;
            if (inside || !v->indirect || d.flags & VRING_DESC_F_NEXT || !len || len % sizeof d || len / sizeof d > VHOST_MAX_SIZE)
                return vring_fail(v, "descriptor %u: an indirect table where there may be none", i);
            table = (const struct vring_desc *)vhost_guest_address(v->memory, d.addr, &len);
            if (!table || len != d.len)
                return vring_fail(v, "descriptor %u: its table at 0x%llx is not in memory", i, (unsigned long long)d.addr);
            size = len / (uint32_t)sizeof d;
            inside = true;
            i = 0;
            continue;
        }
        if (!(d.flags & VRING_DESC_F_WRITE) == to_write)
            return vring_fail(v, "descriptor %u is of the other direction", i);
        for (uint32_t left = d.len; left;) {
            uint32_t len = left;
            uint8_t *at = vhost_guest_address(v->memory, d.addr, &len);
            if (!at)
                return vring_fail(v, "descriptor %u: 0x%llx is not in memory", i, (unsigned long long)d.addr);
            if (n == max)
                return vring_fail(v, "descriptor %u: a buffer of more than %u pieces", i, max);
            pieces[n++] = (struct piece){at, len, d.addr};
            left -= len;
            d.addr += len;
        }
        if (!(d.flags & VRING_DESC_F_NEXT)) {
            if (!n)
                return vring_fail(v, "descriptor %u: an empty buffer", i);
            return n;
        }
        i = d.next;
    }
    return vring_fail(v, "descriptor %u begins a chain of more than %u", head, VHOST_MAX_CHAIN);
}

static void give_back(struct vhost_ring *v, uint16_t at, uint16_t head, uint32_t len)
{
    v->device->ring[at & v->mask] = (struct vring_used_elem){head, len};
}

/* What was given back becomes visible; the guest is interrupted if it wants to be. */
static void publish(struct vhost_ring *v, uint16_t used)
{
    uint16_t old = v->used;
    v->used = used;
    v->returned = 0;
    if (v->logged && v->log_addr)
        vhost_log_write(v->memory, v->log_addr, 4 + 8ull * v->size);
    __atomic_store_n(&v->device->idx, used, __ATOMIC_RELEASE);
    if (v->call_fd < 0)
        return;
    /* V0: pairs with the driver's barrier between changing its wish and looking at the index (virtio 1.2, 2.7.7). */
    atomic_thread_fence(memory_order_seq_cst);
    bool wanted;
    if (v->event_idx) {
        uint16_t event = *(volatile uint16_t *)&v->driver->ring[v->size];
        wanted = !v->signalled_valid || vring_need_event(event, used, old);
        v->signalled_valid = true;
    } else {
        wanted = !(*(volatile uint16_t *)&v->driver->flags & VRING_AVAIL_F_NO_INTERRUPT);
    }
    if (wanted)
        vring_call(v);
}

/* How many buffers wait, from v->avail on; false when the index makes no sense. */
static bool waiting(struct vhost_ring *v, uint16_t *n)
{
    /* V1: what the driver wrote before it moved the index is visible after this. */
    *n = (uint16_t)(__atomic_load_n(&v->driver->idx, __ATOMIC_ACQUIRE) - v->avail);
    if (LIKELY(*n <= v->size))
        return true;
    vring_fail(v, "%u buffers are available in a ring of %u", *n, v->size);
    return false;
}

/* The memory behind descriptor `head`, if the buffer is no more than that one and lies in one piece. */
static inline bool single(const struct vhost_ring *v, uint16_t head, uint16_t flags, struct piece *p)
{
    struct vring_desc d;
    if (head >= v->size)
        return false;
    memcpy(&d, (const void *)&v->desc[head], sizeof d);
    p->len = d.len;
    p->guest = d.addr;
    p->at = vhost_guest_address(v->memory, d.addr, &p->len);
    return d.flags == flags && p->at && p->len == d.len;
}

/* ---- frames on loan ---- */

void split_take_back(struct lender *l, struct packet *p)
{
    struct vhost_ring *v = (struct vhost_ring *)((char *)l - offsetof(struct vhost_ring, lender));
    v->loans[p->loan] = NULL;
    give_back(v, (uint16_t)(v->used + v->returned++), p->loan, 0);
    if (!--v->n_loans)
        publish(v, (uint16_t)(v->used + v->returned));
}

void split_recall(struct vhost_ring *v)
{
    for (unsigned i = 0; v->loans && i < v->size; i++)
        if (v->loans[i])
            packet_fetch(v->loans[i]);
}

/* What comes after this batch is fetched while this one is on its way: the buffers of the next AHEAD, the descriptors of those after
 * them. From another core each takes hundreds of cycles, one after the other. */
static inline void fetch_ahead(struct vhost_ring *v, unsigned n, bool to_write)
{
    unsigned i = 0;
    for (; i < n && i < AHEAD; i++) {
        const struct vring_desc *d = &v->desc[v->driver->ring[(uint16_t)(v->avail + i) & v->mask] & v->mask];
        uint32_t len = 128;
        const uint8_t *at = vhost_guest_address(v->memory, d->addr, &len);
        if (!at)
            return;
        if (to_write) {
            __builtin_prefetch(at, 1);
            __builtin_prefetch(at + 64, 1);
        } else {
            __builtin_prefetch(at);
            __builtin_prefetch(at + 64);
        }
    }
    for (; i < n && i < 2 * AHEAD; i++)
        __builtin_prefetch(&v->desc[v->driver->ring[(uint16_t)(v->avail + i) & v->mask] & v->mask]);
}

unsigned split_rx(struct vhost_ring *v, struct port_io *io, struct packet **out, unsigned max)
{
    uint16_t n, heads[VHOST_BURST];
    struct piece first[VHOST_BURST];
    unsigned got = 0;
    uint32_t copied = 0;
    if (!waiting(v, &n) || !n)
        return 0;
    unsigned all = n;
    if (max > VHOST_BURST)
        max = VHOST_BURST;
    if (n > max)
        n = (uint16_t)max;
    if (n > packet_pool_room(io->pool))
        n = (uint16_t)packet_pool_room(io->pool);
    for (uint16_t i = 0; i < n; i++) {
        heads[i] = *(volatile uint16_t *)&v->driver->ring[(uint16_t)(v->avail + i) & v->mask];
        __builtin_prefetch(&v->desc[heads[i] & v->mask]);
    }
    uint16_t simple = 0;
    for (; simple < n && single(v, heads[simple], 0, &first[simple]); simple++) {
        const struct piece *p = &first[simple];
        if (p->len < v->header + 14u || p->len - v->header > PACKET_MAX)
            break;
        __builtin_prefetch(p->at);
        __builtin_prefetch(p->at + v->header);
        __builtin_prefetch(p->at + (p->len < 128 ? p->len - 1 : 127));
    }
    uint16_t i = 0;
    struct packet *fresh[VHOST_BURST];
    packet_alloc_bare(io->pool, fresh, n);
    for (; i < n && copied < VHOST_COPY_MAX; i++) {
        struct packet *p = fresh[i];
        bool good;
        if (i < simple) {
            good = take_single(v, p, heads[i], &first[i]);
        } else {
            struct piece pieces[VHOST_MAX_CHAIN];
            unsigned k = gather(v, heads[i], false, pieces, VHOST_MAX_CHAIN);
            if (!k)
                break;
            good = take_frame(v, p, pieces, k);
        }
        if (!p->lender) {
            give_back(v, (uint16_t)(v->used + v->returned++), heads[i], 0);
            copied += p->len;
        }
        if (LIKELY(good)) {
            out[got++] = p;
        } else {
            io->counters->rx_errors++;
            packet_unref(p);
        }
    }
    for (unsigned k = i; k < n; k++)
        packet_unref(fresh[k]);
    v->avail = (uint16_t)(v->avail + i);
    if (v->returned)
        publish(v, (uint16_t)(v->used + v->returned));
    fetch_ahead(v, all - i, false);
    return got;
}

/* Writes a frame, behind its header, into as many buffers as it takes. 0 when it doesn't fit into what is available; else how many
 * buffers. */
static unsigned put_frame(struct vhost_ring *v, const struct packet *p, uint16_t available, uint16_t used)
{
    struct filling f;
    struct piece pieces[VHOST_MAX_CHAIN];
    unsigned limit = v->mergeable ? available : 1;
    filling_begin(&f, v, p);
    while (f.at < f.all) {
        if (f.buffers == limit)
            return 0;
        uint16_t head = *(volatile uint16_t *)&v->driver->ring[(uint16_t)(v->avail + f.buffers) & v->mask];
        unsigned k = gather(v, head, true, pieces, VHOST_MAX_CHAIN);
        uint16_t place = (uint16_t)(used + f.buffers);
        uint32_t into = k ? fill_buffer(v, &f, pieces, k) : 0;
        if (!into)
            return 0;
        give_back(v, place, head, into);
    }
    return filling_end(&f);
}

unsigned split_tx(struct vhost_ring *v, struct port_io *io, struct packet **packets, unsigned n)
{
    uint16_t available, used = v->used, heads[PORT_STAGE];
    struct piece first[PORT_STAGE];
    unsigned sent = 0, simple = 0;
    if (!waiting(v, &available))
        return 0;
    unsigned look = n < available ? n : available;
    for (unsigned i = 0; i < look; i++) {
        heads[i] = *(volatile uint16_t *)&v->driver->ring[(uint16_t)(v->avail + i) & v->mask];
        __builtin_prefetch(&v->desc[heads[i] & v->mask]);
    }
    for (; simple < look && single(v, heads[simple], VRING_DESC_F_WRITE, &first[simple]); simple++) {
        const struct piece *p = &first[simple];
        if (p->len < v->header + packets[simple]->len)
            break;
        __builtin_prefetch(p->at, 1);
        __builtin_prefetch(p->at + v->header, 1);
        __builtin_prefetch(p->at + v->header + (packets[simple]->len < 128 ? packets[simple]->len : 128) - 1, 1);
    }
    for (; sent < simple; sent++) {
        put_single(v, packets[sent], &first[sent]);
        give_back(v, (uint16_t)(used + sent), heads[sent], v->header + packets[sent]->len);
    }
    available = (uint16_t)(available - sent);
    used = (uint16_t)(used + sent);
    v->avail = (uint16_t)(v->avail + sent);
    for (; sent < n && available; sent++) {
        unsigned buffers = put_frame(v, packets[sent], available, used);
        if (!buffers)
            break;
        available = (uint16_t)(available - buffers);
        used = (uint16_t)(used + buffers);
        v->avail = (uint16_t)(v->avail + buffers);
    }
    if (used != v->used)
        publish(v, used);
    fetch_ahead(v, available, true);
    return sent;
}

bool split_ready(const struct vhost_ring *v)
{
    return *(volatile uint16_t *)&v->driver->idx != v->avail;
}

bool split_notify(struct vhost_ring *v, bool on)
{
    v->quiet = !on;
    if (v->event_idx) {
        if (!on)
            return false;      /* the index stays behind: no kick until it wraps */
        *(volatile uint16_t *)&v->device->ring[v->size] = v->avail;
    } else {
        *(volatile uint16_t *)&v->device->flags = on ? 0 : VRING_USED_F_NO_NOTIFY;
    }
    if (!on)
        return false;
    /* V2: as V0, the other way. */
    atomic_thread_fence(memory_order_seq_cst);
    return split_ready(v);
}
