/* The front-end of vhost-user, with a guest's memory and driver rings behind it: what QEMU and its guest do together. Drives any
 * back-end (this switch, Open vSwitch with DPDK). */
#ifndef VSWITCH_GUEST_PORT_H
#define VSWITCH_GUEST_PORT_H
#include "bench/guest_ring.h"

#define GUEST_MAX_PAIRS 16

struct guest_port {
    const char *path;
    bool listen;               /* at the socket; else connect to it */
    bool packed, mergeable, event_idx, in_order, offloads, udp_offloads, indirect;
    unsigned n_pairs;
    uint16_t size;             /* of a ring, a power of two */
    uint32_t buffer_len;       /* bytes of a buffer to receive into, its header included */
    uint32_t frame_max;        /* longest frame to be sent */
    bool huge;                 /* memory of huge pages, where there are some */
    int fd, memory_fd;
    uint8_t *memory;
    uint64_t memory_size, features;
    struct guest_ring rings[2 * GUEST_MAX_PAIRS];  /* 2i receives, 2i + 1 sends */
};

/* With the shape filled in: makes the memory, finds the back-end (waiting up to `seconds` for it), sets everything up. NULL, or what
 * was wrong. */
const char *guest_port_open(struct guest_port *p, double seconds);
void guest_port_close(struct guest_port *p);

#endif
