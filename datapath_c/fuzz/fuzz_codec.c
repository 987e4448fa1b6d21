/* Any bytes as an OpenFlow connection of any version: what the scanner makes of them is given to a bridge, and what the bridge
 * then tells of its rules is put into every version's form. What the codec makes of rules it must be able to read again. */
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "codec/codec.h"
#include "test/sim.h"

#define ROOM (1u << 20)

static void check_messages(uint32_t version, uint32_t form, const uint8_t *entries, size_t len)
{
    static uint8_t out[8 * ROOM];
    size_t last = 0;
    int64_t n = codec_flow_stats_messages(version, form, 7, entries, len, out, sizeof out, &last);
    if (n < 0)
        abort();
    for (int64_t at = 0; at < n; at += get16(out + at + 2))
        if (get16(out + at + 2) < 12 || out[at] != version)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[ROOM], dump[ROOM];
    static uint32_t items[4096];
    static struct codec_run runs[256];
    struct dp_error error;
    struct dp_tenant t = {.id = 1, .weight = 1};
    struct dp_bridge b = {.id = 1, .tenant = 1};
    if (size < 2)
        return 0;
    uint32_t version = 1 + data[0] % 6, form = data[1] & 1 ? CODEC_STANDARD_TABLE : CODEC_STANDARD;
    size_t used;
    struct sim *s = sim_new(1);
    sim_set_tenant(s, &t, &error);
    sim_set_bridge(s, &b, &error);
    uint32_t n = codec_scan(version, form, data + 2, size - 2, out, sizeof out, 60000, items, 4096, runs, 256, &used);
    if (used > size - 2)
        abort();
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t at = runs[i].out, k = 0; k < runs[i].n && (runs[i].kind == CODEC_FLOW_MODS || runs[i].kind == CODEC_BUNDLED);
             k++) {
            uint32_t len;
            memcpy(&len, out + at, 4);
            sim_flow_mod(s, 1, out + at + 4, len, &error);
            at += 4 + len;
        }
    int len = sim_flow_stats(s, 1, NULL, 0, dump, sizeof dump, &error);
    for (uint32_t v = 1; v <= 6 && len > 0; v++)
        check_messages(v, CODEC_STANDARD, dump, (size_t)len);
    if (len > 0) {
        check_messages(1, CODEC_NICIRA, dump, (size_t)len);
        check_messages(6, CODEC_FLOW_STATS, dump, (size_t)len);
    }
    codec_match_in(version, data[1] & 2 ? CODEC_NICIRA : CODEC_STANDARD, data + 2, size - 2, out, sizeof out, &error);
    codec_stats_request_in(version, data[1] & 2 ? CODEC_NICIRA : CODEC_STANDARD, data + 2, size - 2, out, sizeof out, &error);
    sim_free(s);
    return 0;
}
