/* The VTEP's own ARP (RFC 826) and neighbour discovery (RFC 4861) on its uplink, where no device of the kernel's does that for it: asking
 * for remotes, answering for the VTEP's addresses, and noting what is told of remotes. A sender whom we don't send to is not noted: nobody
 * fills the table but our own remotes. */
#ifndef VSWITCH_ASK_H
#define VSWITCH_ASK_H
#include "base/packet.h"
#include "tunnel/neighbour.h"

struct vtep;
struct port;
struct port_io;
struct worker;

/* Sends a request for an address's owner, from the VTEP's address of its family. */
void ask_send(struct port *up, const struct vtep *v, struct port_io *io, const struct dp_addr *ip);
/* Whether the frame was for the VTEP alone: then it is answered, and the caller's to free. One of more than 42 bytes. */
bool ask_take(struct worker *w, struct port *up, struct vtep *v, const struct packet *p);

#endif
