/* Fourth stage: carry the program out. */
#ifndef VSWITCH_ACT_H
#define VSWITCH_ACT_H
#include "flow/cache.h"
#include "flow/program.h"
#include "path/worker.h"

/* Carries out a cached program, counts the packet on its rules, and takes over the reference. */
void act(struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p, const struct program *program);

/* Carries out ops and gives the packet back as they leave it, or NULL when it was consumed (a TTL ran out, no buffer). */
struct packet *act_run(struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p, const struct op *ops,
                       unsigned n);

/* The same for a batch of one port's, of so many bytes, and a raw program, which is the megaflow's: the packets need not be parsed. */
void act_raw(struct worker *w, struct wtenant *t, struct port *in, struct packet **packets, unsigned n, uint64_t bytes,
             const struct megaflow *m);

#endif
