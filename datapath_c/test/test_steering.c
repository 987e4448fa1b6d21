/* The kernel runs both programs on frames: which are left to it, by its own counter. */
#include "test/cmocka_all.h"
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/bytes.h"
#include "port/steering.h"

#define FRAME 128
#define NEAR6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
#define FAR6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"

enum kind { UDP4, OPTIONS4, UDP6, ARP_FRAME, SOLICITATION, ADVERTISEMENT };

static void make(uint8_t *d, enum kind kind)
{
    memset(d, 0, FRAME);
    if (kind == ARP_FRAME) {
        put16(d + 12, 0x0806);
        memcpy(d + 14, "\0\1\x08\0\6\4\0\1", 8);
        memcpy(d + 38, "\xc0\0\2\1", 4);
    } else if (kind == UDP4 || kind == OPTIONS4) {
        uint8_t words = kind == OPTIONS4 ? 15 : 5;
        put16(d + 12, 0x0800);
        d[14] = 0x40 | words;
        put16(d + 20, 0x4000);
        d[23] = 17;
        memcpy(d + 30, "\xc0\0\2\1", 4);
        put16(d + 14 + words * 4 + 2, 4789);
    } else {
        put16(d + 12, 0x86dd);
        d[14] = 0x60;
        d[20] = kind == UDP6 ? 17 : 58;
        memcpy(d + 38, NEAR6, 16);
        if (kind == UDP6)
            put16(d + 56, 4789);
        else
            d[54] = kind == SOLICITATION ? 135 : 136;
        if (kind == SOLICITATION) {
            memcpy(d + 38, "\xff\2\0\0\0\0\0\0\0\0\0\1\xff\0\0\1", 16);
            memcpy(d + 62, NEAR6, 16);
        }
    }
}

/* {what, frame, byte changed and to what (0: none), length, taken where the addresses are the kernel's, and where they are ours}. */
static const struct {
    const char *what;
    enum kind kind;
    unsigned at, value, len;
    bool kernels, own;
} cases[] = {
    {"UDP to the address and port", UDP4, 0, 0, 128, 1, 1},
    {"the shortest", UDP4, 0, 0, 42, 1, 1},
    {"with options", OPTIONS4, 0, 0, 128, 1, 1},
    {"with options, cut before its ports", OPTIONS4, 0, 0, 75, 0, 0},
    {"another port", UDP4, 37, 0xb4, 128, 0, 0},
    {"another port behind options", OPTIONS4, 77, 0, 128, 0, 0},
    {"another address", UDP4, 33, 2, 128, 0, 0},
    {"TCP", UDP4, 23, 6, 128, 0, 0},
    {"a first fragment", UDP4, 20, 0x20, 128, 0, 0},
    {"a later fragment", UDP4, 21, 1, 128, 0, 0},
    {"an unknown type", UDP4, 12, 0x88, 128, 0, 0},
    {"in a VLAN", UDP4, 12, 0x81, 128, 0, 0},
    {"UDP over IPv6", UDP6, 0, 0, 128, 1, 1},
    {"cut before its end", UDP6, 0, 0, 77, 0, 0},
    {"another port over IPv6", UDP6, 57, 0xb4, 128, 0, 0},
    {"another address, last byte", UDP6, 53, 2, 128, 0, 0},
    {"another address, first byte", UDP6, 38, 0x30, 128, 0, 0},
    {"a fragment header", UDP6, 20, 44, 128, 0, 0},
    {"TCP over IPv6", UDP6, 20, 6, 128, 0, 0},
    {"ARP for the address", ARP_FRAME, 0, 0, 60, 0, 1},
    {"ARP for another", ARP_FRAME, 41, 2, 60, 0, 0},
    {"a solicitation of the address", SOLICITATION, 0, 0, 86, 0, 1},
    {"of another", SOLICITATION, 77, 2, 86, 0, 0},
    {"an advertisement to the address", ADVERTISEMENT, 0, 0, 86, 0, 1},
    {"to another", ADVERTISEMENT, 53, 2, 86, 0, 0},
    {"a router's advertisement", ADVERTISEMENT, 54, 134, 86, 0, 0},
};

static long bpf(int command, union bpf_attr *a)
{
    return syscall(SYS_bpf, command, a, sizeof *a);
}

static void run_once(int program, const uint8_t *frame, unsigned len)
{
    union bpf_attr a;
    memset(&a, 0, sizeof a);
    a.test.prog_fd = (uint32_t)program;
    a.test.data_in = (uintptr_t)frame;
    a.test.data_size_in = len;
    a.test.repeat = 1;
    assert_int_equal(bpf(BPF_PROG_TEST_RUN, &a), 0);
}

/* Whether the program took it. */
static bool took(const struct steerer *s, int program, const uint8_t *frame, unsigned len)
{
    uint64_t before = steerer_passed(s, 0);
    run_once(program, frame, len);
    return steerer_passed(s, 0) == before;
}

static struct steerer steerer;
static int programs[2], sockets;

static int set_up(void **state)
{
    fault f = {0};
    union bpf_attr a;
    memset(&a, 0, sizeof a);
    a.map_type = BPF_MAP_TYPE_XSKMAP;
    a.key_size = a.value_size = 4;
    a.max_entries = 1;
    sockets = (int)bpf(BPF_MAP_CREATE, &a);
    if (steerer_open(&steerer, 1, &f) || (programs[0] = steerer_load_xdp(&steerer, sockets, &f)) < 0 ||
        (programs[1] = steerer_load_filter(&steerer, &f)) < 0)
        fail_msg("%s: %s", f.field, f.reason);
    return 0;
}

static int tear_down(void **state)
{
    steerer_close(&steerer);
    close(programs[0]);
    close(programs[1]);
    return close(sockets);
}

static void the_vteps_packets_are_taken_and_no_others(void **state)
{
    for (unsigned own = 0; own < 2; own++)
        for (unsigned p = 0; p < 2; p++)
            for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                struct steering rule = {.local4 = htobe32(0xc0000201), .port = htobe16(4789), .own = (uint16_t)own};
                memcpy(rule.local6, NEAR6, 16);
                steerer_set(&steerer, &rule);
                uint8_t frame[FRAME];
                make(frame, cases[i].kind);
                if (cases[i].at)
                    frame[cases[i].at] = (uint8_t)cases[i].value;
                if (took(&steerer, programs[p], frame, cases[i].len) != (own ? cases[i].own : cases[i].kernels))
                    fail_msg("%s: %s, addresses %s", p ? "filter" : "XDP", cases[i].what, own ? "ours" : "the kernel's");
            }
}

static void the_rule_is_followed(void **state)
{
    uint8_t frame[FRAME];
    make(frame, UDP4);
    for (unsigned p = 0; p < 2; p++) {
        struct steering rule = {.local4 = htobe32(0xc0000201), .port = htobe16(4789)};
        steerer_set(&steerer, &rule);
        assert_true(took(&steerer, programs[p], frame, FRAME));
        rule.local4 = htobe32(0xc0000202);
        steerer_set(&steerer, &rule);
        assert_false(took(&steerer, programs[p], frame, FRAME));
        rule = (struct steering){0};
        steerer_set(&steerer, &rule);
        assert_false(took(&steerer, programs[p], frame, FRAME));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vteps_packets_are_taken_and_no_others),
        cmocka_unit_test(the_rule_is_followed),
    };
    if (geteuid()) {
        fprintf(stderr, "not run: loading programs needs root\n");
        return getenv("VSWITCH_SKIP_NOTHING") ? 1 : 77;
    }
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
