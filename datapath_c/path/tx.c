#include "path/tx.h"
#include "port/qos.h"

#define RING_BURST 32          /* packets, of RING_BYTES bytes together, that a ring in memory gets at once */
#define RING_BYTES 8192
#define FIRST_BURST 8          /* packets, before any burst was measured */

/* As batches in path/turn.c: so many packets that the driver is back within a slice. */
static void note_burst(const struct worker *w, struct stage *s, uint64_t cycles, unsigned n)
{
    if (cycles > w->slice)
        s->burst = s->burst > 1 ? s->burst / 2 : 1;
    else if (n == s->burst && n < PORT_STAGE && cycles < w->slice / 2)
        s->burst *= 2;
}

/* Into a ring in memory a few more cost next to nothing, if they are short. */
static unsigned at_once(const struct stage *s, unsigned from, unsigned n)
{
    uint32_t bytes = 0;
    for (unsigned i = 0; i < n; i++)
        bytes += s->at[from + i]->len;
    while (n < RING_BURST && from + n < s->n && (bytes += s->at[from + n]->len) <= RING_BYTES)
        n++;
    return n;
}

static void give_up(struct wtenant *t, struct stage *s, unsigned from)
{
    t->account->drops[DROP_INTERRUPTED] += s->n - from;
    for (unsigned i = from; i < s->n; i++)
        packet_unref(s->at[i]);
}

/* The driver gets all at once where that fits into the slice, else a few at a time. */
static void flush_port(struct worker *w, struct wtenant *t, struct port *out)
{
    struct stage *s = &out->stages[w->id];
    struct port_io io = worker_io(w, out);
    io.drops = t->account->drops;
    for (unsigned i = 0; !out->ops->takes_loans && i < s->n; i++)
        packet_whole(s->at[i]);
    uint64_t packets = io.counters->tx_packets, bytes = io.counters->tx_bytes;
    if (!s->burst)
        s->burst = FIRST_BURST;
    unsigned n;
    for (unsigned i = 0; i < s->n; i += n) {
        if (step_ending()) {
            give_up(t, s, i);
            break;
        }
        uint64_t before = clock_now();
        n = s->burst < s->n - i ? s->burst : s->n - i;
        if (out->ops->takes_loans)
            n = at_once(s, i, n);
        out->ops->tx(out, &io, s->at + i, n);
        note_burst(w, s, clock_now() - before, n);
        step(STEP_CHECK);
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
