#ifndef VSWITCH_DUMMY_H
#define VSWITCH_DUMMY_H
#include "port/port.h"

/* Takes the oldest frame that the port has sent; false when there is none (or it is longer than `size`). Any thread. */
bool dummy_collect(struct port *p, uint8_t *frame, uint32_t size, uint32_t *len, struct vnet_hdr *vnet);

#endif
