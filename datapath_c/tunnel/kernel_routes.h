/* An uplink's remotes as the kernel would reach them: its routes and neighbours of one device, in the datapath's network namespace,
 * followed by rtnetlink. Main thread, but for kernel_routes_want. */
#ifndef VSWITCH_KERNEL_ROUTES_H
#define VSWITCH_KERNEL_ROUTES_H
#include "base/fault.h"
#include "base/watch.h"
#include "tunnel/neighbour.h"

struct kernel_routes {
    struct watch changes;      /* the kernel's announcements */
    struct watch wanted;       /* an eventfd: workers want to know */
    int watch_fd;              /* the set that both are in */
    int ask_fd;
    int ifindex;               /* 0: there is no such device */
    char device[16];
    _Atomic uint64_t mac;      /* the device's; as in struct neighbour */
    struct neighbours *neighbours;
    uint32_t sequence;
    uint64_t lookups;          /* of routes, since the beginning */
    uint64_t announcements;
};

/* Begins to follow; the device may come later. 0 or a negative errno with a fault. `watch_fd`: a struct datapath's. */
int kernel_routes_begin(struct kernel_routes *k, int watch_fd, const char *device, struct neighbours *n, fault *f);
/* Ends it; workers may still want to know until kernel_routes_free. No effect on one that was not begun. */
void kernel_routes_end(struct kernel_routes *k);
void kernel_routes_free(struct kernel_routes *k);
/* The entry is not known, or was not heard of for long: the kernel is asked, and asks its neighbours. Any thread. */
void kernel_routes_want(struct kernel_routes *k, struct neighbour *e);

#endif
