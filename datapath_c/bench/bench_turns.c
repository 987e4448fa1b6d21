/* What protection costs where nobody attacks: tenants that are busy all the time with 60-byte packets on one worker, with policy wfq
 * and none by turns. Prints cycles a packet, the least of the rounds and the lower quartile, and packets a turn. With a
 * policy (0 or 1) it is for callgrind (--toggle-collect=worker_step): that one alone, on the virtual clock. Usage: bench_turns [tenants
 * [rounds [policy]]]. */
#include <stdio.h>
#include <stdlib.h>

#include <string.h>
#include "base/bytes.h"
#include "base/clock.h"
#include "flow/table.h"
#include "path/worker.h"
#include "test/lab.h"
#include "test/sim_inside.h"

/* Of a round: turns are longer once all have been busy for 64 slices, 90 us each. */
#define ROUND_NS 2e6
#define TENANT_NS 1e6

#define FRAME 60
#define MAX_ROUNDS 1000

static const uint32_t length = FRAME;
static uint8_t frame[FRAME] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1,
                               10, 0, 0, 2, 3, 232, 0, 80, 0, 26};

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void check(int error, const struct dp_error *e)
{
    if (error >= 0)
        return;
    fprintf(stderr, "%s: %s\n", e->field, e->reason);
    exit(1);
}

static void make_tenant(struct sim *s, uint32_t id)
{
    struct dp_error e;
    struct dp_tenant t = {.id = id, .weight = 100};
    struct dp_bridge b = {.id = id, .tenant = id, .dpid = id};
    snprintf(t.name, sizeof t.name, "t%u", id);
    snprintf(b.name, sizeof b.name, "b%u", id);
    check(sim_set_tenant(s, &t, &e), &e);
    check(sim_set_bridge(s, &b, &e), &e);
    for (uint32_t port = 1; port <= 2; port++) {
        struct dp_port p = {.bridge = id, .port_no = port, .kind = DP_PORT_DUMMY};
        check(sim_add_port(s, &p, &e), &e);
    }
    /* priority 1, no match: output to port 2 */
    static const uint8_t tail[] = {0, 1, 0, 4, 0, 0, 0, 0, 0, 4, 0, 24, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0};
    uint8_t body[OFP_FLOW_MOD_FIXED + sizeof tail] = {[23] = 1};
    memset(body + 24, 0xff, 12);
    memcpy(body + OFP_FLOW_MOD_FIXED, tail, sizeof tail);
    check(sim_flow_mod(s, id, body, sizeof body, &e), &e);
}

static double busy(const struct worker *w, uint32_t n)
{
    uint64_t sum = w->row->system[DP_SYS_POLL];
    for (uint32_t id = 1; id <= n; id++)
        for (int s = 0; s < DP_N_STAGES; s++)
            sum += shm_account(w->dp, 0, id)->cycles[s];
    return (double)sum;
}

static uint64_t turns(const struct worker *w, uint32_t n)
{
    uint64_t sum = 0;
    for (uint32_t id = 1; id <= n; id++)
        sum += shm_account(w->dp, 0, id)->turns;
    return sum;
}

int main(int argc, char **argv)
{
    static const uint32_t policies[] = {DP_POLICY_WFQ, DP_POLICY_NONE};
    static double cost[2][MAX_ROUNDS];
    uint32_t n = argc > 1 ? (uint32_t)atoi(argv[1]) : 64, rounds = argc > 2 ? (uint32_t)atoi(argv[2]) : 401;
    int only = argc > 3 ? atoi(argv[3]) : -1;
    rounds = rounds < 1 ? 1 : rounds < MAX_ROUNDS ? rounds : MAX_ROUNDS;
    struct sim *s = lab_new(1, only < 0 || getenv("REAL") ? 0 : 12);
    struct lab_source *sources = calloc(n, sizeof *sources);
    if (!s || !sources)
        return 1;
    struct worker *w = sim_datapath(s)->workers[0];
    for (uint32_t id = 1; id <= n; id++) {
        make_tenant(s, id);
        sources[id - 1] = (struct lab_source){.bridge = id, .port_no = 1, .n_frames = 1, .outstanding = 256 / n < 8 ? 8 : 256 / n,
                                              .frames = frame, .lengths = &length};
    }
    double per_turn[2] = {0}, all[2] = {0};
    /* What is counted goes on without an end, and the beginning is the same however long it is. */
    double length_ns = (ROUND_NS + n * TENANT_NS) * (only < 0 ? 1 : rounds);
    if (only >= 0)
        rounds = 1;
    for (uint32_t r = 0; r < rounds; r++)
        for (int k = 0; k < 2; k++) {
            struct dp_error e;
            int p = r % 2 ? k : !k;
            if (only >= 0 && p != only)
                continue;
            check(lab_scheduler(s, policies[p], 0, &e), &e);
            double before = busy(w, n), packets = 0;
            uint64_t begun = turns(w, n);
            lab_run(s, sources, n, length_ns, r + 1);
            for (uint32_t i = 0; i < n; i++)
                packets += (double)sources[i].delivered;
            cost[p][r] = packets ? (busy(w, n) - before) / packets : 1e9;
            all[p] += packets;
            per_turn[p] = packets / (double)(turns(w, n) - begun);
        }
    for (int p = 0; p < 2; p++) {
        if (only >= 0 && p != only)
            continue;
        qsort(cost[p], rounds, sizeof cost[p][0], compare);
        printf("%-5s %4u tenants: %6.1f cycles a packet (quarter %.1f), %.1f packets a turn, %.0f packets\n", dp_policy_name(policies[p]), n,
               cost[p][0], cost[p][rounds / 4], per_turn[p], all[p]);
    }
    if (only < 0)
        printf("without protection / with: %.1f %% (lower quartiles %.1f %%)\n", 100 * cost[1][0] / cost[0][0],
               100 * cost[1][rounds / 4] / cost[0][rounds / 4]);
    free(sources);
    sim_free(s);
    return 0;
}
