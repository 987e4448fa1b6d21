/* What is merged, what must not be, and that cutting the whole again gives the same bytes. */
#include "test/cmocka_all.h"
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "base/checksum.h"
#include "port/merge.h"
#include "port/port.h"

#define SEGMENTS 40
#define ROOM 2048

static struct packet_pool pool;

struct wanted {
    bool v6, timestamps;
    uint16_t stream, id, window;
    uint32_t seq, payload;
    uint8_t flags;             /* ACK without any */
};

/* As a tunnel's queue does it: each joins the one before it, or stands behind it. */
static unsigned merge_segments(struct packet **at, unsigned n, uint64_t *merged)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < n; i++)
        if (kept && at[kept - 1]->refs == 1 && merge_segment(at[kept - 1], at[i])) {
            packet_unref(at[i]);
            ++*merged;
        } else {
            at[kept++] = at[i];
        }
    return kept;
}

static uint32_t ip_header(uint8_t *d, const struct wanted *w, uint32_t tcp_len)
{
    if (w->v6) {
        put16(d + 12, 0x86dd);
        put32(d + 14, 0x60012345);
        put16(d + 18, (uint16_t)tcp_len);
        d[20] = 6;
        d[21] = 64;
        memcpy(d + 22, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2", 32);
        return 54;
    }
    put16(d + 12, 0x0800);
    d[14] = 0x45;
    d[15] = 2;                 /* ECT(0) */
    put16(d + 16, (uint16_t)(20 + tcp_len));
    put16(d + 18, w->id);
    put16(d + 20, 0x4000);
    d[22] = 64;
    d[23] = 6;
    memcpy(d + 26, "\x0a\0\0\1\x0a\0\0\2", 8);
    uint16_t sum = (uint16_t)~csum_fold(csum_partial(d + 14, 20, 0));
    memcpy(d + 24, &sum, 2);
    return 34;
}

static void sum_tcp(uint8_t *d, uint32_t tcp, uint32_t len)
{
    bool v6 = tcp == 54;
    put16(d + tcp + 16, 0);
    uint64_t pseudo = csum_pseudo(d + (v6 ? 22 : 26), d + (v6 ? 38 : 30), v6, 6, len - tcp);
    uint16_t sum = (uint16_t)~csum_fold(csum_partial(d + tcp, len - tcp, pseudo));
    memcpy(d + tcp + 16, &sum, 2);
}

static uint8_t byte_of(uint32_t seq)
{
    return (uint8_t)(seq * 2654435761u >> 24);
}

static uint32_t make(uint8_t *d, const struct wanted *w)
{
    uint32_t header = w->timestamps ? 32 : 20, len = header + w->payload, tcp;
    memset(d, 0, ROOM);
    memcpy(d, "\2\0\0\0\0\1\2\0\0\0\0\2", 12);
    tcp = ip_header(d, w, len);
    uint8_t *t = d + tcp;
    put16(t, (uint16_t)(1000 + w->stream));
    put16(t + 2, 80);
    put32(t + 4, w->seq);
    put32(t + 8, 7777);
    t[12] = (uint8_t)(header / 4 << 4);
    t[13] = (uint8_t)(0x10 | w->flags);
    put16(t + 14, w->window ? w->window : 512);
    if (w->timestamps) {
        put32(t + 20, 0x0101080a);
        put32(t + 24, 1111);
        put32(t + 28, 2222);
    }
    for (uint32_t i = 0; i < w->payload; i++)
        t[header + i] = byte_of(w->seq + i);
    sum_tcp(d, tcp, tcp + len);
    return tcp + len;
}

static struct packet *packet_of(const uint8_t *d, uint32_t len)
{
    struct packet *p = packet_alloc(&pool);
    memcpy(p->data, d, len);
    p->len = len;
    return p;
}

static struct packet *wanted_packet(const struct wanted *w)
{
    uint8_t d[ROOM];
    return packet_of(d, make(d, w));
}

/* `n` segments that belong together, the last one shorter and with PSH. */
static void make_stream(struct packet **out, unsigned n, bool v6, bool timestamps)
{
    for (unsigned i = 0; i < n; i++) {
        struct wanted w = {.v6 = v6, .timestamps = timestamps, .id = (uint16_t)(65530 + i), .seq = 0xfffff000u + i * 1400,
                           .payload = i + 1 == n ? 700 : 1400, .flags = i + 1 == n ? 8 : 0};
        out[i] = wanted_packet(&w);
    }
}

/* Cuts `p`, whose reference goes, and compares. */
static void cut_gives(struct packet *p, uint8_t (*frames)[ROOM], const uint32_t *lengths, unsigned n)
{
    struct packet *cut[SEGMENTS];
    uint64_t drops[DP_N_DROPS] = {0};
    struct port_io io = {.pool = &pool, .drops = drops};
    assert_int_equal(port_segment(p, &io, cut, SEGMENTS), n);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(cut[i]->len, lengths[i]);
        assert_memory_equal(cut[i]->data, frames[i], lengths[i]);
        packet_unref(cut[i]);
    }
}

static void a_stream_becomes_one_and_is_cut_to_the_same(void **state)
{
    for (unsigned kind = 0; kind < 4; kind++) {
        struct packet *at[SEGMENTS];
        uint8_t frames[SEGMENTS][ROOM];
        uint32_t lengths[SEGMENTS];
        uint64_t merged = 0;
        make_stream(at, SEGMENTS, kind & 1, kind & 2);
        for (unsigned i = 0; i < SEGMENTS; i++)
            memcpy(frames[i], at[i]->data, lengths[i] = at[i]->len);
        assert_int_equal(merge_segments(at, SEGMENTS, &merged), 1);
        assert_int_equal(merged, SEGMENTS - 1);
        assert_int_equal(at[0]->vnet.gso_size, 1400);
        assert_int_equal(at[0]->vnet.gso_type, kind & 1 ? VNET_GSO_TCPV6 : VNET_GSO_TCPV4);
        assert_int_equal(at[0]->vnet.flags, VNET_NEEDS_CSUM);
        cut_gives(at[0], frames, lengths, SEGMENTS);
        assert_int_equal(pool.held, 0);
    }
}

/* Two segments, of whose second (or first) one byte is changed, with checksums made right again; must stay two. */
static void what_does_not_belong_together_stays_apart(void **state)
{
    static const struct {
        const char *what;
        unsigned at;
        uint8_t flip;
        bool first, v6;
    } cases[] = {
        {"destination MAC", 5, 1, 0, 0}, {"source MAC", 11, 1, 0, 0}, {"TOS", 15, 4, 0, 0}, {"ECN", 15, 1, 0, 0}, {"identification", 19, 1, 0, 0},
        {"don't fragment", 20, 0x40, 0, 0}, {"more fragments", 20, 0x20, 0, 0}, {"a later fragment", 21, 1, 0, 0}, {"TTL", 22, 1, 0, 0},
        {"protocol", 23, 1, 0, 0}, {"source", 29, 1, 0, 0}, {"destination", 33, 1, 0, 0}, {"source port", 35, 2, 0, 0},
        {"destination port", 37, 1, 0, 0}, {"sequence number", 41, 1, 0, 0}, {"acknowledged", 45, 1, 0, 0}, {"reserved bits", 46, 1, 0, 0},
        {"FIN", 47, 1, 0, 0}, {"SYN", 47, 2, 0, 0}, {"RST", 47, 4, 0, 0}, {"no ACK", 47, 16, 0, 0}, {"URG", 47, 32, 0, 0}, {"ECE", 47, 64, 0, 0},
        {"CWR", 47, 128, 0, 0}, {"window", 49, 1, 0, 0}, {"urgent pointer", 53, 1, 0, 0}, {"PSH of the first", 47, 8, 1, 0},
        {"FIN of the first", 47, 1, 1, 0}, {"CWR of the first", 47, 128, 1, 0}, {"a tag's type", 12, 0x89, 0, 0},
        {"traffic class", 14, 1, 0, 1}, {"flow label", 17, 1, 0, 1}, {"next header", 20, 1, 0, 1}, {"hop limit", 21, 1, 0, 1},
        {"source over IPv6", 37, 1, 0, 1}, {"destination over IPv6", 38, 1, 0, 1}, {"sequence number over IPv6", 61, 1, 0, 1},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct packet *at[3];
        uint64_t merged = 0;
        uint32_t tcp = cases[i].v6 ? 54 : 34;
        make_stream(at, 3, cases[i].v6, false);
        packet_unref(at[2]);
        struct packet *p = at[cases[i].first ? 0 : 1];
        p->data[cases[i].at] ^= cases[i].flip;
        if (!cases[i].v6) {
            memset(p->data + 24, 0, 2);
            uint16_t sum = (uint16_t)~csum_fold(csum_partial(p->data + 14, 20, 0));
            memcpy(p->data + 24, &sum, 2);
        }
        sum_tcp(p->data, tcp, p->len);
        if (merge_segments(at, 2, &merged) != 2 || merged)
            fail_msg("%s", cases[i].what);
        packet_unref(at[0]);
        packet_unref(at[1]);
    }
    assert_int_equal(pool.held, 0);
}

/* Whether two segments stay two when this has been done to them. */
static void apart(const char *what, void (*change)(struct packet **at))
{
    struct packet *at[3];
    uint64_t merged = 0;
    make_stream(at, 3, false, true);
    packet_unref(at[2]);
    change(at);
    if (merge_segments(at, 2, &merged) != 2)
        fail_msg("%s", what);
    packet_unref(at[0]);
    packet_unref(at[1]);
}

static void bad_sum(struct packet **at) { at[1]->data[200] ^= 1; }
static void bad_sum_first(struct packet **at) { at[0]->data[200] ^= 1; }
static void bad_ip_sum(struct packet **at) { at[1]->data[24] ^= 1; }
static void padded(struct packet **at) { at[1]->len++; }
static void cut_short(struct packet **at) { at[1]->len--; }
static void longer(struct packet **at)
{
    struct wanted w = {.timestamps = true, .id = 65531, .seq = 0xfffff000u + 1400, .payload = 1401};
    packet_unref(at[1]);
    at[1] = wanted_packet(&w);
}
static void nothing_in_it(struct packet **at)
{
    struct wanted w = {.timestamps = true, .id = 65531, .seq = 0xfffff000u + 1400};
    packet_unref(at[1]);
    at[1] = wanted_packet(&w);
}
static void other_time(struct packet **at)
{
    at[1]->data[60] ^= 1;
    sum_tcp(at[1]->data, 34, at[1]->len);
}
static void other_option(struct packet **at)
{
    for (int i = 0; i < 2; i++) {
        at[i]->data[34 + 22] = 5;      /* SACK */
        sum_tcp(at[i]->data, 34, at[i]->len);
    }
}
static void no_options(struct packet **at)
{
    struct wanted w = {.id = 65531, .seq = 0xfffff000u + 1400, .payload = 1400};
    packet_unref(at[1]);
    at[1] = wanted_packet(&w);
}
static void large_already(struct packet **at)
{
    at[1]->vnet = (struct vnet_hdr){.gso_type = VNET_GSO_TCPV4, .gso_size = 700, .flags = VNET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
}
static void open_elsewhere(struct packet **at)
{
    at[1]->vnet = (struct vnet_hdr){.flags = VNET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 14};
}
static void short_first(struct packet **at) { at[0]->len = 40; }
static void ip_options(struct packet **at) { at[1]->data[14] = 0x46; }

static void what_is_wrong_stays_as_it_came(void **state)
{
    apart("TCP checksum", bad_sum);
    apart("the first's TCP checksum", bad_sum_first);
    apart("IPv4 checksum", bad_ip_sum);
    apart("padding", padded);
    apart("cut short", cut_short);
    apart("longer than the first", longer);
    apart("no payload", nothing_in_it);
    apart("another timestamp", other_time);
    apart("an option that is no timestamp", other_option);
    apart("without the first's options", no_options);
    apart("a large segment", large_already);
    apart("an open checksum elsewhere", open_elsewhere);
    apart("no whole header", short_first);
    apart("options of IPv4", ip_options);
    assert_int_equal(pool.held, 0);
}

static void checksums_left_open_are_taken_as_they_are(void **state)
{
    struct packet *at[2];
    uint8_t frames[2][ROOM];
    uint32_t lengths[2];
    uint64_t merged = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct wanted w = {.id = (uint16_t)i, .seq = 5 + i * 1000, .payload = 1000};
        at[i] = wanted_packet(&w);
        memcpy(frames[i], at[i]->data, lengths[i] = at[i]->len);
        uint16_t open = csum_fold(csum_pseudo(at[i]->data + 26, at[i]->data + 30, 0, 6, at[i]->len - 34));
        memcpy(at[i]->data + 50, &open, 2);
        if (i)                 /* of the first it isn't told */
            at[i]->vnet = (struct vnet_hdr){.flags = VNET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
    }
    assert_int_equal(merge_segments(at, 2, &merged), 1);
    cut_gives(at[0], frames, lengths, 2);
}

static uint32_t draw(uint32_t *random)
{
    *random = *random * 1664525 + 1013904223;
    return *random >> 8;
}

/* Random streams, interleaved, with gaps, repeats and damage: of each, cutting what is left gives what came, in order. */
#define STREAMS 12
#define PACKETS 64
static void whatever_comes_each_stream_stays_as_it_was(void **state)
{
    uint32_t random = 1;
    uint64_t merged = 0;
    for (unsigned round = 0; round < 3000; round++) {
        static uint8_t frames[STREAMS][PACKETS][ROOM];
        static uint32_t lengths[STREAMS][PACKETS];
        unsigned n[STREAMS] = {0}, seen[STREAMS] = {0};
        struct wanted next[STREAMS] = {{0}};
        struct packet *at[PACKETS];
#define DRAW(most) (draw(&random) % (most))
        unsigned all = 1 + DRAW(PACKETS), n_streams = 1 + DRAW(STREAMS);
        for (unsigned i = 0; i < all; i++) {
            unsigned k = i && DRAW(4) ? at[i - 1]->queue_id : DRAW(n_streams);
            struct wanted *w = &next[k];
            w->stream = (uint16_t)k;
            w->v6 = k & 1;
            w->timestamps = k & 2;
            w->payload = DRAW(8) ? 1400 : DRAW(1401);
            w->flags = DRAW(8) ? 0 : DRAW(4) ? 8 : 1;
            uint8_t *d = frames[k][n[k]];
            uint32_t len = make(d, w);
            uint32_t rest = (w->v6 ? 54 : 34) + 4;     /* behind what says whose it is */
            if (!DRAW(16))
                d[rest + DRAW(len - rest)] ^= (uint8_t)(1 << DRAW(8));
            if (DRAW(16)) {
                w->seq += w->payload;
                w->id++;
            }
            at[i] = packet_of(d, len);
            at[i]->queue_id = k;
            lengths[k][n[k]++] = len;
        }
        unsigned left = merge_segments(at, all, &merged);
        for (unsigned i = 0; i < left; i++) {
            unsigned k = at[i]->queue_id;
            if (packet_is_gso(at[i])) {
                unsigned parts = (at[i]->len - at[i]->vnet.hdr_len + at[i]->vnet.gso_size - 1) / at[i]->vnet.gso_size;
                assert_true(seen[k] + parts <= n[k]);
                cut_gives(at[i], frames[k] + seen[k], lengths[k] + seen[k], parts);
                seen[k] += parts;
            } else {
                assert_int_equal(at[i]->len, lengths[k][seen[k]]);
                assert_memory_equal(at[i]->data, frames[k][seen[k]], at[i]->len);
                seen[k]++;
                packet_unref(at[i]);
            }
        }
        assert_memory_equal(seen, n, sizeof n);
        assert_int_equal(pool.held, 0);
    }
    assert_true(merged > 10000);
}

static int set_up(void **state)
{
    return packet_pool_init(&pool, 512);
}

static int tear_down(void **state)
{
    packet_pool_destroy(&pool);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_becomes_one_and_is_cut_to_the_same),
        cmocka_unit_test(what_does_not_belong_together_stays_apart),
        cmocka_unit_test(what_is_wrong_stays_as_it_came),
        cmocka_unit_test(checksums_left_open_are_taken_as_they_are),
        cmocka_unit_test(whatever_comes_each_stream_stays_as_it_was),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
