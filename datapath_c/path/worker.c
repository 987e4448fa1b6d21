/* The loop: pick -> rx -> process -> charge -> tick. */
#include "path/worker.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <urcu-qsbr.h>
#include "path/act.h"
#include "path/lookup.h"
#include "path/parse.h"
#include "path/polling.h"
#include "path/process.h"
#include "path/slow_path.h"
#include "path/tx.h"
#include "tunnel/vtep.h"

#define POOL_PACKETS 2048
#define POLL_INTERVAL_US 10    /* how often ready ports are looked for while somebody is active */
#define RING_INTERVAL_US 5     /* how often other ports are looked for while only rings are looked at */
#define SPIN_US 50             /* how long an idle worker spins before it sleeps */
#define SLEEP_MS 100           /* the longest sleep */
#define EVENTS 64
#define STALL_US 20            /* a gap in the idle loop longer than this is the machine's */

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
    wfq_init(&w->sched, dp->slice);
    if ((*error = packet_pool_init(&w->pool, POOL_PACKETS)) || (*error = mailbox_init(&w->mail))) {
        free(w);
        return NULL;
    }
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->mail.event_fd, &e);
    clerk_start(&w->clerk, w->row, &w->row->system[DP_SYS_IDLE]);
    w->now = w->last_poll = w->last_work = w->last_decision = w->clerk.since;
    w->now_s = (uint32_t)(w->now / clock_hz);
    return w;
}

void worker_free(struct worker *w)
{
    mailbox_drain(&w->mail, w);
    for (uint32_t i = 0; i < DP_MAX_TENANTS; i++) {
        struct wtenant *t = w->tenants[i];
        if (!t)
            continue;
        if (t->cache)
            cache_free(t->cache);
        free(t);
    }
    wfq_destroy(&w->sched);
    close(w->epoll_fd);
    mailbox_close(&w->mail);
    packet_pool_destroy(&w->pool);
    free(w);
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

struct wtenant *worker_tenant(struct worker *w, struct tenant *t)
{
    struct wtenant *wt = w->tenants[t->conf.id];
    if (wt)
        return wt;
    wt = calloc(1, sizeof *wt);
    if (!wt)
        return NULL;
    wt->tenant = t;
    wt->entity.weight = t->conf.weight;
    wt->account = shm_account(w->dp, w->id, t->conf.id);
    return w->tenants[t->conf.id] = wt;
}

struct port_io worker_io(struct worker *w, struct port *p)
{
    struct wtenant *t = worker_tenant(w, p->bridge->tenant);
    return (struct port_io){.worker = w->id, .pool = &w->pool, .counters = shm_port(w->dp, w->id, p->slot),
                            .drops = t->account->drops};
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
    t->entity.weight = t->tenant->conf.weight;
    wfq_wake(&w->sched, &t->entity);
}

/* The queue at the front has nothing (more). */
static void retire_first(struct wtenant *t)
{
    struct rxq *q = t->first;
    q->active = false;
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

static void note_stretch(struct worker *w, uint64_t now)
{
    uint64_t stretch = now - w->last_decision;
    w->last_decision = now;
    w->row->stretch[stretch ? 63 - __builtin_clzll(stretch) : 0]++;
    if (stretch > w->row->longest)
        w->row->longest = stretch;
}

/* A tenant's turn: batches from its queues until the slice is over or it has nothing left. */
static void run_turn(struct worker *w, struct wtenant *t)
{
    worker_account(w, &t->account->cycles[DP_STAGE_RX]);
    uint64_t start = w->now;
    t->account->turns++;
    while (t->first) {
        struct rxq *q = t->first;
        struct packet *batch[BATCH];
        struct port_io io = worker_io(w, q->port);
        unsigned n = q->port->ops->rx(q, &io, batch, BATCH);
        if (n < BATCH)
            retire_first(t);
        else
            rotate(t);
        if (n) {
            n = receive(w, t, q->port, &io, batch, n);
            worker_process(w, t, batch, n);
        }
        worker_account(w, &t->account->cycles[DP_STAGE_RX]);
        if (w->now - start >= w->dp->slice)
            break;
    }
    if (t->cache)
        cache_sweep(t->cache, w->now, 10 * clock_hz, 4);
    wfq_charge(&w->sched, &t->entity, w->now - start + t->extra);
    t->extra = 0;
    if (!t->first)
        wfq_sleep(&w->sched, &t->entity);
    w->last_work = w->now;
}

/* Finds ready ports, waiting up to `timeout` ms for them. */
static bool poll_ports(struct worker *w, int timeout)
{
    struct epoll_event events[EVENTS];
    if (timeout) {
        urcu_qsbr_thread_offline();
        atomic_store_explicit(&w->asleep, true, memory_order_release);
    }
    int n = epoll_wait(w->epoll_fd, events, EVENTS, timeout);
    if (timeout) {
        /* A0: in one order with S0. Whoever still sees us asleep has made its change before we look at anything. */
        atomic_store_explicit(&w->asleep, false, memory_order_seq_cst);
        urcu_qsbr_thread_online();
        worker_account(w, &w->row->system[DP_SYS_POLL]);
    }
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == w->dp)
            vtep_receive(w->dp->vtep, w);
        else if (events[i].data.ptr)
            worker_wake(w, events[i].data.ptr);   /* NULL is the mailbox, which every step looks at */
    }
    return n > 0;
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
    w->last_decision = w->now;
    if (w->polled) {
        if (polling_look(w))
            return true;
        if (w->now - w->last_look < clock_from_us(RING_INTERVAL_US))
            return false;
        w->last_look = w->now;
    }
    bool spin = !w->dp->threaded || w->dp->poll || w->polled || w->now - w->last_work < clock_from_us(SPIN_US);
    if (spin)
        return poll_ports(w, 0);
    w->row->sleeps++;
    bool any = poll_ports(w, SLEEP_MS);
    w->last_work = w->now;
    w->last_decision = w->now;
    return any;
}

bool worker_step(struct worker *w)
{
    bool any = false;
    urcu_qsbr_quiescent_state();
    w->row->loops++;
    uint64_t second = w->now / clock_hz;
    w->now_s = (uint32_t)second;
    if (!mailbox_empty(&w->mail)) {
        worker_account(w, &w->row->system[DP_SYS_HOUSEKEEPING]);
        any = mailbox_drain(&w->mail, w);
    }
    struct wtenant *t = (struct wtenant *)wfq_pick(&w->sched);
    if (!t)
        return idle(w) || any;
    run_turn(w, t);
    worker_account(w, &w->row->system[DP_SYS_POLL]);
    note_stretch(w, w->now);
    if (w->polled)
        polling_look(w);
    if (w->now - w->last_poll >= clock_from_us(POLL_INTERVAL_US)) {
        w->last_poll = w->now;
        poll_ports(w, 0);
    }
    return true;
}

static void *run(void *arg)
{
    struct worker *w = arg;
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
