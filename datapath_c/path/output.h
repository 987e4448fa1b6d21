/* Where packets leave the program: ports, floods, and the learning switch that OpenFlow calls NORMAL. The caller keeps its
 * reference. */
#ifndef VSWITCH_OUTPUT_H
#define VSWITCH_OUTPUT_H
#include "path/worker.h"

/* To one port, whatever it is; stages it, or sends it through the patch. */
void output_port(struct worker *w, struct wtenant *t, struct port *out, struct packet *p);
/* To every port but the one it came from and those with OFPPC_NO_FWD: OFPP_FLOOD and OFPP_ALL, which differ only where
 * spanning tree blocks ports. */
void output_flood(struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p);
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
