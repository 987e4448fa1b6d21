#include "base/defer.h"
#include <stdlib.h>
#include <urcu-qsbr.h>

struct deferred {
    void (*fn)(void *);
    void *arg;
};

static struct deferred *waiting;
static unsigned n_waiting, capacity;

void defer(void (*fn)(void *), void *arg)
{
    if (n_waiting == capacity) {
        capacity = capacity ? capacity * 2 : 256;
        waiting = realloc(waiting, capacity * sizeof *waiting);
        if (!waiting)
            abort();
    }
    waiting[n_waiting++] = (struct deferred){fn, arg};
}

void defer_run(void)
{
    if (!n_waiting)
        return;
    synchronize_rcu();
    /* A callback may defer more: that waits for the next grace period. */
    struct deferred *now = waiting;
    unsigned n = n_waiting;
    waiting = NULL;
    n_waiting = capacity = 0;
    for (unsigned i = 0; i < n; i++)
        now[i].fn(now[i].arg);
    free(now);
}

unsigned defer_pending(void)
{
    return n_waiting;
}
