#include "path/tx.h"
#include "path/turn.h"
#include "port/qos.h"
#include "tunnel/uplink.h"

#define FIXED_COST_NS 100      /* of a call of the driver, besides its packets */
#define COST_LEAP 4
#define OVERRUN 8              /* this part of a slice a burst may take beyond the slice's end, rather than fall to pieces */
#define RING_BURST 32          /* packets, of RING_BYTES bytes together, that a ring in memory gets at once whatever they cost: */
#define RING_BYTES 8192        /* as in path/turn.c, fewer would not be faster */
#define FIRST_COST_NS 50       /* of a packet, before any was measured */

/* So many packets that the driver is back near the slice's end, by what this port's packets have cost. */
static unsigned burst(const struct worker *w, const struct stage *s, uint64_t now)
{
    uint64_t until = now + clock_hz / 1000000 * FIXED_COST_NS / 1000;
    uint64_t left = w->deadline > until ? w->deadline - until : 0;
    if (left < w->slice / OVERRUN)
        left = w->slice / OVERRUN;
    uint64_t n = left / s->cost;
    return n < 1 ? 1 : n < PORT_STAGE ? (unsigned)n : PORT_STAGE;
}

/* `n` and those few more, `most` together, that a ring takes for next to nothing. */
static unsigned ring_burst(const struct stage *s, unsigned from, unsigned n, unsigned most)
{
    uint32_t bytes = 0;
    for (unsigned i = 0; i < n; i++)
        bytes += s->at[from + i]->len;
    while (n < most && from + n < s->n && (bytes += s->at[from + n]->len) <= RING_BYTES)
        n++;
    return n;
}

/* Pieces (`watchful`) are mostly the call's own cost: they tell of packets that have become dearer, not of cheaper ones. */
static void note_cost(struct stage *s, uint64_t cycles, unsigned n, bool watchful)
{
    uint64_t fixed = clock_hz / 1000000 * FIXED_COST_NS / 1000, each = (cycles > fixed ? cycles - fixed : 0) / n + 1;
    each = each < COST_LEAP * (uint64_t)s->cost ? each : COST_LEAP * (uint64_t)s->cost;    /* as in path/turn.c */
    each = each < UINT32_MAX ? each : UINT32_MAX;
    if (each > s->cost)
        s->cost = (uint32_t)((s->cost + each) / 2);
    else if (!watchful)
        s->cost = (uint32_t)(s->cost - (s->cost - each) / 8);
}

static void give_up(struct wtenant *t, struct stage *s, unsigned from)
{
    t->account->drops[DROP_INTERRUPTED] += s->n - from;
    for (unsigned i = from; i < s->n; i++)
        packet_unref(s->at[i]);
}

/* Where packets of a tunnel go last: whether large segments are worth making of its next (tunnel/decapsulate.c). */
static void note_receiver(const struct packet *p, const struct port *out)
{
    struct port *from = p->rx_port;
    if (from && from->ops == &vxlan_ops && atomic_load_explicit(&from->merges, memory_order_relaxed) != out->ops->merges)
        atomic_store_explicit(&from->merges, out->ops->merges, memory_order_relaxed);
}

/* The driver gets all at once where that fits into the slice, else a few at a time. */
static void flush_port(struct worker *w, struct wtenant *t, struct port *out)
{
    struct stage *s = &out->stages[w->id];
    struct port_io io = worker_io(w, out);
    io.drops = t->account->drops;
    bool ring = port_is_ring(out);
    for (unsigned i = 0; !ring && i < s->n; i++)
        packet_whole(s->at[i]);
    note_receiver(s->at[0], out);
    uint64_t packets = io.counters->tx_packets, bytes = io.counters->tx_bytes;
    if (!s->cost)
        s->cost = (uint32_t)(clock_hz / 1000000 * FIRST_COST_NS / 1000) + 1;
    unsigned n, chunk = ring ? TURN_RING_CHUNK : TURN_CHUNK / 2;
    uint64_t now = turn_clock(w);          /* of the account's switch, or the last port's end */
    for (unsigned i = 0; i < s->n; i += n) {
        if (step_ending()) {
            give_up(t, s, i);
            break;
        }
        n = burst(w, s, now);
        if (n < s->n - i && turn_is_long(w)) {      /* another slice at once, rather than two calls */
            turn_yield(w);
            now = turn_clock(w);
            n = burst(w, s, now);
        }
        if (w->watchful && n > chunk)
            n = chunk;
        n = n < s->n - i ? n : s->n - i;
        if (n < s->n - i && n < RING_BURST && ring)
            n = ring_burst(s, i, n, w->watchful ? TURN_RING_CHUNK : RING_BURST);
        out->ops->tx(out, &io, s->at + i, n);
        w->looked = clock_now();
        note_cost(s, w->looked - now, n, w->watchful);
        now = w->looked;
        if (now >= w->grace || (now >= w->deadline && i + n < s->n)) {
            turn_yield(w);
            now = turn_clock(w);
        } else if (w->watchful && turn_watch(w)) {
            now = turn_clock(w);
        }
    }
    s->n = 0;
    t->account->tx_packets += io.counters->tx_packets - packets;
    t->account->tx_bytes += io.counters->tx_bytes - bytes;
}

static struct stage *stage_of(struct worker *w, struct wtenant *t, struct port *out)
{
    struct stage *s = &out->stages[w->id];
    if (!s->n && !s->next) {
        s->next = t->pending ? t->pending : out;   /* the last points at itself: listed */
        t->pending = out;
    }
    return s;
}

static bool admitted(struct worker *w, struct wtenant *t, struct port *out, const struct packet *p)
{
    struct qos *q = atomic_load_explicit(&out->qos, memory_order_acquire);
    if (__builtin_expect(!q || qos_admit(q, w->id, p, w->now), 1))
        return true;
    t->account->drops[DROP_QUEUE]++;
    shm_port(w->dp, w->id, out->slot)->tx_drops++;
    return false;
}

void tx_stage_all(struct worker *w, struct wtenant *t, struct port *out, struct packet **packets, unsigned n)
{
    struct stage *s = stage_of(w, t, out);
    if (s->n + n <= PORT_STAGE && !atomic_load_explicit(&out->qos, memory_order_acquire)) {
        memcpy(s->at + s->n, packets, n * sizeof packets[0]);
        s->n += n;
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        if (!admitted(w, t, out, packets[i])) {
            packet_unref(packets[i]);
            continue;
        }
        if (s->n == PORT_STAGE)
            flush_port(w, t, out);
        s->at[s->n++] = packets[i];
    }
}

void tx_stage(struct worker *w, struct wtenant *t, struct port *out, struct packet *p)
{
    if (!admitted(w, t, out, p))
        return;
    struct stage *s = stage_of(w, t, out);
    if (s->n == PORT_STAGE)
        flush_port(w, t, out);
    p->refs++;
    s->at[s->n++] = p;
}

void tx_flush(struct worker *w, struct wtenant *t)
{
    struct port *out = t->pending;
    t->pending = NULL;
    while (out) {
        struct stage *s = &out->stages[w->id];
        struct port *next = s->next == out ? NULL : s->next;
        s->next = NULL;
        if (s->n)
            flush_port(w, t, out);
        out = next;
    }
}
