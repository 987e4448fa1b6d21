/* Copies of short frames to and from guest memory: not a byte beyond the length is read or written. */
#ifndef VSWITCH_VHOST_COPY_H
#define VSWITCH_VHOST_COPY_H
#include <emmintrin.h>
#include <stdint.h>
#include <string.h>

static inline void copy_16(uint8_t *to, const uint8_t *from)
{
    _mm_storeu_si128((__m128i *)to, _mm_loadu_si128((const __m128i *)from));
}

/* Two stretches that overlap where the length is no multiple: fewer branches than a loop to the byte. */
static inline void copy_frame(uint8_t *to, const uint8_t *from, uint32_t len)
{
    if (len > 128 || len < 32) {
        memcpy(to, from, len);
        return;
    }
    if (len > 64) {
        copy_16(to, from);
        copy_16(to + 16, from + 16);
        copy_16(to + 32, from + 32);
        copy_16(to + 48, from + 48);
        to += len - 64;
        from += len - 64;
        len = 64;
    }
    copy_16(to, from);
    copy_16(to + 16, from + 16);
    copy_16(to + len - 32, from + len - 32);
    copy_16(to + len - 16, from + len - 16);
}

#endif
