/* A bridge's rules as the main thread keeps them: in their tables' classifiers, in lists, in the tenant's account. */
#ifndef VSWITCH_RULE_LIST_H
#define VSWITCH_RULE_LIST_H
#include "flow/table.h"

/* A walk through a table's rules that is interrupted while rules come and go. */
struct cursor {
    struct cursor *next;
    struct rule *at;           /* where to go on, or NULL at the table's end */
    struct bridge **bridge;    /* of whose it is; set to NULL when the bridge goes */
};

/* The bridge goes: walks through its rules are over. */
void cursors_end(struct bridge *b);
/* The table, made if it isn't there; NULL without memory. */
struct table *bridge_table(struct bridge *b, uint8_t id);
/* Puts in a rule with its instructions; 0 or -ENOMEM. */
int rule_link(struct table *t, struct rule *r, const struct match *m, uint16_t priority);
/* Takes a rule out; workers may go on using it until they are quiescent. */
void rule_unlink(struct rule *r);
/* Removes every rule of a table, as rule_remove with OFPRR_DELETE does. Not while a bundle is put together. */
void table_remove_all(struct table *t);
/* The same, told of to whoever wants to know. `reason` is OFPRR_*. */
void rule_remove(struct rule *r, uint8_t reason);
/* Removes what rules removed before had taught. Called when a change of rules is done. */
void bridge_forget(struct bridge *b);
void rule_list_timed(struct rule *r);
void rule_unlist_timed(struct rule *r);
/* 0 or -ENOMEM. */
int rule_set_instructions(struct rule *r, const uint8_t *bytes, uint32_t len);
void rule_set_cookie(struct rule *r, uint64_t cookie);
void rule_reset_counts(struct rule *r);
/* Tells those who watch the bridge; not while a bundle is put together. `what` is enum dp_update. */
void rule_changed(const struct rule *r, uint16_t what, uint8_t reason);

/* The version that changes are made for: of a bundle's, while one is put together. */
static inline uint32_t bridge_pending_version(const struct bridge *b)
{
    return atomic_load_explicit(&((struct bridge *)b)->version, memory_order_relaxed) + (b->bundle != NULL);
}

#endif
