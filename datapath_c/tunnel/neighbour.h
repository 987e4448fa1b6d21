/* Remote tunnel end points as an uplink needs them: each with the Ethernet address that its frames go to. Any worker reads and asks; what
 * is told comes from one worker, which sees the uplink's ARP and neighbour discovery (ask.h), or from the main thread, which follows the
 * kernel's tables (kernel_routes.h). Entries stay as long as the VTEP. */
#ifndef VSWITCH_NEIGHBOUR_H
#define VSWITCH_NEIGHBOUR_H
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include "channel/contract.h"

#define MAX_NEIGHBOURS 1024        /* a power of two; remotes beyond three quarters of it are not resolved */

enum neighbour_use { NEIGHBOUR_FREE, NEIGHBOUR_BEGUN, NEIGHBOUR_THERE };

struct neighbour {
    _Atomic uint32_t use;      /* enum neighbour_use; `ip` is good from NEIGHBOUR_THERE on */
    struct dp_addr ip;
    _Atomic uint32_t asked;    /* seconds, when it was last asked for; 0 = never */
    _Atomic uint32_t heard;    /* seconds, when it was last told */
    _Atomic uint64_t mac;      /* six bytes as they are on the wire, and zeroes; 0 = not known */
    _Atomic bool wanted;       /* the main thread is asked to look */
    _Atomic bool no_route;     /* the kernel has none for it */
    struct dp_addr hop;        /* the main thread's: whom the kernel's route names; all zero = none */
};

struct neighbours {
    _Atomic uint32_t n;
    struct neighbour at[MAX_NEIGHBOURS];
};

static inline bool address_is_v6(const struct dp_addr *a)
{
    static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(a->ip, v4_prefix, 12) != 0;
}

static inline bool address_is_set(const struct dp_addr *a)
{
    static const uint8_t unset[16];
    return memcmp(a->ip, unset, 16) != 0;
}

/* The entry of an address, made if need be; NULL when there is none, or there are too many. */
struct neighbour *neighbour_find(struct neighbours *n, const struct dp_addr *ip, bool make);
void neighbour_tell(struct neighbour *e, const uint8_t mac[6]);
/* Seconds for `asked` and `heard`, never 0. */
uint32_t neighbour_clock(void);

#endif
