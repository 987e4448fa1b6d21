/* Any bytes as what the tunnel's socket hands over: a train, then each inner frame's offloads. */
#include <stdlib.h>
#include "base/bytes.h"
#include "port/port.h"
#include "tunnel/inner.h"
#include "tunnel/train.h"
#include "tunnel/vtep.h"

static struct packet_pool pool;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return packet_pool_init(&pool, 256);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct packet *parts[TRAIN_PACKETS], *segments[128];
    uint64_t lost = 0, drops[DP_N_DROPS] = {0};
    struct port_io io = {.pool = &pool, .drops = drops};
    if (size < 2 || size > 9000)
        return 0;
    struct packet *p = packet_alloc(&pool);
    p->len = (uint32_t)size - 2;
    memcpy(p->data, data + 2, p->len);
    uint32_t step = get16(data) % 2000;
    unsigned n = train_unpack(p, step > VXLAN_HEADER ? step : p->len, parts, &lost);
    for (unsigned i = 0; i < n; i++) {
        if (parts[i]->len < VXLAN_HEADER + 14) {
            packet_unref(parts[i]);
            continue;
        }
        packet_pull(parts[i], VXLAN_HEADER);
        inner_restore_offloads(parts[i], 1450);
        unsigned k = port_segment(parts[i], &io, segments, 128);
        while (k)
            packet_unref(segments[--k]);
    }
    if (pool.n_free != pool.n)
        abort();               /* a packet was lost or freed twice */
    return 0;
}
