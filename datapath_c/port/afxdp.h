/* netdev ports through AF_XDP: a socket a queue of the interface, past the kernel's stack. */
#ifndef VSWITCH_AFXDP_H
#define VSWITCH_AFXDP_H
#include "port/port.h"

extern const struct port_ops afxdp_ops;

/* Makes the port one through AF_XDP as conf->xdp_mode and conf->busy_poll say; its interface is up, and p->mtu set. 0, or a negative errno
 * with a fault, and nothing changed. */
int afxdp_open(struct port *p, const struct dp_port *conf, int ifindex, fault *f);

#endif
