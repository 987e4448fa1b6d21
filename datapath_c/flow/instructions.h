/* Checking of instructions (OpenFlow 1.3.5, 7.2.4), before anything is stored. */
#ifndef VSWITCH_INSTRUCTIONS_H
#define VSWITCH_INSTRUCTIONS_H
#include "flow/match.h"

struct bridge;

/* Checks instruction TLVs for a rule of `table_id` with match `m`: lengths, types, ports, prerequisites of set-field,
 * order and consistency. 0, or -EINVAL with the fault that the specification names. */
int instructions_check(const struct bridge *b, const uint8_t *data, size_t len, uint8_t table_id, const struct match *m,
                       fault *f);
/* Whether some action outputs to `port`, resp. to `group` (flow-mod's and multipart's out_port, out_group). */
bool actions_output(const uint8_t *actions, size_t len, uint32_t port, uint32_t group);
/* Whether the instructions, or an action of theirs, name the meter. */
bool instructions_meter(const uint8_t *data, size_t len, uint32_t meter);
bool instructions_output(const uint8_t *data, size_t len, uint32_t port, uint32_t group);

#endif
