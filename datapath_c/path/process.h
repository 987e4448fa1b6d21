/* A batch of one tenant's packets through all stages. */
#ifndef VSWITCH_PROCESS_H
#define VSWITCH_PROCESS_H
#include "path/worker.h"

/* What a port has received: notes where it came from, counts it, drops what the port may not take, takes the rest through all stages
 * and sends what comes of it. */
void process_received(struct worker *w, struct wtenant *t, struct port *p, struct port_io *io, struct packet **batch, unsigned n);

#endif
