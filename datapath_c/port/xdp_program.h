/* The XDP program that hands what an interface's queues receive to AF_XDP sockets, one a queue. What comes on a queue without a socket
 * goes to the kernel's stack, as without the program; with a steerer, so does what isn't the VTEP's.
 *
 * It hangs on a BPF link, whose descriptor is ours alone: when the datapath ends, however it does, the kernel removes the program.
 * Functions return 0 or a negative errno with a fault. Main thread. */
#ifndef VSWITCH_XDP_PROGRAM_H
#define VSWITCH_XDP_PROGRAM_H
#include <stdbool.h>
#include "port/steering.h"

struct xdp_program {
    int map_fd, link_fd;       /* -1: none */
};

/* `native`: in the driver, else in the kernel's generic way, which copies. `steerer` may be NULL. -EBUSY where another program is on the
 * interface. */
int xdp_program_attach(struct xdp_program *x, int ifindex, unsigned n_queues, bool native, const struct steerer *steerer, fault *f);
/* From now on the queue's packets go to the socket. */
int xdp_program_steer(struct xdp_program *x, unsigned queue, int socket_fd, fault *f);
void xdp_program_detach(struct xdp_program *x);

#endif
