/* What a scheduling decision costs: wake, pick, charge, sleep, with 4,096 tenants of which few are active. Prints nanoseconds a
 * decision, the least of the rounds. Usage: bench_sched [tenants]. */
#include <stdio.h>
#include <stdlib.h>
#include "base/clock.h"
#include "sched/scheduler.h"

#define ROUNDS 200
#define DECISIONS 10000
#define SLICE 3640

static struct limit no_limit;

static double measure(const struct policy_ops *policy, struct subject *t, uint32_t active, uint32_t all)
{
    double best = 1e9;
    struct scheduler s;
    scheduler_init(&s, policy, SLICE);
    uint64_t now = clock_now();
    for (uint32_t i = 0; i < active; i++)
        scheduler_wake(&s, &t[(size_t)i * all / active], now);
    for (int r = 0; r < ROUNDS; r++) {
        uint64_t start = clock_now();
        for (int i = 0; i < DECISIONS; i++) {
            struct subject *p = scheduler_pick(&s, now);
            now += 1000 + (uint64_t)i % 2000;
            scheduler_charge(&s, p, now, 1000 + (uint64_t)i % 2000, i % 4 != 0);
            if (i % 4 == 0)
                scheduler_wake(&s, p, now);
        }
        double ns = (double)(clock_now() - start) * 1e9 / (double)clock_hz / DECISIONS;
        best = ns < best ? ns : best;
    }
    for (uint32_t i = 0; i < all; i++)
        scheduler_sleep(&s, &t[i], now);
    scheduler_destroy(&s);
    return best;
}

int main(int argc, char **argv)
{
    uint32_t all = argc > 1 ? (uint32_t)atoi(argv[1]) : 4096;
    struct subject *t = calloc(all, sizeof *t);
    struct dp_shm_account *accounts = calloc(all, sizeof *accounts);
    if (!t || !accounts)
        return 1;
    clock_init(false);
    for (uint32_t p = 0; policy_by_number(p); p++)
        for (uint32_t active = 1; active <= all; active *= 8) {
            for (uint32_t i = 0; i < all; i++)
                t[i] = (struct subject){.entity.weight = (i % 7 + 1) * WEIGHT_ONE, .id = i, .limit = &no_limit,
                                        .account = &accounts[i]};
            printf("%-12s %5u tenants, %5u active: %6.1f ns\n", policy_by_number(p)->name, all, active,
                   measure(policy_by_number(p), t, active, all));
        }
    free(accounts);
    free(t);
    return 0;
}
