#include "port/port.h"

unsigned rxq_pop(struct rxq *q, struct port_io *io, struct packet **out, unsigned max)
{
    unsigned n = 0;
    while (n < max && q->head) {
        struct packet *p = q->head;
        q->head = p->next;
        p->next = NULL;
        out[n++] = p;
    }
    if (!q->head)
        q->tail = NULL;
    q->n -= n;
    return n;
}
