/* The messages of the vhost-user protocol, as QEMU's docs/interop/vhost-user.rst defines them. Host-endian. */
#ifndef VSWITCH_VHOST_MESSAGE_H
#define VSWITCH_VHOST_MESSAGE_H
#include <linux/virtio_net.h>

#ifndef VIRTIO_NET_F_HOST_USO      /* Linux 6.2 */
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO 56
#endif
#include <stdint.h>

enum vhost_request {
    VHOST_GET_FEATURES = 1,
    VHOST_SET_FEATURES = 2,
    VHOST_SET_OWNER = 3,
    VHOST_RESET_OWNER = 4,
    VHOST_SET_MEM_TABLE = 5,
    VHOST_SET_LOG_BASE = 6,
    VHOST_SET_LOG_FD = 7,
    VHOST_SET_VRING_NUM = 8,
    VHOST_SET_VRING_ADDR = 9,
    VHOST_SET_VRING_BASE = 10,
    VHOST_GET_VRING_BASE = 11,
    VHOST_SET_VRING_KICK = 12,
    VHOST_SET_VRING_CALL = 13,
    VHOST_SET_VRING_ERR = 14,
    VHOST_GET_PROTOCOL_FEATURES = 15,
    VHOST_SET_PROTOCOL_FEATURES = 16,
    VHOST_GET_QUEUE_NUM = 17,
    VHOST_SET_VRING_ENABLE = 18,
    VHOST_SEND_RARP = 19,
    VHOST_NET_SET_MTU = 20,
    VHOST_GET_INFLIGHT_FD = 31,
    VHOST_SET_INFLIGHT_FD = 32,
    VHOST_RESET_DEVICE = 34,
    VHOST_GET_MAX_MEM_SLOTS = 36,
    VHOST_ADD_MEM_REG = 37,
    VHOST_REM_MEM_REG = 38,
    VHOST_SET_STATUS = 39,
    VHOST_GET_STATUS = 40,
    VHOST_N_REQUESTS
};

enum vhost_protocol_feature {
    VHOST_P_MQ = 0,
    VHOST_P_LOG_SHMFD = 1,
    VHOST_P_RARP = 2,
    VHOST_P_REPLY_ACK = 3,
    VHOST_P_MTU = 4,
    VHOST_P_INFLIGHT_SHMFD = 12,
    VHOST_P_RESET_DEVICE = 13,
    VHOST_P_CONFIGURE_MEM_SLOTS = 15,
    VHOST_P_STATUS = 16
};

#define VHOST_VERSION 1
#define VHOST_VERSION_MASK 3
#define VHOST_REPLY 4
#define VHOST_NEED_REPLY 8

#define VHOST_F_LOG_ALL 26
#define VHOST_USER_F_PROTOCOL_FEATURES 30

#define VHOST_MAX_REGIONS 32       /* that we take; a SET_MEM_TABLE carries at most 8 */
#define VHOST_TABLE_REGIONS 8
#define VHOST_VRING_INDEX 0xff
#define VHOST_VRING_NO_FD 0x100
#define VHOST_VRING_F_LOG 0

struct vhost_msg_region {
    uint64_t guest_addr, size, user_addr, mmap_offset;
};

struct vhost_msg_table {
    uint32_t n, padding;
    struct vhost_msg_region at[VHOST_TABLE_REGIONS];
};

struct vhost_msg_one_region {
    uint64_t padding;
    struct vhost_msg_region at;
};

struct vhost_msg_state {
    uint32_t index, num;
};

struct vhost_msg_addr {
    uint32_t index, flags;
    uint64_t desc, used, avail, log;
};

struct vhost_msg_log {
    uint64_t size, offset;
};

struct vhost_msg_inflight {
    uint64_t mmap_size, mmap_offset;
    uint16_t n_queues, queue_size;
    uint32_t padding;
};

/* On the wire from `request` on: the body follows at once, and is aligned here. */
struct vhost_msg {
    uint32_t unused;
    uint32_t request, flags, size;
    union {
        uint64_t u64;
        struct vhost_msg_state state;
        struct vhost_msg_addr addr;
        struct vhost_msg_table table;
        struct vhost_msg_one_region region;
        struct vhost_msg_log log;
        struct vhost_msg_inflight inflight;
        uint8_t bytes[512];
    };
};

#define VHOST_HEADER 12
#define VHOST_BODY_MAX sizeof(((struct vhost_msg *)0)->bytes)

#endif
