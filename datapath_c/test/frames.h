/* Frames that several tests use. */
#ifndef VSWITCH_TEST_FRAMES_H
#define VSWITCH_TEST_FRAMES_H
#include <stdint.h>
#include "base/packet.h"

/* Ethernet, IPv4 10.0.0.1 > 10.0.0.2, TCP 1000 > 80 with `payload` bytes; checksums right. Returns its length. */
uint32_t frame_tcp4(uint8_t *out, uint32_t payload);
/* Whether IPv4 header and TCP checksums are right. */
int frame_checksums_right(const uint8_t *frame, uint32_t len);
/* A packet of a pool with this frame, parsed. */
struct packet *frame_packet(struct packet_pool *pool, const uint8_t *frame, uint32_t len);

#endif
