/* Frames at the tunnels' uplink: what is compared with the packet before it (tunnel/decapsulate.c) ends as what is looked at by itself. */
#include "test/cmocka_all.h"
#include <stdio.h>
#include <string.h>
#include "base/bytes.h"
#include "flow/bridge.h"
#include "path/parse.h"
#include "test/world.h"
#include "tunnel/decapsulate.h"
#include "tunnel/vtep.h"
#include "tunnel/vxlan.h"

#define UNDER 1                /* tenants */
#define RED 2
#define BLUE 3
#define TUNNEL 9               /* port number of each's */
#define INNER 60               /* bytes */
#define LONGEST 512
#define FEW 24                 /* in a batch: the queue's end is in the middle of one */
#define LOAN_HEAD 128          /* bytes of a frame on loan that are there */

struct arrival {
    uint8_t frame[LONGEST];
    uint32_t len;
    struct vnet_hdr vnet;
    bool on_loan;
};

/* Where a packet ended. */
struct result {
    uint32_t port;             /* slot of the tunnel's; 0: nowhere; 1: left to the uplink's bridge */
    uint32_t len;
    struct vnet_hdr vnet;
    uint64_t key[CACHE_WORDS];
    uint8_t frame[LONGEST];
};

static struct world w;
static struct port *uplink, *tunnels[4];
static unsigned given_back;

static void take_back(struct lender *l, struct packet *p)
{
    given_back++;
}

static struct lender guest = {take_back};

static int open_world(void **state)
{
    fault f;
    world_open(&w);
    for (uint32_t id = UNDER; id <= BLUE; id++)
        world_tenant(&w, id, 100, id == UNDER ? 0 : 1);
    struct dp_vtep v = {.local4.ip = {[10] = 0xff, 0xff, 192, 0, 2, 1}, .local6.ip = {0x20, 1, 0xd, 0xb8, [15] = 1}, .uplink_bridge = "b1",
                        .uplink_port = "wire"};
    assert_int_equal(vtep_set(w.dp, &v, &f), 0);
    struct dp_port wire = {.bridge = UNDER, .port_no = 1, .kind = DP_PORT_DUMMY, .name = "wire", .mac = {2, 0, 0, 0, 1, 1}};
    assert_int_equal(datapath_add_port(w.dp, &wire, &f), 0);
    uplink = datapath_port(w.dp, UNDER, 1, &f);
    for (uint32_t id = RED; id <= BLUE; id++) {
        struct dp_port p = {.bridge = id, .port_no = TUNNEL, .kind = DP_PORT_VXLAN, .vni = 100 + id, .learning = true};
        assert_int_equal(datapath_add_port(w.dp, &p, &f), 0);
        tunnels[id] = datapath_port(w.dp, id, TUNNEL, &f);
    }
    return 0;
}

static int close_world(void **state)
{
    world_close(&w);
    return 0;
}

/* From 192.0.2.`remote` to the VTEP; in it, UDP of INNER bytes. */
static struct arrival make(uint32_t vni, uint8_t remote, uint8_t sender)
{
    struct arrival a = {.len = UPLINK_OVERHEAD + INNER};
    static const uint8_t outer[UPLINK_OVERHEAD] = {
        2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 2, 8, 0, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 0, 192, 0, 2, 1,
        0xc0, 0, 0x12, 0xb5, 0, 0, 0, 0, 0x08};
    memcpy(a.frame, outer, sizeof outer);
    put16(a.frame + 16, INNER + 36);
    a.frame[29] = remote;
    put16(a.frame + 38, INNER + 16);
    put32(a.frame + 46, vni << 8);
    world_frame(a.frame + UPLINK_OVERHEAD, INNER, 0x0a000001, 0x0a000002, 1000, 80);
    a.frame[UPLINK_OVERHEAD + 11] = sender;
    return a;
}

static struct packet *arrive(const struct arrival *a, bool bare)
{
    struct packet *p = packet_alloc(&world_account(&w, UNDER)->pool);
    assert_non_null(p);
    if (bare)
        packet_begin(p, p->pool);
    memset(p->data, 0xee, LONGEST);        /* what lay there before */
    memcpy(p->data, a->frame, a->on_loan ? LOAN_HEAD : a->len);
    p->len = a->len;
    p->vnet = a->vnet;
    if (a->on_loan) {
        p->lender = &guest;
        p->head = LOAN_HEAD;
        p->one = (struct packet_piece){a->frame + LOAN_HEAD, a->len - LOAN_HEAD};
        p->rest = &p->one;
        p->n_rest = 1;
    }
    return p;
}

/* As its turn would have it. */
static void look(struct packet *p, struct port *in, uint32_t where, struct result *r)
{
    p->rx_port = in;
    if (!p->bare) {
        p->key.key.in_port = p->key.key.in_phy_port = htobe32(in->port_no);
        p->key.key.bridge = in->bridge->conf.id;
    }
    parse(p);
    r->port = where;
    r->len = p->len;
    r->vnet = p->vnet;
    memcpy(r->key, p->key.w, sizeof r->key);
    assert_null(p->lender);
    memcpy(r->frame, p->data, p->len);
    packet_unref(p);
}

static void receive(const struct arrival *a, unsigned n, bool bare, struct result *out)
{
    struct packet *all[BATCH], *batch[BATCH], *got[BATCH];
    struct wtenant *t = world_account(&w, UNDER);
    unsigned kept = 0, done = 0;
    memset(out, 0, n * sizeof *out);
    for (unsigned i = 0; i < n; i++)
        all[i] = batch[i] = arrive(&a[i], bare);
    while (done < n) {
        unsigned here, at = done;
        done += uplink_receive(w.w, t, uplink, batch + at, n - at, &here);
        memmove(batch + kept, batch + at, here * sizeof *batch);
        kept += here;
    }
    for (uint32_t id = RED; id <= BLUE; id++) {
        struct rxq *q = &tunnels[id]->queues[0];
        unsigned waiting = q->n, k = rxq_pop(q, NULL, got, BATCH);
        assert_int_equal(k, waiting);
        assert_null(q->tail);
        assert_int_equal(q->active, k > 0 || q->active);
        for (unsigned j = 0, last = 0; j < k; j++)
            for (unsigned i = 0; i < n; i++)
                if (all[i] == got[j]) {
                    assert_true(i >= last);        /* in order */
                    last = i;
                    look(got[j], tunnels[id], tunnels[id]->slot + 2, &out[i]);
                }
    }
    for (unsigned j = 0; j < kept; j++)
        for (unsigned i = 0; i < n; i++)
            if (all[i] == batch[j]) {
                batch[j]->bare = false;
                look(batch[j], uplink, 1, &out[i]);
            }
    assert_int_equal(w.w->pool.n_free, w.w->pool.n);
    for (uint32_t id = UNDER; id <= BLUE; id++)
        assert_int_equal(world_account(&w, id)->pool.held, 0);
}

static void sum_drops(uint64_t sum[DP_N_DROPS])
{
    memset(sum, 0, DP_N_DROPS * sizeof *sum);
    for (uint32_t id = 0; id <= BLUE; id++)
        for (unsigned i = 0; i < DP_N_DROPS; i++)
            sum[i] += shm_account(w.dp, 0, id)->drops[i];
}

/* A batch of those, and each of them by itself as a port delivers it that has parsed packets. */
static void must_agree(const struct arrival *a, unsigned n, const char *what, unsigned number)
{
    static struct result together[BATCH], apart[BATCH];
    uint64_t before[DP_N_DROPS], between[DP_N_DROPS], after[DP_N_DROPS];
    sum_drops(before);
    receive(a, n, true, together);
    sum_drops(between);
    for (unsigned i = 0; i < n; i++)
        receive(&a[i], 1, false, &apart[i]);
    sum_drops(after);
    for (unsigned i = 0; i < n; i++)
        if (memcmp(&together[i], &apart[i], sizeof apart[i]))
            fail_msg("%s %u: packet %u of %u", what, number, i, n);
    for (unsigned i = 0; i < DP_N_DROPS; i++)
        if (between[i] - before[i] != after[i] - between[i])
            fail_msg("%s %u: drop reason %u", what, number, i);
}

/* In the middle of others, of its own tunnel and of another's. */
static void must_agree_among_others(const struct arrival *other, const char *what, unsigned number)
{
    struct arrival a[8], plain = make(100 + RED, 2, 1), blue = make(100 + BLUE, 2, 1);
    for (unsigned i = 0; i < 8; i++)
        a[i] = i == 2 || i == 3 || i == 6 ? *other : i == 5 ? blue : plain;
    must_agree(a, 8, what, number);
}

static void any_bit_that_differs(void **state)
{
    for (unsigned bit = 0; bit < 8 * (UPLINK_OVERHEAD + 34); bit++) {
        struct arrival a = make(100 + RED, 2, 1);
        a.frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        must_agree_among_others(&a, "bit", bit);
    }
}

static void any_length_that_differs(void **state)
{
    for (uint32_t len = 0; len <= UPLINK_OVERHEAD + INNER + 20; len++) {
        struct arrival a = make(100 + RED, 2, 1);
        a.len = len;               /* cut, or padded */
        must_agree_among_others(&a, "bytes", len);
        for (uint32_t missing = 0; missing < 2 && len >= UPLINK_OVERHEAD; missing++) {
            put16(a.frame + 16, (uint16_t)(len - 14));
            put16(a.frame + 38, (uint16_t)(len - 34 - missing));
            must_agree_among_others(&a, "consistent bytes", len);
        }
    }
}

static void what_was_left_open(void **state)
{
    static const struct vnet_hdr open[] = {{.flags = VNET_NEEDS_CSUM, .csum_start = 84, .csum_offset = 6},
                                           {.flags = VNET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6},
                                           {.flags = VNET_DATA_VALID},
                                           {.gso_type = VNET_GSO_UDP, .gso_size = 20, .flags = VNET_NEEDS_CSUM, .csum_start = 34}};
    for (unsigned i = 0; i < sizeof open / sizeof open[0]; i++) {
        struct arrival a = make(100 + RED, 2, 1);
        a.vnet = open[i];
        must_agree_among_others(&a, "offloads", i);
    }
}

static void options_and_another_family(void **state)
{
    struct arrival a = make(100 + RED, 2, 1), plain = a;
    a.frame[14] = 0x46;            /* four bytes of options */
    memset(a.frame + 34, 1, 4);
    memcpy(a.frame + 38, plain.frame + 34, plain.len - 34);
    a.len += 4;
    put16(a.frame + 16, INNER + 40);
    must_agree_among_others(&a, "options", 0);
    static const uint8_t v6[54] = {2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 2, 0x86, 0xdd, 0x60, 0, 0, 0, 0, INNER + 16, 17, 64, 0x20, 1, 0xd, 0xb8,
                                   [37] = 2, [38] = 0x20, 1, 0xd, 0xb8, [53] = 1};
    memcpy(a.frame, v6, sizeof v6);
    memcpy(a.frame + 54, plain.frame + 34, plain.len - 34);
    a.len = plain.len + 20;
    must_agree_among_others(&a, "IPv6", 0);
}

static void on_loan(void **state)
{
    struct arrival a = make(100 + RED, 2, 1);
    put16(a.frame + 16, LONGEST - 14);
    put16(a.frame + 38, LONGEST - 34);
    a.len = LONGEST;
    a.on_loan = true;
    given_back = 0;
    must_agree_among_others(&a, "on loan", 0);
    assert_int_equal(given_back, 6);
}

/* Sends to that address; returns whether it is known behind which remote. */
static bool is_known(const uint8_t mac[6])
{
    uint8_t frame[INNER];
    struct wtenant *t = world_account(&w, RED);
    uint64_t unknown = t->account->drops[DROP_NO_REMOTE], asked = t->account->drops[DROP_NO_NEIGHBOUR];
    world_frame(frame, sizeof frame, 0x0a000002, 0x0a000001, 80, 1000);
    memcpy(frame, mac, 6);
    struct packet *p = packet_alloc(&t->pool);
    memcpy(p->data, frame, sizeof frame);
    p->len = sizeof frame;
    struct port_io io = worker_io(w.w, tunnels[RED]);
    tunnels[RED]->ops->tx(tunnels[RED], &io, &p, 1);
    assert_int_equal(t->account->drops[DROP_NO_REMOTE] + t->account->drops[DROP_NO_NEIGHBOUR], unknown + asked + 1);
    return t->account->drops[DROP_NO_NEIGHBOUR] > asked;
}

static void each_sender_is_learned(void **state)
{
    static struct result r[BATCH];
    struct arrival a[8];
    const uint8_t *macs[8];
    for (unsigned i = 0; i < 8; i++) {
        a[i] = i ? a[i - 1] : make(100 + RED, 2, 77);      /* each differs in one byte from the one before */
        macs[i] = a[i].frame + UPLINK_OVERHEAD + 6;
        if (i > 1)
            a[i].frame[UPLINK_OVERHEAD + 6 + i - 2] ^= 0x20;
    }
    for (unsigned i = 0; i < 8; i++)
        assert_false(is_known(macs[i]));
    receive(a, 8, true, r);
    for (unsigned i = 0; i < 8; i++)
        assert_true(is_known(macs[i]));
    a[0] = a[1] = make(100 + BLUE, 2, 200);
    receive(a, 2, true, r);
    assert_false(is_known(macs[0]));   /* another tenant's */
}

static struct neighbour *asked_for(const struct arrival *a)
{
    struct dp_addr ip = {{[10] = 0xff, 0xff}};
    memcpy(ip.ip + 12, a->frame + 26, 4);
    return neighbour_find(&w.dp->vtep->uplink.neighbours, &ip, false);
}

/* Whichever byte of the remote's address is another, in the middle of a batch. */
static void a_sender_that_moves_is_learned_anew(void **state)
{
    static struct result r[BATCH];
    for (unsigned byte = 26; byte < 30; byte++) {
        struct arrival a[3];
        for (unsigned i = 0; i < 3; i++)
            a[i] = make(100 + RED, 40, 90);
        a[2].frame[byte] ^= 0x10;
        assert_null(asked_for(&a[2]));
        receive(a, 3, true, r);
        assert_true(is_known(a[2].frame + UPLINK_OVERHEAD + 6));
        assert_non_null(asked_for(&a[2]));
    }
}

static void fill(unsigned n, unsigned *queued, uint64_t *lost)
{
    struct wtenant *t = world_account(&w, UNDER);
    uint64_t before = world_account(&w, RED)->account->drops[DROP_TENANT_QUEUE];
    for (unsigned i = 0; i < n; i += FEW) {
        struct packet *batch[FEW];
        struct arrival a = make(100 + RED, 2, 1);
        unsigned kept;
        for (unsigned k = 0; k < FEW; k++)
            batch[k] = arrive(&a, true);
        assert_int_equal(uplink_receive(w.w, t, uplink, batch, FEW, &kept), FEW);
        assert_int_equal(kept, 0);
    }
    *queued = tunnels[RED]->queues[0].n;
    *lost = world_account(&w, RED)->account->drops[DROP_TENANT_QUEUE] - before;
}

static void empty(void)
{
    struct packet *got[BATCH];
    for (unsigned k; (k = rxq_pop(&tunnels[RED]->queues[0], NULL, got, BATCH));)
        packet_unref_all(got, k);
}

static void a_tenant_has_room_for_so_many(void **state)
{
    unsigned queued;
    uint64_t lost;
    fill(16 * FEW, &queued, &lost);
    assert_int_equal(queued, 256);
    assert_int_equal(lost, 16 * FEW - 256);
    assert_int_equal(world_account(&w, RED)->pool.held, 256);
    empty();
    /* Nor more packets of the worker's than others leave it. */
    struct packet_pool *others = &world_account(&w, BLUE)->pool;
    static struct packet *taken[8192];
    unsigned n = 0;
    while (w.w->pool.n_free > 4 * BATCH) {
        struct packet **some = packet_take(others, 1);
        packet_begin(some[0], others);
        taken[n++] = some[0];
    }
    fill(4 * FEW, &queued, &lost);
    assert_int_equal(queued, POOL_MIN);
    assert_int_equal(lost, 4 * FEW - POOL_MIN);
    empty();
    packet_unref_all(taken, n);
    assert_int_equal(w.w->pool.n_free, w.w->pool.n);
}

/* The time for a batch is the tenants' whose packets they are, by their number; what is left to the bridge, the uplink's. */
static void the_time_is_charged_to_whom_it_was_spent_for(void **state)
{
    struct wtenant *under = world_account(&w, UNDER);
    struct arrival a[8], red = make(100 + RED, 2, 1), blue = make(100 + BLUE, 3, 1), none = red;
    none.frame[0] ^= 2;            /* for somebody else's MAC address */
    for (unsigned i = 0; i < 8; i++)
        a[i] = i % 4 == 1 ? blue : i == 6 ? none : red;
    uint64_t red_before = world_account(&w, RED)->account->cycles[DP_STAGE_TUNNEL];
    uint64_t blue_before = world_account(&w, BLUE)->account->cycles[DP_STAGE_TUNNEL];
    uint64_t vtimes[] = {world_account(&w, RED)->subject.entity.vtime, world_account(&w, BLUE)->subject.entity.vtime};
    static struct result r[BATCH];
    uint64_t *bucket = &under->account->cycles[DP_STAGE_RX], own;
    worker_account(w.w, bucket);
    own = *bucket;
    receive(a, 8, true, r);
    uint64_t red_paid = world_account(&w, RED)->account->cycles[DP_STAGE_TUNNEL] - red_before;
    uint64_t blue_paid = world_account(&w, BLUE)->account->cycles[DP_STAGE_TUNNEL] - blue_before;
    assert_true(blue_paid > 0);
    assert_int_equal(2 * red_paid, 5 * blue_paid);
    assert_int_equal(*bucket - own, blue_paid / 2);
    assert_true(world_account(&w, RED)->subject.entity.vtime > vtimes[0]);
    assert_true(world_account(&w, BLUE)->subject.entity.vtime > vtimes[1]);
    worker_account(w.w, &w.w->row->system[DP_SYS_IDLE]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_bit_that_differs),
                                       cmocka_unit_test(any_length_that_differs),
                                       cmocka_unit_test(what_was_left_open),
                                       cmocka_unit_test(options_and_another_family),
                                       cmocka_unit_test(on_loan),
                                       cmocka_unit_test(each_sender_is_learned),
                                       cmocka_unit_test(a_sender_that_moves_is_learned_anew),
                                       cmocka_unit_test(a_tenant_has_room_for_so_many),
                                       cmocka_unit_test(the_time_is_charged_to_whom_it_was_spent_for)};
    return cmocka_run_group_tests(tests, open_world, close_world);
}
