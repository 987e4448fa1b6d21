/* Rings in memory (port_ops.ready) that a worker looks at itself while they are in use: a look costs it a few cycles, where a kick
 * costs the guest a system call. Those that nothing came to for a while are left to their descriptor again. Worker thread. */
#ifndef VSWITCH_POLLING_H
#define VSWITCH_POLLING_H
#include "path/worker.h"

/* The worker looks at the ring from now on. */
void polling_begin(struct worker *w, struct rxq *q);
void polling_end(struct worker *w, struct rxq *q);
/* Wakes the queues whose rings have something. Returns whether there was one. */
bool polling_look(struct worker *w);

#endif
