/* Any bytes as a guest's memory with both rings in it: what the guest sends is received, and frames are sent to it. The guest
 * changes its mind between two steps. Input: what was negotiated, changes (place, value), then the memory. */
#include <stdlib.h>
#include <string.h>
#include "port/vhost.h"

#define MEMORY 16384
#define CHANGES 8
#define SIZE 16
#define GUEST 0x10000

static struct packet_pool pool;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return packet_pool_init(&pool, 256);
}

static void place(struct vhost_ring *v, uint8_t *memory, unsigned at, uint8_t what)
{
    v->packed = what & 1;
    v->event_idx = what & 2;
    v->indirect = what & 4;
    v->mergeable = what & 8;
    v->header = what & 16 || v->mergeable ? 12 : 10;
    v->offload_csum = what & 32;
    v->offload_tso4 = v->offload_tso6 = v->offload_ufo = v->offload_uso4 = v->offload_uso6 = what & 64;
    v->in_order = what & 128;
    v->size = SIZE;
    v->mask = SIZE - 1;
    v->base = v->packed ? 1 << 15 : 0;
    v->call_fd = v->err_fd = v->kick_fd = -1;
    v->desc = (struct vring_desc *)(memory + at);
    v->driver = (struct vring_avail *)(memory + at + 256);
    v->device = (struct vring_used *)(memory + at + 320);
    if (v->packed)
        packed_place(v);       /* where a datapath that died may have been */
    else
        split_place(v);
    v->seen = v->taken = v->seen_at = v->avail;
    v->seen_wrap = v->avail_wrap;
    atomic_store(&v->running, true);
}

static unsigned receive(struct vhost_ring *v, struct port_io *io, struct packet **out, unsigned max)
{
    if (!atomic_load(&v->running))
        return 0;
    return v->packed ? packed_rx(v, io, out, max) : split_rx(v, io, out, max);
}

static void deliver(struct vhost_ring *v, struct port_io *io, struct packet **packets, unsigned n)
{
    if (!atomic_load(&v->running))
        return;
    if (v->packed)
        packed_tx(v, io, packets, n);
    else
        split_tx(v, io, packets, n);
}

static void check(bool good)
{
    if (!good)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vhost d;
    static struct packet *loans[SIZE];
    static struct vhost_back back[SIZE];
    struct dp_shm_port counters = {0};
    uint64_t drops[DP_N_DROPS] = {0};
    struct port_io io = {.pool = &pool, .counters = &counters, .drops = drops};
    if (size < 1 + 3 * CHANGES)
        return 0;
    /* Of its own size each time, so that the sanitizer sees a byte beyond. */
    uint8_t *memory = aligned_alloc(16, MEMORY);
    memset(memory, 0, MEMORY);
    size_t n = size - 1 - 3 * CHANGES;
    memcpy(memory, data + 1 + 3 * CHANGES, n < MEMORY ? n : MEMORY);
    memset(&d, 0, sizeof d);
    memset(loans, 0, sizeof loans);
    d.memory.n = 1;
    d.memory.at[0] = (struct vhost_region){.guest = GUEST, .size = MEMORY, .host = memory};
    for (unsigned i = 0; i < 2; i++) {
        d.rings[i].dev = &d;
        d.rings[i].memory = &d.memory;
        place(&d.rings[i], memory, i * 512, data[0]);
    }
    struct vhost_ring *in = &d.rings[1], *out = &d.rings[0];
    in->loans = loans;
    in->back = back;
    in->lender.take_back = in->packed ? packed_take_back : split_take_back;
    for (unsigned i = 0; i < CHANGES; i++) {
        struct packet *packets[VHOST_BURST];
        const uint8_t *change = data + 1 + 3 * i;
        unsigned got = receive(in, &io, packets, VHOST_BURST);
        for (unsigned k = 0; k < got; k++)
            check(packets[k]->len >= 14 && packets[k]->len <= PACKET_MAX);
        memory[(change[0] << 8 | change[1]) % MEMORY] = change[2];
        if (i & 1)
            split_recall(in);
        deliver(out, &io, packets, got);
        memory[(change[0] << 8 | change[1]) % MEMORY] ^= 0xff;
        for (unsigned k = 0; k < got; k++) {
            if (k & 1)
                packet_whole(packets[k]);
            packet_unref(packets[k]);
        }
        if (in->packed)
            packed_notify(in, i & 2);
        else
            split_notify(in, i & 2);
    }
    check(pool.n_free == pool.n && !in->n_loans);
    free(memory);
    return 0;
}
