/* Turns that are suspended: how long the core goes without a decision, who is charged, what becomes of packets and rules. On
 * the virtual clock on which every unit of work takes WORLD_UNIT cycles. */
#include "test/cmocka_all.h"
#include <string.h>
#include "base/defer.h"
#include "flow/cache.h"
#include "flow/group.h"
#include "flow/table.h"
#include "path/polling.h"
#include "path/turn.h"
#include "path/workers_run.h"
#include "test/world.h"

#define ATTACKER 1
#define VICTIM 2
#define MASKS 2000

/* What can happen between two looks at the clock, in units of work: the steps before the second, of which the last may be a
 * copy, and the parsing and lookup of packets that came beside. */
#define LONGEST (STEP_CHECK + STEP_COPY_UNITS + 16)

static struct actions a;

static int open_world(void **state)
{
    static struct world w;
    world_open(&w);
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    world_close(*state);
    return 0;
}

/* Rules that no packet matches, with as many masks; then one for everything. */
static void many_masks(struct world *w, uint32_t bridge, uint8_t table, unsigned n, int next)
{
    for (unsigned i = 0; i < n; i++) {
        struct udp_match m = {.src = 0x0b000000, .src_mask = 0xff000000 | i, .dst = 0, .dst_mask = 0};
        world_rule(w, bridge, table, 100, &m, NULL, -1);
    }
    act_clear(&a);
    if (next < 0)
        act_output(&a, 2);
    world_rule(w, bridge, table, 1, &(struct udp_match){0}, &a, next);
}

static void inject_flows(struct world *w, uint32_t tenant, unsigned n)
{
    uint8_t frame[60];
    for (unsigned i = 0; i < n; i++) {
        world_frame(frame, sizeof frame, 0x0a000001 + i, 0x0a000002, (uint16_t)(1000 + i), 80);
        world_inject(w, tenant, 1, frame, sizeof frame);
    }
}

static void assert_bounded(const struct world *w)
{
    assert_in_range(w->w->row->longest, 1, w->dp->slice + LONGEST * WORLD_UNIT);
}

static void assert_accounts_add_up(struct world *w)
{
    worker_account(w->w, &w->w->row->system[DP_SYS_IDLE]);
    const struct dp_shm_worker *row = w->w->row;
    uint64_t sum = 0;
    for (int i = 0; i < DP_N_SYSTEM; i++)
        sum += row->system[i];
    for (uint32_t t = 0; t < 8; t++)
        for (int s = 0; s < DP_N_STAGES; s++)
            sum += shm_account(w->dp, 0, t)->cycles[s];
    assert_int_equal(sum, row->now - row->start);
}

static void a_lookup_in_many_masks_is_no_longer_than_a_slice(void **state)
{
    struct world *w = *state;
    world_tenant(w, ATTACKER, 100, 2);
    many_masks(w, ATTACKER, 0, MASKS, -1);
    inject_flows(w, ATTACKER, 20);
    world_run(w);
    assert_int_equal(world_collect(w, ATTACKER, 2), 20);
    /* One lookup is worth many slices, and the work was done. */
    assert_true(world_account(w, ATTACKER)->account->cycles[DP_STAGE_SLOW] > (uint64_t)MASKS * STEP_PROBE * WORLD_UNIT);
    assert_true(world_account(w, ATTACKER)->account->yields > 20);
    assert_bounded(w);
    assert_accounts_add_up(w);
}

static void so_is_a_walk_through_64_tables(void **state)
{
    struct world *w = *state;
    world_tenant(w, ATTACKER, 100, 2);
    for (uint8_t t = 0; t < 64; t++)
        many_masks(w, ATTACKER, t, 40, t == 63 ? -1 : t + 1);
    inject_flows(w, ATTACKER, 5);
    world_run(w);
    assert_int_equal(world_collect(w, ATTACKER, 2), 5);
    assert_true(world_account(w, ATTACKER)->account->yields > 5);
    assert_bounded(w);
    assert_accounts_add_up(w);
}

static void so_are_chained_groups(void **state)
{
    struct world *w = *state;
    world_tenant(w, ATTACKER, 100, 2);
    act_clear(&a);
    act_output(&a, 2);
    world_group(w, ATTACKER, 1, GROUP_ALL, 20, &a);
    for (uint32_t g = 2; g <= 3; g++) {
        act_clear(&a);
        act_group(&a, g - 1);
        world_group(w, ATTACKER, g, GROUP_ALL, g == 2 ? 20 : 1, &a);
    }
    act_clear(&a);
    act_group(&a, 3);
    world_rule(w, ATTACKER, 0, 1, &(struct udp_match){0}, &a, -1);
    inject_flows(w, ATTACKER, 4);
    world_run(w);
    assert_int_equal(world_collect(w, ATTACKER, 2), 4 * 20 * 20);
    assert_true(world_account(w, ATTACKER)->account->yields > 4);
    assert_bounded(w);
    assert_accounts_add_up(w);
}

static void so_are_select_groups_of_many_buckets(void **state)
{
    struct world *w = *state;
    world_tenant(w, ATTACKER, 100, 2);
    act_clear(&a);
    act_output(&a, 2);
    world_group(w, ATTACKER, 1, GROUP_SELECT, 500, &a);
    act_clear(&a);
    act_group(&a, 1);
    world_rule(w, ATTACKER, 0, 1, &(struct udp_match){0}, &a, -1);
    inject_flows(w, ATTACKER, 50);
    world_run(w);
    assert_int_equal(world_collect(w, ATTACKER, 2), 50);
    assert_true(world_account(w, ATTACKER)->account->yields > 20);
    assert_bounded(w);
    assert_accounts_add_up(w);
}

static void so_is_a_flood_of_long_frames_to_many_ports(void **state)
{
    enum { PORTS = 400 };
    static uint8_t frame[60000];
    struct world *w = *state;
    world_tenant(w, ATTACKER, 100, PORTS);
    act_clear(&a);
    act_output(&a, OFPP_FLOOD);
    world_rule(w, ATTACKER, 0, 1, &(struct udp_match){0}, &a, -1);
    world_frame(frame, sizeof frame, 0x0a000001, 0x0a000002, 1, 2);
    for (int i = 0; i < 8; i++)
        world_inject(w, ATTACKER, 1, frame, sizeof frame);
    world_run(w);
    for (uint32_t p = 2; p <= PORTS; p++)
        assert_int_equal(world_collect(w, ATTACKER, p), 8);
    assert_true(world_account(w, ATTACKER)->account->yields > 8);
    assert_bounded(w);
    assert_accounts_add_up(w);
}

/* What a victim's packet waits for is a slice of the attacker's, whatever that is in the middle of. */
static void a_victim_waits_for_one_slice(void **state)
{
    struct world *w = *state;
    world_tenant(w, ATTACKER, 100, 2);
    world_tenant(w, VICTIM, 100, 2);
    many_masks(w, ATTACKER, 0, MASKS, -1);
    many_masks(w, VICTIM, 0, 0, -1);
    inject_flows(w, VICTIM, 1);
    world_run(w);
    world_collect(w, VICTIM, 2);
    uint8_t frame[60];
    world_frame(frame, sizeof frame, 0x0a000001, 0x0a000002, 1000, 80);
    uint64_t worst = 0;
    inject_flows(w, ATTACKER, 30);
    for (unsigned i = 0; i < 200 && world_account(w, ATTACKER)->subject.entity.runnable; i++) {
        worker_step(w->w);
        uint64_t then = clock_now();
        world_inject(w, VICTIM, 1, frame, sizeof frame);
        while (!world_collect(w, VICTIM, 2))
            worker_step(w->w);
        uint64_t waited = clock_now() - then;
        worst = waited > worst ? waited : worst;
    }
    assert_in_range(worst, 1, 2 * w->dp->slice);
    assert_bounded(w);
    assert_accounts_add_up(w);
}

static void step_until_suspended(struct world *w, uint32_t tenant)
{
    for (int i = 0; i < 10000 && !world_account(w, tenant)->suspended; i++)
        worker_step(w->w);
    assert_true(world_account(w, tenant)->suspended);
}

static void what_a_suspended_turn_reads_is_not_freed(void **state)
{
    struct world *w = *state;
    fault f;
    world_tenant(w, ATTACKER, 100, 2);
    world_tenant(w, VICTIM, 100, 2);
    many_masks(w, ATTACKER, 0, MASKS, -1);
    many_masks(w, VICTIM, 0, 3, -1);
    defer_run();
    inject_flows(w, ATTACKER, 1);
    step_until_suspended(w, ATTACKER);
    /* All the rules that the walk is among go away; another tenant's, too. */
    defer_owner(ATTACKER);
    table_clear(atomic_load(&datapath_bridge(w->dp, ATTACKER, &f)->tables[0]));
    defer_owner(VICTIM);
    table_clear(atomic_load(&datapath_bridge(w->dp, VICTIM, &f)->tables[0]));
    defer_owner(0);
    unsigned all = defer_pending();
    assert_true(all > 2);
    defer_run();
    assert_in_range(defer_held(), 1, all - 1);     /* the victim's are free */
    world_run(w);
    defer_run();
    assert_int_equal(defer_held(), 0);
}

static unsigned kicks_asked_for;

static bool never_ready(struct rxq *q)
{
    return false;
}

static bool ask_for_kicks(struct rxq *q, bool on)
{
    kicks_asked_for += on;
    return false;
}

static void let_time_pass(struct world *w, uint64_t us)
{
    clock_warp(clock_from_us(us));
    worker_account(w->w, w->w->clerk.bucket);
}

/* What it received last is on its way still, and after it more may come at once. */
static void the_ring_of_a_suspended_turn_is_not_left_to_its_kicks(void **state)
{
    struct world *w = *state;
    fault f;
    struct port_ops ring = dummy_ops;
    ring.ready = never_ready;
    ring.notify = ask_for_kicks;
    kicks_asked_for = 0;
    world_tenant(w, ATTACKER, 100, 2);
    many_masks(w, ATTACKER, 0, MASKS, -1);
    inject_flows(w, ATTACKER, 1);
    struct port *p = datapath_port(w->dp, ATTACKER, 1, &f);
    p->ops = &ring;
    polling_begin(w->w, &p->queues[0]);
    step_until_suspended(w, ATTACKER);
    assert_int_equal(w->w->n_quiet, 1);
    assert_int_equal(w->w->n_held, 1);
    let_time_pass(w, 1000);
    polling_look(w->w, 1);
    assert_true(p->queues[0].polled);
    assert_int_equal(kicks_asked_for, 0);
    world_run(w);
    assert_int_equal(w->w->n_held, 0);
    let_time_pass(w, 1000);
    polling_look(w->w, 1);
    assert_false(p->queues[0].polled);
    assert_int_equal(kicks_asked_for, 1);
    p->ops = &dummy_ops;
}

static void note_passed(void *arg)
{
    *(bool *)arg = true;
}

static void a_barrier_waits_for_suspended_turns(void **state)
{
    struct world *w = *state;
    bool attackers = false, victims = false, everybodys = false;
    world_tenant(w, ATTACKER, 100, 2);
    world_tenant(w, VICTIM, 100, 2);
    many_masks(w, ATTACKER, 0, MASKS, -1);
    inject_flows(w, ATTACKER, 3);
    step_until_suspended(w, ATTACKER);
    datapath_barrier(w->dp, ATTACKER, note_passed, &attackers);
    datapath_barrier(w->dp, VICTIM, note_passed, &victims);
    datapath_barrier(w->dp, 0, note_passed, &everybodys);
    mailbox_drain(&w->dp->mail, w->dp);
    assert_false(attackers);
    assert_false(everybodys);
    assert_true(victims);
    world_run(w);
    assert_true(attackers);
    assert_true(everybodys);
    assert_int_equal(world_collect(w, ATTACKER, 2), 3);
}

static void a_port_goes_while_a_turn_has_it_in_hand(void **state)
{
    struct world *w = *state;
    fault f;
    world_tenant(w, ATTACKER, 100, 3);
    many_masks(w, ATTACKER, 0, MASKS, -1);
    inject_flows(w, ATTACKER, 5);
    step_until_suspended(w, ATTACKER);
    uint64_t before = w->w->now;
    assert_int_equal(datapath_remove_port(w->dp, ATTACKER, 2, &f), 0);
    assert_false(world_account(w, ATTACKER)->suspended);
    assert_true(w->w->now - before < w->dp->slice);
    world_run(w);
    struct dp_shm_account *account = world_account(w, ATTACKER)->account;
    assert_true(account->drops[DROP_INTERRUPTED] >= 1);
    assert_int_equal(w->w->pool.n_free, w->w->pool.n);
    assert_accounts_add_up(w);
}

static void a_tenant_goes_while_its_turn_is_suspended(void **state)
{
    struct world *w = *state;
    fault f;
    world_tenant(w, ATTACKER, 100, 2);
    many_masks(w, ATTACKER, 0, MASKS, -1);
    inject_flows(w, ATTACKER, 5);
    step_until_suspended(w, ATTACKER);
    assert_int_equal(datapath_remove_bridge(w->dp, ATTACKER, &f), 0);
    assert_int_equal(datapath_remove_tenant(w->dp, ATTACKER, &f), 0);
    world_run(w);
    assert_int_equal(w->w->pool.n_free, w->w->pool.n);
    assert_int_equal(defer_held(), 0);
}

/* A tenant whose queues are full of packets leaves enough for others. */
static void nobody_takes_all_the_packets(void **state)
{
    struct world *w = *state;
    world_tenant(w, ATTACKER, 100, 8);
    world_tenant(w, VICTIM, 100, 2);
    many_masks(w, VICTIM, 0, 0, -1);
    uint8_t frame[60];
    world_frame(frame, sizeof frame, 1, 2, 3, 4);
    for (uint32_t p = 1; p <= 8; p++)
        for (int i = 0; i < RXQ_BACKLOG; i++)
            world_inject(w, ATTACKER, p, frame, sizeof frame);
    assert_in_range(w->w->pool.n_free, w->w->pool.n / 2, w->w->pool.n);
    inject_flows(w, VICTIM, 500);
    world_run(w);
    assert_int_equal(world_collect(w, VICTIM, 2), 500);
    assert_int_equal(w->w->pool.n_free, w->w->pool.n);
    assert_int_equal(world_account(w, ATTACKER)->pool.held, 0);
}

/* Flows that are used all the time stay in a cache that is churned through. */
static void a_full_cache_keeps_what_is_used(void **state)
{
    struct world *w = *state;
    world_tenant(w, ATTACKER, 100, 2);
    w->dp->tenants[ATTACKER]->conf.max_megaflows = 200;
    cache_free(world_account(w, ATTACKER)->cache);
    world_account(w, ATTACKER)->cache = NULL;
    act_clear(&a);
    act_output(&a, 2);
    /* A rule for each source address looks at all of it: a megaflow a flow. */
    for (uint32_t i = 0; i < 2; i++)
        world_rule(w, ATTACKER, 0, 2, &(struct udp_match){.src = 0x0b000000 + i, .src_mask = 0xffffffff}, &a, -1);
    world_rule(w, ATTACKER, 0, 1, &(struct udp_match){0}, &a, -1);
    uint8_t frame[60];
    uint64_t slow = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        for (uint32_t hot = 0; hot < 10; hot++) {
            world_frame(frame, sizeof frame, 0x0a000001 + hot, 2, 3, 4);
            world_inject(w, ATTACKER, 1, frame, sizeof frame);
        }
        world_frame(frame, sizeof frame, 0x0c000000 + i, 2, 3, 4);
        world_inject(w, ATTACKER, 1, frame, sizeof frame);
        world_run(w);
        world_collect(w, ATTACKER, 2);
    }
    slow = world_account(w, ATTACKER)->account->slow;
    assert_in_range(slow, 2010, 2100);
    assert_bounded(w);
}

/* Who sends nothing has no turn in which its cache would be looked through. */
static void what_idlers_have_cached_goes(void **state)
{
    struct world *w = *state;
    world_tenant(w, ATTACKER, 100, 2);
    world_tenant(w, VICTIM, 100, 2);
    act_clear(&a);
    act_output(&a, 2);
    world_rule(w, ATTACKER, 0, 2, &(struct udp_match){.src = 0x0b000000, .src_mask = 0xffffffff}, &a, -1);
    world_rule(w, ATTACKER, 0, 1, &(struct udp_match){0}, &a, -1);
    uint8_t frame[60];
    for (uint32_t i = 0; i < 2000; i++) {
        world_frame(frame, sizeof frame, 0x0c000000 | i * 2654435761u >> 8, 2, 3, 4);
        world_inject(w, ATTACKER, 1, frame, sizeof frame);
        world_run(w);
        world_collect(w, ATTACKER, 2);
    }
    struct cache *c = world_account(w, ATTACKER)->cache;
    assert_in_range(c->n_flows, 20, 2000);
    uint32_t flows = c->n_flows;
    for (uint64_t ms = 0; ms < 9000; ms += 10) {
        clock_warp(clock_from_ms(10));
        worker_step(w->w);
    }
    assert_int_equal(c->n_flows, flows);
    for (uint64_t ms = 0; ms < 60000; ms += 10) {
        clock_warp(clock_from_ms(10));
        worker_step(w->w);
    }
    assert_int_equal(c->n_flows, 0);
    assert_int_equal(c->n_tables, 0);
    assert_int_equal(c->room.top, 0);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_lookup_in_many_masks_is_no_longer_than_a_slice), IN_WORLD(so_is_a_walk_through_64_tables),
        IN_WORLD(so_are_chained_groups), IN_WORLD(so_are_select_groups_of_many_buckets),
        IN_WORLD(so_is_a_flood_of_long_frames_to_many_ports), IN_WORLD(a_victim_waits_for_one_slice),
        IN_WORLD(what_a_suspended_turn_reads_is_not_freed),
        IN_WORLD(the_ring_of_a_suspended_turn_is_not_left_to_its_kicks), IN_WORLD(a_barrier_waits_for_suspended_turns),
        IN_WORLD(a_port_goes_while_a_turn_has_it_in_hand), IN_WORLD(a_tenant_goes_while_its_turn_is_suspended),
        IN_WORLD(nobody_takes_all_the_packets), IN_WORLD(a_full_cache_keeps_what_is_used),
        IN_WORLD(what_idlers_have_cached_goes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
