/* What other switches do: a batch from each ready queue in the order in which they became ready, however long it takes and
 * whoever's it is. The same code, so that protection is compared with nothing but its absence. */
#include "sched/policy.h"

const struct policy_ops policy_none = {.name = "none", .protects = false, .add = list_add, .remove = list_remove,
                                       .pick = list_pick, .charge = list_charge};
