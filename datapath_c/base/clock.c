#include "base/clock.h"
#include <time.h>
#include "base/step.h"

uint64_t clock_hz = 1000000000;
bool clock_virtual;
uint64_t clock_virtual_now;
uint64_t clock_counted;

static uint64_t monotonic_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void clock_init(bool virtual)
{
    clock_virtual = virtual;
    clock_counted = 0;
    steps = (struct steps){.left = STEP_CHECK, .budget = STEP_CHECK};
    if (virtual) {
        clock_hz = 1000000000;
        clock_virtual_now = 3600 * clock_hz;
        return;
    }
    uint64_t t0 = monotonic_ns(), c0 = __rdtsc(), t;
    do
        t = monotonic_ns();
    while (t - t0 < 20000000);
    clock_hz = (uint64_t)((double)(__rdtsc() - c0) * 1e9 / (double)(t - t0));
}

void clock_warp(uint64_t cycles)
{
    clock_virtual_now += cycles;
}

uint64_t clock_read_virtual(void)
{
    return clock_virtual_now + (clock_counted ? (uint64_t)(steps.budget - steps.left) * clock_counted : 0);
}
