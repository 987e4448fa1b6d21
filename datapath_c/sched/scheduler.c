#include "sched/scheduler.h"

#define BLAME_EVERY 16         /* picks of a tenant of which one finds out whom was waited for, and counts for all */

void scheduler_init(struct scheduler *s, const struct policy_ops *ops, uint64_t slice)
{
    *s = (struct scheduler){.queue = {0}};
    runqueue_init(&s->queue, ops, slice);
}

void scheduler_destroy(struct scheduler *s)
{
    runqueue_destroy(&s->queue);
    heap_free(&s->parked);
}

static void unpark(struct scheduler *s, struct subject *e, uint64_t now)
{
    heap_remove(&s->parked, &e->entity);
    e->entity.parked = false;
    e->account->throttled += now - e->entity.since;
}

static void make_runnable(struct scheduler *s, struct subject *e, uint64_t now)
{
    runqueue_wake(&s->queue, &e->entity);
    e->entity.since = now;
}

static void park(struct scheduler *s, struct subject *e, uint64_t now, uint64_t due)
{
    if (heap_add(&s->parked, &e->entity, due)) {
        make_runnable(s, e, now);      /* no memory: rather no limit than no service */
        return;
    }
    e->entity.parked = true;
    e->entity.since = now;
}

void scheduler_wake(struct scheduler *s, struct subject *e, uint64_t now)
{
    if (e->entity.runnable || e->entity.parked)
        return;
    s->queue.now = now;
    uint64_t due = s->queue.ops->protects ? limit_due(e->limit) : 0;
    if (due > now)
        park(s, e, now, due);
    else
        make_runnable(s, e, now);
}

void scheduler_sleep(struct scheduler *s, struct subject *e, uint64_t now)
{
    if (e->entity.parked)
        unpark(s, e, now);
    runqueue_sleep(&s->queue, &e->entity);
}

/* ---- who waited for whom ---- */

/* The few that this tenant waited for most (space-saving: Metwally, Agrawal, El Abbadi, ICDT '05). */
static void blame(struct dp_shm_account *a, uint32_t id, uint64_t cycles)
{
    struct dp_blocker *least = &a->blockers[0];
    for (int i = 0; i < DP_N_BLOCKERS; i++) {
        if (a->blockers[i].tenant == id) {
            a->blockers[i].cycles += cycles;
            return;
        }
        if (a->blockers[i].cycles < least->cycles)
            least = &a->blockers[i];
    }
    least->tenant = id;
    least->cycles += cycles;
}

static void find_blockers(const struct scheduler *s, struct subject *e)
{
    uint32_t n = s->n_recent < SCHED_RECENT ? s->n_recent : SCHED_RECENT;
    for (uint32_t i = 1; i <= n; i++) {
        uint32_t at = (s->n_recent - i) % SCHED_RECENT;
        if (s->recent[at].end <= e->entity.since)
            break;
        uint64_t overlap = s->recent[at].end - e->entity.since;
        if (s->recent[at].id != e->id)
            blame(e->account, s->recent[at].id,
                  BLAME_EVERY * (overlap < s->recent[at].cycles ? overlap : s->recent[at].cycles));
    }
}

static void note_pick(struct scheduler *s, struct subject *e, uint64_t now)
{
    e->account->waited += now - e->entity.since;
    if (++e->picks % BLAME_EVERY == 0)
        find_blockers(s, e);
}

struct subject *scheduler_pick(struct scheduler *s, uint64_t now)
{
    s->queue.now = now;
    while (s->parked.n && !key_before(now, s->parked.at[1].key)) {
        struct subject *e = (struct subject *)heap_least(&s->parked);
        unpark(s, e, now);
        make_runnable(s, e, now);
    }
    struct subject *e = (struct subject *)runqueue_pick(&s->queue);
    if (e)
        note_pick(s, e, now);
    return e;
}

struct subject *scheduler_behind(struct scheduler *s, struct subject *picked)
{
    return s->queue.ops->behind ? (struct subject *)s->queue.ops->behind(&s->queue, &picked->entity) : NULL;
}

void scheduler_pick_instead(struct scheduler *s, struct subject *picked, struct subject *e, uint64_t now)
{
    picked->entity.since = now;
    note_pick(s, e, now);
}

void scheduler_charge(struct scheduler *s, struct subject *e, uint64_t now, uint64_t cycles, bool more)
{
    uint32_t at = s->n_recent++ % SCHED_RECENT;
    s->recent[at].id = e->id;
    s->recent[at].end = now;
    s->recent[at].cycles = cycles;
    s->queue.now = now;
    if (!more)
        runqueue_sleep(&s->queue, &e->entity);     /* first: it needs no place in the order any more */
    runqueue_charge(&s->queue, &e->entity, cycles);
    uint64_t due = s->queue.ops->protects ? limit_charge(e->limit, now, cycles) : 0;
    e->entity.since = now;
    if (more && due > now) {
        runqueue_sleep(&s->queue, &e->entity);
        park(s, e, now, due);
    }
}

void scheduler_change(struct scheduler *s, const struct policy_ops *ops, uint64_t slice, struct subject **all, uint32_t n,
                      uint64_t now)
{
    uint64_t vtime = s->queue.vtime;
    uint32_t active = 0;
    for (uint32_t i = 0; i < n; i++)
        if (all[i] && (all[i]->entity.runnable || all[i]->entity.parked)) {
            scheduler_sleep(s, all[i], now);
            all[active++] = all[i];
        }
    runqueue_destroy(&s->queue);
    runqueue_init(&s->queue, ops, slice);
    s->queue.vtime = vtime;
    for (uint32_t i = 0; i < active; i++)
        scheduler_wake(s, all[i], now);
}
