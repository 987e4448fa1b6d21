/* A split ring (virtio 1.2, 2.7), from the device's side. */
#include "port/vhost.h"
#include "port/vhost_frame.h"

#define AHEAD 32               /* buffers beyond this batch's that are looked at */

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
    __atomic_store_n(&v->device->idx, used, __ATOMIC_RELEASE);
    if (v->logged && v->log_addr)
        vhost_log_write(v->memory, v->log_addr, 4 + 8ull * v->size);
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

/* Where a buffer is that isn't in the first region; NULL where it isn't in one piece. */
static __attribute__((noinline)) uint8_t *find_buffer(const struct vhost_memory *m, uint64_t addr, uint32_t len)
{
    uint32_t there = len;
    uint8_t *host = vhost_guest_address(m, addr, &there);
    return there == len ? host : NULL;
}

/* Reads and checks buffers from v->seen on, while they are of the simple kind and come before `end`, and fetches their first lines: from
 * another core each takes hundreds of cycles. */
static inline __attribute__((always_inline)) void look_ahead(struct vhost_ring *v, unsigned n, bool to_write, uint32_t header)
{
    const struct vring_desc *desc = v->desc;
    const uint16_t *ring = v->driver->ring;
    const struct vhost_region first = v->memory->at[0];
    unsigned at = v->seen, end = at + n, size = v->size, mask = v->mask;
    uint32_t least = header + (to_write ? 0 : 14u), range = to_write ? UINT32_MAX - least : PACKET_MAX - 14u;
    for (; at != end; at++) {
        struct vhost_buffer *b = &v->ahead[at % VHOST_AHEAD];
        uint64_t addr, what;
        unsigned head = *(const volatile uint16_t *)&ring[at & mask];
        if (head >= size)
            break;
        memcpy(&addr, (const void *)&desc[head].addr, 8);
        memcpy(&what, (const void *)&desc[head].len, 8);
        uint32_t len = (uint32_t)what;
        uint64_t from = addr - first.guest;
        uint8_t *host;
        if (!LIKELY((uint16_t)(what >> 32) == (to_write ? VRING_DESC_F_WRITE : 0) && len - least <= range))
            break;
        if (LIKELY(from < first.size && len <= first.size - from))
            host = first.host + from;
        else if (!(host = find_buffer(v->memory, addr, len)))
            break;
        b->at = host;
        b->guest = addr;
        b->len = len;
        b->head = (uint16_t)head;
        fetch_lines(host, to_write);
    }
    v->seen = (uint16_t)at;
}

/* How many buffers have been looked at and not been taken. */
static inline unsigned looked_at(const struct vhost_ring *v)
{
    return (uint16_t)(v->seen - v->avail);
}

/* After a batch: buffers of the next one are looked at, and the descriptors of those behind them are fetched, and where they will be
 * given back. */
static inline __attribute__((always_inline)) void prepare(struct vhost_ring *v, unsigned waiting, bool to_write, uint32_t header)
{
    const struct vring_desc *desc = v->desc;
    const uint16_t *ring = v->driver->ring;
    unsigned mask = v->mask, near = waiting < AHEAD ? waiting : AHEAD, far = waiting < 2 * AHEAD ? waiting : 2 * AHEAD;
    if (looked_at(v) < near)
        look_ahead(v, near - looked_at(v), to_write, header);
    for (unsigned at = (v->avail + near) & ~1u, end = v->avail + far; (int)(end - at) > 0; at += 2) {
        uint32_t two;          /* from an even place, of a ring of more than AHEAD: none of it lies behind the ring */
        memcpy(&two, (const void *)&ring[at & mask], sizeof two);
        __builtin_prefetch(&desc[two & mask]);
        __builtin_prefetch(&desc[two >> 16 & mask]);
    }
    for (unsigned i = 0; i < near; i += 8)
        __builtin_prefetch(&v->device->ring[(v->avail + i) & mask], 1);
}

/* ---- frames on loan ---- */

/* What was taken is given back in the order in which it was taken, all of it when the last frame is back that was lent: then the used
 * index alone tells where a datapath that died was in the ring. Its successor takes what lies behind it again. */
void split_place(struct vhost_ring *v)
{
    v->used = v->avail = v->device->idx;
    v->taken_over |= v->used != (uint16_t)v->base;
    v->owes_call = v->used != 0;   /* the front-end may know the index, and not that nobody was told of it */
}

void split_take_back(struct lender *l, struct packet *p)
{
    struct vhost_ring *v = (struct vhost_ring *)((char *)l - offsetof(struct vhost_ring, lender));
    v->loans[p->loan] = NULL;
    if (!--v->n_loans && v->used != v->avail)
        publish(v, v->avail);
}

void split_recall(struct vhost_ring *v)
{
    for (unsigned i = 0; v->loans && i < v->size; i++)
        if (v->loans[i])
            packet_fetch(v->loans[i]);
}

/* A frame that makes no sense. */
static __attribute__((noinline)) void refuse(struct port_io *io, struct packet *p)
{
    io->counters->rx_errors++;
    packet_unref(p);
}

/* A frame with an offload, or a long one that has to be copied. False when it makes no sense. `*copied`: bytes. */
static __attribute__((noinline)) bool take_other(struct vhost_ring *v, struct port_io *io, struct packet *p, const struct vhost_buffer *from,
                                                 uint32_t header, uint32_t *copied)
{
    bool good = take_single(v, p, from, header);
    *copied = p->lender ? 0 : p->len;
    if (!good)
        refuse(io, p);
    return good;
}

/* The frame of a buffer that isn't simple, in `fresh`; *out is NULL where it makes no sense. False when the ring has failed, and the
 * packet was not begun. */
static __attribute__((noinline)) bool take_pieces(struct vhost_ring *v, struct port_io *io, struct packet *fresh, uint32_t *copied,
                                                  struct packet **out)
{
    struct piece pieces[VHOST_MAX_CHAIN];
    uint16_t head = *(volatile uint16_t *)&v->driver->ring[v->avail & v->mask];
    unsigned k = gather(v, head, false, pieces, VHOST_MAX_CHAIN);
    if (!k)
        return false;
    packet_begin(fresh, io->pool);
    fresh->len = 0;
    bool good = take_frame(v, fresh, pieces, k);
    give_back(v, v->avail, head, 0);
    *copied += fresh->len;
    v->seen = ++v->avail;
    *out = good ? fresh : NULL;
    if (!good)
        refuse(io, fresh);
    return true;
}

static inline __attribute__((always_inline)) unsigned receive(struct vhost_ring *v, struct port_io *io, struct packet **out,
                                                              unsigned max, uint32_t header)
{
    uint16_t all;
    unsigned mask = v->mask, n, i = 0, got = 0, room = packet_pool_room(io->pool);
    uint32_t copied = 0;
    struct vring_used_elem *back = v->device->ring;
    if (!waiting(v, &all) || !all)
        return 0;
    n = max < VHOST_BURST ? max : VHOST_BURST;
    n = n < all ? n : all;
    n = n < room ? n : room;
    struct packet_pool *pool = io->pool;
    struct packet **fresh = packet_take(pool, n);
    if (looked_at(v) < n)
        look_ahead(v, n - looked_at(v), false, header);
    for (bool whole = true; whole && i < n && copied < VHOST_COPY_MAX;) {
        unsigned at = v->avail - i, seen = i + looked_at(v), end = seen < n ? seen : n;
        for (; i < end; i++) {
            struct packet *p = fresh[i];
            const struct vhost_buffer *b = &v->ahead[(at + i) % VHOST_AHEAD];
            packet_begin(p, pool);
            back[(at + i) & mask] = (struct vring_used_elem){b->head, 0};
            if (LIKELY(take_plain(v, p, b, header))) {
                out[got++] = p;
                continue;
            }
            uint32_t bytes;
            if (take_other(v, io, p, b, header, &bytes))
                out[got++] = p;
            if ((copied += bytes) >= VHOST_COPY_MAX)
                end = i + 1;
        }
        v->avail = (uint16_t)(at + i);
        if (i == n || copied >= VHOST_COPY_MAX)
            break;
        whole = take_pieces(v, io, fresh[i], &copied, &out[got]);
        if (whole) {
            got += out[got] != NULL;
            i++;
            look_ahead(v, n - i, false, header);
        }
    }
    packet_return(pool, fresh + i, n - i);
    if (i && !v->n_loans)
        publish(v, v->avail);
    prepare(v, all - i, false, header);
    return got;
}

unsigned split_rx(struct vhost_ring *v, struct port_io *io, struct packet **out, unsigned max)
{
    return v->header == 12 ? receive(v, io, out, max, 12) : receive(v, io, out, max, 10);
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
    return filling_end(v, &f);
}

static inline __attribute__((always_inline)) unsigned deliver(struct vhost_ring *v, struct port_io *io, struct packet **packets, unsigned n,
                                                              uint32_t header)
{
    uint16_t available;
    unsigned used = v->used, mask = v->mask, sent = 0;
    uint64_t bytes = 0;
    struct vring_used_elem *back = v->device->ring;
    if (!waiting(v, &available))
        return 0;
    unsigned look = n < available ? n : available;
    if (looked_at(v) < look)
        look_ahead(v, look - looked_at(v), true, header);
    while (sent < n) {
        unsigned at = v->avail, seen = looked_at(v), end = seen < n - sent ? seen : n - sent, i = 0;
        struct packet **from = packets + sent;
        for (; i < end; i++) {
            const struct packet *p = from[i];
            const struct vhost_buffer *b = &v->ahead[(at + i) % VHOST_AHEAD];
            if (!LIKELY(b->len >= header + p->len))
                break;
            put_single(v, p, b, header);
            bytes += p->len;
            back[used++ & mask] = (struct vring_used_elem){b->head, header + p->len};
        }
        sent += i;
        v->avail = (uint16_t)(at + i);
        available = (uint16_t)(available - i);
        if (sent == n)
            break;
        unsigned buffers = available ? put_frame(v, packets[sent], available, (uint16_t)used) : 0;
        if (!buffers)
            break;
        bytes += packets[sent]->len;
        v->avail = (uint16_t)(v->avail + buffers);
        available = (uint16_t)(available - buffers);
        if (looked_at(v) > VHOST_AHEAD)
            v->seen = v->avail;
        used += buffers;
        sent++;
    }
    if ((uint16_t)used != v->used)
        publish(v, (uint16_t)used);
    prepare(v, available, true, header);
    io->counters->tx_bytes += bytes;
    return sent;
}

unsigned split_tx(struct vhost_ring *v, struct port_io *io, struct packet **packets, unsigned n)
{
    return v->header == 12 ? deliver(v, io, packets, n, 12) : deliver(v, io, packets, n, 10);
}

/* The first buffer is most likely where those before it make one expect it: its lines are fetched all at once then, rather than each when
 * the one before has told of it. */
static inline void expect(const struct vhost_ring *v)
{
    const struct vhost_buffer *last = &v->ahead[(uint16_t)(v->avail - 1) % VHOST_AHEAD];
    const struct vhost_buffer *before = &v->ahead[(uint16_t)(v->avail - 2) % VHOST_AHEAD];
    __builtin_prefetch(&v->driver->ring[v->avail & v->mask]);
    __builtin_prefetch(&v->desc[(2 * last->head - before->head) & v->mask]);
    fetch_lines((const uint8_t *)(2 * (uintptr_t)last->at - (uintptr_t)before->at), false);
}

bool split_ready(const struct vhost_ring *v)
{
    if (*(volatile uint16_t *)&v->driver->idx == v->avail)
        return false;
    expect(v);
    return true;
}

unsigned split_waiting(const struct vhost_ring *v)
{
    return (uint16_t)(*(volatile uint16_t *)&v->driver->idx - v->avail);
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
    if (v->logged && v->log_addr)
        vhost_log_write(v->memory, v->log_addr + (v->event_idx ? 4 + 8ull * v->size : 0), 2);
    if (!on)
        return false;
    /* V2: as V0, the other way. */
    atomic_thread_fence(memory_order_seq_cst);
    return split_ready(v);
}
