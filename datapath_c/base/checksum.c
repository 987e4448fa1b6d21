#include "base/checksum.h"
#include <nmmintrin.h>
#include <string.h>
#include "base/bytes.h"

uint64_t csum_partial(const void *data, size_t len, uint64_t sum)
{
    const uint8_t *d = data;
    /* 32-bit words into 64 bits: carries gather above and are folded at the end. */
    for (; len >= 16; len -= 16, d += 16) {
        uint32_t v[4];
        memcpy(v, d, 16);
        sum += (uint64_t)v[0] + v[1] + v[2] + v[3];
    }
    for (; len >= 2; len -= 2, d += 2) {
        uint16_t v;
        memcpy(&v, d, 2);
        sum += v;
    }
    if (len)
        sum += *d;             /* little-endian: the missing byte is the high one, and zero */
    return sum;
}

uint64_t csum_pseudo(const void *src, const void *dst, int v6, uint8_t proto, uint32_t len)
{
    uint8_t tail[8] = {0};
    size_t n = v6 ? 16 : 4;
    put32(tail, len);
    tail[7] = proto;
    return csum_partial(tail, 8, csum_partial(dst, n, csum_partial(src, n, 0)));
}

uint32_t crc32c(const void *data, size_t len)
{
    const uint8_t *d = data;
    uint64_t crc = 0xffffffff;
    for (; len >= 8; len -= 8, d += 8) {
        uint64_t v;
        memcpy(&v, d, 8);
        crc = _mm_crc32_u64(crc, v);
    }
    for (; len; len--, d++)
        crc = _mm_crc32_u8((uint32_t)crc, *d);
    return ~(uint32_t)crc;
}
