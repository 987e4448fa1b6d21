#include "port/steering.h"
#include <endian.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CODE_MAX 128
#define MAC_HEADER 0           /* BPF_HDR_START_MAC */

/* The stack, from its end. Loads from it must be aligned, so the frame begins where its addresses are. */
#define KEY (-4)
#define UDP_PORT (-8)
#define HEAD (-50)             /* the frame's first 42 bytes */
#define HEAD_SIZE 42
#define REST6 (-96)            /* of an IPv6 frame, 40 bytes from its destination on: to the end of a solicitation's target */
#define REST6_AT 38
#define REST6_SIZE 40

#define ICMP6_SOLICITATION 135
#define ICMP6_ADVERTISEMENT 136

enum label { NONE, PASS, TAKE, ARP, IPV6, DISCOVERY, TO_LOCAL6, N_LABELS };

struct assembler {
    struct bpf_insn code[CODE_MAX];
    enum label to[CODE_MAX];   /* where a jump goes */
    int at[N_LABELS];
    int n;
    bool xdp;
};

static void put(struct assembler *a, struct bpf_insn i)
{
    a->code[a->n++] = i;
}

static void jump(struct assembler *a, uint8_t code, uint8_t left, uint8_t right, int32_t value, enum label to)
{
    a->to[a->n] = to;
    put(a, (struct bpf_insn){.code = BPF_JMP | code, .dst_reg = left, .src_reg = right, .imm = value});
}

static void label(struct assembler *a, enum label l)
{
    a->at[l] = a->n;
}

static void move(struct assembler *a, uint8_t to, uint8_t from)
{
    put(a, (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = to, .src_reg = from});
}

static void set(struct assembler *a, uint8_t to, int32_t value)
{
    put(a, (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = to, .imm = value});
}

static void add(struct assembler *a, uint8_t to, int32_t value)
{
    put(a, (struct bpf_insn){.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = to, .imm = value});
}

static void fetch(struct assembler *a, uint8_t size, uint8_t to, uint8_t from, int offset)
{
    put(a, (struct bpf_insn){.code = BPF_LDX | BPF_MEM | size, .dst_reg = to, .src_reg = from, .off = (int16_t)offset});
}

static void call(struct assembler *a, int32_t function)
{
    put(a, (struct bpf_insn){.code = BPF_JMP | BPF_CALL, .imm = function});
}

static void map(struct assembler *a, uint8_t to, int fd)
{
    put(a, (struct bpf_insn){.code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = to, .src_reg = BPF_PSEUDO_MAP_FD, .imm = fd});
    put(a, (struct bpf_insn){0});
}

/* R0 = the entry of the key in R1, or NULL. */
static void look_up(struct assembler *a, int fd)
{
    put(a, (struct bpf_insn){.code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = BPF_REG_10, .src_reg = BPF_REG_1, .off = KEY});
    map(a, BPF_REG_1, fd);
    move(a, BPF_REG_2, BPF_REG_10);
    add(a, BPF_REG_2, KEY);
    call(a, BPF_FUNC_map_lookup_elem);
}

/* Copies `size` bytes, from the frame's R2-th on, to the stack; a frame that is shorter passes. */
static void copy(struct assembler *a, int to, int32_t size)
{
    move(a, BPF_REG_1, BPF_REG_6);
    move(a, BPF_REG_3, BPF_REG_10);
    add(a, BPF_REG_3, to);
    set(a, BPF_REG_4, size);
    set(a, BPF_REG_5, MAC_HEADER);
    call(a, a->xdp ? BPF_FUNC_xdp_load_bytes : BPF_FUNC_skb_load_bytes_relative);
    jump(a, BPF_JNE | BPF_K, BPF_REG_0, 0, 0, PASS);
}

/* Passes where something on the stack isn't as the rule has it. */
static void same(struct assembler *a, uint8_t size, int stack, size_t rule)
{
    fetch(a, size, BPF_REG_1, BPF_REG_10, stack);
    fetch(a, size, BPF_REG_2, BPF_REG_7, (int)rule);
    jump(a, BPF_JNE | BPF_X, BPF_REG_1, BPF_REG_2, 0, PASS);
}

static void same_local6(struct assembler *a, int stack)
{
    same(a, BPF_DW, stack, offsetof(struct steering, local6));
    same(a, BPF_DW, stack + 8, offsetof(struct steering, local6) + 8);
}

static void if_own(struct assembler *a)
{
    fetch(a, BPF_H, BPF_REG_1, BPF_REG_7, offsetof(struct steering, own));
    jump(a, BPF_JEQ | BPF_K, BPF_REG_1, 0, 0, PASS);
}

static void ipv4(struct assembler *a)
{
    fetch(a, BPF_B, BPF_REG_1, BPF_REG_10, HEAD + 23);
    jump(a, BPF_JNE | BPF_K, BPF_REG_1, 0, 17, PASS);
    fetch(a, BPF_H, BPF_REG_1, BPF_REG_10, HEAD + 20);
    put(a, (struct bpf_insn){.code = BPF_ALU64 | BPF_AND | BPF_K, .dst_reg = BPF_REG_1, .imm = htobe16(0x3fff)});
    jump(a, BPF_JNE | BPF_K, BPF_REG_1, 0, 0, PASS);
    same(a, BPF_W, HEAD + 30, offsetof(struct steering, local4));
    fetch(a, BPF_B, BPF_REG_2, BPF_REG_10, HEAD + 14);
    put(a, (struct bpf_insn){.code = BPF_ALU64 | BPF_AND | BPF_K, .dst_reg = BPF_REG_2, .imm = 15});
    put(a, (struct bpf_insn){.code = BPF_ALU64 | BPF_LSH | BPF_K, .dst_reg = BPF_REG_2, .imm = 2});
    add(a, BPF_REG_2, 14 + 2);
    copy(a, UDP_PORT, 2);
    same(a, BPF_H, UDP_PORT, offsetof(struct steering, port));
    jump(a, BPF_JA, 0, 0, 0, TAKE);
}

static void ipv6(struct assembler *a)
{
    label(a, IPV6);
    set(a, BPF_REG_2, REST6_AT);
    copy(a, REST6, REST6_SIZE);
    fetch(a, BPF_B, BPF_REG_1, BPF_REG_10, HEAD + 20);
    jump(a, BPF_JEQ | BPF_K, BPF_REG_1, 0, 58, DISCOVERY);
    jump(a, BPF_JNE | BPF_K, BPF_REG_1, 0, 17, PASS);
    same(a, BPF_H, REST6 + 56 - REST6_AT, offsetof(struct steering, port));
    label(a, TO_LOCAL6);
    same_local6(a, REST6);
    jump(a, BPF_JA, 0, 0, 0, TAKE);

    label(a, DISCOVERY);
    if_own(a);
    fetch(a, BPF_B, BPF_REG_1, BPF_REG_10, REST6 + 54 - REST6_AT);
    jump(a, BPF_JEQ | BPF_K, BPF_REG_1, 0, ICMP6_ADVERTISEMENT, TO_LOCAL6);
    jump(a, BPF_JNE | BPF_K, BPF_REG_1, 0, ICMP6_SOLICITATION, PASS);
    same_local6(a, REST6 + 62 - REST6_AT);
    jump(a, BPF_JA, 0, 0, 0, TAKE);
}

static void arp(struct assembler *a)
{
    label(a, ARP);
    if_own(a);
    same(a, BPF_W, HEAD + 38, offsetof(struct steering, local4));
    jump(a, BPF_JA, 0, 0, 0, TAKE);
}

/* What both programs do, up to TAKE. R6: the context, R7: the rule. */
static void decide(struct assembler *a, const struct steerer *s)
{
    move(a, BPF_REG_6, BPF_REG_1);
    set(a, BPF_REG_1, 0);
    look_up(a, s->rule_fd);
    jump(a, BPF_JEQ | BPF_K, BPF_REG_0, 0, 0, PASS);
    move(a, BPF_REG_7, BPF_REG_0);
    if (!a->xdp) {             /* the kernel has the tag beside the frame */
        fetch(a, BPF_W, BPF_REG_1, BPF_REG_6, offsetof(struct __sk_buff, vlan_present));
        jump(a, BPF_JNE | BPF_K, BPF_REG_1, 0, 0, PASS);
    }
    set(a, BPF_REG_2, 0);
    copy(a, HEAD, HEAD_SIZE);
    fetch(a, BPF_H, BPF_REG_1, BPF_REG_10, HEAD + 12);
    jump(a, BPF_JEQ | BPF_K, BPF_REG_1, 0, htobe16(0x0806), ARP);
    jump(a, BPF_JEQ | BPF_K, BPF_REG_1, 0, htobe16(0x86dd), IPV6);
    jump(a, BPF_JNE | BPF_K, BPF_REG_1, 0, htobe16(0x0800), PASS);
    ipv4(a);
    ipv6(a);
    arp(a);
}

static void count_and_pass(struct assembler *a, const struct steerer *s, int32_t verdict)
{
    label(a, PASS);
    if (a->xdp)
        fetch(a, BPF_W, BPF_REG_1, BPF_REG_6, offsetof(struct xdp_md, rx_queue_index));
    else
        set(a, BPF_REG_1, 0);
    look_up(a, s->passed_fd);
    put(a, (struct bpf_insn){.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_0, .off = 2});
    set(a, BPF_REG_1, 1);
    put(a, (struct bpf_insn){.code = BPF_STX | BPF_XADD | BPF_DW, .dst_reg = BPF_REG_0, .src_reg = BPF_REG_1});
    set(a, BPF_REG_0, verdict);
    put(a, (struct bpf_insn){.code = BPF_JMP | BPF_EXIT});
}

static long bpf(int command, union bpf_attr *attr)
{
    return syscall(SYS_bpf, command, attr, sizeof *attr);
}

static int load(struct assembler *a, fault *f)
{
    for (int i = 0; i < a->n; i++)
        if (a->to[i])
            a->code[i].off = (int16_t)(a->at[a->to[i]] - i - 1);
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = a->xdp ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SOCKET_FILTER;
    attr.insns = (uintptr_t)a->code;
    attr.insn_cnt = (uint32_t)a->n;
    attr.license = (uintptr_t)"Apache-2.0";
    strcpy(attr.prog_name, "vswitch_steer");
    int fd = (int)bpf(BPF_PROG_LOAD, &attr);
    return fd >= 0 ? fd : fault_set(f, errno, "steering", "the kernel doesn't take the program: %s", strerror(errno));
}

int steerer_load_xdp(const struct steerer *s, int sockets_fd, fault *f)
{
    struct assembler a = {.xdp = true};
    decide(&a, s);
    label(&a, TAKE);
    fetch(&a, BPF_W, BPF_REG_2, BPF_REG_6, offsetof(struct xdp_md, rx_queue_index));
    map(&a, BPF_REG_1, sockets_fd);
    set(&a, BPF_REG_3, XDP_PASS);
    call(&a, BPF_FUNC_redirect_map);
    put(&a, (struct bpf_insn){.code = BPF_JMP | BPF_EXIT});
    count_and_pass(&a, s, XDP_PASS);
    return load(&a, f);
}

int steerer_load_filter(const struct steerer *s, fault *f)
{
    struct assembler a = {.xdp = false};
    decide(&a, s);
    label(&a, TAKE);
    set(&a, BPF_REG_0, -1);    /* all of it */
    put(&a, (struct bpf_insn){.code = BPF_JMP | BPF_EXIT});
    count_and_pass(&a, s, 0);
    return load(&a, f);
}

static int make_map(uint32_t value_size, uint32_t n)
{
    union bpf_attr a;
    memset(&a, 0, sizeof a);
    a.map_type = BPF_MAP_TYPE_ARRAY;
    a.key_size = sizeof(uint32_t);
    a.value_size = value_size;
    a.max_entries = n;
    return (int)bpf(BPF_MAP_CREATE, &a);
}

int steerer_open(struct steerer *s, unsigned n_queues, fault *f)
{
    s->rule_fd = make_map(sizeof(struct steering), 1);
    s->passed_fd = s->rule_fd < 0 ? -1 : make_map(sizeof(uint64_t), n_queues);
    if (s->passed_fd >= 0)
        return 0;
    int e = errno;
    steerer_close(s);
    return fault_set(f, e, "steering", "no map: %s", strerror(e));
}

void steerer_close(struct steerer *s)
{
    if (s->rule_fd >= 0)
        close(s->rule_fd);
    if (s->passed_fd >= 0)
        close(s->passed_fd);
    *s = (struct steerer){-1, -1};
}

void steerer_set(struct steerer *s, const struct steering *what)
{
    uint32_t first = 0;
    union bpf_attr a;
    memset(&a, 0, sizeof a);
    a.map_fd = (uint32_t)s->rule_fd;
    a.key = (uintptr_t)&first;
    a.value = (uintptr_t)what;
    bpf(BPF_MAP_UPDATE_ELEM, &a);      /* of an array's entry: can't fail */
}

uint64_t steerer_passed(const struct steerer *s, unsigned queue)
{
    uint64_t n = 0;
    union bpf_attr a;
    memset(&a, 0, sizeof a);
    a.map_fd = (uint32_t)s->passed_fd;
    a.key = (uintptr_t)&queue;
    a.value = (uintptr_t)&n;
    return bpf(BPF_MAP_LOOKUP_ELEM, &a) ? 0 : n;
}
