/* A bundle of flow_mods: made one after the other, in force at one moment, or not at all (OpenFlow 1.4.1, 6.8; atomic and
 * ordered at once). Main thread. While a bridge has a bundle, flow_mod() makes its changes for the bridge's next version, which
 * no packet sees; nothing else may change the bridge's rules then. */
#ifndef VSWITCH_BUNDLE_H
#define VSWITCH_BUNDLE_H
#include "flow/table.h"

enum bundle_removal { BUNDLE_DELETED, BUNDLE_REPLACED };

/* 0, or -EBUSY. `owner` is whose connection it came on. */
int bundle_open(struct bridge *b, uint64_t owner, fault *f);
uint64_t bundle_owner(const struct bridge *b);
/* Notes that something was refused; and whether that was so. */
void bundle_fail(struct bridge *b);
bool bundle_failed(const struct bridge *b);
/* Brings everything into force. */
void bundle_commit(struct bridge *b);
/* Takes everything back. */
void bundle_discard(struct bridge *b);

/* What flow_mod() tells of: 0 or -ENOMEM. Without a bundle they do nothing. */
int bundle_added(struct bridge *b, struct rule *r, fault *f);
int bundle_removed(struct bridge *b, struct rule *r, enum bundle_removal how, fault *f);
/* Whether the rule is one that must stay as it is until the commit. */
bool bundle_keeps(const struct bridge *b, const struct rule *r);

#endif
