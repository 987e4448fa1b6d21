/* A port without a device, for tests: frames are injected and collected through the channel or in process. */
#include "port/dummy.h"
#include <pthread.h>
#include <stdlib.h>

#define MAX_KEPT 4096              /* frames, */
#define MAX_KEPT_BYTES (1 << 20)   /* and their bytes */

struct kept {
    struct kept *next;
    uint32_t len;
    struct vnet_hdr vnet;
    uint8_t frame[];
};

struct dummy {
    pthread_mutex_t lock;
    struct kept *first, **last;
    unsigned n;
    size_t bytes;
};

static int dummy_open(struct port *p, struct dp_port *conf, fault *f)
{
    struct dummy *d = calloc(1, sizeof *d);
    if (!d)
        return fault_set(f, 12, "", "out of memory");
    pthread_mutex_init(&d->lock, NULL);
    d->last = &d->first;
    p->driver = d;
    return 0;
}

static void dummy_close(struct port *p, bool keep)
{
    struct dummy *d = p->driver;
    while (d->first) {
        struct kept *k = d->first;
        d->first = k->next;
        free(k);
    }
    pthread_mutex_destroy(&d->lock);
    free(d);
}

static void dummy_tx(struct port *p, struct port_io *io, struct packet **packets, unsigned n)
{
    struct dummy *d = p->driver;
    pthread_mutex_lock(&d->lock);
    for (unsigned i = 0; i < n; i++) {
        bool room = d->n < MAX_KEPT && d->bytes + packets[i]->len <= MAX_KEPT_BYTES;
        struct kept *k = room ? malloc(sizeof *k + packets[i]->len) : NULL;
        if (k) {
            k->next = NULL;
            k->len = packets[i]->len;
            k->vnet = packets[i]->vnet;
            memcpy(k->frame, packets[i]->data, k->len);
            *d->last = k;
            d->last = &k->next;
            d->n++;
            d->bytes += k->len;
            io->counters->tx_packets++;
            io->counters->tx_bytes += k->len;
        } else {
            io->counters->tx_drops++;
            io->drops[DROP_TX_FULL]++;
        }
        packet_unref(packets[i]);
    }
    pthread_mutex_unlock(&d->lock);
}

bool dummy_collect(struct port *p, uint8_t *frame, uint32_t size, uint32_t *len, struct vnet_hdr *vnet)
{
    struct dummy *d = p->driver;
    pthread_mutex_lock(&d->lock);
    struct kept *k = d->first;
    if (k && k->len <= size) {
        d->first = k->next;
        if (!d->first)
            d->last = &d->first;
        d->n--;
        d->bytes -= k->len;
    }
    pthread_mutex_unlock(&d->lock);
    if (!k || k->len > size)
        return false;
    memcpy(frame, k->frame, k->len);
    *len = k->len;
    *vnet = k->vnet;
    free(k);
    return true;
}

const struct port_ops dummy_ops = {.name = "dummy", .raw = true, .open = dummy_open, .close = dummy_close, .rx = rxq_pop,
                                   .tx = dummy_tx};
