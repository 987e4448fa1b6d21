#include "base/step.h"
#include "base/clock.h"

__thread struct steps steps = {.left = STEP_CHECK, .budget = STEP_CHECK};

void step_over(void)
{
    if (clock_counted)
        clock_virtual_now += (uint64_t)(steps.budget - steps.left) * clock_counted;
    steps.left = steps.budget;
    if (steps.over)
        steps.over(steps.arg);
}

void step_budget(int32_t units)
{
    if (clock_counted)
        clock_virtual_now += (uint64_t)(steps.budget - steps.left) * clock_counted;
    steps.left = steps.budget = units;
}

void step_copy(void *to, const void *from, size_t len)
{
    for (size_t at = 0; at < len; at += STEP_COPY) {
        size_t n = len - at < STEP_COPY ? len - at : STEP_COPY;
        memcpy((uint8_t *)to + at, (const uint8_t *)from + at, n);
        if (n == STEP_COPY)
            step(STEP_COPY_UNITS);
    }
}
