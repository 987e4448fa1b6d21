#include "path/polling.h"

#define QUIET_US 50            /* a ring is left after so long without a packet, */
#define QUIET_POLL_US 20000    /* or with --poll, where nothing is saved by it but the looks */

void polling_begin(struct worker *w, struct rxq *q)
{
    q->last_ready = w->now;
    if (q->polled)
        return;
    q->polled = true;
    q->next_polled = w->polled;
    w->polled = q;
    q->port->ops->notify(q, false);
}

void polling_end(struct worker *w, struct rxq *q)
{
    if (!q->polled)
        return;
    struct rxq **link = &w->polled;
    while (*link != q)
        link = &(*link)->next_polled;
    *link = q->next_polled;
    q->polled = false;
}

bool polling_look(struct worker *w)
{
    bool any = false;
    uint64_t limit = clock_from_us(w->dp->poll ? QUIET_POLL_US : QUIET_US);
    for (struct rxq *q = w->polled, *next; q; q = next) {
        next = q->next_polled;
        if (q->active) {
            q->last_ready = w->now;
            continue;
        }
        bool ready = q->port->ops->ready(q);
        if (!ready && w->now - q->last_ready >= limit) {
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
