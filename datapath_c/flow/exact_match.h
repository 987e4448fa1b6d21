/* The exact-match cache: which megaflow a packet with this hash of its whole key hit. Eight in a cache line: what a lookup among many flows
 * touches is little. An answer is a guess, and may be of a megaflow that is gone: the caller looks whether it is one, and the key's. */
#ifndef VSWITCH_EXACT_MATCH_H
#define VSWITCH_EXACT_MATCH_H
#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EXACT_WAYS 8           /* entries that share a place */
#define EXACT_FIRST 512        /* places at the beginning */
#define EXACT_MAX 16384        /* places */

struct megaflow;

struct exact_place {           /* one cache line */
    uint16_t signature[EXACT_WAYS];    /* of the hash, what the place doesn't tell */
    uint16_t address[EXACT_WAYS][3];   /* of the megaflow: 48 bits; 0 = none */
};

_Static_assert(sizeof(struct exact_place) == 64, "a place is a cache line");

struct exact_match {
    struct exact_place *places;    /* room for EXACT_MAX, which cost nothing before they are used; mask + 1 of them are */
    uint32_t mask, evictions;
    uint32_t used;             /* places from the first on that may have memory */
    uint64_t since;            /* hits until evictions were last counted from 0 */
};

/* 0 or -ENOMEM. */
int exact_match_init(struct exact_match *e);
void exact_match_destroy(struct exact_match *e);

/* Remembers a hit. Where all ways are taken, one of them goes; where that happens often beside `hits`, which are all that the caches have had
 * so far, more places are used from now on. What was remembered in the wrong half then is found anew. */
void exact_match_put(struct exact_match *e, uint32_t hash, const struct megaflow *m, uint64_t hits);

/* There is nothing to remember any more: gives a piece of the memory back, and begins small again. To be called as long as `used` isn't 0. */
void exact_match_trim(struct exact_match *e);

static inline uint16_t exact_signature(uint32_t hash)
{
    return (uint16_t)(hash >> 16);
}

static inline struct megaflow *exact_address(const struct exact_place *p, unsigned way)
{
    /* The last six of eight bytes: the two before them are the place's too. */
    uint64_t word;
    memcpy(&word, (const uint8_t *)p + offsetof(struct exact_place, address) + way * sizeof p->address[0] - 2, sizeof word);
    return (struct megaflow *)(uintptr_t)(word >> 16);
}

static inline void exact_match_fetch(const struct exact_match *e, uint32_t hash)
{
    __builtin_prefetch(&e->places[hash & e->mask]);
}

/* What is remembered under this hash, dead or alive, or NULL. */
static inline struct megaflow *exact_match_find(const struct exact_match *e, uint32_t hash)
{
    const struct exact_place *p = &e->places[hash & e->mask];
    __m128i all = _mm_load_si128((const __m128i *)p->signature), mine = _mm_set1_epi16((short)exact_signature(hash));
    unsigned same = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi16(all, mine));
    return same ? exact_address(p, (unsigned)__builtin_ctz(same) / 2) : NULL;
}

#endif
