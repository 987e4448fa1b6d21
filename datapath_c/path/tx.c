#include "path/tx.h"

static void flush_port(struct worker *w, struct wtenant *t, struct port *out)
{
    struct stage *s = &out->stages[w->id];
    struct port_io io = worker_io(w, out);
    io.drops = t->account->drops;
    for (unsigned i = 0; !out->ops->takes_loans && i < s->n; i++)
        packet_whole(s->at[i]);
    uint64_t packets = io.counters->tx_packets, bytes = io.counters->tx_bytes;
    out->ops->tx(out, &io, s->at, s->n);
    s->n = 0;
    t->account->tx_packets += io.counters->tx_packets - packets;
    t->account->tx_bytes += io.counters->tx_bytes - bytes;
}

static struct stage *stage_of(struct worker *w, struct port *out)
{
    struct stage *s = &out->stages[w->id];
    if (!s->n && !s->next) {
        s->next = w->pending ? w->pending : out;   /* the last points at itself: listed */
        w->pending = out;
    }
    return s;
}

void tx_stage_all(struct worker *w, struct wtenant *t, struct port *out, struct packet **packets, unsigned n)
{
    struct stage *s = stage_of(w, out);
    for (unsigned i = 0; i < n; i++) {
        if (s->n == PORT_STAGE)
            flush_port(w, t, out);
        s->at[s->n++] = packets[i];
    }
}

void tx_stage(struct worker *w, struct wtenant *t, struct port *out, struct packet *p)
{
    struct stage *s = stage_of(w, out);
    if (s->n == PORT_STAGE)
        flush_port(w, t, out);
    p->refs++;
    s->at[s->n++] = p;
}

void tx_flush(struct worker *w, struct wtenant *t)
{
    struct port *out = w->pending;
    w->pending = NULL;
    while (out) {
        struct stage *s = &out->stages[w->id];
        struct port *next = s->next == out ? NULL : s->next;
        s->next = NULL;
        if (s->n)
            flush_port(w, t, out);
        out = next;
    }
}
