/* A packed ring (virtio 1.2, 2.8), from the device's side: one circle of descriptors, which the driver makes available and the
 * device gives back in place, each telling which by two bits that turn over with every round. */
#include <stdlib.h>
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

/* What a batch gives back: the driver looks at the first descriptor, so that one is written last. */
struct giving {
    struct vring_packed_desc *first;
    uint64_t first_word;
    uint16_t old;
    bool first_single;         /* it has one descriptor */
    unsigned n;
};

/* Length, id and flags of a descriptor, which are written in one: it is available, or given back, and nothing between. */
static uint64_t *word_of(struct vring_packed_desc *d)
{
    return (uint64_t *)&d->len;
}

static void note(struct vhost_ring *v, const struct vring_packed_desc *d)
{
    if (v->logged)
        vhost_log_write(v->memory, vhost_guest_of(v->memory, d), sizeof *d);
}

/* The rest of a buffer that has several descriptors: nobody looks at them but our successor (packed_place). */
static __attribute__((noinline)) void mark_rest(struct vhost_ring *v, uint16_t n)
{
    uint16_t at = v->used;
    bool wrap = v->used_wrap;
    while (--n) {
        advance(v, &at, &wrap, 1);
        struct vring_packed_desc *d = &v->pdesc[at];
        d->flags = (uint16_t)((d->flags & ~(AVAIL | USED)) | (wrap ? AVAIL | USED : 0));
        note(v, d);
    }
}

static void give_back(struct vhost_ring *v, struct giving *g, uint16_t id, uint32_t len, uint16_t n)
{
    struct vring_packed_desc *d = &v->pdesc[v->used];
    uint16_t flags = (uint16_t)((v->used_wrap ? AVAIL | USED : 0) | (len ? VRING_DESC_F_WRITE : 0));
    uint64_t word = len | (uint64_t)id << 32 | (uint64_t)flags << 48;
    /* Where we end before the first is given back, our successor does that, and has its length from here. (Not of several descriptors:
     * if it comes to take the buffer anew, the first's own length is still needed.) */
    if (g->n == 1 && g->first_single && len)
        g->first->len = (uint32_t)g->first_word;
    if (n > 1)
        mark_rest(v, n);
    if (g->first) {
        __atomic_store_n(word_of(d), word, __ATOMIC_RELEASE);
        note(v, d);
    } else {
        g->first = d;
        g->first_word = word;
        g->first_single = n == 1;
        g->old = v->used;
    }
    g->n++;
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
    __atomic_store_n(word_of(g->first), g->first_word, __ATOMIC_RELEASE);
    note(v, g->first);
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
    if (--v->n_loans)
        return;
    for (unsigned i = 0; i < v->returned; i++)
        give_back(v, &g, v->back[i].id, 0, v->back[i].n);
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
        uint8_t *host = (uint8_t *)((uintptr_t)first.host + from);   /* good if what follows says so */
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
    if (max > (unsigned)(v->size - v->returned))
        max = v->size - v->returned;   /* a guest that offers again what it hasn't got back */
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
        /* In the order in which it was taken: behind what is on loan. */
        if (LIKELY(!v->n_loans))
            give_back(v, &g, b.id, 0, b.n);
        else
            v->back[v->returned++] = (struct vhost_back){b.id, b.n};
        if (!p->lender)
            copied += p->len;
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
    filling_end(v, &f);
    for (unsigned i = 0; i < f.buffers; i++)
        give_back(v, g, parts[i].id, parts[i].len, parts[i].n);
    if (f.buffers == 1 && parts[0].n > 1) {
        /* Not kept for the batch's end: who came after us would not know its length. */
        publish(v, g);
        *g = (struct giving){0};
    }
    return f.buffers;
}

unsigned packed_tx(struct vhost_ring *v, struct port_io *io, struct packet **packets, unsigned n)
{
    uint32_t header = v->header;
    unsigned sent = 0;
    uint64_t bytes = 0;
    struct giving g = {0};
    look_ahead(v, n < VHOST_AHEAD ? n : VHOST_AHEAD, true);
    for (; sent < n; sent++) {
        const struct packet *p = packets[sent];
        const struct vhost_buffer *b = &v->ahead[v->taken % VHOST_AHEAD];
        bytes += p->len;
        if (LIKELY(v->seen != v->taken && b->len >= header + p->len)) {
            put_single(v, p, b, header);
            take_one(v);
            give_back(v, &g, b->head, header + p->len, 1);
        } else if (put_frame(v, &g, p)) {
            look_anew(v);
        } else {
            bytes -= p->len;
            break;
        }
    }
    publish(v, &g);
    look_ahead(v, AHEAD, true);
    io->counters->tx_bytes += bytes;
    return sent;
}

bool packed_ready(const struct vhost_ring *v)
{
    return is_available(v, v->avail, v->avail_wrap);
}

unsigned packed_waiting(const struct vhost_ring *v)
{
    unsigned n = 0;
    for (unsigned k = 1; k <= v->size; k *= 2) {
        unsigned at = v->avail + k - 1;
        if (!is_available(v, (uint16_t)(at < v->size ? at : at - v->size), v->avail_wrap ^ (at >= v->size)))
            break;
        n = k;
    }
    return n;
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

/* ---- where we are ---- */

/* What device_event's offset says while we use the ring. It has no meaning to the driver, as we never ask to be told of one descriptor
 * (virtio 1.2, 2.8.10): it is our word to a successor that the ring was left without an end. */
#define IN_USE 0x5653
#define SNAPSHOT_READS (1 << 22)   /* a guest that never stops writing costs the main thread no more */

static void set_mark(struct vhost_ring *v, uint16_t mark)
{
    *(volatile uint16_t *)&v->device_event->off_wrap = mark;
    if (v->logged)
        vhost_log_write(v->memory, vhost_guest_of(v->memory, v->device_event), sizeof *v->device_event);
}

static bool bit(uint16_t flags)
{
    return flags & AVAIL;
}

static bool given_back(uint16_t flags)
{
    return !(flags & AVAIL) == !(flags & USED);
}

/* All descriptors' flags as they were at one moment, though the driver goes on: it writes each once at most while nobody gives back. */
static bool snapshot(const struct vhost_ring *v, uint16_t *flags)
{
    bool same = false;
    for (unsigned reads = 0; reads < SNAPSHOT_READS && !same; reads += v->size) {
        same = reads > 0;
        for (unsigned i = 0; i < v->size; i++) {
            uint16_t f = __atomic_load_n(&v->pdesc[i].flags, __ATOMIC_ACQUIRE);
            same = same && f == flags[i];
            flags[i] = f;
        }
    }
    return same;
}

/* Where the driver writes next, and the bit that it writes there: it turns over between what it wrote in this round and in the last.
 * It may be in the middle of a buffer, whose first descriptor it writes last: behind that one, then, come some of this round; and if
 * the ring's end lies between, the ring begins with some of the next. */
static unsigned next_of_driver(const uint16_t *flags, unsigned size, bool *wrap)
{
    unsigned turn = 1, again;
    while (turn < size && bit(flags[turn]) == bit(flags[0]))
        turn++;
    for (again = turn + 1; again < size && bit(flags[again]) != bit(flags[0]); again++)
        ;
    bool beyond_end = again < size && again > turn + 1;
    *wrap = turn < size && !beyond_end ? bit(flags[0]) : !bit(flags[0]);
    return beyond_end ? again : turn % size;
}

/* Gives back the buffer that begins at a position: our predecessor gave back `behind` descriptors that come after its first, in the
 * same batch. */
static uint16_t complete(struct vhost_ring *v, const uint16_t *flags, uint16_t at, unsigned behind)
{
    struct vring_packed_desc *head = &v->pdesc[at];
    uint16_t n = 1, last = at;
    uint32_t len = head->len;
    for (; flags[last] & VRING_DESC_F_NEXT && n < v->size; n++) {
        last = (uint16_t)(last + 1 == v->size ? 0 : last + 1);
        len += v->pdesc[last].len;
    }
    if (n > 1 && behind < n)
        len = 0;               /* a frame of its own: lost. Else it is of a frame that filled it and went on in the next. */
    uint16_t mine = (uint16_t)((bit(flags[at]) ? AVAIL | USED : 0) | (flags[at] & VRING_DESC_F_WRITE));
    __atomic_store_n(word_of(head), len | (uint64_t)v->pdesc[last].id << 32 | (uint64_t)mine << 48, __ATOMIC_RELEASE);
    note(v, head);
    return n;
}

/* Finds where a datapath was that died. The driver's bits turn over where it will write next; what it made available last lies before
 * that, and of it what wasn't given back: as all is given back in order, from one position on, but for the first of a batch, which is
 * written last. False when that can't be told. */
static bool resume(struct vhost_ring *v, uint16_t *flags)
{
    unsigned size = v->size, first = size, last = size;
    bool wrap;
    if (!snapshot(v, flags))
        return false;
    unsigned next = next_of_driver(flags, size, &wrap);
    for (unsigned i = 0; i < size; i++) {
        unsigned at = (next + i) % size;
        if (bit(flags[at]) == (at >= next ? wrap : !wrap))
            continue;          /* of a buffer that the driver is just writing */
        if (given_back(flags[at]))
            last = i;
        else if (first == size)
            first = i;
    }
    if (first < size && last > first && last < size) {
        while (first <= last) {
            unsigned at = (next + first) % size;
            first += given_back(flags[at]) ? 1 : complete(v, flags, (uint16_t)at, last - first);
        }
    }
    v->used = (uint16_t)((next + first) % size);
    v->used_wrap = next + first >= size ? wrap : !wrap;
    return true;
}

void packed_place(struct vhost_ring *v)
{
    /* vhost-user.rst: 15 bits of position and a wrap counter, for each of the two ends. They are the same: nothing is out when a ring
     * ends. */
    uint32_t base = v->base >> 16 ? v->base >> 16 : v->base;
    v->used = base & 0x7fff;
    v->used_wrap = base >> 15 & 1;
    if (v->device_event->off_wrap == IN_USE && v->device_event->flags != VRING_PACKED_EVENT_FLAG_DESC) {
        uint16_t *flags = calloc(v->size, sizeof *flags);
        if (flags && resume(v, flags))
            v->taken_over = v->owes_call = true;
        free(flags);
    }
    if (v->used >= v->size)
        v->used = 0;
    v->avail = v->used;
    v->avail_wrap = v->used_wrap;
    set_mark(v, IN_USE);
}

void packed_end(struct vhost_ring *v)
{
    set_mark(v, 0);
}
