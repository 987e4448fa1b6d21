/* A batch of one tenant's packets through all stages. */
#ifndef VSWITCH_PROCESS_H
#define VSWITCH_PROCESS_H
#include "path/worker.h"

/* Notes where received packets came from, counts them, and drops those that the port may not take. Returns how many stay. */
unsigned receive(struct worker *w, struct wtenant *t, struct port *p, struct port_io *io, struct packet **batch, unsigned n);

#endif
