/* Where packets leave the program: ports, floods, and the learning switch that OpenFlow calls NORMAL. The caller keeps its
 * reference. */
#ifndef VSWITCH_OUTPUT_H
#define VSWITCH_OUTPUT_H
#include "path/worker.h"

/* To one port, whatever it is; stages it, or sends it through the patch. */
void output_port(struct worker *w, struct wtenant *t, struct port *out, struct packet *p);
/* To every port but the one it came from and those whose config has one of the bits `without`. */
#define ALL_WITHOUT (OFPPC_PORT_DOWN | OFPPC_NO_FWD)               /* OFPP_ALL */
#define FLOOD_WITHOUT (ALL_WITHOUT | OFPPC_NO_FLOOD)               /* OFPP_FLOOD, and what NORMAL floods */
void output_flood(struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p, uint32_t without);
/* What OFPP_NORMAL comes to: one port, or a flood, or neither (counted why). */
struct normal {
    struct port *out;
    bool flood;
};
/* For a packet of these addresses that came from `in` (NULL: the controller). Learns the source. */
struct normal normal_decide(struct worker *w, struct wtenant *t, struct bridge *b, struct port *in, const uint8_t dst[6],
                            const uint8_t src[6], uint16_t vlan);
/* OFPP_NORMAL: learn the source, send to where the destination was learned, else flood. One table per VLAN id. */
void output_normal(struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p);

#endif
