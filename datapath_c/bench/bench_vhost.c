/* Cycles per packet from guest to guest through two vhost-user ports, guests and switch by turns on one core: what the switch's code
 * costs, without what the caches of two cores cost each other. Under callgrind its instructions can be counted (worker_step).
 * Usage: bench_vhost [frame length] [flows] [rounds] [packed] */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/bytes.h"
#include "base/clock.h"
#include "base/watch.h"
#include "bench/guest_load.h"
#include "bench/guest_port.h"
#include "flow/table.h"
#include "path/worker.h"

#define PER_ROUND 3200

static struct guest_port guests[2];
static const char *trouble;
static _Atomic bool ready;

static void *open_guests(void *arg)
{
    for (int i = 0; i < 2 && !trouble; i++)
        trouble = guest_port_open(&guests[i], 5);
    ready = true;
    return NULL;
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* in_port 1 (with more than one flow: and IPv4 to 10.0.0.0/8): output to port 2. */
static void add_rule(struct bridge *b, bool address)
{
    static const uint8_t port_rule[] = {0, 1, 0, 12, 0x80, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0};
    static const uint8_t address_rule[] = {0, 1, 0, 30, 0x80, 0, 0, 4, 0, 0, 0, 1, 0x80, 0, 10, 2, 8, 0, 0x80, 0, 0x19, 8, 10, 0, 0, 0,
                                           255, 0, 0, 0, 0, 0};
    static const uint8_t output[] = {0, 4, 0, 24, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0};
    uint8_t body[OFP_FLOW_MOD_FIXED + sizeof address_rule + sizeof output] = {[23] = 1};
    size_t n = address ? sizeof address_rule : sizeof port_rule;
    struct flow_mod_result r;
    fault f;
    memset(body + 24, 0xff, 12);
    memcpy(body + OFP_FLOW_MOD_FIXED, address ? address_rule : port_rule, n);
    memcpy(body + OFP_FLOW_MOD_FIXED + n, output, sizeof output);
    if (flow_mod(b, body, OFP_FLOW_MOD_FIXED + n + sizeof output, &r, &f)) {
        fprintf(stderr, "%s\n", f.reason);
        exit(1);
    }
}

static void drain(struct guest_ring *r, unsigned *n)
{
    uint16_t slot;
    uint32_t len;
    while (guest_ring_get(r, &slot, &len)) {
        if (!r->send)
            guest_ring_put(r, guest_ring_slot(r), 0);
        ++*n;
    }
    if (!r->send)
        guest_ring_publish(r);
}

int main(int argc, char **argv)
{
    unsigned length = argc > 1 ? (unsigned)atoi(argv[1]) : 60, flows = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    unsigned rounds = argc > 3 ? (unsigned)atoi(argv[3]) : 300;
    int error;
    fault f;
    clock_init(false);
    struct datapath *dp = datapath_new(1, false, true, &error);
    struct dp_tenant t = {.id = 1, .weight = 1};
    struct dp_bridge b = {.id = 1, .tenant = 1};
    datapath_set_tenant(dp, &t, &f);
    datapath_set_bridge(dp, &b, &f);
    for (uint32_t i = 0; i < 2; i++) {
        struct dp_port p = {.bridge = 1, .port_no = i + 1, .kind = DP_PORT_VHOST_USER};
        snprintf(p.socket, sizeof p.socket, "/tmp/bench_vhost.%d.%u", (int)getpid(), i);
        if (datapath_add_port(dp, &p, &f)) {
            fprintf(stderr, "%s\n", f.reason);
            return 1;
        }
        guests[i] = (struct guest_port){.path = strdup(p.socket), .n_pairs = 1, .size = 256, .buffer_len = 2048, .frame_max = 2048,
                                        .packed = argc > 4};
    }
    add_rule(dp->bridges[1], flows > 1);
    pthread_t thread;
    pthread_create(&thread, NULL, open_guests, NULL);
    for (int i = 0; !ready || i < 100; i += ready) {
        watch_run(dp->watch_fd);
        usleep(1000);
    }
    pthread_join(thread, NULL);
    if (trouble) {
        fprintf(stderr, "%s\n", trouble);
        return 1;
    }
    struct worker *w = dp->workers[0];
    struct dp_shm_account *account = shm_account(dp, 0, 1);
    struct load l = {0};
    char text[64];
    snprintf(text, sizeof text, "0:len=%u,flows=%u", length, flows);
    if (load_parse(&l, text))
        return 1;
    double (*cost)[DP_N_STAGES] = calloc(rounds, sizeof *cost);
    unsigned received = 0, returned = 0;
    for (unsigned r = 0; r < rounds; r++) {
        uint64_t before[DP_N_STAGES];
        memcpy(before, account->cycles, sizeof before);
        for (unsigned n = 0; n < PER_ROUND; n += BATCH) {
            struct guest_ring *out = &guests[0].rings[1];
            worker_account(w, &w->row->system[DP_SYS_IDLE]);
            drain(out, &returned);
            for (unsigned i = 0; i < BATCH; i++) {
                uint16_t slot = guest_ring_slot(out);
                guest_ring_put(out, slot, load_frame(&l, guest_ring_frame(out, slot), 0));
            }
            guest_ring_publish(out);
            for (unsigned before_it = received, i = 0; i < 1000 && received - before_it < BATCH; i++) {
                worker_step(w);
                drain(&guests[1].rings[0], &received);
            }
        }
        for (int s = 0; s < DP_N_STAGES; s++)
            cost[r][s] = (double)(account->cycles[s] - before[s]) / PER_ROUND;
    }
    double total = 0, *column = calloc(rounds, sizeof *column);
    printf("%u bytes, %u flows, %u of %u received; cycles per packet:", length, flows, received, rounds * PER_ROUND);
    for (uint32_t s = 0; s < DP_N_STAGES; s++) {
        for (uint32_t r = 0; r < rounds; r++)
            column[r] = cost[r][s];
        qsort(column, rounds, sizeof *column, compare);
        if (column[rounds / 2] > 0.05)
            printf(" %s %.1f,", dp_stage_name(s), column[rounds / 4]);
        total += column[rounds / 4];
    }
    printf(" together %.1f (lower quartile of %u)\n", total, rounds);
    free(column);
    free(cost);
    guest_port_close(&guests[0]);
    guest_port_close(&guests[1]);
    datapath_free(dp, false);
    return 0;
}
