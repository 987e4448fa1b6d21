#include "test/cmocka_all.h"
#include <string.h>
#include "sched/account.h"
#include "sched/policy.h"

#define SLICE 5200

/* Each pick costs what the entity's packets cost; after `rounds` picks, what did each get? */
static void run(struct wfq *s, struct entity *e, const uint64_t *cost, uint64_t *spent, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        struct entity *p = wfq_pick(s);
        wfq_charge(s, p, cost[p - e]);
        spent[p - e] += cost[p - e];
    }
}

static void shares_follow_weights_whatever_packets_cost(void **state)
{
    struct wfq s;
    struct entity e[3] = {{.weight = 1}, {.weight = 2}, {.weight = 4}};
    uint64_t cost[3] = {90 * 80, 80, 700}, spent[3] = {0};
    wfq_init(&s, SLICE);
    for (int i = 0; i < 3; i++)
        wfq_wake(&s, &e[i]);
    run(&s, e, cost, spent, 200000);
    double unit = (double)(spent[0] + spent[1] + spent[2]) / 7;
    for (int i = 0; i < 3; i++) {
        double share = (double)spent[i] / (unit * e[i].weight);
        assert_true(share > 0.99 && share < 1.01);
    }
    wfq_destroy(&s);
}

/* Who slept while others spent a thousand slices gets at most about one slice before they run again. */
static void sleepers_bring_no_hoard(void **state)
{
    struct wfq s;
    struct entity e[2] = {{.weight = 100}, {.weight = 100}};
    uint64_t cost[2] = {SLICE, SLICE}, spent[2] = {0};
    wfq_init(&s, SLICE);
    wfq_wake(&s, &e[0]);
    run(&s, e, cost, spent, 1000);
    wfq_wake(&s, &e[1]);
    memset(spent, 0, sizeof spent);
    run(&s, e, cost, spent, 10);
    assert_in_range(spent[1], 5 * SLICE, 7 * SLICE);
    wfq_destroy(&s);
}

/* Debt is kept: a turn that overran by a hundred slices is paid back before the next. */
static void overruns_are_paid_back(void **state)
{
    struct wfq s;
    struct entity e[2] = {{.weight = 100}, {.weight = 100}};
    uint64_t cost[2] = {SLICE, SLICE}, spent[2] = {0};
    wfq_init(&s, SLICE);
    wfq_wake(&s, &e[0]);
    wfq_wake(&s, &e[1]);
    wfq_charge(&s, &e[0], 100 * SLICE);
    wfq_sleep(&s, &e[0]);
    wfq_wake(&s, &e[0]);
    run(&s, e, cost, spent, 99);
    assert_int_equal(spent[0], 0);
    wfq_destroy(&s);
}

static void sleeping_entities_are_never_picked(void **state)
{
    struct wfq s;
    struct entity e[100];
    wfq_init(&s, SLICE);
    memset(e, 0, sizeof e);
    for (int i = 0; i < 100; i++) {
        e[i].weight = 1 + (uint32_t)i;
        wfq_wake(&s, &e[i]);
    }
    for (int i = 0; i < 100; i += 2)
        wfq_sleep(&s, &e[i]);
    for (int i = 0; i < 1000; i++) {
        struct entity *p = wfq_pick(&s);
        assert_true((p - e) % 2 == 1);
        wfq_charge(&s, p, 100 + (uint64_t)i % 7);
    }
    for (int i = 1; i < 100; i += 2)
        wfq_sleep(&s, &e[i]);
    assert_null(wfq_pick(&s));
    wfq_destroy(&s);
}

static void accounts_add_up_to_the_time(void **state)
{
    struct dp_shm_worker row = {0};
    uint64_t a = 0, b = 0, c = 0;
    struct clerk clerk;
    clock_init(true);
    clerk_start(&clerk, &row, &a);
    for (int i = 1; i <= 1000; i++) {
        clock_warp((uint64_t)i);
        account_switch(&clerk, i % 3 == 0 ? &a : i % 3 == 1 ? &b : &c);
    }
    account_move(&clerk, &a, &b, 100);
    assert_int_equal(a + b + c, row.now - row.start);
    assert_int_equal(row.now - row.start, 1000 * 1001 / 2);
    assert_int_equal(row.seq % 2, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_follow_weights_whatever_packets_cost), cmocka_unit_test(sleepers_bring_no_hoard),
        cmocka_unit_test(overruns_are_paid_back), cmocka_unit_test(sleeping_entities_are_never_picked),
        cmocka_unit_test(accounts_add_up_to_the_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
