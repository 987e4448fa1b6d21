/* Checking of instruction and action lists (OpenFlow 1.3.5, 7.2.4 and 7.2.5), before anything is stored. */
#ifndef VSWITCH_INSTRUCTIONS_H
#define VSWITCH_INSTRUCTIONS_H
#include "flow/match.h"

/* Checks instruction TLVs for a rule of `table_id` with match `m`: lengths, types, ports, prerequisites of set-field,
 * order and consistency. 0, or -EINVAL with the fault that the specification names. */
int instructions_check(const uint8_t *data, size_t len, uint8_t table_id, const struct match *m, fault *f);
/* Checks an action list. `packet_out` allows output to OFPP_TABLE. */
int actions_check(const uint8_t *data, size_t len, const struct match *m, bool packet_out, fault *f);
/* Whether some action outputs to `port`, resp. to `group` (flow-mod's and multipart's out_port, out_group). */
bool instructions_output(const uint8_t *data, size_t len, uint32_t port, uint32_t group);

#endif
