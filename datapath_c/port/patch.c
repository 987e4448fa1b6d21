/* A cable between two bridges of one tenant. Nothing is received or sent by a driver: path/output.c moves the packet. */
#include "port/port.h"

static int patch_open(struct port *p, struct dp_port *conf, fault *f)
{
    return 0;
}

static void patch_close(struct port *p, bool keep)
{
}

static void patch_tx(struct port *p, struct port_io *io, struct packet **packets, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        packet_unref(packets[i]);
}

const struct port_ops patch_ops = {.name = "patch", .open = patch_open, .close = patch_close, .rx = rxq_pop,
                                   .tx = patch_tx};
