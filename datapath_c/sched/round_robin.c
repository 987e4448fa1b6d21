/* Turn about: everybody gets a slice, whatever their weight; who used less of it gets nothing for that. */
#include "sched/policy.h"

const struct policy_ops policy_round_robin = {.name = "round-robin", .protects = true, .add = list_add, .remove = list_remove,
                                              .pick = list_pick, .charge = list_charge};
