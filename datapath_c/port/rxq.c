#include "port/port.h"

unsigned rxq_pop(struct rxq *q, struct port_io *io, struct packet **out, unsigned max)
{
    unsigned n = 0;
    struct packet *p = q->head;
    for (; n < max && p; p = p->queued)
        out[n++] = p;
    q->head = p;
    if (!p)
        q->tail = NULL;
    q->n -= n;
    return n;
}
