#include "port/xdp_program.h"
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static long bpf(int command, union bpf_attr *attr)
{
    return syscall(SYS_bpf, command, attr, sizeof *attr);
}

static int load(int map_fd, fault *f)
{
    /* return bpf_redirect_map(map, ctx->rx_queue_index, XDP_PASS); */
    const struct bpf_insn code[] = {
        {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_1, .off = offsetof(struct xdp_md, rx_queue_index)},
        {.code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = BPF_REG_1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = map_fd},
        {0},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3, .imm = XDP_PASS},
        {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map},
        {.code = BPF_JMP | BPF_EXIT},
    };
    union bpf_attr a;
    memset(&a, 0, sizeof a);
    a.prog_type = BPF_PROG_TYPE_XDP;
    a.insns = (uintptr_t)code;
    a.insn_cnt = sizeof code / sizeof code[0];
    a.license = (uintptr_t)"Apache-2.0";
    strcpy(a.prog_name, "vswitch");
    int fd = (int)bpf(BPF_PROG_LOAD, &a);
    return fd >= 0 ? fd : fault_set(f, errno, "xdp_mode", "the program isn't taken: %s", strerror(errno));
}

int xdp_program_attach(struct xdp_program *x, int ifindex, unsigned n_queues, bool native, const struct steerer *steerer, fault *f)
{
    union bpf_attr a;
    *x = (struct xdp_program){.map_fd = -1, .link_fd = -1};
    memset(&a, 0, sizeof a);
    a.map_type = BPF_MAP_TYPE_XSKMAP;
    a.key_size = a.value_size = sizeof(uint32_t);
    a.max_entries = n_queues;
    if ((x->map_fd = (int)bpf(BPF_MAP_CREATE, &a)) < 0)
        return fault_set(f, errno, "xdp_mode", "no map of sockets: %s", strerror(errno));
    int program = steerer ? steerer_load_xdp(steerer, x->map_fd, f) : load(x->map_fd, f);
    if (program < 0) {
        xdp_program_detach(x);
        return program;
    }
    memset(&a, 0, sizeof a);
    a.link_create.prog_fd = (uint32_t)program;
    a.link_create.target_ifindex = (uint32_t)ifindex;
    a.link_create.attach_type = BPF_XDP;
    a.link_create.flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
    x->link_fd = (int)bpf(BPF_LINK_CREATE, &a);
    int e = errno;
    close(program);            /* the link holds it */
    if (x->link_fd >= 0)
        return 0;
    xdp_program_detach(x);
    if (e == EBUSY)
        return fault_set(f, e, "xdp_mode", "the interface has another XDP program");
    return fault_set(f, e, "xdp_mode", "no %s XDP: %s%s", native ? "native" : "generic", strerror(e),
                     e == ERANGE ? " (its MTU or its peer's is too large)" : "");
}

int xdp_program_steer(struct xdp_program *x, unsigned queue, int socket_fd, fault *f)
{
    union bpf_attr a;
    memset(&a, 0, sizeof a);
    a.map_fd = (uint32_t)x->map_fd;
    a.key = (uintptr_t)&queue;
    a.value = (uintptr_t)&socket_fd;
    return bpf(BPF_MAP_UPDATE_ELEM, &a) ? fault_set(f, errno, "xdp_mode", "queue %u: %s", queue, strerror(errno)) : 0;
}

void xdp_program_detach(struct xdp_program *x)
{
    if (x->link_fd >= 0)
        close(x->link_fd);
    if (x->map_fd >= 0)
        close(x->map_fd);
    *x = (struct xdp_program){.map_fd = -1, .link_fd = -1};
}
