/* Packets to the controller. The worker makes a bounded number of them a bridge; the main thread gives them buffers and
 * passes them to the channel. One that comes alone and needs no buffer, the worker writes to the channel itself. */
#ifndef VSWITCH_PACKET_IN_H
#define VSWITCH_PACKET_IN_H
#include "flow/program.h"
#include "path/worker.h"

/* OP_CONTROLLER, with the OP_CONTEXTs from `context` to before it; the caller keeps its reference. A GSO packet goes as its
 * segments. */
void packet_in(struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p, const struct op *context,
               const struct op *op);
/* A TTL ran out: OFPR_INVALID_TTL, with miss_send_len bytes. */
void packet_in_ttl(struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p);

/* Main thread: the packet behind a buffer id, or NULL. The caller frees data with free(); the buffer is empty then. */
uint8_t *buffer_take(struct bridge *b, uint32_t id, uint32_t *in_port, uint32_t *len);

#endif
