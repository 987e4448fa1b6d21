/* Frames in and out of a guest's buffers, whatever kind of ring they are in. */
#ifndef VSWITCH_VHOST_FRAME_H
#define VSWITCH_VHOST_FRAME_H
#include "port/vhost.h"
#include "port/vhost_copy.h"

/* Frames from LOAN_MIN bytes on are not copied whole when they arrive, but for the first LOAN_HEAD bytes. */
#define LOAN_MIN 384
#define LOAN_HEAD 128
#define LIKELY(x) __builtin_expect(!!(x), 1)

/* A stretch of guest memory in our address space. */
struct piece {
    uint8_t *at;
    uint32_t len;
    uint64_t guest;
};

/* The lines of a header and a short frame, on their way. */
static inline __attribute__((always_inline)) void fetch_lines(const uint8_t *at, bool to_write)
{
    __builtin_prefetch(at);
    const uint8_t *second = (const uint8_t *)((uintptr_t)at + 64);
    if (to_write)
        __builtin_prefetch(second, 1);
    else
        __builtin_prefetch(second);
}

/* ---- from the guest ---- */

/* Copies `len` bytes out of pieces, from *at of the first on; returns how many were there. */
static inline uint32_t copy_out(struct piece *pieces, unsigned n, uint32_t skip, uint8_t *to, uint32_t max)
{
    uint32_t got = 0;
    for (unsigned i = 0; i < n && got < max; i++) {
        if (skip >= pieces[i].len) {
            skip -= pieces[i].len;
            continue;
        }
        uint32_t take = pieces[i].len - skip;
        if (take > max - got)
            take = max - got;
        memcpy(to + got, pieces[i].at + skip, take);
        got += take;
        skip = 0;
    }
    return got;
}

static inline uint64_t total(const struct piece *pieces, unsigned n)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += pieces[i].len;
    return sum;
}

static inline bool take_frame(struct vhost_ring *v, struct packet *p, struct piece *pieces, unsigned n)
{
    struct virtio_net_hdr h;
    uint64_t len = total(pieces, n);
    if (len < v->header + 14u || len - v->header > PACKET_MAX)
        return false;
    copy_out(pieces, n, 0, (uint8_t *)&h, sizeof h);
    p->len = copy_out(pieces, n, v->header, p->data, PACKET_MAX);
    return vhost_header_in(v, p, &h);
}

/* Long frames are left where they are, but for the head. False when there can be no loan. */
static inline bool lend(struct vhost_ring *v, struct packet *p, uint16_t head, const uint8_t *frame, uint32_t len)
{
    if (!v->loans || v->loans[head])
        return false;
    memcpy(p->data, frame, LOAN_HEAD);
    p->head = LOAN_HEAD;
    p->one = (struct packet_piece){frame + LOAN_HEAD, len - LOAN_HEAD};
    p->rest = &p->one;
    p->n_rest = 1;
    p->lender = &v->lender;
    p->loan = head;
    v->loans[head] = p;
    v->n_loans++;
    return true;
}

/* Takes a frame from a single piece, whose length is in range. False when its header makes no sense. */
static inline __attribute__((always_inline)) bool take_single(struct vhost_ring *v, struct packet *p, const struct vhost_buffer *from,
                                                              uint32_t header)
{
    struct virtio_net_hdr h;
    const uint8_t *frame = from->at + header;
    uint16_t wishes;           /* flags and gso_type */
    memcpy(&wishes, from->at, sizeof wishes);
    p->len = from->len - header;
    if (p->len < LOAN_MIN || !lend(v, p, from->head, frame, p->len))
        copy_frame(p->data, frame, p->len);
    if (LIKELY(!wishes))
        return true;
    memcpy(&h, from->at, sizeof h);
    return vhost_header_in(v, p, &h);
}

/* The same where the guest wishes nothing of it; false where it does, or the frame can't be left where it is and is long. */
static inline __attribute__((always_inline)) bool take_plain(struct vhost_ring *v, struct packet *p, const struct vhost_buffer *from,
                                                             uint32_t header)
{
    const uint8_t *at = from->at;
    uint8_t *to = p->data;
    uint32_t len = from->len - header;
    uint16_t wishes;
    memcpy(&wishes, at, sizeof wishes);
    p->len = len;
    if (!LIKELY(!wishes))
        return false;
    if (len >= LOAN_MIN)
        return lend(v, p, from->head, at + header, len);
    copy_frame(to, at + header, len);
    return true;
}

/* ---- to the guest ---- */

struct filling {               /* a frame that is being written into one buffer after the other */
    const struct packet *p;
    struct virtio_net_hdr_mrg_rxbuf header;
    uint32_t at, all;          /* bytes, the header included */
    uint8_t *count_at;         /* where the number of buffers goes, when it is known */
    uint64_t count_guest;
    uint16_t buffers;
};

static inline void filling_begin(struct filling *f, const struct vhost_ring *v, const struct packet *p)
{
    *f = (struct filling){.p = p, .all = p->len + v->header};
    memcpy(&f->header, &p->vnet, sizeof p->vnet);
}

/* The next buffer. Returns how many bytes went into it; 0 when it makes no sense (the ring has failed then). */
static inline uint32_t fill_buffer(struct vhost_ring *v, struct filling *f, const struct piece *pieces, unsigned n)
{
    uint32_t begin = f->at;
    for (unsigned i = 0; i < n && f->at < f->all; i++) {
        uint8_t *to = pieces[i].at;
        uint32_t room = pieces[i].len, from = f->at;
        if (f->at < v->header) {
            if (v->header == 12 && !f->buffers && !i && room >= v->header) {
                f->count_at = to + offsetof(struct virtio_net_hdr_mrg_rxbuf, num_buffers);
                f->count_guest = pieces[i].guest;
            } else if (!f->count_at && v->header == 12)
                return vring_fail(v, "the first %u bytes of a buffer are in pieces", v->header);
            uint32_t take = v->header - f->at < room ? v->header - f->at : room;
            memcpy(to, (uint8_t *)&f->header + f->at, take);
            to += take;
            room -= take;
            f->at += take;
        }
        if (f->at >= v->header) {
            uint32_t take = f->all - f->at < room ? f->all - f->at : room;
            packet_read(f->p, f->at - v->header, to, take);
            f->at += take;
        }
        if (v->logged)
            vhost_log_write(v->memory, pieces[i].guest, f->at - from);
    }
    f->buffers++;
    return f->at - begin;
}

/* How many buffers it took. */
static inline unsigned filling_end(struct vhost_ring *v, struct filling *f)
{
    if (f->count_at) {
        memcpy(f->count_at, &f->buffers, 2);
        if (v->logged)
            vhost_log_write(v->memory, f->count_guest, v->header);
    }
    return f->buffers;
}

/* Puts a frame into a single piece that has room. `header` is a constant where this is called. */
static inline __attribute__((always_inline)) void put_single(struct vhost_ring *v, const struct packet *p, const struct vhost_buffer *to,
                                                             uint32_t header)
{
    uint8_t *at = to->at;
    uint64_t now, before;
    uint32_t rest = (uint32_t)p->vnet.csum_offset | 1u << 16, rest_before;  /* of twelve bytes, the last two are: one buffer */
    memcpy(&now, &p->vnet, 8);
    memcpy(&before, at, 8);
    memcpy(&rest_before, at + 8, 4);
    /* As a rule the header says what the last one there said: not written, its line stays with whoever has it. */
    if (!LIKELY(now == before && !((rest ^ rest_before) & (header == 12 ? UINT32_MAX : UINT16_MAX)))) {
        memcpy(at, &now, 8);
        memcpy(at + 8, &rest, header == 12 ? 4 : 2);
    }
    uint32_t len = p->len;
    if (LIKELY(len <= LOAN_HEAD || !p->lender))        /* so much is there in any case */
        copy_frame(at + header, p->data, len);
    else
        packet_read(p, 0, at + header, len);
    if (v->logged)
        vhost_log_write(v->memory, to->guest, header + len);
}

#endif
