#include "path/polling.h"

#define QUIET_US 50            /* a ring is left after so long without a packet, */
#define QUIET_POLL_US 20000    /* or with --poll, where nothing is saved by it but the looks */
#define UPLINK_REST 2          /* this part of a slice the tunnels' uplink is left alone within turns: its packets are many tenants', and to
                                * end a turn for each makes all of them dearer */

static struct wtenant *owner(struct worker *w, const struct rxq *q)
{
    return w->tenants[q->port->bridge->tenant->conf.id];
}

static void leave(struct worker *w, struct rxq *q)
{
    if (!q->next_quiet)
        return;
    if (w->quiet == q)
        w->quiet = q->next_quiet == q ? NULL : q->next_quiet;
    q->prev_quiet->next_quiet = q->next_quiet;
    q->next_quiet->prev_quiet = q->prev_quiet;
    q->next_quiet = q->prev_quiet = NULL;
    w->n_quiet--;
    owner(w, q)->n_quiet--;
    w->n_held -= owner(w, q)->suspended;
}

void polling_begin(struct worker *w, struct rxq *q)
{
    leave(w, q);
    if (q->polled)
        return;
    q->polled = true;
    q->port->ops->notify(q, false);
}

void polling_rest(struct worker *w, struct rxq *q)
{
    if (!q->polled)
        return;
    q->last_ready = w->now;
    if (!w->quiet)
        w->quiet = q->next_quiet = q->prev_quiet = q;
    q->prev_quiet = w->quiet->prev_quiet;
    q->next_quiet = w->quiet;
    q->prev_quiet->next_quiet = q;
    w->quiet->prev_quiet = q;
    w->n_quiet++;
    owner(w, q)->n_quiet++;
}

void polling_end(struct worker *w, struct rxq *q)
{
    leave(w, q);
    q->polled = false;
}

/* In its tenant's turn, which goes on or was left in the middle: what came through it last may be on its way still. */
static bool in_use(const struct worker *w, const struct rxq *q)
{
    const struct wtenant *t = w->tenants[q->port->bridge->tenant->conf.id];
    return t == w->running || t->suspended;
}

bool polling_look(struct worker *w, unsigned most)
{
    bool any = false;
    uint64_t limit = clock_from_us(w->dp->poll ? QUIET_POLL_US : QUIET_US);
    unsigned n = most < w->n_quiet ? most : w->n_quiet;
    for (unsigned i = 0; i < n; i++) {
        struct rxq *q = w->quiet;
        w->quiet = q->next_quiet;
        bool ready = q->port->ops->ready(q);
        if (!ready && w->now - q->last_ready >= limit && !in_use(w, q)) {
            polling_end(w, q);
            /* It asks for a kick and looks once more: what came in between would not be told. */
            ready = q->port->ops->notify(q, true);
        }
        if (ready) {
            worker_wake(w, q);
            any = true;
        }
    }
    return any;
}

bool polling_peek(struct worker *w, unsigned most)
{
    bool any = false;
    uint64_t now = w->looked > w->now ? w->looked : w->now;
    unsigned n = most < w->n_quiet ? most : w->n_quiet;
    for (unsigned i = 0; i < n; i++) {
        struct rxq *q = w->quiet;
        w->quiet = q->next_quiet;
        if (atomic_load_explicit(&q->port->underlay, memory_order_relaxed) && now - q->last_ready < w->slice / UPLINK_REST)
            continue;
        if (q->port->ops->ready(q)) {
            worker_wake(w, q);
            any = true;
        }
    }
    return any;
}
