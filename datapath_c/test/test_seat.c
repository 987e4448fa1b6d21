/* The main thread in a sleeping worker's place (path/workers_run.h), with a real worker's thread. */
#include <sched.h>
#include <time.h>
#include "test/cmocka_all.h"
#include "base/bytes.h"
#include "path/workers_run.h"
#include "test/world.h"

#define TENANT 1
#define APART_US 150           /* between packet-outs: more than those of a burst are apart */
#define ROUNDS 2000

static int open_threaded(void **state)
{
    static struct world w;
    int error;
    clock_init(false);
    w.dp = datapath_new(1, true, false, &error);
    if (!w.dp)
        return -1;
    w.w = w.dp->workers[0];
    world_tenant(&w, TENANT, 100, 2);
    *state = &w;
    return 0;
}

static int close_threaded(void **state)
{
    datapath_free(((struct world *)*state)->dp, false);
    return 0;
}

static void pass_us(uint64_t us)
{
    for (uint64_t until = clock_now() + clock_from_us(us); clock_now() < until;)
        ;
}

static void wait_until_asleep(struct worker *w)
{
    while (atomic_load(&w->seat) != SEAT_FREE || !mailbox_empty(&w->mail))
        sched_yield();
}

static unsigned wait_for_frames(struct world *w, uint32_t port, unsigned n)
{
    unsigned got = 0;
    for (uint64_t until = clock_now() + 5 * clock_hz; got < n && clock_now() < until; sched_yield())
        got += world_collect(w, TENANT, port);
    return got;
}

static void packet_out(struct world *w, uint32_t port)
{
    uint8_t body[16 + 16 + 60] = {0};
    fault f;
    put32(body, OFP_NO_BUFFER);
    put32(body + 4, OFPP_CONTROLLER);
    put16(body + 8, 16);
    put16(body + 16, OFPAT_OUTPUT);
    put16(body + 18, 16);
    put32(body + 20, port);
    world_frame(body + 32, 60, 1, 2, 3, 4);
    assert_int_equal(datapath_packet_out(w->dp->bridges[TENANT], body, sizeof body, &f), 0);
}

static void assert_accounts_add_up(struct world *w)
{
    wait_until_asleep(w->w);
    const struct dp_shm_worker *row = w->w->row;
    uint64_t sum = 0;
    for (int i = 0; i < DP_N_SYSTEM; i++)
        sum += row->system[i];
    for (uint32_t t = 0; t <= TENANT; t++)
        for (int s = 0; s < DP_N_STAGES; s++)
            sum += shm_account(w->dp, 0, t)->cycles[s];
    assert_int_equal(sum, row->now - row->start);
}

static void a_packet_out_does_not_wake_a_sleeping_worker(void **state)
{
    struct world *w = *state;
    packet_out(w, 2);          /* the worker comes to know the tenant */
    assert_int_equal(wait_for_frames(w, 2, 1), 1);
    pass_us(APART_US);
    wait_until_asleep(w->w);
    uint64_t sleeps = w->w->row->sleeps, charged = shm_account(w->dp, 0, TENANT)->cycles[DP_STAGE_CONTROL];
    packet_out(w, 2);
    assert_int_equal(world_collect(w, TENANT, 2), 1);
    assert_int_equal(w->w->row->sleeps, sleeps);
    assert_true(shm_account(w->dp, 0, TENANT)->cycles[DP_STAGE_CONTROL] > charged);
    assert_accounts_add_up(w);
}

static void what_is_left_to_do_wakes_it(void **state)
{
    struct world *w = *state;
    uint8_t frame[60];
    fault f;
    world_frame(frame, sizeof frame, 1, 2, 3, 4);
    struct actions a;
    act_clear(&a);
    act_output(&a, 2);
    world_rule(w, TENANT, 0, 1, &(struct udp_match){0}, &a, -1);
    packet_out(w, 2);
    assert_int_equal(wait_for_frames(w, 2, 1), 1);
    wait_until_asleep(w->w);
    assert_true(worker_borrow(w->w));
    assert_false(worker_borrow(w->w));
    world_inject(w, TENANT, 1, frame, sizeof frame);       /* wakes the worker, which finds its seat lent */
    pass_us(1000);
    assert_int_equal(world_collect(w, TENANT, 2), 0);
    worker_give_back(w->w);
    assert_int_equal(wait_for_frames(w, 2, 1), 1);
    wait_until_asleep(w->w);
    assert_true(worker_borrow(w->w));
    struct wtenant *t = world_account(w, TENANT);
    struct packet *p = packet_alloc(&t->pool);
    p->len = sizeof frame;
    memcpy(p->data, frame, sizeof frame);
    struct rxq *q = &datapath_port(w->dp, TENANT, 1, &f)->queues[0];
    assert_true(rxq_push(q, p));
    worker_wake(w->w, q);      /* and nothing but that tells the worker of it */
    worker_give_back(w->w);
    assert_int_equal(wait_for_frames(w, 2, 1), 1);
    assert_accounts_add_up(w);
}

static void both_take_turns_without_losing_anything(void **state)
{
    struct world *w = *state;
    uint8_t frame[60];
    world_frame(frame, sizeof frame, 1, 2, 3, 4);
    struct actions a;
    act_clear(&a);
    act_output(&a, 2);
    world_rule(w, TENANT, 0, 1, &(struct udp_match){0}, &a, -1);
    unsigned got = 0;
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 2)
            world_inject(w, TENANT, 1, frame, sizeof frame);
        pass_us(i % APART_US);
        packet_out(w, 2);
        got += world_collect(w, TENANT, 2);
    }
    got += wait_for_frames(w, 2, ROUNDS + ROUNDS / 2 - got);
    assert_int_equal(got, ROUNDS + ROUNDS / 2);
    assert_accounts_add_up(w);
    assert_int_equal(w->w->pool.n_free, w->w->pool.n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_packet_out_does_not_wake_a_sleeping_worker, open_threaded, close_threaded),
        cmocka_unit_test_setup_teardown(what_is_left_to_do_wakes_it, open_threaded, close_threaded),
        cmocka_unit_test_setup_teardown(both_take_turns_without_losing_anything, open_threaded, close_threaded),
    };
    return cmocka_run_group_tests_name("seat", tests, NULL, NULL);
}
