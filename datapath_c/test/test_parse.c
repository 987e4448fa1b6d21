#include "test/cmocka_all.h"
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "path/parse.h"
#include "test/frames.h"

static struct packet_pool pool;

static void fields_of_a_tcp_frame(void **state)
{
    uint8_t f[200];
    struct packet *p = frame_packet(&pool, f, frame_tcp4(f, 10));
    const struct key *k = &p->key.key;
    assert_int_equal(k->eth_type, htobe16(0x0800));
    assert_int_equal(get32(k->ip_src), 0x0a000001);
    assert_int_equal(k->ip_proto, 6);
    assert_int_equal(k->tp_src, htobe16(1000));
    assert_int_equal(k->tp_dst, htobe16(80));
    assert_int_equal(k->ip_ttl, 64);
    assert_int_equal(p->l3, 14);
    assert_int_equal(p->l4, 34);
    packet_unref(p);
}

/* A frame cut at any length is parsed without reading past its end (ASan watches) and keeps what is whole. */
static void every_cut_is_safe(void **state)
{
    uint8_t f[200];
    uint32_t len = frame_tcp4(f, 0);
    for (uint32_t n = 0; n <= len; n++) {
        uint8_t *exact = malloc(n ? n : 1);
        memcpy(exact, f, n);
        struct packet p = {.data = exact, .len = n};
        parse(&p);
        assert_int_equal(p.malformed != 0, n < 14 || (n >= 34 && n < len));
        assert_int_equal(p.l4 != OFFSET_NONE, n == len);
        free(exact);
    }
}

static void tags_are_told_apart(void **state)
{
    uint8_t f[64] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xa8, 0x60, 5, 0x81, 0, 0x20, 7, 0x08, 0x06};
    struct packet *p = frame_packet(&pool, f, 60);
    assert_int_equal(p->key.key.vlan_vid, htobe16(0x1005));
    assert_int_equal(p->key.key.vlan_pcp, 3);
    assert_int_equal(p->key.key.vlan_inner, htobe16(0x2007));
    assert_int_equal(p->key.key.vlan_inner_n, 1);
    assert_int_equal(p->key.key.eth_type, htobe16(0x0806));
    packet_unref(p);
}

/* RFC 8200's order of extension headers: hop-by-hop, routing, fragment. */
static void ipv6_extension_headers(void **state)
{
    uint8_t f[128] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 0, 64};
    f[54] = 43;            /* hop-by-hop, then routing */
    f[62] = 44;            /* then fragment */
    f[70] = 17;            /* then UDP, first fragment */
    put16(f + 72, 1);
    put16(f + 78, 53);
    put16(f + 82, 8);
    struct packet *p = frame_packet(&pool, f, 86);
    assert_int_equal(p->key.key.ip_proto, 17);
    assert_int_equal(p->key.key.ipv6_exthdr, htobe16(64 | 32 | 16));
    assert_int_equal(p->key.key.ip_frag, KEY_FRAG_ANY);
    assert_int_equal(p->key.key.tp_src, htobe16(53));
    packet_unref(p);
    f[54] = 60;            /* hop-by-hop, destination options, then hop-by-hop again */
    f[62] = 0;
    p = frame_packet(&pool, f, 86);
    assert_int_equal(p->key.key.ipv6_exthdr & htobe16(64 | 8 | 128 | 256), htobe16(64 | 8 | 128 | 256));
    packet_unref(p);
}

static void later_fragments_have_no_ports(void **state)
{
    uint8_t f[200];
    uint32_t len = frame_tcp4(f, 30);
    put16(f + 20, 100);
    struct packet *p = frame_packet(&pool, f, len);
    assert_int_equal(p->key.key.ip_frag, KEY_FRAG_ANY | KEY_FRAG_LATER);
    assert_int_equal(p->key.key.tp_dst, 0);
    assert_int_equal(p->l4, OFFSET_NONE);
    packet_unref(p);
}

int main(void)
{
    packet_pool_init(&pool, 16);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_of_a_tcp_frame), cmocka_unit_test(every_cut_is_safe), cmocka_unit_test(tags_are_told_apart),
        cmocka_unit_test(ipv6_extension_headers), cmocka_unit_test(later_fragments_have_no_ports)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    packet_pool_destroy(&pool);
    return failed;
}
