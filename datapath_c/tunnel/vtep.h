/* The host's VXLAN tunnel end point (RFC 7348): one UDP port that all tenants' tunnels share.
 *
 * What arrives is told apart first and cheaply: by VNI to one of VTEP_RECEIVERS sockets in the kernel (SO_REUSEPORT with a filter
 * that reads it), each with a buffer of its own, of which the worker takes a batch from each that has something in turn; then outer
 * header to VNI to port, and that port's bounded queue. So a flood on one VNI, or on an unknown one, fills one socket; the others'
 * packets neither wait behind it nor are lost for it. The time this takes is charged to the tenants whose packets they are. Worker 0
 * receives; any worker sends. */
#ifndef VSWITCH_VTEP_H
#define VSWITCH_VTEP_H
#include <netinet/in.h>
#include "path/datapath.h"
#include "port/port.h"
#include "tunnel/uplink.h"

#define VTEP_PORT 4789
#define VTEP_SENDERS 8         /* sockets to send from: their ports are the flow entropy of RFC 7348, 5 */
#define VTEP_RECEIVERS 16      /* sockets to receive from, by VNI */
#define VXLAN_HEADER 8

struct worker;

struct vni_map {
    uint32_t n;
    struct {
        uint32_t vni;
        struct port *port;
    } at[];                    /* by rising vni */
};

struct vtep {
    struct dp_vtep conf;
    int receive[2][VTEP_RECEIVERS];    /* IPv4, IPv6; -1 = none */
    int ready_fd;              /* an epoll of these, which the worker's waits for */
    uint64_t ready;            /* those that may have something: bits by family and receiver; worker 0's */
    unsigned next;             /* the first to look at */
    int send[2][VTEP_SENDERS];
    struct vni_map *_Atomic vnis;
    struct uplink uplink;      /* where conf names one: then there are no sockets but those of "any" IPv6 address */
    uint64_t cost[2];          /* cycles of a packet received, moving average; worker 0's */
};

/* Opens, or opens anew, the end point. On failure the old one stays. */
int vtep_set(struct datapath *dp, const struct dp_vtep *conf, fault *f);
void vtep_close(struct datapath *dp);
/* A VNI belongs to a port from now on; EEXIST if it has one. */
int vtep_add_port(struct datapath *dp, uint32_t vni, struct port *p, fault *f);
void vtep_forget_port(struct datapath *dp, struct port *p);
/* A turn's worth of receiving, queued on its ports. Returns the cycles that nobody else is charged; `*more`: there may be more
 * to receive. Worker 0. */
uint64_t vtep_receive(struct vtep *v, struct worker *w, bool *more);
/* Whose a VNI is, and its port; NULL and NULL when it is nobody's. Worker 0, as the next two. */
struct wtenant *vtep_owner(const struct vtep *v, struct worker *w, uint32_t vni, struct port **port);
/* Drops a packet that its tenant has no room for, resp. that is nobody's. */
void vtep_lose(struct worker *w, struct wtenant *t, const struct port *port, struct packet *p);
void vtep_nobodys(struct worker *w, struct packet *p, enum drop why);
/* Whether worker 0 has sockets of tunnels to receive from. Any thread. */
bool vtep_listens(const struct datapath *dp);
/* The socket for a flow of `hash` to an IPv4 (v6 = 0) or IPv6 address, or -1. */
int vtep_socket(const struct vtep *v, int v6, uint32_t hash);

#endif
