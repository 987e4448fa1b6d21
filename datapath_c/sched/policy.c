#include "sched/policy.h"
#include "channel/contract.h"

const struct policy_ops *policy_by_number(uint32_t number)
{
    static const struct policy_ops *const policies[] = {
        [DP_POLICY_WFQ] = &policy_wfq, [DP_POLICY_ROUND_ROBIN] = &policy_round_robin, [DP_POLICY_NONE] = &policy_none};
    return number < sizeof policies / sizeof policies[0] ? policies[number] : NULL;
}

const char *dp_policy_name(uint32_t number)
{
    const struct policy_ops *ops = policy_by_number(number);
    return ops ? ops->name : NULL;
}

void runqueue_init(struct runqueue *q, const struct policy_ops *ops, uint64_t slice)
{
    *q = (struct runqueue){.ops = ops, .slice = slice,
                           .window_bits = 63 - (unsigned)__builtin_clzll(slice * WINDOW_SLICES | 1)};
}

void runqueue_destroy(struct runqueue *q)
{
    heap_free(&q->heap);
}

int list_add(struct runqueue *q, struct entity *e)
{
    e->next = NULL;
    e->prev = q->last;
    if (q->last)
        q->last->next = e;
    else
        q->first = e;
    q->last = e;
    return 0;
}

void list_remove(struct runqueue *q, struct entity *e)
{
    if (e->prev)
        e->prev->next = e->next;
    else
        q->first = e->next;
    if (e->next)
        e->next->prev = e->prev;
    else
        q->last = e->prev;
    e->next = e->prev = NULL;
}

struct entity *list_pick(struct runqueue *q)
{
    return q->first;
}

void list_charge(struct runqueue *q, struct entity *e, uint64_t cycles)
{
    if (!e->runnable || q->last == e)
        return;
    list_remove(q, e);
    list_add(q, e);
}
