/* What comes with the order of turns (test_sched.c): limits, minimums, and accounts of who waited and who ran. */
#include "test/cmocka_all.h"
#include <string.h>
#include "sched/account.h"
#include "sched/scheduler.h"
#include "sched/shares.h"

#define SLICE 5200

static struct dp_shm_account accounts[2];
static struct limit limits[2];

static void make_subjects(struct subject s[2])
{
    memset(accounts, 0, sizeof accounts);
    memset(limits, 0, sizeof limits);
    for (int i = 0; i < 2; i++)
        s[i] = (struct subject){.entity.weight = WEIGHT_ONE, .id = (uint32_t)i + 1, .limit = &limits[i],
                                .account = &accounts[i]};
}

/* Alone on an idle core, a tenant with cpu.max 10 % gets 10 %, in slices all along, and is said to have been throttled. */
static void a_limit_holds_on_an_idle_core(void **state)
{
    struct scheduler s;
    struct subject t[2];
    uint64_t now = 3600 * clock_hz, start = now, used = 0, longest = 0, turns_in_a_row = 0;
    make_subjects(t);
    clock_init(true);
    limits[0].ppm = 100000;
    scheduler_init(&s, &policy_wfq, SLICE);
    scheduler_wake(&s, &t[0], now);
    while (now - start < clock_from_ms(100)) {
        struct subject *p = scheduler_pick(&s, now);
        if (!p) {
            turns_in_a_row = 0;
            now = scheduler_next(&s);
            continue;
        }
        turns_in_a_row += SLICE;
        longest = turns_in_a_row > longest ? turns_in_a_row : longest;
        now += SLICE;
        used += SLICE;
        scheduler_charge(&s, p, now, SLICE, true);
    }
    assert_in_range(used * 1000 / (now - start), 99, 102);
    assert_true(longest <= 4 * SLICE);
    assert_in_range(accounts[0].throttled * 1000 / (now - start), 890, 910);
    scheduler_destroy(&s);
}

/* Two workers draw on one limit. */
static void a_limit_is_one_over_all_workers(void **state)
{
    struct scheduler s[2];
    struct subject t[2];
    uint64_t now = 3600 * clock_hz, start = now, used = 0;
    make_subjects(t);
    clock_init(true);
    t[1].limit = &limits[0];
    limits[0].ppm = 200000;
    for (int i = 0; i < 2; i++) {
        scheduler_init(&s[i], &policy_wfq, SLICE);
        scheduler_wake(&s[i], &t[i], now);
    }
    while (now - start < clock_from_ms(100)) {
        now += SLICE;
        for (int i = 0; i < 2; i++) {
            struct subject *p = scheduler_pick(&s[i], now - SLICE);
            if (p) {
                used += SLICE;
                scheduler_charge(&s[i], p, now, SLICE, true);
            }
        }
    }
    assert_in_range(used * 1000 / (now - start), 195, 205);
    for (int i = 0; i < 2; i++)
        scheduler_destroy(&s[i]);
}

static void without_protection_there_are_no_limits(void **state)
{
    struct scheduler s;
    struct subject t[2];
    make_subjects(t);
    limits[0].ppm = 1;
    scheduler_init(&s, &policy_none, SLICE);
    scheduler_wake(&s, &t[0], 1000000);
    for (uint64_t now = 1000000; now < 2000000; now += SLICE) {
        assert_ptr_equal(scheduler_pick(&s, now), &t[0]);
        scheduler_charge(&s, &t[0], now + SLICE, SLICE, true);
    }
    scheduler_destroy(&s);
}

static void it_is_known_who_waited_for_whom(void **state)
{
    struct scheduler s;
    struct subject t[2];
    uint64_t now = 1000000;
    make_subjects(t);
    scheduler_init(&s, &policy_round_robin, SLICE);
    scheduler_wake(&s, &t[0], now);
    scheduler_wake(&s, &t[1], now);
    for (int i = 0; i < 100000; i++) {
        struct subject *p = scheduler_pick(&s, now);
        uint64_t cycles = p == &t[0] ? 10 * SLICE : SLICE;
        now += cycles;
        scheduler_charge(&s, p, now, cycles, true);
    }
    assert_in_range(accounts[1].waited * 1000 / (now - 1000000), 900, 920);
    assert_in_range(accounts[0].waited * 1000 / (now - 1000000), 85, 95);
    assert_int_equal(accounts[1].blockers[0].tenant, 1);
    assert_in_range(accounts[1].blockers[0].cycles * 100 / accounts[1].waited, 90, 110);
    scheduler_destroy(&s);
}

/* A change of policy loses nobody. */
static void policies_change_under_load(void **state)
{
    const struct policy_ops *const policies[] = {&policy_wfq, &policy_round_robin, &policy_none};
    struct scheduler s;
    struct subject t[2], *all[2];
    uint64_t now = 1000000, turns[2] = {0};
    make_subjects(t);
    scheduler_init(&s, &policy_wfq, SLICE);
    scheduler_wake(&s, &t[0], now);
    scheduler_wake(&s, &t[1], now);
    for (int i = 0; i < 3000; i++) {
        if (i % 100 == 0) {
            all[0] = &t[0];
            all[1] = &t[1];
            scheduler_change(&s, policies[i / 100 % 3], SLICE, all, 2, now);
        }
        struct subject *p = scheduler_pick(&s, now);
        turns[p - t]++;
        now += SLICE;
        scheduler_charge(&s, p, now, SLICE, true);
    }
    assert_in_range(turns[0], 1450, 1550);
    scheduler_destroy(&s);
}

/* ---- cpu.min ---- */

static void minimums_hold_when_everybody_is_busy(void **state)
{
    struct share s[4] = {{.weight = 1, .min = 0.5, .over = 1}, {.weight = 100, .over = 1}, {.weight = 300, .min = 0.1, .over = 1},
                         {.weight = 100, .min = 0.3, .over = 1}};
    shares_compute(s, 4);
    double total = 0;
    for (int i = 0; i < 4; i++)
        total += (double)s[i].effective;
    assert_true((double)s[0].effective / total > 0.4999 && (double)s[3].effective / total > 0.2999);
    /* What is left is shared by weight, and worth more to the third than its minimum. */
    double ratio = (double)s[2].effective / (double)s[1].effective;
    assert_true(ratio > 2.999 && ratio < 3.001);
    assert_true((double)s[2].effective / total > 0.1);
}

static void spreading_over_workers_gives_nothing(void **state)
{
    struct share s[2] = {{.weight = 100, .over = 1}, {.weight = 100, .over = 4}};
    shares_compute(s, 2);
    assert_int_equal(s[0].effective, 4 * s[1].effective);
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
        cmocka_unit_test(a_limit_holds_on_an_idle_core),
        cmocka_unit_test(a_limit_is_one_over_all_workers),
        cmocka_unit_test(without_protection_there_are_no_limits),
        cmocka_unit_test(it_is_known_who_waited_for_whom),
        cmocka_unit_test(policies_change_under_load),
        cmocka_unit_test(minimums_hold_when_everybody_is_busy),
        cmocka_unit_test(spreading_over_workers_gives_nothing),
        cmocka_unit_test(accounts_add_up_to_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
