#include "test/cmocka_all.h"
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/bytes.h"
#include "base/checksum.h"
#include "port/port.h"
#include "test/frames.h"
#include "test/world.h"
#include "tunnel/inner.h"
#include "tunnel/train.h"
#include "tunnel/vtep.h"

static struct packet_pool pool;
static uint64_t lost;

/* A train of the segments that a 5,000-byte payload is cut into, and the whole frame in `whole`. */
static struct packet *make_train(uint8_t *whole, uint32_t *len, uint32_t *size, unsigned *n)
{
    *len = frame_tcp4(whole, 5000);
    struct packet *p = frame_packet(&pool, whole, *len), *s[8], *train = packet_alloc(&pool);
    uint16_t open = csum_fold(csum_pseudo(whole + 26, whole + 30, 0, 6, *len - 34));
    memcpy(p->data + 50, &open, 2);
    p->vnet = (struct vnet_hdr){.flags = VNET_NEEDS_CSUM, .gso_type = VNET_GSO_TCPV4, .gso_size = 1448, .csum_start = 34,
                                .csum_offset = 16};
    uint64_t drops[DP_N_DROPS] = {0};
    struct port_io io = {.pool = &pool, .drops = drops};
    *n = port_segment(p, &io, s, 8);
    *size = s[0]->len + VXLAN_HEADER;
    for (unsigned i = 0; i < *n; i++) {
        memcpy(train->data + train->len, "\x08\0\0\0\0\x03\xe9\0", VXLAN_HEADER);
        memcpy(train->data + train->len + VXLAN_HEADER, s[i]->data, s[i]->len);
        train->len += VXLAN_HEADER + s[i]->len;
        packet_unref(s[i]);
    }
    return train;
}

static void segments_of_a_stream_become_one_again(void **state)
{
    static uint8_t whole[8192];
    uint32_t len, size;
    unsigned n;
    struct packet *out[TRAIN_PACKETS], *p;
    p = make_train(whole, &len, &size, &n);
    assert_int_equal(train_unpack(p, size, out, &lost), 1);
    p = out[0];
    packet_pull(p, VXLAN_HEADER);
    assert_int_equal(p->len, len);
    assert_int_equal(p->vnet.gso_size, 1448);
    assert_memory_equal(p->data + 54, whole + 54, 5000);
    assert_int_equal(p->data[47], whole[47]);
    /* Completing the open checksum gives the whole frame's. */
    p->vnet = (struct vnet_hdr){.flags = VNET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
    uint64_t drops[DP_N_DROPS] = {0};
    struct port_io io = {.pool = &pool, .drops = drops};
    assert_int_equal(port_segment(p, &io, out, 1), 1);
    assert_true(frame_checksums_right(p->data, len));
    packet_unref(p);
}

/* {offset in the second datagram, what is changed}: then the train is taken apart, and nothing is lost. */
static void what_does_not_belong_together_stays_apart(void **state)
{
    static const struct {
        uint32_t at;
        const char *what;
    } cases[] = {{VXLAN_HEADER + 38 + 3, "sequence number"}, {VXLAN_HEADER + 34, "port"}, {VXLAN_HEADER + 5, "destination"},
                 {VXLAN_HEADER + 29, "address"}, {VXLAN_HEADER + 22, "TTL"}, {5, "VNI"}, {VXLAN_HEADER + 45, "acknowledged"},
                 {VXLAN_HEADER + 17, "length"}, {VXLAN_HEADER + 20, "fragment"}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static uint8_t whole[8192];
        uint32_t len, size;
        unsigned n;
        struct packet *out[TRAIN_PACKETS], *p = make_train(whole, &len, &size, &n);
        p->data[size + cases[i].at] ^= 1;
        uint8_t copy[8192];
        uint32_t total = p->len, at = 0;
        memcpy(copy, p->data, total);
        assert_int_equal(train_unpack(p, size, out, &lost), n);
        for (unsigned j = 0; j < n; j++) {
            assert_memory_equal(out[j]->data, copy + at, out[j]->len);
            at += out[j]->len;
            packet_unref(out[j]);
        }
        assert_int_equal(at, total);
    }
    assert_int_equal(lost, 0);
    assert_int_equal(pool.n_free, pool.n);
}

static void open_checksums_are_recognised(void **state)
{
    static uint8_t f[8192];
    uint32_t len = frame_tcp4(f, 100);
    struct packet *p = frame_packet(&pool, f, len);
    inner_restore_offloads(p, 1450);
    assert_int_equal(p->vnet.flags, 0);
    packet_unref(p);
    uint16_t open = csum_fold(csum_pseudo(f + 26, f + 30, 0, 6, len - 34));
    memcpy(f + 50, &open, 2);
    p = frame_packet(&pool, f, len);
    inner_restore_offloads(p, 1450);
    assert_int_equal(p->vnet.flags, VNET_NEEDS_CSUM);
    assert_int_equal(p->vnet.csum_start, 34);
    assert_int_equal(p->vnet.gso_type, VNET_GSO_NONE);
    packet_unref(p);
    len = frame_tcp4(f, 5000);
    open = csum_fold(csum_pseudo(f + 26, f + 30, 0, 6, len - 34));
    memcpy(f + 50, &open, 2);
    p = frame_packet(&pool, f, len);
    inner_restore_offloads(p, 1450);
    assert_int_equal(p->vnet.gso_type, VNET_GSO_TCPV4);
    assert_int_equal(p->vnet.gso_size, 1410);
    packet_unref(p);
}

/* ---- the shared socket ---- */

#define UDP_PORT 47890
#define FLOOD 20000
#define FEW 100

static void send_to_vni(int fd, uint32_t vni, unsigned n)
{
    uint8_t datagram[VXLAN_HEADER + 60] = {8};
    put32(datagram + 4, vni << 8);
    world_frame(datagram + VXLAN_HEADER, 60, 0x0a000001, 0x0a000002, 1, 2);
    for (unsigned i = 0; i < n; i++)
        if (send(fd, datagram, sizeof datagram, 0) < 0)
            fail();
}

static uint64_t arrived(struct world *w, uint32_t tenant)
{
    struct wtenant *t = w->w->tenants[tenant];
    return t ? t->account->rx_packets + t->account->drops[DROP_TENANT_QUEUE] : 0;
}

/* One VNI's flood (or an unknown one's) is in the socket before another's few packets come: these are neither lost nor behind it. */
static void a_flood_on_one_vni_is_not_in_anothers_way(void **state)
{
    static const uint32_t floods[] = {100, 4242};
    for (unsigned i = 0; i < 2; i++) {
        struct world w;
        fault f;
        world_open(&w);
        struct dp_vtep conf = {.local4.ip = {[10] = 0xff, 0xff, 127, 0, 0, 1}, .port = UDP_PORT};
        assert_int_equal(vtep_set(w.dp, &conf, &f), 0);
        for (uint32_t id = 1; id <= 2; id++) {
            world_tenant(&w, id, 100, 1);
            struct dp_port p = {.bridge = id, .port_no = 9, .kind = DP_PORT_VXLAN, .vni = 99 + id};
            assert_int_equal(datapath_add_port(w.dp, &p, &f), 0);
        }
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(UDP_PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
        send_to_vni(fd, floods[i], FLOOD);
        send_to_vni(fd, 101, FEW);
        for (unsigned k = 0; k < 100000 && arrived(&w, 2) < FEW; k++)
            worker_step(w.w);
        assert_int_equal(world_account(&w, 2)->account->rx_packets, FEW);
        const uint64_t *nobodys = shm_account(w.dp, 0, 0)->drops;
        assert_true(arrived(&w, 1) + nobodys[DROP_UNKNOWN_VNI] < FLOOD / 20);
        world_run(&w);
        assert_true(arrived(&w, 1) + nobodys[DROP_UNKNOWN_VNI] > FLOOD / 20);   /* there was one */
        close(fd);
        world_close(&w);
    }
}

int main(void)
{
    packet_pool_init(&pool, 32);
    const struct CMUnitTest tests[] = {cmocka_unit_test(segments_of_a_stream_become_one_again),
                                       cmocka_unit_test(what_does_not_belong_together_stays_apart),
                                       cmocka_unit_test(open_checksums_are_recognised),
                                       cmocka_unit_test(a_flood_on_one_vni_is_not_in_anothers_way)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    packet_pool_destroy(&pool);
    return failed;
}
