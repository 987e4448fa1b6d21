/* A bridge's VXLAN port: one VNI, its remote end points, and what was learned of them. */
#ifndef VSWITCH_VXLAN_H
#define VSWITCH_VXLAN_H
#include "port/port.h"

/* Replaces the list of end points that broadcast, multicast and unknown destinations go to. */
int vxlan_set_remotes(struct port *p, const struct dp_addr *addrs, uint32_t n, fault *f);
/* Copies the list; returns how many there are. */
uint32_t vxlan_remotes(const struct port *p, struct dp_addr out[DP_MAX_REMOTES]);
/* Notes behind which end point a frame's source, a MAC address, lives. Worker 0. */
void vxlan_learn(struct port *p, const uint8_t source[6], const struct dp_addr *remote, uint32_t now);

#endif
