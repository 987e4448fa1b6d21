/* A lone flow_mod with the barrier behind it, which is what `ovs-ofctl add-flows` sends over and over: from the controller's bytes
 * to the datapath's answer in one call. The control plane's event loop takes longer to turn to an answer than the datapath to give
 * it, so the answer is waited for here, for a bounded time.
 *
 * Parsed by cffi. */
#ifndef VSWITCH_EXCHANGE_H
#define VSWITCH_EXCHANGE_H
#include <stdint.h>
#include "channel/contract.h"
/* cffi: begin */

enum exchange_outcome {
    EXCHANGE_NOT = 0,      /* nothing was sent: the bytes are something else, or the channel took none */
    EXCHANGE_DONE = 1,     /* every rule is in force, the barrier is passed; the rules lie in `sent` as records of the journal */
    EXCHANGE_SENT = 2      /* sent under `xid`; what came from the datapath meanwhile lies in `got`, to be taken as usual */
};

/* One call at a time uses it. */
struct exchange {
    int32_t fd;            /* the channel's, non-blocking */
    uint32_t object;       /* the bridge */
    uint32_t xid;          /* of the channel */
    uint32_t version, form;/* of the connection: codec.h */
    uint32_t microseconds; /* that the answer is waited for */
    uint32_t n;            /* out: flow_mods */
    uint32_t at, len;      /* out, EXCHANGE_DONE: where in `sent` the records are */
    uint32_t got_len;      /* out, EXCHANGE_SENT */
    uint8_t sent[DP_MSG_MAX];
    uint8_t got[DP_MSG_MAX];
};

/* `in`: 1 to 16 whole flow_mods and one barrier request, and nothing else; else EXCHANGE_NOT. Requests of this channel must not be
 * under way: the next message is taken for the answer, or is left in `got`. */
int exchange_rules(struct exchange *x, const uint8_t *in, uint32_t len);

/* cffi: end */
#endif
