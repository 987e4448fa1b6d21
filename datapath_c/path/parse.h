/* Second stage: frame to key. */
#ifndef VSWITCH_PARSE_H
#define VSWITCH_PARSE_H
#include "base/packet.h"

/* Fills p->key.key's header fields and p's offsets from the frame. Fields of the pipeline (in_port, bridge, metadata,
 * tunnel) are left as they are. Reads nothing past p->len. A header that is cut short ends the parse: what lies behind it
 * counts as absent, and p->malformed is set when the frame contradicts itself (IPv4 length beyond the frame, say). */
void parse(struct packet *p);
/* The same for a batch. Returns whether any of it is malformed. */
bool parse_all(struct packet **packets, unsigned n);

#endif
