/* Any bytes as flow-mod, group-mod, meter-mod, packet-out and flow-stats bodies, in bundles and outside, with packets in between that run into what was accepted. What a
 * dump shows must be accepted when it is added again. */
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "test/sim.h"

static void add_again(struct sim *s, const uint8_t *dump, int len)
{
    static uint8_t body[70000];
    struct dp_error error;
    for (int at = 0; at < len;) {
        uint32_t n = get16(dump + at);
        memset(body, 0, 40);
        memcpy(body, dump + at + 24, 8);
        body[16] = dump[at + 2];
        memcpy(body + 18, dump + at + 14, 4);
        memcpy(body + 22, dump + at + 12, 2);
        memset(body + 24, 0xff, 12);
        memcpy(body + 40, dump + at + 48, n - 48);
        if (sim_flow_mod(s, 1, body, n - 48 + 40, &error))
            abort();
        at += (int)n;
    }
}

/* Opens a bundle, or ends the one that is open. */
static int step(struct sim *s, int bundled, uint32_t n)
{
    struct dp_error error;
    sim_bundle(s, 1, bundled ? 1 + n % 2 : 0, &error);
    return !bundled;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[1 << 20];
    static const uint8_t frame[60] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1,
                                      10, 0, 0, 2};
    struct dp_error error;
    struct dp_tenant t = {.id = 1, .weight = 1};
    struct dp_bridge b = {.id = 1, .tenant = 1};
    struct sim *s = sim_new(1);
    uint32_t bridge;
    int bundled = 0;
    sim_set_tenant(s, &t, &error);
    sim_set_bridge(s, &b, &error);
    for (uint32_t i = 1; i <= 3; i++) {
        struct dp_port p = {.bridge = 1, .port_no = i, .kind = DP_PORT_DUMMY};
        sim_add_port(s, &p, &error);
    }
    /* Messages: a kind, a length, bytes. */
    for (size_t at = 0; at + 3 <= size;) {
        uint8_t kind = data[at] % 8;
        uint32_t n = get16(data + at + 1) % 2048;
        at += 3;
        if (n > size - at)
            n = (uint32_t)(size - at);
        if (kind == 4)
            sim_group_mod(s, 1, data + at, n, &error);
        else if (kind == 5)
            sim_meter_mod(s, 1, data + at, n, &error);
        else if (kind == 6)
            bundled = step(s, bundled, n);
        else if (kind == 0 || kind == 3 || kind == 7)
            sim_flow_mod(s, 1, data + at, n, &error);
        else if (kind == 1)
            sim_packet_out(s, 1, data + at, n, &error);
        else
            sim_flow_stats(s, 1, data + at, n, out, sizeof out, &error);
        sim_inject(s, 1, 1, frame, sizeof frame, &error);
        sim_run(s);
        at += n;
    }
    if (bundled)
        step(s, bundled, 0);
    int len = sim_flow_stats(s, 1, NULL, 0, out, sizeof out, &error);
    if (len > 0)
        add_again(s, out, len);
    while (sim_packet_in(s, &bridge, out, sizeof out) > 0)
        ;
    sim_free(s);
    return 0;
}
