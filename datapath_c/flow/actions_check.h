/* Checking of action lists, before anything is stored. actions_check.c has the standard's actions, actions_check_nx.c
 * the experimenters'. */
#ifndef VSWITCH_ACTIONS_CHECK_H
#define VSWITCH_ACTIONS_CHECK_H
#include "flow/match.h"

struct bridge;

struct actions_context {
    const struct bridge *bridge;
    uint8_t table_id;
    bool packet_out;           /* output to OFPP_TABLE is allowed */
    bool action_set;           /* of write-actions, or of a bucket */
    uint8_t depth;             /* actions that this list is inside of */
    struct match *match;       /* what is known of the packet; changed as the actions change it */
};

#define BAD_ACTION(code, ...) fault_openflow(f, OFPET_BAD_ACTION, OFPBAC_##code, "actions", __VA_ARGS__)

/* Lengths, types, ports, groups, prerequisites. 0, or -EINVAL with the fault that the specification names. */
int actions_check(const struct actions_context *c, const uint8_t *data, size_t len, fault *f);
/* One action of experimenter Nicira or ONF, of `len` bytes, 16 at least. */
int actions_check_experimenter(const struct actions_context *c, const uint8_t *a, size_t len, fault *f);
/* A move, copy-field or ONF's copy-field. */
int actions_check_move(const struct actions_context *c, const uint8_t *a, size_t len, fault *f);
int output_port_check(uint32_t port, bool packet_out, fault *f);

#endif
