/* What other parts of test/ need of a simulation. */
#ifndef VSWITCH_SIM_INSIDE_H
#define VSWITCH_SIM_INSIDE_H
#include <stdbool.h>
#include "path/datapath.h"
#include "test/sim.h"

struct sim *sim_new_on(uint32_t n_workers, bool virtual_clock);
struct datapath *sim_datapath(struct sim *s);

#endif
