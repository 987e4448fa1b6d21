#include "test/frames.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "path/parse.h"

uint32_t frame_tcp4(uint8_t *out, uint32_t payload)
{
    static const uint8_t head[54] = {
        2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0,
        0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        0x03, 0xe8, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x19, 1, 0, 0, 0, 0, 0};
    uint32_t len = 54 + payload;
    memcpy(out, head, sizeof head);
    for (uint32_t i = 0; i < payload; i++)
        out[54 + i] = (uint8_t)(i * 7);
    put16(out + 16, (uint16_t)(len - 14));
    uint16_t sum = (uint16_t)~csum_fold(csum_partial(out + 14, 20, 0));
    memcpy(out + 24, &sum, 2);
    sum = (uint16_t)~csum_fold(csum_partial(out + 34, len - 34, csum_pseudo(out + 26, out + 30, 0, 6, len - 34)));
    memcpy(out + 50, &sum, 2);
    return len;
}

int frame_checksums_right(const uint8_t *f, uint32_t len)
{
    return csum_fold(csum_partial(f + 14, 20, 0)) == 0xffff &&
           csum_fold(csum_partial(f + 34, len - 34, csum_pseudo(f + 26, f + 30, 0, 6, len - 34))) == 0xffff;
}

struct packet *frame_packet(struct packet_pool *pool, const uint8_t *frame, uint32_t len)
{
    struct packet *p = packet_alloc(pool);
    memcpy(p->data, frame, len);
    p->len = len;
    parse(p);
    return p;
}
