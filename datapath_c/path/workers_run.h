/* Calls from the main thread that workers carry out between two turns. */
#ifndef VSWITCH_WORKERS_RUN_H
#define VSWITCH_WORKERS_RUN_H
#include "path/worker.h"

/* Calls fn(worker, arg) on every worker's thread and waits until all have returned. */
void workers_run(struct datapath *dp, void (*fn)(struct worker *w, void *arg), void *arg);

/* In the place of a worker that sleeps, the main thread may do what takes no longer than a packet: waking it would take as long.
 * False: it is awake, or was told something. What is done is charged as the worker's own work is. */
bool worker_borrow(struct worker *w);
/* Wakes the worker if there is something left to do. */
void worker_give_back(struct worker *w);

/* A worker begins, or ends, to look after a queue. Worker thread. */
void worker_watch(struct worker *w, struct rxq *q);
void worker_unwatch(struct worker *w, struct rxq *q);
/* The first half of the end, within a turn of the queue's tenant: the queue stays where it is, and what it has waits. */
void worker_let_go(struct worker *w, struct wtenant *t, struct rxq *q);

#endif
