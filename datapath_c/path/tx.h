/* Last stage: packets gathered per port are handed to its driver. */
#ifndef VSWITCH_TX_H
#define VSWITCH_TX_H
#include "path/worker.h"

/* Adds a packet (with a reference of its own) to what the port will send at the end of the batch. */
void tx_stage(struct worker *w, struct wtenant *t, struct port *out, struct packet *p);
/* The same for many, whose references it takes over. */
void tx_stage_all(struct worker *w, struct wtenant *t, struct port *out, struct packet **packets, unsigned n);
/* Sends everything staged. Charged to the running tenant. */
void tx_flush(struct worker *w, struct wtenant *t);

#endif
