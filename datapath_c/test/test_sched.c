#include "test/cmocka_all.h"
#include <stdlib.h>
#include <string.h>
#include "sched/scheduler.h"

#define SLICE 5200

/* Each pick costs what the entity's packets cost; after `rounds` picks, what did each get? */
static void run(struct runqueue *s, struct entity *e, const uint64_t *cost, uint64_t *spent, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        struct entity *p = runqueue_pick(s);
        s->now += cost[p - e];
        runqueue_charge(s, p, cost[p - e]);
        spent[p - e] += cost[p - e];
    }
}

static void shares_follow_weights_whatever_packets_cost(void **state)
{
    struct runqueue s;
    struct entity e[3] = {{.weight = 1}, {.weight = 2}, {.weight = 4}};
    uint64_t cost[3] = {90 * 80, 80, 700}, spent[3] = {0};
    runqueue_init(&s, &policy_wfq, SLICE);
    for (int i = 0; i < 3; i++)
        runqueue_wake(&s, &e[i]);
    run(&s, e, cost, spent, 200000);
    double unit = (double)(spent[0] + spent[1] + spent[2]) / 7;
    for (int i = 0; i < 3; i++) {
        double share = (double)spent[i] / (unit * e[i].weight);
        assert_true(share > 0.99 && share < 1.01);
    }
    runqueue_destroy(&s);
}

/* Who slept while others spent a thousand slices gets at most about one slice before they run again. */
static void sleepers_bring_no_hoard(void **state)
{
    struct runqueue s;
    struct entity e[2] = {{.weight = 100, .waits = 100 * SLICE}, {.weight = 100, .waits = 100 * SLICE}};
    uint64_t cost[2] = {SLICE, SLICE}, spent[2] = {0};
    runqueue_init(&s, &policy_wfq, SLICE);
    runqueue_wake(&s, &e[0]);
    run(&s, e, cost, spent, 1000);
    runqueue_wake(&s, &e[1]);
    memset(spent, 0, sizeof spent);
    run(&s, e, cost, spent, 10);
    assert_in_range(spent[1], 5 * SLICE, 7 * SLICE);
    runqueue_destroy(&s);
}

/* Debt is kept: a turn that overran by a hundred slices is paid back before the next. */
static void overruns_are_paid_back(void **state)
{
    struct runqueue s;
    struct entity e[2] = {{.weight = 100}, {.weight = 100}};
    uint64_t cost[2] = {SLICE, SLICE}, spent[2] = {0};
    runqueue_init(&s, &policy_wfq, SLICE);
    runqueue_wake(&s, &e[0]);
    runqueue_wake(&s, &e[1]);
    runqueue_charge(&s, &e[0], 100 * SLICE);
    runqueue_sleep(&s, &e[0]);
    runqueue_wake(&s, &e[0]);
    run(&s, e, cost, spent, 99);
    assert_int_equal(spent[0], 0);
    runqueue_destroy(&s);
}

static void wait_for(struct runqueue *s, struct entity *e, uint64_t cycles)
{
    e->waits = cycles;
    runqueue_charge(s, e, 0);
}

/* Of two who are within their shares, the one who has little to do has the other's turn ended: ahead by a few slices at most. */
static void who_has_little_to_do_goes_ahead_of_who_has_much(void **state)
{
    struct runqueue s;
    struct entity e[2] = {{.weight = 100, .waits = 100 * SLICE}, {.weight = 100, .waits = SLICE / 10}};
    uint64_t cost[2] = {SLICE, SLICE}, spent[2] = {0};
    runqueue_init(&s, &policy_wfq, SLICE);
    s.now = 1;
    runqueue_wake(&s, &e[0]);
    runqueue_wake(&s, &e[1]);
    assert_ptr_equal(runqueue_pick(&s), &e[1]);
    assert_ptr_equal(s.ops->overtaker(&s, &e[0], 0), &e[1]);
    assert_null(s.ops->overtaker(&s, &e[1], SLICE));
    wait_for(&s, &e[1], SLICE);            /* more has come */
    assert_null(s.ops->overtaker(&s, &e[0], 0));
    wait_for(&s, &e[1], SLICE / 10);
    run(&s, e, cost, spent, 100);
    assert_in_range(spent[1], 50 * SLICE, 57 * SLICE);
    runqueue_destroy(&s);
}

/* Never more than a packet waits for it, and it asks for 0.6 of the core: its share is a half. */
static void who_has_had_more_than_its_share_goes_ahead_of_nobody(void **state)
{
    struct runqueue s;
    struct entity e[2] = {{.weight = 100}, {.weight = 100}};
    runqueue_init(&s, &policy_wfq, SLICE);
    s.now = 1;
    for (int i = 0; i < 1000; i++)
        for (int k = 0; k < 2; k++) {
            uint64_t cycles = k ? SLICE / 10 * 4 : SLICE / 10 * 6;
            runqueue_wake(&s, &e[k]);
            assert_ptr_equal(runqueue_pick(&s), &e[k]);
            s.now += cycles;
            runqueue_charge(&s, &e[k], cycles);
            runqueue_sleep(&s, &e[k]);
        }
    runqueue_wake(&s, &e[0]);
    runqueue_wake(&s, &e[1]);
    assert_int_equal(e[0].boost, 0);
    assert_true(e[1].boost);
    runqueue_destroy(&s);
}

/* What it was short of its share while it slept lets it have more than that for a few slices, and not for as long as it slept. */
static void who_slept_soon_goes_ahead_of_nobody(void **state)
{
    struct runqueue s;
    struct entity e[2] = {{.weight = 100}, {.weight = 100, .waits = 100 * SLICE}};
    runqueue_init(&s, &policy_wfq, SLICE);
    s.now = 1;
    runqueue_wake(&s, &e[0]);
    runqueue_wake(&s, &e[1]);
    runqueue_charge(&s, &e[0], 1);
    runqueue_sleep(&s, &e[0]);
    for (int i = 0; i < 10000; i++) {
        s.now += SLICE;
        runqueue_charge(&s, &e[1], SLICE);
    }
    unsigned slices = 0;
    for (runqueue_wake(&s, &e[0]); e[0].boost && slices < 1000; slices++) {
        s.now += SLICE;
        runqueue_charge(&s, &e[1], 0);     /* it is there, and has a share */
        runqueue_charge(&s, &e[0], SLICE);
    }
    assert_in_range(slices, 2, 12);
    runqueue_destroy(&s);
}

static void who_wakes_with_what_nobody_knows_of_is_left_alone_for_a_slice(void **state)
{
    struct runqueue s;
    struct entity e[2] = {{.weight = 100, .waits = WAITS_UNKNOWN}, {.weight = 100, .waits = WAITS_UNKNOWN}};
    uint64_t cost[2] = {SLICE, SLICE}, spent[2] = {0};
    runqueue_init(&s, &policy_wfq, SLICE);
    runqueue_wake(&s, &e[0]);
    run(&s, e, cost, spent, 100);
    assert_ptr_equal(runqueue_pick(&s), &e[0]);
    assert_null(s.ops->overtaker(&s, &e[0], 0));
    runqueue_wake(&s, &e[1]);
    assert_ptr_equal(s.ops->overtaker(&s, &e[0], 0), &e[1]);
    /* When it has had a slice it waits for its turn like anybody; and while it has not, nobody ends its own. */
    runqueue_charge(&s, &e[1], SLICE / 2);
    assert_null(s.ops->overtaker(&s, &e[1], 0));
    runqueue_charge(&s, &e[1], SLICE / 2);
    assert_null(s.ops->overtaker(&s, &e[0], 0));
    runqueue_destroy(&s);
}

/* A tenant that owes can wake as often as it likes. */
static void who_owes_ends_nobodys_turn(void **state)
{
    struct runqueue s;
    struct entity e[2] = {{.weight = 100}, {.weight = 100}};
    runqueue_init(&s, &policy_wfq, SLICE);
    runqueue_wake(&s, &e[0]);
    runqueue_wake(&s, &e[1]);
    runqueue_charge(&s, &e[1], 100 * SLICE);
    for (int i = 0; i < 90; i++) {
        runqueue_sleep(&s, &e[1]);
        runqueue_wake(&s, &e[1]);
        assert_ptr_equal(runqueue_pick(&s), &e[0]);
        assert_null(s.ops->overtaker(&s, &e[0], SLICE));
        runqueue_charge(&s, &e[0], SLICE);
    }
    runqueue_destroy(&s);
}

/* After a moment in which nobody had work, nobody is ahead of another for having slept longer. */
static void a_lull_makes_all_equal(void **state)
{
    struct runqueue s;
    struct entity e[2] = {{.weight = 100}, {.weight = 100}};
    uint64_t cost[2] = {SLICE, SLICE}, spent[2] = {0};
    runqueue_init(&s, &policy_wfq, SLICE);
    runqueue_wake(&s, &e[0]);
    run(&s, e, cost, spent, 100);
    runqueue_sleep(&s, &e[0]);
    runqueue_lull(&s);
    runqueue_wake(&s, &e[0]);
    runqueue_wake(&s, &e[1]);
    assert_int_equal(e[0].vtime, e[1].vtime);
    runqueue_destroy(&s);
}

static void turns_may_be_longer_once_all_have_been_busy_for_long(void **state)
{
    struct runqueue s;
    struct entity e[3] = {{.weight = 100}, {.weight = 100}, {.weight = 100}};
    uint64_t cost[2] = {SLICE, SLICE}, spent[2] = {0};
    runqueue_init(&s, &policy_wfq, SLICE);
    runqueue_wake(&s, &e[0]);
    runqueue_wake(&s, &e[1]);
    run(&s, e, cost, spent, 2 * SETTLED_SLICES - 2);
    assert_false(runqueue_settled(&s));
    run(&s, e, cost, spent, 10);
    assert_true(runqueue_settled(&s));
    runqueue_wake(&s, &e[2]);              /* somebody who may have little to do */
    assert_false(runqueue_settled(&s));
    runqueue_sleep(&s, &e[2]);
    assert_true(runqueue_settled(&s));
    runqueue_sleep(&s, &e[0]);
    runqueue_wake(&s, &e[0]);
    assert_false(runqueue_settled(&s));
    runqueue_destroy(&s);
}

/* A turn that was left in the middle ends with a little one. */
static void what_is_left_of_a_turn_is_no_small_turn(void **state)
{
    struct runqueue s;
    struct entity e = {.weight = 100};
    runqueue_init(&s, &policy_wfq, SLICE);
    runqueue_wake(&s, &e);
    for (int i = 0; i <= SETTLED_SLICES; i++)
        for (int left = 1; left >= 0; left--) {
            e.unfinished = left;
            runqueue_charge(&s, &e, left ? SLICE : SLICE / 10);
        }
    assert_true(runqueue_settled(&s));
    runqueue_charge(&s, &e, SLICE / 10);
    assert_false(runqueue_settled(&s));
    runqueue_destroy(&s);
}

/* The order holds through every depth of the heap, whoever is taken out. */
static void the_heap_is_in_order(void **state)
{
    struct heap h = {0};
    struct entity e[200] = {{.weight = 1}};
    uint64_t random = 1, last = 0;
    for (int i = 0; i < 200; i++)
        assert_int_equal(heap_add(&h, &e[i], (random = random * 6364136223846793005u + 1) >> 8), 0);
    for (int i = 0; i < 200; i += 3)
        heap_remove(&h, &e[i]);
    while (h.n) {
        assert_true(h.n == 1 || heap_second(&h) != heap_least(&h));
        struct entity *second = heap_second(&h);
        assert_false(key_before(h.at[1].key, last));
        last = h.at[1].key;
        heap_remove(&h, heap_least(&h));
        assert_true(!h.n || h.at[1].key == h.at[second->position].key);
    }
    heap_free(&h);
}

static void sleeping_entities_are_never_picked(void **state)
{
    struct runqueue s;
    struct entity e[100];
    runqueue_init(&s, &policy_wfq, SLICE);
    memset(e, 0, sizeof e);
    for (int i = 0; i < 100; i++) {
        e[i].weight = 1 + (uint32_t)i;
        runqueue_wake(&s, &e[i]);
    }
    for (int i = 0; i < 100; i += 2)
        runqueue_sleep(&s, &e[i]);
    for (int i = 0; i < 1000; i++) {
        struct entity *p = runqueue_pick(&s);
        assert_true((p - e) % 2 == 1);
        runqueue_charge(&s, p, 100 + (uint64_t)i % 7);
    }
    for (int i = 1; i < 100; i += 2)
        runqueue_sleep(&s, &e[i]);
    assert_null(runqueue_pick(&s));
    runqueue_destroy(&s);
}

/* Over 10 ms at 2.6 GHz, and at any cost of a packet from 1 to 90 times the cheapest: CPU shares within 1 %. */
static void shares_hold_over_10_ms(void **state)
{
    for (unsigned factor = 1; factor <= 90; factor += 89) {
        struct runqueue s;
        struct entity e[3] = {{.weight = 1 * WEIGHT_ONE}, {.weight = 2 * WEIGHT_ONE}, {.weight = 4 * WEIGHT_ONE}};
        uint64_t cost[3] = {SLICE, 80 * factor, 81}, spent[3] = {0}, total = 0;
        runqueue_init(&s, &policy_wfq, SLICE);
        for (int i = 0; i < 3; i++)
            runqueue_wake(&s, &e[i]);
        while (total < 26000000) {
            struct entity *p = runqueue_pick(&s);
            /* A turn is as many packets as come near the slice's end. */
            uint64_t each = cost[p - e], cycles = each > SLICE ? each : SLICE / each * each;
            runqueue_charge(&s, p, cycles);
            spent[p - e] += cycles;
            total += cycles;
        }
        for (int i = 0; i < 3; i++) {
            double share = (double)spent[i] / (double)total * 7 / (1 << i);
            assert_true(share > 0.99 && share < 1.01);
        }
        runqueue_destroy(&s);
    }
}

/* BESS #955: with a share of 1.70 against 1.71, integer strides made one wait 40 times as long. Nobody waits for more than about
 * a slice of each other, and shares are exact. */
static void weights_that_are_nearly_equal_take_turns(void **state)
{
    struct runqueue s;
    struct entity e[2] = {{.weight = 170 * WEIGHT_ONE}, {.weight = 171 * WEIGHT_ONE}};
    uint64_t spent[2] = {0}, waited = 0, longest = 0;
    runqueue_init(&s, &policy_wfq, SLICE);
    runqueue_wake(&s, &e[0]);
    runqueue_wake(&s, &e[1]);
    for (int i = 0; i < 341 * 1000; i++) {
        struct entity *p = runqueue_pick(&s);
        runqueue_charge(&s, p, 251);
        spent[p - e] += 251;
        waited = p == &e[0] ? 0 : waited + 251;
        longest = waited > longest ? waited : longest;
    }
    assert_true(longest <= 3 * 251);
    assert_int_equal(spent[0], UINT64_C(170) * 1000 * 251);
    runqueue_destroy(&s);
}

/* BESS #717: who is always runnable and sends nothing is charged for being asked, and takes no more than its share. */
static void polling_in_vain_is_charged(void **state)
{
    struct runqueue s;
    struct entity e[2] = {{.weight = 100}, {.weight = 100}};
    uint64_t cost[2] = {40, SLICE}, spent[2] = {0};
    runqueue_init(&s, &policy_wfq, SLICE);
    runqueue_wake(&s, &e[0]);
    runqueue_wake(&s, &e[1]);
    run(&s, e, cost, spent, 100000);
    double share = (double)spent[1] / (double)(spent[0] + spent[1]);
    assert_true(share > 0.49 && share < 0.51);
    runqueue_destroy(&s);
}

/* Sleeping after each turn and waking at once brings nothing. */
static void sleeping_and_waking_brings_nothing(void **state)
{
    struct runqueue s;
    struct entity e[2] = {{.weight = 100}, {.weight = 100}};
    uint64_t spent[2] = {0};
    runqueue_init(&s, &policy_wfq, SLICE);
    runqueue_wake(&s, &e[0]);
    for (int i = 0; i < 100000; i++) {
        runqueue_wake(&s, &e[1]);
        struct entity *p = runqueue_pick(&s);
        runqueue_charge(&s, p, SLICE);
        spent[p - e] += SLICE;
        if (p == &e[1])
            runqueue_sleep(&s, &e[1]);
    }
    double share = (double)spent[1] / (double)(spent[0] + spent[1]);
    assert_true(share > 0.49 && share < 0.51);
    runqueue_destroy(&s);
}

/* Debt has a bottom, so that one system call of seconds doesn't shut a tenant out for as long. */
static void debt_has_a_bottom(void **state)
{
    struct runqueue s;
    struct entity e[2] = {{.weight = 100}, {.weight = 100}};
    uint64_t cost[2] = {SLICE, SLICE}, spent[2] = {0};
    runqueue_init(&s, &policy_wfq, SLICE);
    runqueue_wake(&s, &e[0]);
    runqueue_wake(&s, &e[1]);
    runqueue_charge(&s, &e[0], UINT64_C(1000000) * SLICE);
    run(&s, e, cost, spent, DEBT_SLICES + 10);
    assert_in_range(spent[0], SLICE, 20 * SLICE);
    runqueue_destroy(&s);
}

/* Virtual time may wrap around while somebody sleeps. */
static void virtual_time_wraps_around(void **state)
{
    struct runqueue s;
    struct entity e[2] = {{.weight = 100, .vtime = UINT64_MAX - 1000000}, {.weight = 100, .vtime = UINT64_MAX - 1000000}};
    uint64_t cost[2] = {SLICE, SLICE}, spent[2] = {0};
    runqueue_init(&s, &policy_wfq, SLICE);
    s.vtime = UINT64_MAX - 1000000;
    runqueue_wake(&s, &e[0]);
    runqueue_wake(&s, &e[1]);
    run(&s, e, cost, spent, 1000);
    assert_int_equal(spent[0], spent[1]);
    assert_true(s.vtime < UINT64_MAX / 2);
    runqueue_destroy(&s);
}

static void round_robin_takes_turns(void **state)
{
    struct runqueue s;
    struct entity e[3] = {{.weight = 1}, {.weight = 2}, {.weight = 100}};
    uint64_t cost[3] = {1, 1, 1}, spent[3] = {0};
    runqueue_init(&s, &policy_round_robin, SLICE);
    for (int i = 0; i < 3; i++)
        runqueue_wake(&s, &e[i]);
    run(&s, e, cost, spent, 300);
    for (int i = 0; i < 3; i++)
        assert_int_equal(spent[i], 100);
    runqueue_sleep(&s, &e[1]);
    run(&s, e, cost, spent, 100);
    assert_int_equal(spent[1], 100);
    assert_int_equal(spent[2], 150);
    runqueue_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_follow_weights_whatever_packets_cost), cmocka_unit_test(sleepers_bring_no_hoard),
        cmocka_unit_test(overruns_are_paid_back),
        cmocka_unit_test(who_has_little_to_do_goes_ahead_of_who_has_much),
        cmocka_unit_test(who_has_had_more_than_its_share_goes_ahead_of_nobody),
        cmocka_unit_test(who_slept_soon_goes_ahead_of_nobody),
        cmocka_unit_test(who_wakes_with_what_nobody_knows_of_is_left_alone_for_a_slice), cmocka_unit_test(who_owes_ends_nobodys_turn),
        cmocka_unit_test(a_lull_makes_all_equal),
        cmocka_unit_test(turns_may_be_longer_once_all_have_been_busy_for_long), cmocka_unit_test(what_is_left_of_a_turn_is_no_small_turn),
        cmocka_unit_test(the_heap_is_in_order),
        cmocka_unit_test(sleeping_entities_are_never_picked),
        cmocka_unit_test(shares_hold_over_10_ms), cmocka_unit_test(weights_that_are_nearly_equal_take_turns),
        cmocka_unit_test(polling_in_vain_is_charged), cmocka_unit_test(sleeping_and_waking_brings_nothing),
        cmocka_unit_test(debt_has_a_bottom), cmocka_unit_test(virtual_time_wraps_around),
        cmocka_unit_test(round_robin_takes_turns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
