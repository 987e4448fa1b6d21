#include "path/tx.h"
#include "path/turn.h"
#include "port/qos.h"

#define FIRST_COST_NS 50       /* of a packet, before any was measured */

/* So many packets that the driver is back near the slice's end, by what this port's packets have cost. */
static unsigned burst(const struct worker *w, const struct stage *s, uint64_t now)
{
    uint64_t left = w->deadline > now ? w->deadline - now : 0;
    uint64_t n = left / s->cost;
    return n < 1 ? 1 : n < PORT_STAGE ? (unsigned)n : PORT_STAGE;
}

static void note_cost(struct stage *s, uint64_t cycles, unsigned n)
{
    uint64_t each = cycles / n + 1;
    each = each < UINT32_MAX ? each : UINT32_MAX;
    s->cost = (uint32_t)(each > s->cost ? (s->cost + each) / 2 : s->cost - (s->cost - each) / 8);
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
    uint64_t packets = io.counters->tx_packets, bytes = io.counters->tx_bytes;
    if (!s->cost)
        s->cost = (uint32_t)(clock_hz / 1000000 * FIRST_COST_NS / 1000) + 1;
    unsigned n;
    uint64_t now = w->looked > w->now ? w->looked : w->now;    /* of the account's switch, or the last port's end */
    for (unsigned i = 0; i < s->n; i += n) {
        if (step_ending()) {
            give_up(t, s, i);
            break;
        }
        n = burst(w, s, now);
        n = n < s->n - i ? n : s->n - i;
        out->ops->tx(out, &io, s->at + i, n);
        w->looked = clock_now();
        note_cost(s, w->looked - now, n);
        now = w->looked;
        if (now >= w->deadline) {
            turn_yield(w);
            now = w->now;
        }
    }
    s->n = 0;
    t->account->tx_packets += io.counters->tx_packets - packets;
    t->account->tx_bytes += io.counters->tx_bytes - bytes;
}

void tx_stage(struct worker *w, struct wtenant *t, struct port *out, struct packet *p)
{
    struct stage *s = &out->stages[w->id];
    struct qos *q = atomic_load_explicit(&out->qos, memory_order_acquire);
    if (__builtin_expect(q && !qos_admit(q, w->id, p, w->now), 0)) {
        t->account->drops[DROP_QUEUE]++;
        shm_port(w->dp, w->id, out->slot)->tx_drops++;
        return;
    }
    if (s->n == PORT_STAGE)
        flush_port(w, t, out);
    if (!s->n && !s->next) {
        s->next = t->pending ? t->pending : out;   /* the last points at itself: listed */
        t->pending = out;
    }
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
