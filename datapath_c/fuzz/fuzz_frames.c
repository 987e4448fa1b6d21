/* Any bytes arrive at a port of a bridge whose rules touch every kind of header. */
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "path/parse.h"
#include "test/sim.h"

static struct sim *sim;

static void add_rule(uint16_t priority, const uint8_t *match, uint16_t match_len, const uint8_t *actions, uint16_t actions_len,
                     int next)
{
    static uint8_t body[512];
    struct dp_error error;
    uint32_t at = 40, padded = (match_len + 4u + 7) / 8 * 8;
    memset(body, 0, sizeof body);
    put16(body + 22, priority);
    memset(body + 24, 0xff, 12);
    body[16] = next > 0 ? 0 : next < 0 ? 1 : 0;
    put16(body + at, 1);
    put16(body + at + 2, match_len + 4);
    if (match_len)
        memcpy(body + at + 4, match, match_len);
    at += padded;
    put16(body + at, 4);
    put16(body + at + 2, actions_len + 8);
    memcpy(body + at + 8, actions, actions_len);
    at += 8u + actions_len;
    if (next > 0) {
        put16(body + at, 1);
        put16(body + at + 2, 8);
        body[at + 4] = 1;
        at += 8;
    }
    if (sim_flow_mod(sim, 1, body, at, &error))
        abort();
}

#define TLV(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
#define TO_2 0, 0, 0, 16, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0
#define FLOOD 0, 0, 0, 16, 0xff, 0xff, 0xff, 0xfb, 0, 0, 0, 0, 0, 0, 0, 0
#define NORMAL 0, 0, 0, 16, 0xff, 0xff, 0xff, 0xfa, 0, 0, 0, 0, 0, 0, 0, 0
#define TO_CONTROLLER 0, 0, 0, 16, 0xff, 0xff, 0xff, 0xfd, 0, 64, 0, 0, 0, 0, 0, 0
#define SIMPLE(type, a, b) 0, type, 0, 8, a, b, 0, 0
#define ETH_TYPE(a, b) 0x80, 0, 10, 2, a, b

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct dp_error error;
    struct dp_tenant t = {.id = 1, .weight = 1};
    struct dp_bridge b = {.id = 1, .tenant = 1};
    sim = sim_new(1);
    sim_set_tenant(sim, &t, &error);
    sim_set_bridge(sim, &b, &error);
    for (uint32_t i = 1; i <= 2; i++) {
        struct dp_port p = {.bridge = 1, .port_no = i, .kind = DP_PORT_DUMMY};
        sim_add_port(sim, &p, &error);
    }
    add_rule(50, TLV(0x80, 0, 12, 2, 0x10, 5), TLV(SIMPLE(18, 0, 0), TO_2), 1);                    /* VLAN 5: pop */
    add_rule(40, TLV(ETH_TYPE(0x88, 0x47), 0x80, 0, 72, 1, 1), TLV(SIMPLE(12, 0, 0), SIMPLE(16, 0, 0), SIMPLE(20, 8, 0), TO_2), 1);
    add_rule(39, TLV(ETH_TYPE(0x88, 0x47)), TLV(SIMPLE(11, 0, 0), SIMPLE(19, 0x88, 0x48), SIMPLE(20, 0x88, 0x47), FLOOD), 1);
    add_rule(38, TLV(ETH_TYPE(0x88, 0xe7)), TLV(SIMPLE(27, 0, 0), TO_CONTROLLER), 1);
    add_rule(37, TLV(ETH_TYPE(8, 0), 0x80, 0, 20, 1, 6),
             TLV(SIMPLE(24, 0, 0), 0, 25, 0, 16, 0x80, 0, 26, 2, 1, 2, 0, 0, 0, 0, 0, 0, 0, 25, 0, 16, 0x80, 0, 22, 4, 1, 2, 3, 4, 0, 0, 0, 0,
                 SIMPLE(17, 0x81, 0), NORMAL), 1);
    add_rule(36, TLV(ETH_TYPE(8, 0), 0x80, 0, 20, 1, 132), TLV(0, 25, 0, 16, 0x80, 0, 34, 2, 1, 2, 0, 0, 0, 0, 0, 0, TO_2), 1);
    add_rule(35, TLV(ETH_TYPE(0x86, 0xdd), 0x80, 0, 20, 1, 58, 0x80, 0, 58, 1, 135),
             TLV(0, 25, 0, 16, 0x80, 0, 64, 6, 1, 2, 3, 4, 5, 6, 0, 0, SIMPLE(24, 0, 0), TO_2), 1);
    add_rule(34, TLV(ETH_TYPE(8, 6)), TLV(0, 25, 0, 16, 0x80, 0, 42, 2, 0, 2, 0, 0, 0, 0, 0, 0, FLOOD), 1);
    add_rule(1, TLV(0x80, 0, 0, 4, 0, 0, 0, 1), TLV(SIMPLE(26, 0x88, 0xe7), TO_CONTROLLER, NORMAL), -1);
    add_rule(0, NULL, 0, TLV(SIMPLE(17, 0x88, 0xa8), TO_CONTROLLER, FLOOD), 1);
    return 0;
}

/* Packet buffers have room behind every frame; a copy that ends where the frame does lets the sanitizer see a read past it. */
static void parse_exactly(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1);
    memcpy(exact, data, size);
    struct packet p = {.data = exact, .len = (uint32_t)size};
    parse(&p);
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[1 << 17];
    struct dp_error error;
    uint32_t bridge;
    parse_exactly(data, size);
    if (size > 9000 || sim_inject(sim, 1, 1, data, (uint32_t)size, &error))
        return 0;
    sim_run(sim);
    while (sim_collect(sim, 1, 1, out, sizeof out) > 0 || sim_collect(sim, 1, 2, out, sizeof out) > 0 ||
           sim_packet_in(sim, &bridge, out, sizeof out) > 0)
        ;
    return 0;
}
