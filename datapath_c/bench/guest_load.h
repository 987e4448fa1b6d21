/* What a guest sends: frames from a template or a capture, fields swept, when, and how many may be on their way. */
#ifndef VSWITCH_GUEST_LOAD_H
#define VSWITCH_GUEST_LOAD_H
#include <stdbool.h>
#include <stdint.h>

#define LOAD_MAX_SWEEPS 4
#define LOAD_TAG 16            /* bytes at the end of a frame: mark, stream and how late it was, time */
#define LOAD_MAX_LATE 0xffffffu
#define LOAD_MARK 0x56734c54u

struct load_sweep {
    uint32_t offset, width;    /* bytes; width 1, 2 or 4 */
    uint32_t count, first;     /* values first .. first + count - 1, in turn */
    bool random;               /* drawn instead */
    bool flip;                 /* first, then first with one bit flipped after the other (count is ignored) */
    uint32_t at;
};

struct load {
    uint32_t id, port, queue;  /* which port sends, over which pair */
    uint64_t *offsets;         /* frames back to back */
    uint8_t *bytes;
    uint64_t n_bytes;          /* room for them */
    uint32_t *lengths;
    uint32_t n_frames, next;
    struct load_sweep sweeps[LOAD_MAX_SWEEPS];
    unsigned n_sweeps;
    double rate;               /* packets a second, 0 = as many as go */
    bool poisson;
    uint32_t outstanding;      /* closed loop: so many on their way, 0 = open */
    uint32_t burst;
    uint32_t train, in_train;  /* so many come at once, the rest of the time there are none; 0 = evenly */
    uint32_t gso;              /* frames are TCP segments to be cut into pieces with so many bytes of payload; 0 = as they are */
    uint8_t gso_type;          /* VIRTIO_NET_HDR_GSO_*: or datagrams to be cut (uso), or to be fragmented (ufo) */
    bool stamp;                /* every frame carries its time of sending */
    uint64_t seed;
    double due;                /* time-stamp counter of the next */
    uint64_t late;             /* cycles after its time that the next frame is sent; frames tell, up to LOAD_MAX_LATE */
    uint64_t sent, full, returned, lost, last_return;
};

/* Reads "PORT:key=value,...": len, flows, rate, poisson, outstanding, burst, train, stamp, gso, uso, ufo, dst, src, pcap, hex, sweep. NULL or
 * what is wrong. */
const char *load_parse(struct load *l, char *text);
/* Writes the next frame to `to`, which has room for the longest; its length. */
uint32_t load_frame(struct load *l, uint8_t *to, uint64_t stamp);
/* The time between two packets, in cycles. */
double load_gap(struct load *l, double hz);
uint32_t load_longest(const struct load *l);
/* The stream (below 256), lateness and time of a received frame's tag; false when it has none. */
bool load_tag(const uint8_t *frame, uint32_t len, uint32_t *id, uint32_t *late, uint64_t *stamp);

#endif
