/* The driver's half of a virtqueue (virtio 1.2, 2.7 split, 2.8 packed): one descriptor a buffer, slot-bound buffers.
 *
 * For benchmarks and tests: the device is trusted. */
#ifndef VSWITCH_GUEST_RING_H
#define VSWITCH_GUEST_RING_H
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

struct guest_ring {
    bool packed, send, event_idx;
    uint16_t size, mask;
    uint64_t guest_base;       /* guest-physical address of `base` */
    uint8_t *base;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    struct vring_packed_desc *pdesc;
    struct vring_packed_desc_event *driver_event, *device_event;
    uint8_t *buffers;          /* slot i's frame lies at buffers + i * stride + pad, its virtio-net header before it */
    uint32_t stride, pad, header, buffer_len;
    uint16_t avail_idx, used_idx;      /* packed: next descriptor to fill, next to look for */
    bool avail_wrap, used_wrap;
    uint16_t *free;            /* stack of slots that the device has not got */
    uint16_t n_free;
    uint16_t published;        /* split: avail index that the device has seen */
    uint16_t *slot_of;         /* packed: the slot behind a buffer id */
    int kick_fd;
    uint64_t kicks;
};

/* Bytes of shared memory that a ring of this shape takes. */
uint64_t guest_ring_bytes(const struct guest_ring *r);
/* Lays it out at `at`, which is page-aligned; `guest` is that place's guest-physical address. */
void guest_ring_place(struct guest_ring *r, uint8_t *at, uint64_t guest);

static inline uint8_t *guest_ring_frame(const struct guest_ring *r, uint16_t slot)
{
    return r->buffers + (uint64_t)slot * r->stride + r->pad;
}

/* A slot to fill. The ring has one (n_free). */
static inline uint16_t guest_ring_slot(struct guest_ring *r)
{
    return r->free[--r->n_free];
}

/* Makes a slot available; the device sees it after guest_ring_publish. `len`: bytes of frame, or 0 for a buffer to receive into. */
void guest_ring_put(struct guest_ring *r, uint16_t slot, uint32_t len);
void guest_ring_publish(struct guest_ring *r);
/* The next slot that the device gave back, with the bytes of frame that it wrote; false when there is none. */
bool guest_ring_get(struct guest_ring *r, uint16_t *slot, uint32_t *len);

#endif
