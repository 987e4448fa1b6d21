/* Hashing by the CRC32C instruction (SSE4.2): three cycles a word, good enough in the low bits after the final mix. */
#ifndef VSWITCH_HASH_H
#define VSWITCH_HASH_H
#include <nmmintrin.h>
#include <stdint.h>

static inline uint32_t hash_word(uint32_t h, uint64_t word)
{
    return (uint32_t)_mm_crc32_u64(h, word);
}

static inline uint32_t hash_finish(uint32_t h)
{
    h ^= h >> 16;
    h *= 0x85ebca6b;
    return h ^ h >> 13;
}

#endif
