#include "bench/guest_ring.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE(x) (((x) + 4095) / 4096 * 4096)

static uint64_t part(const struct guest_ring *r, int which)
{
    uint64_t n = r->size;
    switch (which) {
    case 0:
        return PAGE(16 * n);
    case 1:
        return PAGE(r->packed ? 4 : 6 + 2 * n);
    case 2:
        return PAGE(r->packed ? 4 : 6 + 8 * n);
    default:
        return PAGE(n * r->stride);
    }
}

uint64_t guest_ring_bytes(const struct guest_ring *r)
{
    return part(r, 0) + part(r, 1) + part(r, 2) + part(r, 3);
}

void guest_ring_place(struct guest_ring *r, uint8_t *at, uint64_t guest)
{
    r->base = at;
    r->guest_base = guest;
    r->mask = (uint16_t)(r->size - 1);
    r->desc = (struct vring_desc *)at;
    r->pdesc = (struct vring_packed_desc *)at;
    at += part(r, 0);
    r->avail = (struct vring_avail *)at;
    r->driver_event = (struct vring_packed_desc_event *)at;
    at += part(r, 1);
    r->used = (struct vring_used *)at;
    r->device_event = (struct vring_packed_desc_event *)at;
    at += part(r, 2);
    r->buffers = at;
    r->avail_wrap = r->used_wrap = true;
    r->free = calloc(r->size, sizeof *r->free);
    r->slot_of = calloc(r->size, sizeof *r->slot_of);
    if (!r->free || !r->slot_of)
        abort();
    for (uint16_t i = r->size; i-- > 0;)
        r->free[r->n_free++] = i;
    /* It is looked at, not told. */
    if (r->packed)
        r->driver_event->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
    else
        r->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
}

static uint64_t address(const struct guest_ring *r, uint16_t slot)
{
    return r->guest_base + (uint64_t)(guest_ring_frame(r, slot) - r->header - r->base);
}

void guest_ring_put(struct guest_ring *r, uint16_t slot, uint32_t len)
{
    len = r->send ? len + r->header : r->buffer_len;
    uint16_t write = r->send ? 0 : VRING_DESC_F_WRITE;
    if (!r->packed) {
        r->desc[slot] = (struct vring_desc){address(r, slot), len, write, 0};
        r->avail->ring[r->avail_idx++ & r->mask] = slot;
        return;
    }
    struct vring_packed_desc *d = &r->pdesc[r->avail_idx];
    uint16_t flags = write | (uint16_t)(r->avail_wrap ? 1 << VRING_PACKED_DESC_F_AVAIL : 1 << VRING_PACKED_DESC_F_USED);
    d->addr = address(r, slot);
    d->len = len;
    d->id = slot;
    __atomic_store_n(&d->flags, flags, __ATOMIC_RELEASE);
    if (++r->avail_idx == r->size) {
        r->avail_idx = 0;
        r->avail_wrap = !r->avail_wrap;
    }
}

static bool kick_wanted(const struct guest_ring *r)
{
    if (r->packed)
        return *(volatile uint16_t *)&r->device_event->flags != VRING_PACKED_EVENT_FLAG_DISABLE;
    if (r->event_idx)
        return vring_need_event(*(volatile uint16_t *)&r->used->ring[r->size], r->avail_idx, r->published);
    return !(*(volatile uint16_t *)&r->used->flags & VRING_USED_F_NO_NOTIFY);
}

void guest_ring_publish(struct guest_ring *r)
{
    if (!r->packed)
        __atomic_store_n(&r->avail->idx, r->avail_idx, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint64_t one = 1;
    if (kick_wanted(r) && write(r->kick_fd, &one, sizeof one) == sizeof one)
        r->kicks++;
    r->published = r->avail_idx;
}

bool guest_ring_get(struct guest_ring *r, uint16_t *slot, uint32_t *len)
{
    uint32_t got;
    if (!r->packed) {
        if (__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) == r->used_idx)
            return false;
        struct vring_used_elem e = r->used->ring[r->used_idx++ & r->mask];
        *slot = (uint16_t)e.id;
        got = e.len;
    } else {
        struct vring_packed_desc *d = &r->pdesc[r->used_idx];
        uint16_t flags = __atomic_load_n(&d->flags, __ATOMIC_ACQUIRE);
        bool a = flags >> VRING_PACKED_DESC_F_AVAIL & 1, u = flags >> VRING_PACKED_DESC_F_USED & 1;
        if (a != u || u != r->used_wrap)
            return false;
        *slot = d->id;
        got = d->len;
        if (++r->used_idx == r->size) {
            r->used_idx = 0;
            r->used_wrap = !r->used_wrap;
        }
    }
    *len = r->send || got < r->header ? 0 : got - r->header;
    r->free[r->n_free++] = *slot;
    return true;
}
