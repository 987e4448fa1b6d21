/* The channel's server half: connections, framing, replies, events. Main thread. channel/contract.h says what is said. */
#ifndef VSWITCH_SERVER_H
#define VSWITCH_SERVER_H
#include "base/fault.h"
#include "path/datapath.h"

struct server;
struct client;

/* Listens on a Unix socket at `path` (replaced if it is a stale one). NULL with *error on failure. */
struct server *server_new(struct datapath *dp, const char *path, int *error);
void server_free(struct server *s);
/* Serves until DP_SHUTDOWN, SIGTERM or SIGINT; returns whether devices shall go (an orderly end). */
bool server_run(struct server *s);

/* For handlers. A reply's body is copied. */
void reply(struct client *c, const struct dp_msg *request, const void *body, size_t len);
void reply_more(struct client *c, const struct dp_msg *request, const void *body, size_t len);
/* The last reply with a descriptor beside it. */
void reply_fd(struct client *c, const struct dp_msg *request, const void *body, size_t len, int fd);
struct datapath *client_datapath(struct client *c);
void client_set_role(struct client *c, uint32_t role);
void server_stop(struct client *c);
/* A client by its number, if it is still there: for replies that come later. */
struct client *client_by_id(void *server, uint64_t id);
uint64_t client_id(const struct client *c);
void *client_server(struct client *c);

/* Carries out a request: 0 (it has replied, or will), REQUEST_AGAIN (channel/lanes.h), or a negative errno with a fault, which the server sends. */
typedef int (*handler)(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f);

struct handler_entry {
    handler fn;
    uint32_t min_len;
};

extern const struct handler_entry handlers[];
extern const unsigned n_handlers;

/* For lanes.c. Carries out a request, answers errors; returns what the handler did. */
int server_carry_out(struct client *c, const struct dp_msg *m, const uint8_t *body);
struct lanes *client_lanes(const struct client *c);
/* So many bytes more of the client's requests wait for their turn: beyond QUEUED_MAX no more are received. */
void client_queued(struct client *c, long bytes);
/* Whether so little waits for the client that it may be answered; that it may be sent parts of long replies. */
bool client_reads(const struct client *c);
bool client_has_room(const struct client *c);
/* Bytes that lie in the socket, as the kernel counts them. */
size_t client_unread(const struct client *c);

#endif
