/* Frames that arrive at a port otherwise than from its device: at a dummy port; what a driver says for its guest. */
#include <errno.h>
#include <stdlib.h>
#include "path/worker.h"

struct injection {
    struct letter letter;
    uint32_t slot;
    struct port *port;
    uint32_t len;
    struct vnet_hdr vnet;
    uint8_t frame[];
};

static void arrive(struct letter *l, void *consumer)
{
    struct injection *i = (struct injection *)l;
    struct worker *w = consumer;
    struct port *p = w->dp->ports[i->slot];
    struct wtenant *t = p && p == i->port ? worker_tenant(w, p->bridge->tenant) : NULL;
    struct packet *packet;
    if (t && p->queues[0].registered && (packet = packet_alloc(&t->pool))) {
        packet->len = i->len;
        packet->vnet = i->vnet;
        memcpy(packet->data, i->frame, i->len);
        if (rxq_push(&p->queues[0], packet))
            worker_wake(w, &p->queues[0]);
        else
            packet_unref(packet);
    }
    free(i);
}

int datapath_inject(struct port *p, const uint8_t *frame, size_t len, const struct vnet_hdr *vnet, fault *f)
{
    if (p->ops != &dummy_ops)
        return fault_set(f, EINVAL, "port", "port %u is not a dummy", p->port_no);
    return datapath_arrive(p, frame, len, vnet, f);
}

int datapath_arrive(struct port *p, const uint8_t *frame, size_t len, const struct vnet_hdr *vnet, fault *f)
{
    if (len > PACKET_MAX)
        return fault_set(f, EINVAL, "frame", "%zu bytes", len);
    struct injection *i = malloc(sizeof *i + len);
    if (!i)
        return fault_set(f, ENOMEM, "", "out of memory");
    *i = (struct injection){.letter.fn = arrive, .slot = p->slot, .port = p, .len = (uint32_t)len};
    if (vnet)
        i->vnet = *vnet;
    memcpy(i->frame, frame, len);
    worker_post(p->bridge->dp->workers[p->queues[0].worker], &i->letter);
    return 0;
}
