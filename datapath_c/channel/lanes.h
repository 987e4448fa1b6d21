/* The main thread's work, a lane a tenant: requests about a tenant's bridges are carried out in the order in which they came, but
 * whose turn it is among tenants is decided by weighted fair queueing over the main thread's time, in slices. So one tenant's
 * controller that sends a million flow-mods, or asks for statistics in a loop, delays another's requests by a slice.
 *
 * A handler that isn't through when lanes_slice_over() says so returns REQUEST_AGAIN and is called again with the same request.
 * Main thread. */
#ifndef VSWITCH_LANES_H
#define VSWITCH_LANES_H
#include "channel/server.h"

#define REQUEST_AGAIN 1

struct lanes;

struct lanes *lanes_new(struct datapath *dp);
void lanes_free(struct lanes *l);
/* Whether a request of that type is its bridge's tenant's work: then `object` is the bridge. */
bool lanes_take(uint16_t type);
/* Queues a request, which is copied. False where there is no such bridge, or no memory: carry it out at once then. */
bool lanes_add(struct lanes *l, struct client *c, const struct dp_msg *m, const uint8_t *body);
/* Goes on for about `cycles`. Returns whether there is more that could be done at once. */
bool lanes_run(struct lanes *l, uint64_t cycles);
/* The client is gone, and with it its requests. */
void lanes_forget(struct lanes *l, struct client *c);
/* A reply in many parts, of the request that is being carried out. */
int lanes_continue(struct lanes *l, struct client *c, const struct dp_msg *request,
                   bool (*step)(struct client *, const struct dp_msg *, void *), void (*release)(void *), void *context,
                   fault *f);

/* Whether there are parts of replies that wait for a client to read what it got, which nothing tells of, as another tenant's requests
 * come and are to find little in front of their answers. */
bool lanes_wait_for_reader(const struct lanes *l);

/* For handlers: whether requests of several tenants come, so that parts of a reply are to be short. */
bool lanes_beside(const struct client *c);

/* For handlers: whether to make way, and where what was begun is kept (freed with free()). */
bool lanes_slice_over(const struct client *c);
void **lanes_state(struct client *c);

#endif
