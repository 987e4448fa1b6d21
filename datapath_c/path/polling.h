/* Rings in memory (port_ops.ready) that a worker looks at itself while they are in use: a look costs it a few cycles, where a kick
 * costs the guest a system call. Those that nothing came to for a while are left to their descriptor again. Worker thread. */
#ifndef VSWITCH_POLLING_H
#define VSWITCH_POLLING_H
#include "path/worker.h"

#define RINGS 16               /* quiet ones looked at between two turns */

/* The ring has something, or is said to: it is looked at from now on, whenever it has nothing. */
void polling_begin(struct worker *w, struct rxq *q);
/* It has nothing any more. For queues without a ring, nothing happens. */
void polling_rest(struct worker *w, struct rxq *q);
void polling_end(struct worker *w, struct rxq *q);
/* Looks at the next `most` of the quiet rings and wakes those that have something. Returns whether there was one. */
bool polling_look(struct worker *w, unsigned most);
/* The same within a turn: none is left to its descriptor. */
bool polling_peek(struct worker *w, unsigned most);

#endif
