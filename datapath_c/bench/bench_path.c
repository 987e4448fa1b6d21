/* Cycles per 60-byte packet in each stage of the path, without any port: frames are parsed, looked up and acted upon, and
 * dropped before tx. Usage: bench_path [flows] [rounds]. Prints the median over the rounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "base/clock.h"
#include "flow/table.h"
#include "path/worker.h"

#define PER_ROUND 3200

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* priority 1, in_port 1, IPv4 to 10.0.0.0/8: output to port 2, which forwards nothing. */
static void add_rule(struct bridge *b)
{
    static const uint8_t tail[] = {0, 1, 0, 30, 0x80, 0, 0, 4, 0, 0, 0, 1, 0x80, 0, 10, 2, 8, 0, 0x80, 0, 0x19, 8, 10, 0, 0, 0,
                                   255, 0, 0, 0, 0, 0, 0, 4, 0, 24, 0, 0, 0, 0,
                                   0, 0, 0, 16, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0};
    uint8_t body[OFP_FLOW_MOD_FIXED + sizeof tail] = {[23] = 1};
    struct flow_mod_result r;
    fault f;
    memset(body + 24, 0xff, 12);
    memcpy(body + OFP_FLOW_MOD_FIXED, tail, sizeof tail);
    if (flow_mod(b, body, sizeof body, &r, &f)) {
        fprintf(stderr, "%s\n", f.reason);
        exit(1);
    }
}

static void make_frame(uint8_t *f, uint32_t flow)
{
    static const uint8_t head[34] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0,
                                     10, 0, 0, 0, 10, 0, 0, 2};
    memset(f, 0, 60);
    memcpy(f, head, sizeof head);
    put32(f + 26, 0x0a000000 + flow);
    put16(f + 34, (uint16_t)(1000 + flow % 50000));
    put16(f + 36, 80);
    put16(f + 38, 26);
}

int main(int argc, char **argv)
{
    uint32_t flows = argc > 1 ? (uint32_t)atoi(argv[1]) : 1, rounds = argc > 2 ? (uint32_t)atoi(argv[2]) : 300;
    int error;
    fault f;
    clock_init(false);
    struct datapath *dp = datapath_new(1, false, true, &error);
    struct dp_tenant t = {.id = 1, .weight = 1};
    struct dp_bridge b = {.id = 1, .tenant = 1};
    datapath_set_tenant(dp, &t, &f);
    datapath_set_bridge(dp, &b, &f);
    for (uint32_t i = 1; i <= 2; i++) {
        struct dp_port p = {.bridge = 1, .port_no = i, .kind = DP_PORT_DUMMY, .config = i == 2 ? OFPPC_NO_FWD : 0};
        datapath_add_port(dp, &p, &f);
    }
    add_rule(dp->bridges[1]);
    struct worker *w = dp->workers[0];
    struct wtenant *wt = worker_tenant(w, dp->tenants[1]);
    struct port *in = bridge_port(dp->bridges[1], 1);
    double (*cost)[DP_N_STAGES] = calloc(rounds, sizeof *cost);
    uint32_t flow = 0;
    for (uint32_t r = 0; r < rounds; r++) {
        uint64_t before[DP_N_STAGES];
        memcpy(before, wt->account->cycles, sizeof before);
        for (unsigned n = 0; n < PER_ROUND; n += BATCH) {
            struct packet *batch[BATCH];
            worker_account(w, &w->row->system[DP_SYS_IDLE]);
            for (unsigned i = 0; i < BATCH; i++) {
                struct packet *p = batch[i] = packet_alloc(&w->pool);
                make_frame(p->data, flow++ % flows);
                p->len = 60;
                p->rx_port = in;
                p->key.key.in_port = p->key.key.in_phy_port = htobe32(1);
                p->key.key.bridge = 1;
            }
            worker_process(w, wt, batch, BATCH);
        }
        worker_account(w, &w->row->system[DP_SYS_IDLE]);
        for (int s = 0; s < DP_N_STAGES; s++)
            cost[r][s] = (double)(wt->account->cycles[s] - before[s]) / PER_ROUND;
    }
    double total = 0, *column = calloc(rounds, sizeof *column);
    printf("%u flows, cycles per packet:", flows);
    for (uint32_t s = 0; s < DP_N_STAGES; s++) {
        for (uint32_t r = 0; r < rounds; r++)
            column[r] = cost[r][s];
        qsort(column, rounds, sizeof *column, compare);
        if (column[rounds / 2] > 0.05)
            printf(" %s %.1f,", dp_stage_name(s), column[rounds / 2]);
        total += column[rounds / 2];
    }
    printf(" together %.1f\n", total);
    free(column);
    free(cost);
    datapath_free(dp, false);
    return 0;
}
