/* A device that the host goes on using: of what it receives, the switch takes the VTEP's, and the kernel's stack has the rest. One rule in
 * two programs: at the driver for AF_XDP (xdp_program.h), and as a filter of an AF_PACKET socket.
 *
 * Taken are UDP datagrams to the VTEP's addresses and port, over IPv4 (options or not) and over IPv6 without extension headers. Not those in
 * a VLAN, nor fragments, the first ones included: the kernel puts them together. Where the addresses are the switch's own, what asks and
 * answers for them is taken too: ARP whose target is the address, neighbour solicitations of it and advertisements to it.
 *
 * Functions return 0 or a descriptor, or a negative errno with a fault. Main thread. */
#ifndef VSWITCH_STEERING_H
#define VSWITCH_STEERING_H
#include <stdint.h>
#include "base/fault.h"

struct steering {              /* what is the VTEP's; all zero: nothing */
    uint32_t local4;           /* as on the wire; 0 = none */
    uint16_t port;             /* as on the wire */
    uint16_t own;              /* 1 = the kernel doesn't have the addresses */
    uint8_t local6[16];        /* zero = none */
};

struct steerer {               /* maps that a program looks into */
    int rule_fd, passed_fd;    /* -1: none */
};

/* It takes nothing until it is told what. */
int steerer_open(struct steerer *s, unsigned n_queues, fault *f);
void steerer_close(struct steerer *s);
/* From now on these are taken. */
void steerer_set(struct steerer *s, const struct steering *what);
/* How many packets of a queue (of a filter: 0) were left to the kernel. */
uint64_t steerer_passed(const struct steerer *s, unsigned queue);
/* Programs, as descriptors. What is taken goes to the queue's socket in the map, if there is one. */
int steerer_load_xdp(const struct steerer *s, int sockets_fd, fault *f);
int steerer_load_filter(const struct steerer *s, fault *f);

#endif
