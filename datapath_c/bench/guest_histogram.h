/* Times in cycles, counted in buckets that are never wider than 1/64 of what they hold. */
#ifndef VSWITCH_GUEST_HISTOGRAM_H
#define VSWITCH_GUEST_HISTOGRAM_H
#include <stdint.h>

#define HISTOGRAM_BUCKETS (60 * 64)

struct histogram {
    uint64_t n, max, sum;
    uint64_t at[HISTOGRAM_BUCKETS];
};

static inline void histogram_add(struct histogram *h, uint64_t value)
{
    unsigned shift = value >> 7 ? 57 - (unsigned)__builtin_clzll(value) : 0;
    unsigned bucket = shift * 64 + (unsigned)(value >> shift);
    h->at[bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1]++;
    h->n++;
    h->sum += value;
    if (value > h->max)
        h->max = value;
}

/* The least value of the bucket that holds the given share (0..1) of all. */
static inline uint64_t histogram_at(const struct histogram *h, double share)
{
    uint64_t seen = 0, want = (uint64_t)(share * (double)h->n);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        if ((seen += h->at[i]) > want) {
            unsigned shift = i < 128 ? 0 : i / 64 - 1;
            return (uint64_t)(i - shift * 64) << shift;
        }
    return h->max;
}

#endif
