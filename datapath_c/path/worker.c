/* The loop: pick -> rx -> process -> charge -> tick. */
#include "path/worker.h"
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <urcu-qsbr.h>
#include "base/defer.h"
#include "flow/cache.h"
#include "path/polling.h"
#include "path/turn.h"
#include "tunnel/vtep.h"

#define POOL_PACKETS 4096
#define RING_INTERVAL_US 5     /* how often other ports are looked for while only rings are looked at */
#define SPIN_US 50             /* how long an idle worker spins before it sleeps, where work has come so soon */
#define SLEEP_MS 100           /* the longest sleep */
#define EVENTS 64
#define STALL_US 20            /* a gap in the idle loop longer than this is the machine's */
#define LETTERS 16             /* carried out in one step */
#define SWEEP_MS 1             /* how often an idle worker looks at somebody's cache */
#define SWEEP_SLOTS 16         /* of it */
#define SWEEP_TENANTS 256      /* among which one is looked for */
#define UPLINK_WEIGHT 100      /* of receiving from shared tunnels, as a tenant's */
#define TURN_STALL_US 2        /* likewise within a turn, where the clock is looked at every STEP_CHECK units of work */

static struct limit no_limit;
static void carry_out_letters(struct worker *w);

struct worker *worker_new(struct datapath *dp, unsigned id, int *error)
{
    struct worker *w = aligned_alloc(64, (sizeof *w + 63) / 64 * 64);
    if (!w) {
        *error = -ENOMEM;
        return NULL;
    }
    memset(w, 0, sizeof *w);
    w->id = id;
    w->dp = dp;
    w->row = shm_worker(dp, id);
    w->slice = dp->slice;
    w->stall = clock_from_us(TURN_STALL_US);
    w->uplink = (struct subject){.entity.weight = UPLINK_WEIGHT * WEIGHT_ONE, .limit = &no_limit, .account = shm_account(dp, id, 0)};
    scheduler_init(&w->sched, policy_by_number(dp->policy), dp->slice);
    if ((*error = packet_pool_init(&w->pool, POOL_PACKETS)) || (*error = mailbox_init(&w->mail))) {
        free(w);
        return NULL;
    }
    defer_watch(w->turns, DP_MAX_TENANTS);
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->mail.event_fd, &e);
    clerk_start(&w->clerk, w->row, &w->row->system[DP_SYS_IDLE]);
    w->poll_interval = clock_from_us(POLL_INTERVAL_US);
    w->now = w->last_poll = w->last_work = w->last_decision = w->clerk.since;
    w->now_s = (uint32_t)(w->now / clock_hz);
    w->next_second = (w->now_s + UINT64_C(1)) * clock_hz;
    return w;
}

void worker_free(struct worker *w)
{
    do
        carry_out_letters(w);
    while (w->letters);
    for (uint32_t i = 0; i < DP_MAX_TENANTS; i++) {
        struct wtenant *t = w->tenants[i];
        if (!t)
            continue;
        turn_finish_jobs(w, t);
        if (t->cache)
            cache_free(t->cache);
        free(t);
    }
    turn_free_stacks(w);
    defer_unwatch(w->turns);
    scheduler_destroy(&w->sched);
    close(w->epoll_fd);
    mailbox_close(&w->mail);
    packet_pool_destroy(&w->pool);
    free(w);
}

void worker_end_turns(struct worker *w, uint32_t tenant)
{
    for (uint32_t i = tenant; i < (tenant ? tenant + 1 : DP_MAX_TENANTS); i++)
        if (w->tenants[i])
            turn_end(w, w->tenants[i]);
}

void worker_post(struct worker *w, struct letter *l)
{
    if (w->dp->threaded) {
        mailbox_post(&w->mail, l);
    } else {
        l->next = NULL;
        l->fn(l, w);
    }
}

static void set_weight(struct worker *w, struct wtenant *t)
{
    uint64_t weight = atomic_load_explicit(&w->weights[t->subject.id], memory_order_relaxed);
    t->subject.entity.weight = weight ? weight : WEIGHT_ONE;
}

void worker_charge(struct worker *w, struct wtenant *t, uint64_t cycles)
{
    runqueue_charge(&w->sched.queue, &t->subject.entity, cycles);
    if (w->sched.queue.ops->protects)
        limit_charge(&t->tenant->limit, w->now, cycles);
}

struct wtenant *worker_tenant(struct worker *w, struct tenant *t)
{
    struct wtenant *wt = w->tenants[t->conf.id];
    if (wt)
        return wt;
    wt = calloc(1, sizeof *wt);
    if (!wt)
        return NULL;
    wt->tenant = t;
    wt->worker = w;
    wt->account = shm_account(w->dp, w->id, t->conf.id);
    wt->subject.id = t->conf.id;
    wt->subject.limit = &t->limit;
    wt->subject.account = wt->account;
    wt->subject.entity.vtime = w->sched.queue.vtime;
    packet_pool_share(&wt->pool, &w->pool);
    set_weight(w, wt);
    return w->tenants[t->conf.id] = wt;
}

struct port_io worker_io(struct worker *w, struct port *p)
{
    struct wtenant *t = worker_tenant(w, p->bridge->tenant);
    return (struct port_io){.worker = w->id, .pool = &t->pool, .counters = shm_port(w->dp, w->id, p->slot),
                            .drops = t->account->drops, .lane = t->lane};
}

void worker_wake(struct worker *w, struct rxq *q)
{
    struct wtenant *t = worker_tenant(w, q->port->bridge->tenant);
    if (!t || q->active)
        return;
    if (q->port->ops->ready)
        polling_begin(w, q);
    q->active = true;
    q->next = NULL;
    if (t->last)
        t->last->next = q;
    else
        t->first = q;
    t->last = q;
    t->n_active++;
    if (!t->subject.entity.runnable)
        turn_note_waiting(w, t, q, 0);
    worker_runnable(w, t);
}

void worker_runnable(struct worker *w, struct wtenant *t)
{
    if (t->subject.entity.runnable)
        return;
    set_weight(w, t);
    scheduler_wake(&w->sched, &t->subject, w->now);
}

void worker_decided(struct worker *w, uint64_t now, const struct wtenant *t)
{
    struct dp_shm_worker *row = w->row;
    uint64_t raw = now - w->last_decision, stretch = raw - (w->stalled < raw ? w->stalled : raw);
    w->last_decision = now;
    w->stalled = 0;
    row->stretch[stretch ? 63 - __builtin_clzll(stretch) : 0]++;
    if (raw > row->longest_raw)
        row->longest_raw = raw;
    if (stretch <= row->longest)
        return;
    row->longest = stretch;
    row->longest_tenant = t ? t->subject.id : 0;
    uint64_t stage = t ? ((uintptr_t)w->stage - (uintptr_t)t->account->cycles) / sizeof *w->stage : 0;
    row->longest_stage = stage < DP_N_STAGES ? stage : DP_STAGE_TX;
    row->longest_port = t && t->at ? t->at->slot + 1 : 0;
}

static int wait_for_events(struct worker *w, struct epoll_event *events, uint64_t timeout)
{
    uint64_t ns = (uint64_t)((double)timeout * 1e9 / (double)clock_hz);
    struct timespec t = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    return timeout ? epoll_pwait2(w->epoll_fd, events, EVENTS, &t, NULL) : epoll_wait(w->epoll_fd, events, EVENTS, 0);
}

/* Waits for who has it: for about as long as a packet takes. */
static void take_seat(struct worker *w)
{
    /* A0: in one order with S0. Whoever still sees us asleep has made its change before we look at anything. */
    for (int free = SEAT_FREE; !atomic_compare_exchange_strong_explicit(&w->seat, &free, SEAT_TAKEN, memory_order_seq_cst,
                                                                        memory_order_seq_cst) && free != SEAT_TAKEN;
         free = SEAT_FREE)
        sched_yield();
}

/* Finds ready ports, waiting up to `timeout` cycles for them. */
static bool poll_ports(struct worker *w, uint64_t timeout)
{
    struct epoll_event events[EVENTS];
    if (timeout) {
        urcu_qsbr_thread_offline();
        /* L0: whoever has the seat next (L1) sees all of the worker. */
        atomic_store_explicit(&w->seat, w->sched.parked.n ? SEAT_TAKEN : SEAT_FREE, memory_order_release);
    }
    int n = wait_for_events(w, events, timeout);
    if (timeout) {
        take_seat(w);
        urcu_qsbr_thread_online();
        worker_account(w, &w->row->system[DP_SYS_POLL]);
    }
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == w->dp)
            scheduler_wake(&w->sched, &w->uplink, w->now);
        else if (events[i].data.ptr)
            worker_wake(w, events[i].data.ptr);   /* NULL is the mailbox, which every step looks at */
    }
    return n > 0;
}

/* A call into the kernel costs as much as ten packets. */
static uint64_t poll_interval(const struct worker *w)
{
    bool rings = w->dp->poll && !w->n_told && (w->id || !vtep_listens(w->dp));
    return clock_from_us(rings ? RINGS_INTERVAL_US : POLL_INTERVAL_US);
}

/* A tenant's turn looks at a little of its cache. Who sends nothing has no turns: then what it has cached is found to be old here. A turn
 * that is suspended may have any of it in hand. */
static void sweep_idle(struct worker *w)
{
    if (w->now - w->last_sweep < clock_from_ms(SWEEP_MS))
        return;
    w->last_sweep = w->now;
    for (int i = 0; i < SWEEP_TENANTS; i++) {
        struct wtenant *t = w->tenants[w->sweeping];
        bool any = t && t->cache && !t->suspended;
        if (!any || cache_sweep(t->cache, w->now, CACHE_IDLE_S * clock_hz, SWEEP_SLOTS))
            w->sweeping = (w->sweeping + 1) % DP_MAX_TENANTS;
        if (any)
            break;
    }
    worker_account(w, &w->row->system[DP_SYS_HOUSEKEEPING]);
}

/* Nobody has work: spin for a while, then sleep until a port or the main thread has something. */
static bool idle(struct worker *w)
{
    uint64_t before = w->now;
    worker_account(w, &w->row->system[DP_SYS_IDLE]);
    if (w->clerk.since - before > clock_from_us(STALL_US) && w->row->loops) {
        w->row->stalls++;
        w->row->stall_cycles += w->now - before;
    }
    sweep_idle(w);
    w->last_decision = w->now;
    if (w->quiet) {
        if (polling_look(w, w->n_quiet))
            return true;
        if (w->now - w->last_look < (w->poll_interval > clock_from_us(POLL_INTERVAL_US) ? w->poll_interval : clock_from_us(RING_INTERVAL_US)))
            return false;
        w->last_look = w->now;
        w->poll_interval = poll_interval(w);
    }
    /* Not beyond when a limit lets somebody run again. */
    uint64_t longest = clock_from_ms(SLEEP_MS), next = scheduler_next(&w->sched);
    if (next)
        longest = next < w->now ? 0 : next - w->now < longest ? next - w->now : longest;
    bool spin = !w->dp->threaded || w->dp->poll || w->quiet || w->now - w->last_work < w->spin ||
                longest < clock_from_us(SPIN_US);
    if (spin)
        return poll_ports(w, 0) || (!w->dp->threaded && next && next <= w->now);
    w->row->sleeps++;
    uint64_t ended = w->last_work;
    bool any = poll_ports(w, longest);
    /* As KVM's halt polling does. Twice, for waking took a part of it. */
    w->spin = any && w->now - ended < 2 * clock_from_us(SPIN_US) ? clock_from_us(SPIN_US) : 0;
    w->last_work = w->now;
    w->last_decision = w->now;
    return any;
}

/* A few of the main thread's calls; the rest waits for the next step. */
static void carry_out_letters(struct worker *w)
{
    if (!w->letters)
        w->letters = mailbox_take(&w->mail);
    for (int i = 0; i < LETTERS && w->letters; i++) {
        struct letter *l = w->letters;
        w->letters = l->next;
        l->fn(l, w);
    }
}

static bool is_fed(const struct worker *w, const struct subject *s)
{
    return s != &w->uplink && ((const struct wtenant *)s)->fed;
}

/* What has come through the tunnels' uplink goes on before more of it is received, where its tenant would be next but for the uplink's:
 * else one who receives at others' cost would always be, and fill their queues. One turn, lest what is behind it in the uplink waits for
 * all of it. */
static struct subject *after_uplink(struct worker *w, struct subject *s)
{
    if (!s || s == &w->uplink || !((struct wtenant *)s)->feeds)
        return s;
    struct subject *next = scheduler_behind(&w->sched, s);
    if (!next || !is_fed(w, next))
        return s;
    scheduler_pick_instead(&w->sched, s, next, w->now);
    return next;
}

bool worker_step(struct worker *w)
{
    bool any = false;
    urcu_qsbr_quiescent_state();
    w->row->loops++;
    if (w->now >= w->next_second) {
        w->now_s = (uint32_t)(w->now / clock_hz);
        w->next_second = (w->now_s + UINT64_C(1)) * clock_hz;
    }
    if (w->letters || !mailbox_empty(&w->mail)) {
        worker_account(w, &w->row->system[DP_SYS_HOUSEKEEPING]);
        carry_out_letters(w);
        any = true;
    }
    struct subject *s = scheduler_pick(&w->sched, w->now);
    if (!s && (w->letters || idle(w))) {
        /* What has just come is begun at once, but for what the main thread wants. */
        if (w->letters || !w->dp->threaded || !(s = scheduler_pick(&w->sched, w->now)))
            return true;
    }
    if (!s) {
        runqueue_lull(&w->sched.queue);
        return any;
    }
    s = after_uplink(w, s);
    struct wtenant *t = s == &w->uplink ? NULL : (struct wtenant *)s;
    if (t) {
        bool fed = t->fed;
        t->fed = false;
        uint64_t cycles = turn_run(w, t);
        scheduler_charge(&w->sched, s, w->now, cycles, turn_due(t));
        if (fed)
            w->left_over = t->first ? t->first->n : 0;
    } else {
        bool more;
        uint64_t cycles = vtep_receive(w->dp->vtep, w, &more);
        scheduler_charge(&w->sched, s, w->now, cycles, more);
    }
    w->last_work = w->now;
    worker_decided(w, w->now, t);
    if (w->quiet)
        polling_look(w, RINGS);
    if (w->now - w->last_poll >= w->poll_interval) {
        w->last_poll = w->now;
        w->poll_interval = poll_interval(w);
        poll_ports(w, 0);
        worker_account(w, &w->row->system[DP_SYS_POLL]);
        worker_decided(w, w->now, NULL);
    }
    return true;
}

static void *run(void *arg)
{
    struct worker *w = arg;
    prctl(PR_SET_TIMERSLACK, 1);
    urcu_qsbr_register_thread();
    worker_account(w, &w->row->system[DP_SYS_IDLE]);
    while (!atomic_load_explicit(&w->stop, memory_order_relaxed))
        worker_step(w);
    urcu_qsbr_unregister_thread();
    return NULL;
}

int worker_start(struct worker *w)
{
    return -pthread_create(&w->thread, NULL, run, w);
}

static void wake_up(struct letter *l, void *consumer)
{
    free(l);
}

void worker_stop(struct worker *w)
{
    atomic_store(&w->stop, true);
    struct letter *l = malloc(sizeof *l);
    if (l) {
        l->fn = wake_up;
        mailbox_post(&w->mail, l);
    }
    pthread_join(w->thread, NULL);
}
