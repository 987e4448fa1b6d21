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

#endif
