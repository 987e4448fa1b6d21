/* What a packet changes in the tables: Nicira's learn and fin_timeout. Worker; the main thread carries it out soon. */
#ifndef VSWITCH_LEARN_H
#define VSWITCH_LEARN_H
#include "flow/program.h"
#include "path/worker.h"

void learn(struct worker *w, struct wtenant *t, struct bridge *b, struct learned *l);
void fin_timeout(struct worker *w, struct wtenant *t, struct bridge *b, struct rule *r, uint16_t idle, uint16_t hard);

#endif
