/* Shared by the files that translate: translate.c walks tables, translate_actions.c has the standard's actions,
 * translate_nx.c Open vSwitch's, translate_learn.c its learn. */
#ifndef VSWITCH_TRANSLATING_H
#define VSWITCH_TRANSLATING_H
#include "base/step.h"
#include "flow/table.h"
#include "flow/translate.h"

#define TRACE(x, ...)                                                                                                  \
    do {                                                                                                               \
        if ((x)->trace)                                                                                                \
            fprintf((x)->trace, __VA_ARGS__);                                                                          \
    } while (0)

struct op *emit(struct translation *x, enum op_code code);
void emit_drop(struct translation *x, enum drop reason);
/* Room for `len` bytes that ops may point to, aligned to 8; NULL (and overflow) when there is none. */
uint8_t *emit_bytes(struct translation *x, size_t len);

/* Says that a decision depended on these bytes of the key; that they no longer depend on the packet as it arrived. */
void look_at(struct translation *x, size_t offset, size_t size);
void make_known(struct translation *x, size_t offset, size_t size);
/* Carries out what has been decided and parses the packet again, where the key isn't what the packet is any more. */
void refresh_key(struct translation *x);

#define LOOK_AT(x, member) look_at(x, offsetof(struct key, member), sizeof((struct key *)0)->member)
#define MAKE_KNOWN(x, member) make_known(x, offsetof(struct key, member), sizeof((struct key *)0)->member)

/* The field as actions so far have left it. A decision depends on it. */
u128 read_subfield(struct translation *x, const struct subfield *s);
void write_subfield(struct translation *x, const struct subfield *s, u128 value);
/* The whole field, whatever it was. */
void write_field(struct translation *x, int field, u128 value);

/* What follows is for a copy of the packet; the key is as before when it is over. */
struct saved_key {
    union key_words key;
    uint64_t known[KEY_WORDS];
    bool in_port_written, stop, stale;
    unsigned decremented[2];
};
bool section_begin(struct translation *x, struct saved_key *saved);
void section_end(struct translation *x, const struct saved_key *saved);

/* One lookup in table `id` and what its rule orders, goto-table included. `resubmitted`: a miss does nothing. */
void walk(struct translation *x, int id, bool resubmitted);

void output(struct translation *x, uint32_t port_no, uint16_t max_len);
/* One copy to port `port_no` (OFPP_IN_PORT too) through the egress tables (OpenFlow 1.5.1, 5.1 and 5.12). */
void walk_egress(struct translation *x, uint32_t port_no);
void controller(struct translation *x, uint16_t max_len, uint16_t id, uint8_t reason, const uint8_t *userdata);
void decide_push_vlan(struct translation *x, uint16_t ethertype);
void decide_pop_vlan(struct translation *x);
void dec_nw_ttl_action(struct translation *x);
void standard_action(struct translation *x, const uint8_t *a);
/* An experimenter's action of `len` bytes. */
void experimenter_action(struct translation *x, const uint8_t *a, size_t len);
void move_action(struct translation *x, const uint8_t *a, size_t len);
void group_action(struct translation *x, uint32_t id);
void meter_action(struct translation *x, uint32_t id);
/* A list of actions as an action set of its own: in the order of 5.10. */
void run_as_action_set(struct translation *x, const uint8_t *actions, size_t len);
void learn_action(struct translation *x, const uint8_t *a, size_t len);

#endif
