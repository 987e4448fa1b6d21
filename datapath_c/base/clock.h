/* Time. Everything in the datapath measures time in cycles of the time-stamp counter; tests run on a virtual clock that
 * stands still until it is warped. Not for charging: that is sched/account.h's alone. */
#ifndef VSWITCH_CLOCK_H
#define VSWITCH_CLOCK_H
#include <stdbool.h>
#include <stdint.h>
#include <x86intrin.h>

extern uint64_t clock_hz;          /* cycles per second, set by clock_init() */
extern bool clock_virtual;
extern uint64_t clock_virtual_now;
extern uint64_t clock_counted;     /* of the virtual clock: cycles that a unit of work (base/step.h) takes, 0 = none */

/* Calibrates against CLOCK_MONOTONIC; takes 20 ms. With `virtual`, time starts at one hour and only clock_warp moves it. */
void clock_init(bool virtual);
void clock_warp(uint64_t cycles);

uint64_t clock_read_virtual(void);

static inline uint64_t clock_now(void)
{
    return __builtin_expect(clock_virtual, 0) ? clock_read_virtual() : __rdtsc();
}

static inline uint64_t clock_from_us(uint64_t us)
{
    return us * (clock_hz / 1000000);
}

static inline uint64_t clock_from_ms(uint64_t ms)
{
    return ms * (clock_hz / 1000);
}

#endif
