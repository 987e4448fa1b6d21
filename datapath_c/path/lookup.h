/* Third stage: key to megaflow, from the tenant's caches. */
#ifndef VSWITCH_LOOKUP_H
#define VSWITCH_LOOKUP_H
#include "flow/cache.h"
#include "path/worker.h"

/* Fills hits[i] with the current megaflow of packets[i], or NULL where the tables must be asked; stale[i] is then the
 * out-of-date megaflow in its place, or NULL. */
void lookup(struct worker *w, struct wtenant *t, struct packet **packets, unsigned n, struct megaflow **hits);

/* The tenant's caches on this worker, made when needed; NULL without memory (or caches). */
struct cache *lookup_cache(const struct worker *w, struct wtenant *t);

/* The megaflow of all that the port receives, if the port alone decides and what is to be done needs nothing of the headers; else
 * NULL, and packets go through parse and lookup. */
struct megaflow *lookup_direct(struct worker *w, struct wtenant *t, struct port *in);

#endif
