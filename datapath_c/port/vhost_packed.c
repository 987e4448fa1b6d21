/* A packed ring (virtio 1.2, 2.8), from the device's side: one circle of descriptors, which the driver makes available and the
 * device gives back in place, each telling which by two bits that turn over with every round. */
#include "port/vhost_frame.h"

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED (1u << VRING_PACKED_DESC_F_USED)

/* Whether the driver has made the descriptor at a position available; what it wrote is visible after this. */
static bool is_available(const struct vhost_ring *v, uint16_t at, bool wrap)
{
    uint16_t flags = __atomic_load_n(&v->pdesc[at].flags, __ATOMIC_ACQUIRE);
    return !(flags & AVAIL) != wrap && !(flags & USED) == wrap;
}

static void advance(const struct vhost_ring *v, uint16_t *at, bool *wrap, uint16_t n)
{
    *at = (uint16_t)(*at + n);
    if (*at >= v->size) {
        *at = (uint16_t)(*at - v->size);
        *wrap = !*wrap;
    }
}

struct buffer {
    uint16_t id, n;            /* its name; descriptors that it takes up */
    unsigned pieces;           /* 0: it makes no sense, and the ring has failed */
};

static bool add_pieces(struct vhost_ring *v, uint64_t addr, uint32_t left, struct piece *pieces, unsigned *n, unsigned max)
{
    while (left) {
        uint32_t len = left;
        uint8_t *at = vhost_guest_address(v->memory, addr, &len);
        if (!at)
            return vring_fail(v, "0x%llx is not in memory", (unsigned long long)addr);
        if (*n == max)
            return vring_fail(v, "a buffer of more than %u pieces", max);
        pieces[(*n)++] = (struct piece){at, len, addr};
        left -= len;
        addr += len;
    }
    return true;
}

static bool gather_table(struct vhost_ring *v, const struct vring_packed_desc *d, bool to_write, struct piece *pieces,
                         unsigned *n, unsigned max)
{
    uint32_t len = d->len;
    if (!v->indirect || !len || len % sizeof *d || len / sizeof *d > VHOST_MAX_CHAIN)
        return vring_fail(v, "an indirect table where there may be none, or of a size that it can't have");
    const struct vring_packed_desc *table = (const void *)vhost_guest_address(v->memory, d->addr, &len);
    if (!table || len != d->len)
        return vring_fail(v, "a table at 0x%llx is not in memory", (unsigned long long)d->addr);
    for (uint32_t i = 0; i < len / sizeof *d; i++) {
        struct vring_packed_desc e;
        memcpy(&e, &table[i], sizeof e);
        if (!(e.flags & VRING_DESC_F_WRITE) == to_write)
            return vring_fail(v, "a descriptor is of the other direction");
        if (!add_pieces(v, e.addr, e.len, pieces, n, max))
            return false;
    }
    return true;
}

/* The buffer whose first descriptor is at a position and available. */
static struct buffer gather(struct vhost_ring *v, uint16_t at, bool to_write, struct piece *pieces, unsigned max)
{
    struct buffer b = {0};
    for (;;) {
        struct vring_packed_desc d;
        memcpy(&d, (const void *)&v->pdesc[at], sizeof d);
        b.id = d.id;
        b.n++;
        bool ok = d.flags & VRING_DESC_F_INDIRECT ? gather_table(v, &d, to_write, pieces, &b.pieces, max)
                  : !(d.flags & VRING_DESC_F_WRITE) == to_write ? vring_fail(v, "descriptor %u is of the other direction", at)
                                                                : add_pieces(v, d.addr, d.len, pieces, &b.pieces, max);
        if (!ok)
            return (struct buffer){0};
        if (!(d.flags & VRING_DESC_F_NEXT) || d.flags & VRING_DESC_F_INDIRECT)
            break;
        if (b.n == VHOST_MAX_CHAIN || b.n == v->size) {
            vring_fail(v, "a chain of more than %u", b.n);
            return (struct buffer){0};
        }
        at = (uint16_t)(at + 1 == v->size ? 0 : at + 1);
    }
    if (!b.pieces)
        vring_fail(v, "descriptor %u: an empty buffer", at);
    return b;
}

/* ---- giving back ---- */

/* What a batch gives back: the driver looks at the first descriptor, so that one's flags are written last. */
struct giving {
    struct vring_packed_desc *first;
    uint16_t first_flags, old;
};

static void give_back(struct vhost_ring *v, struct giving *g, uint16_t id, uint32_t len, uint16_t n)
{
    struct vring_packed_desc *d = &v->pdesc[v->used];
    uint16_t flags = (uint16_t)((v->used_wrap ? AVAIL | USED : 0) | (len ? VRING_DESC_F_WRITE : 0));
    d->id = id;
    d->len = len;
    if (g->first) {
        __atomic_store_n(&d->flags, flags, __ATOMIC_RELEASE);
        if (v->logged)
            vhost_log_write(v->memory, vhost_guest_of(v->memory, d), sizeof *d);
    } else {
        g->first = d;
        g->first_flags = flags;
        g->old = v->used;
    }
    advance(v, &v->used, &v->used_wrap, n);
}

static bool wants_interrupt(struct vhost_ring *v, uint16_t old)
{
    uint16_t flags = *(volatile uint16_t *)&v->driver_event->flags, event = *(volatile uint16_t *)&v->driver_event->off_wrap;
    if (flags != VRING_PACKED_EVENT_FLAG_DESC)
        return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
    bool wrap = event >> VRING_PACKED_EVENT_F_WRAP_CTR;
    uint16_t new = v->used, at = (uint16_t)(event & ~(1u << VRING_PACKED_EVENT_F_WRAP_CTR));
    if (new <= old)
        old = (uint16_t)(old - v->size);
    if (wrap != v->used_wrap)
        at = (uint16_t)(at - v->size);
    return vring_need_event(at, new, old);
}

static void publish(struct vhost_ring *v, struct giving *g)
{
    if (!g->first)
        return;
    __atomic_store_n(&g->first->flags, g->first_flags, __ATOMIC_RELEASE);
    if (v->logged)
        vhost_log_write(v->memory, vhost_guest_of(v->memory, g->first), sizeof *g->first);
    if (v->call_fd < 0)
        return;
    /* As V0 in vhost_split.c. */
    atomic_thread_fence(memory_order_seq_cst);
    if (wants_interrupt(v, g->old))
        vring_call(v);
}

void packed_take_back(struct lender *l, struct packet *p)
{
    struct vhost_ring *v = (struct vhost_ring *)((char *)l - offsetof(struct vhost_ring, lender));
    struct giving g = {0};
    v->loans[p->loan] = NULL;
    v->back[v->returned++] = p->loan;
    if (--v->n_loans)
        return;
    for (unsigned i = 0; i < v->returned; i++)
        give_back(v, &g, v->back[i], 0, 1);
    v->returned = 0;
    publish(v, &g);
}

/* ---- frames ---- */

#define AHEAD 32               /* buffers beyond this batch's that are looked at */

/* As in vhost_split.c: until `n` buffers are in v->ahead, or one comes that isn't there yet or isn't simple. Returns how many are. */
static inline __attribute__((always_inline)) unsigned look_ahead(struct vhost_ring *v, unsigned n, bool to_write)
{
    const struct vhost_region first = v->memory->at[0];
    uint32_t least = v->header + (to_write ? 0 : 14u), range = to_write ? UINT32_MAX - least : PACKET_MAX - 14u;
    for (; (uint16_t)(v->seen - v->taken) < n && is_available(v, v->seen_at, v->seen_wrap); v->seen++) {
        struct vring_packed_desc d;
        memcpy(&d, (const void *)&v->pdesc[v->seen_at], sizeof d);
        uint32_t there = d.len;
        uint64_t from = d.addr - first.guest;
        uint8_t *host = first.host + from;
        if (from >= first.size || d.len > first.size - from)
            host = vhost_guest_address(v->memory, d.addr, &there);
        if ((d.flags & ~(AVAIL | USED)) != (to_write ? VRING_DESC_F_WRITE : 0) || d.id >= v->size || !host || there != d.len ||
            d.len - least > range)
            break;
        v->ahead[v->seen % VHOST_AHEAD] = (struct vhost_buffer){host, d.addr, d.len, d.id};
        fetch_lines(host, to_write);
        advance(v, &v->seen_at, &v->seen_wrap, 1);
    }
    return (uint16_t)(v->seen - v->taken);
}

/* After buffers that aren't simple. */
static void look_anew(struct vhost_ring *v)
{
    v->seen = v->taken;
    v->seen_at = v->avail;
    v->seen_wrap = v->avail_wrap;
}

static inline void take_one(struct vhost_ring *v)
{
    v->taken++;
    advance(v, &v->avail, &v->avail_wrap, 1);
}

/* A frame of a buffer that isn't simple. False when the ring has failed. */
static __attribute__((noinline)) bool take_pieces(struct vhost_ring *v, struct packet *p, struct buffer *b, bool *good)
{
    struct piece pieces[VHOST_MAX_CHAIN];
    *b = gather(v, v->avail, false, pieces, VHOST_MAX_CHAIN);
    if (!b->pieces)
        return false;
    *good = take_frame(v, p, pieces, b->pieces);
    advance(v, &v->avail, &v->avail_wrap, b->n);
    look_anew(v);
    return true;
}

unsigned packed_rx(struct vhost_ring *v, struct port_io *io, struct packet **out, unsigned max)
{
    unsigned got = 0, i = 0, room = packet_pool_room(io->pool);
    uint32_t copied = 0, header = v->header;
    struct giving g = {0};
    max = max < VHOST_BURST ? max : VHOST_BURST;
    max = max < room ? max : room;
    unsigned n = look_ahead(v, max, false);
    n = n < max ? n : max;
    if (!n && (!max || !is_available(v, v->avail, v->avail_wrap)))
        return 0;
    if (!n)
        n = 1;
    struct packet **fresh = packet_take(io->pool, n);
    for (; i < n && copied < VHOST_COPY_MAX; i++) {
        struct packet *p = fresh[i];
        bool good;
        struct buffer b = {.n = 1};
        packet_begin(p, io->pool);
        if (LIKELY(v->seen != v->taken)) {
            const struct vhost_buffer *a = &v->ahead[v->taken % VHOST_AHEAD];
            b.id = a->head;
            good = take_single(v, p, a, header);
            take_one(v);
        } else if (!take_pieces(v, p, &b, &good)) {
            break;
        }
        if (!p->lender) {
            give_back(v, &g, b.id, 0, b.n);
            copied += p->len;
        }
        if (LIKELY(good)) {
            out[got++] = p;
        } else {
            io->counters->rx_errors++;
            packet_unref(p);
        }
    }
    packet_return(io->pool, fresh + i, n - i);
    publish(v, &g);
    look_ahead(v, AHEAD, false);
    return got;
}

static unsigned put_frame(struct vhost_ring *v, struct giving *g, const struct packet *p)
{
    struct filling f;
    struct piece pieces[VHOST_MAX_CHAIN];
    struct {
        uint16_t id, n;
        uint32_t len;
    } parts[64];
    unsigned limit = v->mergeable ? 64 : 1;
    uint16_t at = v->avail;
    bool wrap = v->avail_wrap;
    filling_begin(&f, v, p);
    while (f.at < f.all) {
        unsigned i = f.buffers;
        if (i == limit || !is_available(v, at, wrap))
            return 0;
        struct buffer b = gather(v, at, true, pieces, VHOST_MAX_CHAIN);
        parts[i].id = b.id;
        parts[i].n = b.n;
        parts[i].len = b.pieces ? fill_buffer(v, &f, pieces, b.pieces) : 0;
        if (!parts[i].len)
            return 0;
        advance(v, &at, &wrap, b.n);
    }
    v->avail = at;
    v->avail_wrap = wrap;
    for (unsigned i = 0; i < f.buffers; i++)
        give_back(v, g, parts[i].id, parts[i].len, parts[i].n);
    return filling_end(v, &f);
}

unsigned packed_tx(struct vhost_ring *v, struct port_io *io, struct packet **packets, unsigned n)
{
    uint32_t header = v->header;
    unsigned sent = 0;
    struct giving g = {0};
    look_ahead(v, n < VHOST_AHEAD ? n : VHOST_AHEAD, true);
    for (; sent < n; sent++) {
        const struct packet *p = packets[sent];
        const struct vhost_buffer *b = &v->ahead[v->taken % VHOST_AHEAD];
        if (LIKELY(v->seen != v->taken && b->len >= header + p->len)) {
            put_single(v, p, b, header);
            take_one(v);
            give_back(v, &g, b->head, header + p->len, 1);
        } else if (put_frame(v, &g, p)) {
            look_anew(v);
        } else {
            break;
        }
    }
    publish(v, &g);
    look_ahead(v, AHEAD, true);
    return sent;
}

bool packed_ready(const struct vhost_ring *v)
{
    return is_available(v, v->avail, v->avail_wrap);
}

bool packed_notify(struct vhost_ring *v, bool on)
{
    v->quiet = !on;
    *(volatile uint16_t *)&v->device_event->flags = on ? VRING_PACKED_EVENT_FLAG_ENABLE : VRING_PACKED_EVENT_FLAG_DISABLE;
    if (v->logged)
        vhost_log_write(v->memory, vhost_guest_of(v->memory, v->device_event), sizeof *v->device_event);
    if (!on)
        return false;
    atomic_thread_fence(memory_order_seq_cst);
    return packed_ready(v);
}
