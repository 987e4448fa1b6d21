/* Bounded steps. Whatever a tenant's rules or traffic can lengthen is done in steps, and says so: step(cost) before or after
 * each. A cost is in units of about 32 cycles, 12 ns. When STEP_CHECK units have gone by, step_over is called, which reads the clock
 * and, within a tenant's turn (path/turn.h), lets others have the core when the turn's slice is over: step() may take long,
 * and what others may change meanwhile has to be looked at again.
 *
 * Outside a turn a step is only counted. */
#ifndef VSWITCH_STEP_H
#define VSWITCH_STEP_H
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "base/clock.h"

#define STEP_CHECK 24          /* units between two looks at the clock: about 768 cycles */
#define STEP_WATCH 5           /* while others' rings are watched, between two looks at those */
#define STEP_PROBE 2           /* a hash table's probe: up to three cache misses */
#define STEP_SYSCALL STEP_CHECK
#define STEP_COPY 2048         /* bytes that are copied in one step */
#define STEP_COPY_UNITS 8

struct steps {
    int32_t left;              /* units until the next look, */
    int32_t budget;            /* of so many between two */
    bool ending;               /* the turn is to be given up: do no more than leaves things whole */
    void (*over)(void *);      /* NULL outside turns */
    void *arg;
};

extern __thread struct steps steps __attribute__((tls_model("initial-exec")));

void step_over(void);
/* So many units between two looks from now on. */
void step_budget(int32_t units);

static inline void step(int32_t units)
{
    if (__builtin_expect((steps.left -= units) <= 0, 0))
        step_over();
}

/* On a virtual clock that counts, work takes time: this much for work without looks at
 * the clock. */
static inline void step_spend(uint32_t units)
{
    if (__builtin_expect(clock_counted != 0, 0))
        steps.left -= (int32_t)units;
}

/* Whether the turn is being given up: loops break off, without having finished. */
static inline bool step_ending(void)
{
    return __builtin_expect(steps.ending, 0);
}

/* memcpy in steps. */
void step_copy(void *to, const void *from, size_t len);

#endif
