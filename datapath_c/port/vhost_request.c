/* What each message of the monitor does (vhost-user.rst, "Front-end message types"). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "path/datapath.h"
#include "path/worker.h"
#include "path/workers_run.h"
#include "port/vhost.h"

#define BIT(n) (1ull << (n))

uint64_t vhost_features(const struct vhost *d)
{
    return d->offered;
}

uint64_t vhost_protocol_features(void)
{
    return BIT(VHOST_P_MQ) | BIT(VHOST_P_LOG_SHMFD) | BIT(VHOST_P_RARP) | BIT(VHOST_P_REPLY_ACK) | BIT(VHOST_P_MTU) | BIT(VHOST_P_RESET_DEVICE) |
           BIT(VHOST_P_CONFIGURE_MEM_SLOTS) | BIT(VHOST_P_STATUS);
}

static bool has(const struct vhost *d, unsigned feature)
{
    return d->features >> feature & 1;
}

/* ---- rings begin and end ---- */

/* Where the ring's parts lie in our address space; false when a part isn't in the guest's memory or is misaligned (virtio 1.2, 2.7
 * and 2.8: 16, 2 and 4 bytes; 16, 4 and 4). */
static bool resolve(struct vhost_ring *v)
{
    const struct vhost_memory *m = &v->dev->memory;
    uint64_t n = v->size, event = v->event_idx ? 2 : 0;
    uint64_t driver_size = v->packed ? 4 : 4 + 2 * n + event, device_size = v->packed ? 4 : 4 + 8 * n + event;
    unsigned driver_align = v->packed ? 4 : 2;
    uint8_t *desc = vhost_user_address(m, v->addr.desc, 16 * n), *driver = vhost_user_address(m, v->addr.avail, driver_size);
    uint8_t *device = vhost_user_address(m, v->addr.used, device_size);
    if (!desc || !driver || !device || (uintptr_t)desc % 16 || (uintptr_t)driver % driver_align || (uintptr_t)device % 4)
        return false;
    v->desc = (struct vring_desc *)desc;
    v->driver = (struct vring_avail *)driver;
    v->device = (struct vring_used *)device;
    return true;
}

static void place(struct vhost_ring *v)
{
    if (v->packed)
        packed_place(v);
    else
        split_place(v);
    v->seen = v->taken = v->avail;
    v->seen_at = v->avail;
    v->seen_wrap = v->avail_wrap;
    v->signalled_valid = false;
}

struct change {
    struct vhost_ring *ring;
    bool on;
};

static struct rxq *rxq_of(const struct vhost_ring *v)
{
    size_t i = (size_t)(v - v->dev->rings);
    return i & 1 ? &v->dev->port->queues[i / 2] : NULL;
}

static void change_queue(struct worker *w, void *arg)
{
    struct change *c = arg;
    struct rxq *q = rxq_of(c->ring);
    if (!q || q->worker != w->id)
        return;
    if (q->registered)
        worker_unwatch(w, q);
    if (!c->on)
        split_recall(c->ring);
    q->fd = c->on ? c->ring->kick_fd : -1;
    worker_watch(w, q);
    if (c->on)
        worker_wake(w, q);     /* what came before we were listening */
}

void vring_stop(struct vhost_ring *v)
{
    if (!v->started)
        return;
    rebalance_settle(v->dev->port->bridge->dp, v->dev->port);
    atomic_store_explicit(&v->running, false, memory_order_release);
    /* After this nobody uses the ring. */
    struct change c = {v, false};
    workers_run(v->dev->port->bridge->dp, change_queue, &c);
    v->started = false;
    if (v->packed)
        packed_end(v);
    free(v->loans);
    free(v->back);
    v->loans = NULL;
    v->back = NULL;
    v->base = v->packed ? (uint32_t)(v->avail | v->avail_wrap << 15) | (uint32_t)(v->used | v->used_wrap << 15) << 16 : v->avail;
}

void vring_start(struct vhost_ring *v)
{
    struct vhost *d = v->dev;
    if (v->started || !v->enabled || !v->has_addr || !v->has_kick || !v->size || !d->memory.n)
        return;
    v->packed = has(d, VIRTIO_F_RING_PACKED);
    v->event_idx = has(d, VIRTIO_RING_F_EVENT_IDX);
    v->in_order = has(d, VIRTIO_F_IN_ORDER);
    v->mergeable = has(d, VIRTIO_NET_F_MRG_RXBUF);
    v->indirect = has(d, VIRTIO_RING_F_INDIRECT_DESC);
    v->header = has(d, VIRTIO_F_VERSION_1) || v->mergeable ? 12 : 10;
    bool receives = !((v - d->rings) & 1);
    v->offload_csum = has(d, receives ? VIRTIO_NET_F_GUEST_CSUM : VIRTIO_NET_F_CSUM);
    v->offload_tso4 = has(d, receives ? VIRTIO_NET_F_GUEST_TSO4 : VIRTIO_NET_F_HOST_TSO4);
    v->offload_tso6 = has(d, receives ? VIRTIO_NET_F_GUEST_TSO6 : VIRTIO_NET_F_HOST_TSO6);
    v->offload_ufo = has(d, receives ? VIRTIO_NET_F_GUEST_UFO : VIRTIO_NET_F_HOST_UFO);
    v->offload_uso4 = has(d, receives ? VIRTIO_NET_F_GUEST_USO4 : VIRTIO_NET_F_HOST_USO);
    v->offload_uso6 = has(d, receives ? VIRTIO_NET_F_GUEST_USO6 : VIRTIO_NET_F_HOST_USO);
    v->memory = &d->memory;
    v->logged = has(d, VHOST_F_LOG_ALL);
    v->log_addr = v->log_used ? v->addr.log : 0;
    v->fault[0] = 0;
    atomic_store(&v->failed, false);
    if (!resolve(v)) {
        vring_fail(v, "it does not lie in the guest's memory");
        return;
    }
    place(v);
    if (!receives) {
        v->loans = calloc(v->size, sizeof *v->loans);
        v->back = calloc(v->size, sizeof *v->back);
        if (!v->back) {
            free(v->loans);
            v->loans = NULL;   /* then nothing is lent */
        }
    }
    v->lender.take_back = v->packed ? packed_take_back : split_take_back;
    v->n_loans = v->returned = 0;
    v->mask = (uint16_t)(v->size - 1);
    v->quiet = false;
    if (receives && v->packed)
        packed_notify(v, false);
    else if (receives)
        split_notify(v, false);    /* that the guest has made room is seen when something is to be sent */
    v->started = true;
    if (v->owes_call && v->call_fd >= 0) {
        v->owes_call = false;
        vring_call(v);
    }
    atomic_store_explicit(&v->running, true, memory_order_release);
    struct change c = {v, true};
    workers_run(d->port->bridge->dp, change_queue, &c);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void forget_ring(struct vhost_ring *v)
{
    vring_stop(v);
    close_fd(&v->kick_fd);
    close_fd(&v->call_fd);
    close_fd(&v->err_fd);
    v->enabled = v->has_addr = v->has_kick = v->log_used = false;
    v->size = 0;
    v->base = 0;
}

void vhost_reset(struct vhost *d)
{
    for (unsigned i = 0; i < 2 * d->n_pairs; i++)
        forget_ring(&d->rings[i]);
    vhost_memory_clear(&d->memory);
    vhost_memory_log_end(&d->memory);
    d->features = d->protocol_features = 0;
    d->status = 0;
}

/* Around a change of what all rings use. */
static void stop_all(struct vhost *d, bool was[VHOST_MAX_RINGS])
{
    for (unsigned i = 0; i < 2 * d->n_pairs; i++) {
        was[i] = d->rings[i].started;
        vring_stop(&d->rings[i]);
    }
}

static void start_again(struct vhost *d, const bool was[VHOST_MAX_RINGS])
{
    for (unsigned i = 0; i < 2 * d->n_pairs; i++)
        if (was[i])
            vring_start(&d->rings[i]);
}

/* ---- messages ---- */

static const char *set_features(struct vhost *d)
{
    uint64_t f = d->in.u64;
    if (f & ~(vhost_features(d) | BIT(VHOST_USER_F_PROTOCOL_FEATURES)))
        return "SET_FEATURES: features that were not offered";
    bool was[VHOST_MAX_RINGS];
    stop_all(d, was);
    d->features = f;
    start_again(d, was);
    return NULL;
}

static const char *set_mem_table(struct vhost *d)
{
    const struct vhost_msg_table *t = &d->in.table;
    if (d->in.size < 8 || t->n > VHOST_TABLE_REGIONS || d->in.size < 8 + t->n * sizeof t->at[0])
        return "SET_MEM_TABLE: its size is not what its number of regions needs";
    if (d->n_in_fds != t->n)
        return "SET_MEM_TABLE: not a file for each region";
    bool was[VHOST_MAX_RINGS];
    stop_all(d, was);
    vhost_memory_clear(&d->memory);
    for (uint32_t i = 0; i < t->n; i++) {
        static char text[VHOST_FAULT_MAX];
        const char *why = "";
        if (vhost_memory_add(&d->memory, &t->at[i], d->in_fds[i], &why)) {
            snprintf(text, sizeof text, "SET_MEM_TABLE: region %u: %s", i, why);
            return text;
        }
    }
    start_again(d, was);
    return NULL;
}

static const char *add_mem_reg(struct vhost *d)
{
    static char text[VHOST_FAULT_MAX];
    const char *why = "";
    if (d->in.size < sizeof d->in.region)
        return "ADD_MEM_REG: too short";
    if (vhost_memory_has(&d->memory, &d->in.region.at))
        return NULL;           /* QEMU 7.2 says so once for each pair of queues */
    bool was[VHOST_MAX_RINGS];
    stop_all(d, was);
    if (vhost_memory_add(&d->memory, &d->in.region.at, d->n_in_fds == 1 ? d->in_fds[0] : -1, &why)) {
        snprintf(text, sizeof text, "ADD_MEM_REG: %s", why);
        return text;
    }
    start_again(d, was);
    return NULL;
}

static const char *rem_mem_reg(struct vhost *d)
{
    if (d->in.size < sizeof d->in.region)
        return "REM_MEM_REG: too short";
    if (!vhost_memory_has(&d->memory, &d->in.region.at))
        return NULL;
    bool was[VHOST_MAX_RINGS];
    stop_all(d, was);
    vhost_memory_remove(&d->memory, &d->in.region.at);    /* as often as it was added */
    start_again(d, was);
    return NULL;
}

static const char *set_log_base(struct vhost *d)
{
    const char *why = "";
    static char text[VHOST_FAULT_MAX];
    if (d->in.size < sizeof d->in.log)
        return "SET_LOG_BASE: too short";
    bool was[VHOST_MAX_RINGS];
    stop_all(d, was);
    int e = vhost_memory_log(&d->memory, d->in.log.size, d->in.log.offset, d->n_in_fds == 1 ? d->in_fds[0] : -1, &why);
    start_again(d, was);
    if (e) {
        snprintf(text, sizeof text, "SET_LOG_BASE: %s", why);
        return text;
    }
    uint64_t answer = 0;
    return vhost_reply(d, &answer, sizeof answer, -1);
}

static struct vhost_ring *ring_at(struct vhost *d, uint64_t index)
{
    return index < 2 * d->n_pairs ? &d->rings[index] : NULL;
}

static const char *set_vring_num(struct vhost *d)
{
    struct vhost_ring *v = ring_at(d, d->in.state.index);
    uint32_t n = d->in.state.num;
    if (!v)
        return "SET_VRING_NUM: no such ring";
    bool packed = has(d, VIRTIO_F_RING_PACKED);
    if (!n || n > VHOST_MAX_SIZE || (!packed && n & (n - 1)))
        return "SET_VRING_NUM: not a ring's size";
    vring_stop(v);
    v->size = (uint16_t)n;
    return NULL;
}

static const char *set_vring_addr(struct vhost *d)
{
    struct vhost_ring *v = ring_at(d, d->in.addr.index);
    if (!v)
        return "SET_VRING_ADDR: no such ring";
    bool again = v->started;
    vring_stop(v);
    v->addr = d->in.addr;
    v->has_addr = true;
    v->log_used = d->in.addr.flags >> VHOST_VRING_F_LOG & 1;
    if (again)
        vring_start(v);
    return NULL;
}

static const char *set_vring_base(struct vhost *d)
{
    struct vhost_ring *v = ring_at(d, d->in.state.index);
    if (!v)
        return "SET_VRING_BASE: no such ring";
    vring_stop(v);
    v->base = d->in.state.num;
    return NULL;
}

static const char *get_vring_base(struct vhost *d)
{
    struct vhost_ring *v = ring_at(d, d->in.state.index);
    if (!v)
        return "GET_VRING_BASE: no such ring";
    vring_stop(v);
    struct vhost_msg_state s = {d->in.state.index, v->base};
    /* The ring ends here, until it is set up anew. */
    close_fd(&v->kick_fd);
    close_fd(&v->call_fd);
    v->has_kick = false;
    v->fault[0] = 0;
    atomic_store(&v->failed, false);
    return vhost_reply(d, &s, sizeof s, -1);
}

/* The ring and the descriptor of a SET_VRING_{KICK,CALL,ERR}. */
static struct vhost_ring *ring_fd(struct vhost *d, int *fd)
{
    struct vhost_ring *v = ring_at(d, d->in.u64 & VHOST_VRING_INDEX);
    *fd = -1;
    if (v && !(d->in.u64 & VHOST_VRING_NO_FD) && d->n_in_fds)
        *fd = d->in_fds[--d->n_in_fds];
    return v;
}

static const char *set_vring_kick(struct vhost *d)
{
    int fd;
    struct vhost_ring *v = ring_fd(d, &fd);
    if (!v)
        return "SET_VRING_KICK: no such ring";
    vring_stop(v);
    close_fd(&v->kick_fd);
    v->kick_fd = fd;
    v->has_kick = true;
    /* Without VHOST_USER_F_PROTOCOL_FEATURES rings begin enabled. */
    if (!has(d, VHOST_USER_F_PROTOCOL_FEATURES))
        v->enabled = true;
    vring_start(v);
    return NULL;
}

static const char *set_vring_call(struct vhost *d)
{
    int fd;
    struct vhost_ring *v = ring_fd(d, &fd);
    if (!v)
        return "SET_VRING_CALL: no such ring";
    bool again = v->started;
    vring_stop(v);
    close_fd(&v->call_fd);
    v->call_fd = fd;
    if (again)
        vring_start(v);
    return NULL;
}

static const char *set_vring_err(struct vhost *d)
{
    int fd;
    struct vhost_ring *v = ring_fd(d, &fd);
    if (!v)
        return "SET_VRING_ERR: no such ring";
    close_fd(&v->err_fd);
    v->err_fd = fd;
    return NULL;
}

static const char *set_vring_enable(struct vhost *d)
{
    struct vhost_ring *v = ring_at(d, d->in.state.index);
    if (!v)
        return "SET_VRING_ENABLE: no such ring";
    v->enabled = d->in.state.num != 0;
    if (v->enabled)
        vring_start(v);
    else
        vring_stop(v);
    return NULL;
}

/* Where the guest is now, for switches on the way, told as if the guest had said it: it has moved here, and can't announce itself. A
 * reverse ARP request (RFC 903) for its own address, as QEMU sends them. */
static const char *send_rarp(struct vhost *d)
{
    const uint8_t *mac = d->in.bytes;
    static const uint8_t zero[6], fixed[] = {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};
    uint8_t frame[60] = {255, 255, 255, 255, 255, 255};
    fault f;
    if (mac[0] & 1 || !memcmp(mac, zero, 6))
        return "SEND_RARP: not the address of a device";
    memcpy(frame + 6, mac, 6);
    memcpy(frame + 12, fixed, sizeof fixed);
    memcpy(frame + 22, mac, 6);    /* of the sender; its IP address stays 0 */
    memcpy(frame + 32, mac, 6);    /* of the target */
    if (datapath_arrive(d->port, frame, sizeof frame, NULL, &f))
        return "SEND_RARP: out of memory";
    d->announced++;
    return NULL;
}

static const char *reply_u64(struct vhost *d, uint64_t value)
{
    return vhost_reply(d, &value, sizeof value, -1);
}

static const char *carry_out(struct vhost *d, bool *replied)
{
    *replied = true;
    switch (d->in.request) {
    case VHOST_GET_FEATURES:
        return reply_u64(d, vhost_features(d) | BIT(VHOST_USER_F_PROTOCOL_FEATURES));
    case VHOST_GET_PROTOCOL_FEATURES:
        return reply_u64(d, vhost_protocol_features());
    case VHOST_GET_QUEUE_NUM:
        return reply_u64(d, d->n_pairs);
    case VHOST_GET_MAX_MEM_SLOTS:
        return reply_u64(d, VHOST_MAX_REGIONS);
    case VHOST_GET_STATUS:
        return reply_u64(d, d->status);
    case VHOST_GET_VRING_BASE:
        return get_vring_base(d);
    case VHOST_SET_LOG_BASE:
        return set_log_base(d);
    default:
        break;
    }
    *replied = false;
    switch (d->in.request) {
    case VHOST_SET_OWNER:
    case VHOST_RESET_OWNER:
    case VHOST_SET_LOG_FD:
        return NULL;
    case VHOST_SET_FEATURES:
        return set_features(d);
    case VHOST_SET_PROTOCOL_FEATURES:
        if (d->in.u64 & ~vhost_protocol_features())
            return "SET_PROTOCOL_FEATURES: features that were not offered";
        d->protocol_features = d->in.u64;
        return NULL;
    case VHOST_SET_MEM_TABLE:
        return set_mem_table(d);
    case VHOST_ADD_MEM_REG:
        return add_mem_reg(d);
    case VHOST_REM_MEM_REG:
        return rem_mem_reg(d);
    case VHOST_SET_VRING_NUM:
        return set_vring_num(d);
    case VHOST_SET_VRING_ADDR:
        return set_vring_addr(d);
    case VHOST_SET_VRING_BASE:
        return set_vring_base(d);
    case VHOST_SET_VRING_KICK:
        return set_vring_kick(d);
    case VHOST_SET_VRING_CALL:
        return set_vring_call(d);
    case VHOST_SET_VRING_ERR:
        return set_vring_err(d);
    case VHOST_SET_VRING_ENABLE:
        return set_vring_enable(d);
    case VHOST_SEND_RARP:
        return send_rarp(d);
    case VHOST_NET_SET_MTU:
        if (d->in.u64 < 68 || d->in.u64 > 65535)
            return "NET_SET_MTU: not an MTU";
        d->guest_mtu = (uint16_t)d->in.u64;
        return NULL;
    case VHOST_SET_STATUS:
        d->status = (uint8_t)d->in.u64;
        if (!d->status)
            for (unsigned i = 0; i < 2 * d->n_pairs; i++)
                vring_stop(&d->rings[i]);
        return NULL;
    case VHOST_RESET_DEVICE:
        for (unsigned i = 0; i < 2 * d->n_pairs; i++) {
            vring_stop(&d->rings[i]);
            d->rings[i].enabled = false;
            d->rings[i].base = 0;
        }
        return NULL;
    default:
        return "a message that was not negotiated";
    }
}

/* The least that a message of each kind carries. */
static uint32_t body_size(uint32_t request)
{
    switch (request) {
    case VHOST_GET_FEATURES:
    case VHOST_GET_PROTOCOL_FEATURES:
    case VHOST_GET_QUEUE_NUM:
    case VHOST_GET_MAX_MEM_SLOTS:
    case VHOST_GET_STATUS:
    case VHOST_SET_OWNER:
    case VHOST_RESET_OWNER:
    case VHOST_SET_LOG_FD:
    case VHOST_RESET_DEVICE:
        return 0;
    case VHOST_SET_VRING_ADDR:
        return sizeof(struct vhost_msg_addr);
    default:
        return 8;
    }
}

const char *vhost_handle(struct vhost *d)
{
    bool replied;
    if ((d->in.flags & VHOST_VERSION_MASK) != VHOST_VERSION)
        return "a message of another version";
    if (d->in.size < body_size(d->in.request))
        return "a message is too short";
    bool ack = d->in.flags & VHOST_NEED_REPLY && d->protocol_features >> VHOST_P_REPLY_ACK & 1;
    const char *why = carry_out(d, &replied);
    if (!replied && ack && !why)
        why = reply_u64(d, 0);
    return why;
}
