#include "test/cmocka_all.h"
#include <string.h>
#include "base/bytes.h"
#include "base/checksum.h"
#include "path/headers.h"
#include "path/parse.h"
#include "port/port.h"
#include "test/frames.h"

static struct packet_pool pool;

/* {field, value}: after each the checksums are still right. */
static void checksums_follow_set_field(void **state)
{
    static const struct {
        enum field_id field;
        uint8_t value[6];
    } cases[] = {{F_IPV4_SRC, {192, 168, 7, 9}}, {F_IPV4_DST, {0, 0, 0, 0}}, {F_TCP_SRC, {0xff, 0xff}}, {F_TCP_DST, {0, 1}},
                 {F_IP_DSCP, {46}}, {F_IP_ECN, {3}}, {F_ETH_SRC, {1, 2, 3, 4, 5, 6}}};
    for (unsigned payload = 0; payload < 4; payload++) {
        uint8_t f[200];
        uint32_t len = frame_tcp4(f, payload);
        for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            struct packet *p = frame_packet(&pool, f, len);
            assert_int_equal(set_field(p, cases[i].field, cases[i].value), N_DROPS);
            assert_memory_not_equal(p->data, f, len);
            assert_true(frame_checksums_right(p->data, len));
            packet_unref(p);
        }
    }
}

/* A checksum left to the device covers addresses through the pseudo-header alone: completing it afterwards must be right. */
static void open_checksums_stay_completable(void **state)
{
    uint8_t f[200], address[4] = {172, 16, 0, 1}, port[2] = {1, 2};
    uint32_t len = frame_tcp4(f, 33);
    uint16_t pseudo = csum_fold(csum_pseudo(f + 26, f + 30, 0, 6, len - 34));
    memcpy(f + 50, &pseudo, 2);
    struct packet *p = frame_packet(&pool, f, len), *out[1];
    p->vnet = (struct vnet_hdr){.flags = VNET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
    set_field(p, F_IPV4_DST, address);
    set_field(p, F_TCP_DST, port);
    uint64_t drops[DP_N_DROPS] = {0};
    struct port_io io = {.pool = &pool, .drops = drops};
    assert_int_equal(port_segment(p, &io, out, 1), 1);
    assert_true(frame_checksums_right(out[0]->data, len));
    packet_unref(out[0]);
}

static void segments_are_whole_packets(void **state)
{
    static uint8_t f[65536];
    uint32_t len = frame_tcp4(f, 5000);
    uint16_t pseudo = csum_fold(csum_pseudo(f + 26, f + 30, 0, 6, len - 34));
    memcpy(f + 50, &pseudo, 2);
    struct packet *p = frame_packet(&pool, f, len), *out[8];
    p->vnet = (struct vnet_hdr){.flags = VNET_NEEDS_CSUM, .gso_type = VNET_GSO_TCPV4, .gso_size = 1448, .csum_start = 34,
                                .csum_offset = 16};
    uint64_t drops[DP_N_DROPS] = {0};
    struct port_io io = {.pool = &pool, .drops = drops};
    unsigned n = port_segment(p, &io, out, 8);
    assert_int_equal(n, 4);
    uint32_t at = 0;
    for (unsigned i = 0; i < n; i++) {
        uint32_t size = out[i]->len - 54;
        assert_true(size == 1448 || i == n - 1);
        assert_true(frame_checksums_right(out[i]->data, out[i]->len));
        assert_int_equal(get32(out[i]->data + 38), 1 + at);
        assert_memory_equal(out[i]->data + 54, f + 54 + at, size);
        assert_int_equal(out[i]->data[47] & 0x09, i == n - 1 ? 0x09 : 0);   /* FIN and PSH on the last alone */
        at += size;
        packet_unref(out[i]);
    }
    assert_int_equal(at, 5000);
}

/* What a datagram says of its length is not believed, and a packet that others share stays as it is. */
static void a_shared_datagram_is_fragmented_from_a_copy(void **state)
{
    static uint8_t f[4096], before[4096];
    uint32_t len = frame_tcp4(f, 1012);    /* 1,032 bytes behind IP, which UDP's header begins as well */
    f[23] = 17;
    struct packet *p = frame_packet(&pool, f, len), *out[8];
    memcpy(before, p->data, len);
    p->vnet = (struct vnet_hdr){.flags = VNET_NEEDS_CSUM, .gso_type = VNET_GSO_UDP, .gso_size = 405, .csum_start = 34, .csum_offset = 6};
    p->refs = 2;
    uint64_t drops[DP_N_DROPS] = {0};
    struct port_io io = {.pool = &pool, .drops = drops};
    unsigned n = port_segment(p, &io, out, 8);
    assert_int_equal(n, 3);
    assert_memory_equal(p->data, before, len);
    assert_int_equal(get16(out[0]->data + 20), 0x2000);
    assert_int_equal(get16(out[1]->data + 20), 0x2000 | 400 / 8);
    assert_int_equal(get16(out[2]->data + 20), 800 / 8);
    assert_int_equal(get16(out[0]->data + 38), 1032);
    assert_int_equal(out[2]->len, 34 + 232);
    for (unsigned i = 0; i < n; i++)
        packet_unref(out[i]);
    packet_unref(p);
    assert_int_equal(pool.n_free, pool.n);
}

static void push_and_pop_give_the_frame_back(void **state)
{
    uint8_t f[200];
    uint32_t len = frame_tcp4(f, 20);
    struct packet *p = frame_packet(&pool, f, len);
    assert_int_equal(push_vlan(p, 0x8100), N_DROPS);
    assert_int_equal(push_mpls(p, 0x8847), N_DROPS);
    assert_int_equal(p->data[18 + 3], 64);           /* TTL copied from IP */
    assert_int_equal(push_pbb(p, 0x88e7), N_DROPS);
    assert_int_equal(pop_pbb(p), N_DROPS);
    assert_int_equal(pop_mpls(p, 0x0800), N_DROPS);
    assert_int_equal(pop_vlan(p), N_DROPS);
    assert_int_equal(p->len, len);
    assert_memory_equal(p->data, f, len);
    assert_int_equal(pop_vlan(p), DROP_UNSUPPORTED);
    packet_unref(p);
}

static void ttl_runs_out_at_one(void **state)
{
    uint8_t f[200], two = 2;
    struct packet *p = frame_packet(&pool, f, frame_tcp4(f, 0));
    set_nw_ttl(p, two);
    assert_int_equal(dec_nw_ttl(p), N_DROPS);
    assert_int_equal(p->data[22], 1);
    assert_int_equal(dec_nw_ttl(p), DROP_TTL);
    assert_true(frame_checksums_right(p->data, p->len));
    packet_unref(p);
}

/* set-field of ip_proto, then of the new protocol's port: the port must change. */
static void ports_follow_the_protocol(void **state)
{
    uint8_t f[200], udp = 17, port[2] = {0x12, 0x34};
    struct packet *p = frame_packet(&pool, f, frame_tcp4(f, 20));
    set_field(p, F_IP_PROTO, &udp);
    set_field(p, F_TCP_DST, port);
    assert_memory_equal(p->data + 36, f + 36, 2);
    set_field(p, F_UDP_DST, port);
    assert_memory_equal(p->data + 36, port, 2);
    packet_unref(p);
}

static void crc32c_of_the_rfc(void **state)
{
    static const uint8_t zeros[32];                  /* RFC 3720, B.4 */
    assert_int_equal(crc32c(zeros, 32), 0x8a9136aa);
}

int main(void)
{
    packet_pool_init(&pool, 32);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums_follow_set_field), cmocka_unit_test(open_checksums_stay_completable),
        cmocka_unit_test(segments_are_whole_packets), cmocka_unit_test(a_shared_datagram_is_fragmented_from_a_copy),
        cmocka_unit_test(push_and_pop_give_the_frame_back),
        cmocka_unit_test(ttl_runs_out_at_one), cmocka_unit_test(ports_follow_the_protocol),
        cmocka_unit_test(crc32c_of_the_rfc)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    packet_pool_destroy(&pool);
    return failed;
}
