#include "path/turn.h"
#include "path/polling.h"
#include "path/process.h"
#include "flow/cache.h"
#include "tunnel/uplink.h"

#define SPARE_STACKS 64        /* kept for turns to come */
#define SWEEP_SLOTS 4          /* of the cache, in each turn */
#define FIXED_COST_NS 200      /* of a batch, besides its packets */
#define FEW 4                  /* packets: of batches that small, the fixed part is believed to be less, lest packets look free */
#define COST_LEAP 4            /* the most that packets become dearer from one batch to the next */
#define AHEAD 64               /* packets in a tenant's queue beyond which it doesn't keep up, and its uplink no longer waits for it */
#define RECEIVE_MIN 8          /* of a batch through an uplink that waits */
#define RING_BATCH 16          /* packets of the smallest batch from a ring in memory */
#define FEW_PACKETS 8          /* that are taken at once if they fit until the slice's grace is over */
#define GRACE 4                /* this part of a slice */
#define LONG 3                 /* slices of a turn where nobody who waits is hurt by it: room for a whole batch of cheap packets; */
#define LONG_OF_MANY 5         /* where so many wait that their number is what each waits for: two batches */
#define MANY_TURNS 4           /* tenants */
#define FED_MS 10              /* after something came through the tunnels' uplink, more may */
#define PEEK 2                 /* quiet rings at each look */
#define PEEKS_A_UNIT 3         /* of base/step.h, on virtual clocks */
#define SWITCH_UNITS 2         /* likewise: leaving a turn for another's */
#define MANY 1024              /* packets that wait, more than which makes no difference */
#define FIRST_COST_NS 250      /* of a packet, before any was measured */

/* Whether somebody can come who is due before the slice's end: one who sleeps with a ring that can be looked at, or goes ahead. */
static bool to_watch(const struct worker *w, const struct wtenant *t)
{
    const struct runqueue *q = &w->sched.queue;
    const struct entity *e = &t->subject.entity;
    return q->ops->overtaker && (w->n_quiet - w->n_held > t->n_quiet || (q->n_ahead > (e->boost != 0) && !(e->boost && e->waits == WAITS_UNKNOWN)));
}

/* Not beside the tunnels' uplink: who waits behind it isn't known yet. On a virtual clock those whom nobody looks for within turns come between
 * two steps of the loop, as often as these are, and not every few microseconds. */
static bool may_be_long(const struct worker *w)
{
    if (w->sched.queue.n < 2 && clock_virtual)
        return false;
    return w->sched.queue.ops->protects && runqueue_settled(&w->sched.queue) && w->now - w->last_fed > clock_from_ms(FED_MS);
}

/* The turn is in `bucket` from now on. A policy without protection has no end of a slice. Whoever ended another's turn pays for the
 * change. */
static void begin_slice(struct worker *w, struct wtenant *t, uint64_t *bucket)
{
    worker_account(w, bucket);
    w->turn_start = w->looked = w->now;
    w->forgiven = 0;
    w->deadline = w->sched.queue.ops->protects ? w->now + w->slice : UINT64_MAX;
    w->turn_end = may_be_long(w) ? w->now + (w->sched.queue.n < MANY_TURNS ? LONG : LONG_OF_MANY) * w->slice : w->deadline;
    /* A long one's batch has more to come than fits into a grace. */
    w->grace = turn_is_long(w) || !w->sched.queue.ops->protects ? w->deadline : w->deadline + w->slice / GRACE;
    w->watchful = to_watch(w, t);
    uint64_t change = w->overtaken ? w->now - w->overtaken : 0;
    if (change && change < w->slice && w->row->system[DP_SYS_POLL] >= change) {
        account_move(&w->clerk, &w->row->system[DP_SYS_POLL], bucket, change);
        w->turn_start = w->overtaken;
    }
    w->overtaken = 0;
    if (steps.budget != (w->watchful ? STEP_WATCH : STEP_CHECK))
        step_budget(w->watchful ? STEP_WATCH : STEP_CHECK);
}

/* ---- suspension ---- */

/* Nothing but packets is to be done, and nobody comes back because the time for it has come. */
static bool undisturbed(const struct worker *w)
{
    return !w->sched.parked.n && !w->letters && mailbox_empty(&((struct worker *)w)->mail);
}

static bool alone(const struct worker *w)
{
    return w->sched.queue.n == 1 && undisturbed(w);
}

/* Cycles of the turn that are its tenant's to pay. */
static uint64_t payable(const struct worker *w, uint64_t cycles)
{
    uint64_t lost = w->stalled + w->forgiven;
    return cycles - (lost < cycles ? lost : cycles);
}

/* A slice of a long turn is over. Whether the next begins, for nobody came meanwhile to whom that would matter: a decision, as any other. */
static bool prolong(struct worker *w, struct wtenant *t)
{
    if (w->turn_end <= w->deadline || !undisturbed(w) || limit_due(&t->tenant->limit))
        return false;
    uint64_t now = turn_clock(w);
    if (now >= w->turn_end || (w->quiet && polling_look(w, RINGS)) || !runqueue_settled(&w->sched.queue))
        return false;
    w->stage = w->clerk.bucket;
    w->forgiven += w->stalled;
    worker_decided(w, now, t);
    w->deadline = w->grace = now + w->slice < w->turn_end ? now + w->slice : w->turn_end;
    return true;
}

/* The slice is over, and whoever else can have something to do is looked for. Where that is nobody, the next slice is this tenant's too,
 * and begins here rather than by way of the loop, until it is time to look at all ports again. */
static bool go_on(struct worker *w, struct wtenant *t)
{
    /* On a virtual clock nobody can come meanwhile: packets arrive between two steps of the loop. */
    if (clock_virtual || !alone(w) || limit_due(&t->tenant->limit) || w->clerk.since - w->last_poll >= w->poll_interval)
        return false;
    worker_account(w, w->clerk.bucket);
    if (w->quiet && polling_look(w, RINGS) && !alone(w))
        return false;
    uint64_t cycles = w->now - w->turn_start;
    t->spent += cycles;
    worker_charge(w, t, payable(w, cycles));
    w->stage = w->clerk.bucket;
    worker_decided(w, w->now, t);
    begin_slice(w, t, w->clerk.bucket);
    return true;
}

/* From here on what the turn has read is its to hold on to. It goes on in `bucket`. */
static void suspend(struct worker *w, struct wtenant *t, uint64_t *bucket)
{
    uint32_t id = t->tenant->conf.id;
    uint32_t n = atomic_load_explicit(&w->turns[id], memory_order_relaxed);
    /* T0: seen, after a grace period, by T1 in base/defer.c: the worker is quiescent only after this. */
    if (!(n & 1))
        atomic_store_explicit(&w->turns[id], n + 1, memory_order_release);
    t->suspended = true;
    w->n_held += t->n_quiet;
    t->account->yields++;
    w->stage = bucket;
    fiber_switch(t->fiber, &w->loop);
    t->suspended = false;
    w->n_held -= t->n_quiet;
    begin_slice(w, t, bucket);
}

static void slice_over(struct worker *w)
{
    struct wtenant *t = w->running;
    if (prolong(w, t))
        ;
    else if (go_on(w, t))
        t->account->yields++;
    else
        suspend(w, t, w->clerk.bucket);
}

/* What was begun before the suspension is finished: nothing that was read then is in use any more. */
static void settle(struct worker *w, struct wtenant *t)
{
    uint32_t id = t->tenant->conf.id;
    uint32_t n = atomic_load_explicit(&w->turns[id], memory_order_relaxed);
    if (n & 1)
        atomic_store_explicit(&w->turns[id], n + 1, memory_order_release);
}

void turn_yield(struct worker *w)
{
    if (w->running && w->running->fiber && !steps.ending)
        slice_over(w);
}

/* Looks at a few of the rings that were quiet. Whether somebody is there who may be due before the turn goes on. */
static bool somebody_woke(struct worker *w)
{
    if (w->n_quiet - w->n_held > w->running->n_quiet) {
        polling_peek(w, PEEK);
        if (++w->looks % PEEKS_A_UNIT == 0)
            step_spend(1);
    }
    return w->sched.queue.n_ahead > (w->running->subject.entity.boost != 0);
}

/* Ends the stretch if that one is, `now`. The change is the other's: from here on, time is not charged to this turn. */
static bool give_way(struct worker *w, uint64_t now)
{
    struct wtenant *t = w->running;
    if (!w->sched.queue.ops->overtaker(&w->sched.queue, &t->subject.entity, now - w->turn_start))
        return false;
    t->account->overtaken++;
    uint64_t *bucket = w->clerk.bucket;
    worker_account(w, &w->row->system[DP_SYS_POLL]);
    step_spend(SWITCH_UNITS);
    w->overtaken = w->now;
    suspend(w, t, bucket);
    return true;
}

bool turn_watch(struct worker *w)
{
    uint64_t now = w->looked = turn_clock(w);
    return w->running && w->running->fiber && !steps.ending && somebody_woke(w) && give_way(w, now);
}

void turn_look(struct worker *w)
{
    if (!w->running || !w->running->fiber)
        return;
    bool woke = false;
    if (w->watchful) {
        woke = somebody_woke(w);
        /* As often as where nobody is watched. */
        if (!woke && ++w->unread % (STEP_CHECK / STEP_WATCH))
            return;
    }
    uint64_t now = clock_now(), since = turn_clock(w);
    w->looked = now;
    if (now - since > w->stall && !clock_virtual) {
        w->stalled += now - since;
        w->row->stalls++;
        w->row->stall_cycles += now - since;
    }
    if (steps.ending)
        return;
    if (now >= w->deadline)
        slice_over(w);
    else if (woke)
        give_way(w, now);
}

/* A budget's units of work have gone by. */
static void look(void *worker)
{
    turn_look(worker);
}

/* ---- the turn ---- */

static void run_job(struct worker *w, struct wtenant *t)
{
    worker_account(w, &t->account->cycles[DP_STAGE_CONTROL]);
    struct letter *l = t->jobs;
    t->jobs = l->next;
    if (!t->jobs)
        t->last_job = NULL;
    t->n_jobs--;
    void (*fn)(struct letter *, void *) = l->fn;
    fn(l, w);
}

/* The queue at the front has nothing (more). */
static void retire_first(struct worker *w, struct wtenant *t)
{
    struct rxq *q = t->first;
    q->active = false;
    t->n_active--;
    polling_rest(w, q);
    t->first = q->next;
    if (!t->first)
        t->last = NULL;
}

static void rotate(struct wtenant *t)
{
    if (t->first == t->last)
        return;
    struct rxq *q = t->first;
    t->first = q->next;
    q->next = NULL;
    t->last->next = q;
    t->last = q;
}

static uint32_t first_cost(void)
{
    return (uint32_t)(clock_hz / 1000000 * FIRST_COST_NS / 1000) + 1;
}

/* So many packets that the turn ends near the slice's end, by what this tenant's packets have cost. */
static unsigned batch_size(const struct worker *w, const struct wtenant *t)
{
    uint64_t fixed = clock_hz / 1000000 * FIXED_COST_NS / 1000, until = w->now + fixed;
    uint64_t left = w->turn_end > until ? w->turn_end - until : 0;
    uint64_t n = left / t->cost;
    if (n < FEW_PACKETS && until + FEW_PACKETS * t->cost <= w->grace)
        n = FEW_PACKETS;
    return n < 1 ? 1 : n > BATCH ? BATCH : (unsigned)n;
}

/* Quick to believe that packets have become dearer, slow to believe that they are cheap again. */
static void note_cost(struct wtenant *t, uint64_t cycles, unsigned n)
{
    uint64_t fixed = clock_hz / 1000000 * FIXED_COST_NS / 1000 * n / (n + FEW), cost = t->cost;
    /* What a batch costs whatever its size would make small batches look dear, and the next ones smaller still; and when the
     * machine has taken the core away for once, packets have not become dear. */
    uint64_t each = (cycles > fixed ? cycles - fixed : 0) / n + 1;
    each = each < COST_LEAP * cost ? each : COST_LEAP * cost;
    each = each < UINT32_MAX ? each : UINT32_MAX;
    t->cost = (uint32_t)(each > cost ? (cost + each) / 2 : cost - (cost - each) / 8);
}

/* A few at a time where others are watched, so that none of them waits for all. */
static unsigned rx_watching(struct worker *w, struct rxq *q, struct port_io *io, struct packet **out, unsigned max)
{
    unsigned n = 0, chunk = q->port->ops->takes_loans ? TURN_RING_CHUNK : TURN_CHUNK / 2;
    while (w->watchful && n + chunk < max && !steps.ending) {
        unsigned got = q->port->ops->rx(q, io, out + n, chunk);
        n += got;
        if (got < chunk)
            return n;
        turn_look(w);
    }
    return steps.ending ? n : n + q->port->ops->rx(q, io, out + n, max - n);
}

/* What came meanwhile is gone on with: going to sleep and waking is dearer than a look. It is as if it had, while it goes ahead. Who doesn't any
 * more would after waking, where what waits isn't known, so it does sleep; but not who is settled, for whom there is nothing in that. */
static void look_again(struct worker *w, struct wtenant *t, struct rxq *q)
{
    struct entity *e = &t->subject.entity;
    if (!q->next_quiet || !q->port->ops->ready(q))
        return;
    if (e->waits == WAITS_UNKNOWN && !e->boost && (!e->settled || t->feeds)) {
        e->goes_on = true;
        return;
    }
    worker_wake(w, q);
    if (!e->settled)
        e->ran = 0;
}

void turn_note_waiting(struct worker *w, struct wtenant *t, struct rxq *q, unsigned in_hand)
{
    if (!q->port->ops->waiting || atomic_load_explicit(&q->port->underlay, memory_order_relaxed)) {
        t->subject.entity.waits = WAITS_UNKNOWN;
        return;
    }
    if (!w->sched.queue.ops->by_length)
        return;
    /* Who is settled doesn't go ahead however little it is: not worth the count. */
    unsigned more = t->subject.entity.settled ? MANY : q->port->ops->waiting(q, MANY);
    if (t->n_active > 1)
        more *= t->n_active;
    t->subject.entity.waits = (uint64_t)(in_hand + more) * (t->cost ? t->cost : first_cost());
}

static void run_batch(struct worker *w, struct wtenant *t)
{
    struct rxq *q = t->first;
    struct packet *batch[BATCH];
    struct port_io io = worker_io(w, q->port);
    unsigned max = batch_size(w, t);
    /* Of a ring in memory it is the first packet that is dear, if another core's caches have it: fewer would not be faster, but
     * would look dearer each, and make the next batches smaller still. */
    if (port_is_ring(q->port) && max < RING_BATCH)
        max = alone(w) ? BATCH : RING_BATCH;
    if (w->left_over && w->left_over < AHEAD && atomic_load_explicit(&q->port->underlay, memory_order_relaxed))
        max = max > w->left_over + RECEIVE_MIN ? max - w->left_over : RECEIVE_MIN;
    uint64_t before = turn_spent(w, t);
    t->at = q->port;
    t->lane = q->lane;
    unsigned n = rx_watching(w, q, &io, batch, max);
    if (n < max && !steps.ending)
        retire_first(w, t);
    else
        rotate(t);
    turn_note_waiting(w, t, q, n);
    if (n)
        process_received(w, t, q->port, &io, batch, n);
    if (!steps.ending)
        look_again(w, t, q);
    worker_account(w, &w->row->system[DP_SYS_POLL]);     /* for most turns are one batch */
    uint64_t cycles = turn_spent(w, t) - before;
    io.counters->cycles += cycles;
    atomic_store_explicit(&q->cycles, atomic_load_explicit(&q->cycles, memory_order_relaxed) + cycles, memory_order_relaxed);
    if (n)
        note_cost(t, cycles, n);
}

static unsigned count_queues(const struct wtenant *t)
{
    unsigned n = 0;
    for (const struct rxq *q = t->first; q; q = q->next)
        n++;
    return n;
}

static void run(void *tenant)
{
    struct wtenant *t = tenant;
    struct worker *w = t->worker;
    if (!t->cost)
        t->cost = first_cost();
    unsigned queues = w->sched.queue.ops->protects ? 0 : count_queues(t);
    t->feeds = false;
    for (bool first = true; t->jobs || t->first; first = false) {
        if (t->jobs) {
            run_job(w, t);
            worker_account(w, &w->row->system[DP_SYS_POLL]);
        } else {
            if (!first)
                worker_account(w, &t->account->cycles[DP_STAGE_RX]);
            run_batch(w, t);
        }
        settle(w, t);
        if (steps.ending)
            return;
        if (t->feeds)
            break;
        /* Not for a few packets more: each batch has its own cost. */
        uint64_t few = turn_is_long(w) ? w->slice : w->slice / 2;
        if (queues == 1 || (w->now + few >= w->turn_end && !(t->first && go_on(w, t))))
            break;
        queues -= queues > 0;
    }
    if (t->cache)
        cache_sweep(t->cache, w->now, CACHE_IDLE_S * clock_hz, SWEEP_SLOTS);
}

/* ---- stacks ---- */

static struct fiber *take_stack(struct worker *w, struct wtenant *t)
{
    struct fiber *f = w->stacks;
    if (f) {
        w->stacks = f->next;
        w->n_stacks--;
    } else if (!(f = fiber_new())) {
        return NULL;
    }
    f->fn = run;
    f->arg = t;
    f->back = &w->loop;
    f->done = false;
    return f;
}

static void give_stack(struct worker *w, struct fiber *f)
{
    if (w->n_stacks == SPARE_STACKS) {
        fiber_free(f);
        return;
    }
    f->next = w->stacks;
    w->stacks = f;
    w->n_stacks++;
}

void turn_free_stacks(struct worker *w)
{
    for (struct fiber *f = w->stacks, *next; f; f = next) {
        next = f->next;
        fiber_free(f);
    }
    w->stacks = NULL;
    w->n_stacks = 0;
}

/* ---- for the loop ---- */

static void enter(struct worker *w, struct wtenant *t)
{
    w->running = t;
    steps.over = look;
    steps.arg = w;
    fiber_switch(&w->loop, t->fiber);
    steps.over = NULL;
    w->running = NULL;
    if (t->fiber->done) {
        give_stack(w, t->fiber);
        t->fiber = NULL;
    }
}

uint64_t turn_run(struct worker *w, struct wtenant *t)
{
    if (!t->fiber) {
        begin_slice(w, t, &t->account->cycles[DP_STAGE_RX]);
        t->account->turns++;
        t->fiber = take_stack(w, t);
    }
    if (t->fiber) {
        enter(w, t);
    } else {
        run(t);                /* no memory for a stack: this turn can't be suspended */
    }
    if (t->feeds)
        w->last_fed = w->now;
    t->subject.entity.unfinished = t->suspended;
    if (!t->suspended)
        w->stage = &t->account->cycles[DP_STAGE_TX];
    if (!w->overtaken && (t->suspended || w->clerk.bucket != &w->row->system[DP_SYS_POLL]))
        worker_account(w, &w->row->system[DP_SYS_POLL]);
    uint64_t cycles = w->now - w->turn_start;
    t->spent += cycles;
    return payable(w, cycles);
}

void turn_end(struct worker *w, struct wtenant *t)
{
    if (!t->suspended)
        return;
    uint64_t *bucket = w->clerk.bucket;
    steps.ending = true;
    enter(w, t);
    steps.ending = false;
    worker_account(w, bucket);
    t->subject.entity.unfinished = false;
    worker_charge(w, t, w->now - w->turn_start);
    t->spent += w->now - w->turn_start;
}

void turn_add_job(struct worker *w, struct wtenant *t, struct letter *job, void (*fn)(struct letter *, void *))
{
    job->fn = fn;
    job->next = NULL;
    if (t->last_job)
        t->last_job->next = job;
    else
        t->jobs = job;
    t->last_job = job;
    t->n_jobs++;
    worker_runnable(w, t);
}

void turn_finish_jobs(struct worker *w, struct wtenant *t)
{
    steps.ending = true;
    while (t->jobs)
        run_job(w, t);
    steps.ending = false;
    worker_account(w, &w->row->system[DP_SYS_HOUSEKEEPING]);
}
