#include "base/rate.h"
#include "base/clock.h"

void rate_init(struct rate *r, double per_second, double burst)
{
    r->interval = (uint64_t)((double)clock_hz / per_second * 65536);
    r->tolerance = (uint64_t)(burst / per_second * (double)clock_hz);
    atomic_init(&r->due, 0);
}

static uint64_t cost_of(const struct rate *r, uint64_t units)
{
    return (uint64_t)((unsigned __int128)units * r->interval >> 16);
}

bool rate_admits(struct rate *r, uint64_t units, uint64_t now)
{
    uint64_t cost = cost_of(r, units), due = atomic_load_explicit(&r->due, memory_order_relaxed), next;
    do {
        uint64_t from = due > now ? due : now;
        if (from - now > r->tolerance)
            return false;
        next = from + cost;
    } while (!atomic_compare_exchange_weak_explicit(&r->due, &due, next, memory_order_relaxed, memory_order_relaxed));
    return true;
}

void rate_take(struct rate *r, uint64_t units, uint64_t now)
{
    uint64_t cost = cost_of(r, units), due = atomic_load_explicit(&r->due, memory_order_relaxed), next;
    do {
        next = (due > now ? due : now) + cost;
        if (next - now > 2 * r->tolerance + cost)
            next = now + 2 * r->tolerance + cost;
    } while (!atomic_compare_exchange_weak_explicit(&r->due, &due, next, memory_order_relaxed, memory_order_relaxed));
}
