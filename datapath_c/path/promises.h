/* What tenants were promised, turned into what the workers' schedulers go by: weights and limits. Main thread. */
#ifndef VSWITCH_PROMISES_H
#define VSWITCH_PROMISES_H
#include "path/datapath.h"

/* Whether a tenant may have this weight, cpu.min and cpu.max: cpu.min only while all of them together are no more than the
 * workers have. 0 or a negative errno with a fault. */
int promises_check(const struct datapath *dp, const struct dp_tenant *conf, fault *f);
/* The tenant's promises, or its queues, have changed. */
void promises_changed(struct datapath *dp, struct tenant *t);

#endif
