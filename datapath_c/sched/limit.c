#include "sched/limit.h"
#include "base/clock.h"

uint64_t limit_charge(struct limit *l, uint64_t now, uint64_t cycles)
{
    uint32_t ppm = atomic_load_explicit(&l->ppm, memory_order_relaxed);
    if (!ppm)
        return 0;
    uint64_t hoard = clock_from_us(LIMIT_HOARD_US), earliest = now > hoard ? now - hoard : 0;
    uint64_t cost = cycles / ppm * 1000000 + cycles % ppm * 1000000 / ppm;
    uint64_t due = atomic_load_explicit(&l->due, memory_order_relaxed), next;
    do
        next = (due > earliest ? due : earliest) + cost;
    while (!atomic_compare_exchange_weak_explicit(&l->due, &due, next, memory_order_relaxed, memory_order_relaxed));
    return next;
}
