/* Internet checksums (RFC 1071, incremental update RFC 1624) and SCTP's CRC32c (RFC 9260, appendix A). */
#ifndef VSWITCH_CHECKSUM_H
#define VSWITCH_CHECKSUM_H
#include <stddef.h>
#include <stdint.h>

/* Sum of 16-bit words in the order of memory, not folded. */
uint64_t csum_partial(const void *data, size_t len, uint64_t sum);

static inline uint16_t csum_fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* A checksum field (complemented, as on the wire) after `old` became `new`; all in the order of memory. */
static inline uint16_t csum_update(uint16_t field, const void *old, const void *new, size_t len)
{
    uint64_t sum = (uint16_t)~field;
    uint64_t o = csum_fold(csum_partial(old, len, 0));
    sum += (uint16_t)~o;
    sum = csum_partial(new, len, sum);
    return (uint16_t)~csum_fold(sum);
}

/* Sum of the pseudo-header (RFC 793, RFC 8200 8.1); `v6` addresses are 16 bytes, else 4. `len` of the segment. */
uint64_t csum_pseudo(const void *src, const void *dst, int v6, uint8_t proto, uint32_t len);

uint32_t crc32c(const void *data, size_t len);

#endif
