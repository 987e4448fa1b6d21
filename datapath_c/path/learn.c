/* Rules that packets teach (Nicira's learn) and shorten (fin_timeout): asked for by workers, carried out by the main thread.
 * A worker asks for the same rule again only after a while, and a bridge has a bounded number of requests on their way. */
#include "path/learn.h"
#include <stdlib.h>
#include "base/clock.h"
#include "base/defer.h"
#include "flow/table.h"

#define AGAIN_MS 250           /* an unchanged rule is asked for again after this: its hard timeout starts anew */

struct lesson {
    struct letter letter;
    struct bridge *bridge;
    uint32_t bridge_id;
    uint32_t len, limit;
    uint64_t generation;       /* of the tenant's, when `rule` was seen */
    struct rule *rule;         /* whose timeouts shrink; NULL: flow_mod is to be learned */
    uint16_t idle, hard;
    uint8_t flow_mod[];
};

static void deliver(struct letter *l, void *consumer)
{
    struct lesson *n = (struct lesson *)l;
    struct datapath *dp = consumer;
    struct bridge *b = dp->bridges[n->bridge_id];
    fault why;
    if (b == n->bridge) {
        atomic_fetch_sub_explicit(&b->events, 1, memory_order_relaxed);
        defer_owner(b->tenant->conf.id);
        if (!n->rule)
            flow_learn(b, n->flow_mod, n->len, n->limit, &why);
        else if (atomic_load(&b->tenant->generation) == n->generation)
            rule_shorten(n->rule, n->idle, n->hard);
        defer_owner(0);
    }
    free(n);
}

static struct lesson *lesson_new(struct wtenant *t, struct bridge *b, uint32_t len)
{
    if (atomic_load_explicit(&b->events, memory_order_relaxed) >= DP_EVENT_BACKLOG)
        return NULL;
    struct lesson *n = malloc(sizeof *n + len);
    if (!n)
        return NULL;
    *n = (struct lesson){.letter.fn = deliver, .bridge = b, .bridge_id = b->conf.id, .len = len,
                         .generation = atomic_load_explicit(&t->tenant->generation, memory_order_acquire)};
    return n;
}

static void post(struct worker *w, struct bridge *b, struct lesson *n)
{
    atomic_fetch_add_explicit(&b->events, 1, memory_order_relaxed);
    mailbox_post(&w->dp->mail, &n->letter);
}

void learn(struct worker *w, struct wtenant *t, struct bridge *b, struct learned *l)
{
    if (l->asked && w->now - l->asked < clock_hz / 1000 * AGAIN_MS)
        return;
    struct lesson *n = lesson_new(t, b, l->len);
    if (!n)
        return;
    memcpy(n->flow_mod, l->flow_mod, l->len);
    n->limit = l->limit;
    l->asked = w->now;
    post(w, b, n);
}

void fin_timeout(struct worker *w, struct wtenant *t, struct bridge *b, struct rule *r, uint16_t idle, uint16_t hard)
{
    struct lesson *n = lesson_new(t, b, 0);
    if (!n)
        return;
    n->rule = r;
    n->idle = idle;
    n->hard = hard;
    post(w, b, n);
}
