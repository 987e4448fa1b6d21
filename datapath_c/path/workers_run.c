#include "path/workers_run.h"
#include <semaphore.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include "path/polling.h"
#include "path/turn.h"

struct call {
    struct letter letter;
    void (*fn)(struct worker *, void *);
    void *arg;
    sem_t *done;
};

static void answer(struct letter *l, void *consumer)
{
    struct call *c = (struct call *)l;
    sem_t *done = c->done;
    c->fn(consumer, c->arg);   /* a barrier's last call ends the barrier, and with it this letter */
    if (done)
        sem_post(done);
}

void workers_run(struct datapath *dp, void (*fn)(struct worker *, void *), void *arg)
{
    struct call calls[DP_MAX_WORKERS];
    sem_t done;
    sem_init(&done, 0, 0);
    for (unsigned i = 0; i < dp->n_workers; i++) {
        calls[i] = (struct call){.letter.fn = answer, .fn = fn, .arg = arg, .done = &done};
        worker_post(dp->workers[i], &calls[i].letter);
    }
    for (unsigned i = 0; i < dp->n_workers; i++)
        while (sem_wait(&done))
            ;
    sem_destroy(&done);
}

void worker_watch(struct worker *w, struct rxq *q)
{
    q->registered = true;
    if (q->fd < 0)
        return;
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.ptr = q};
    epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, q->fd, &e);
    if (!q->port->ops->ready)
        w->n_told++;
    w->poll_interval = clock_from_us(POLL_INTERVAL_US);        /* until it is computed anew */
}

/* Takes it out of the tenant's list of those that may have packets. */
static void make_inactive(struct wtenant *t, struct rxq *q)
{
    struct rxq *before = NULL;
    q->active = false;
    t->n_active--;
    for (struct rxq *at = t->first; at != q; at = at->next)
        before = at;
    if (before)
        before->next = q->next;
    else
        t->first = q->next;
    if (t->last == q)
        t->last = before;
}

static void stop_listening(struct worker *w, struct rxq *q)
{
    q->registered = false;
    polling_end(w, q);
    if (q->fd < 0)
        return;
    epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, q->fd, NULL);
    w->n_told -= !q->port->ops->ready;
}

void worker_let_go(struct worker *w, struct wtenant *t, struct rxq *q)
{
    stop_listening(w, q);
    if (q->active)
        make_inactive(t, q);
}

void worker_unwatch(struct worker *w, struct rxq *q)
{
    struct wtenant *t = w->tenants[q->port->bridge->tenant->conf.id];
    stop_listening(w, q);
    while (q->head) {
        struct packet *p = q->head;
        q->head = p->queued;
        packet_unref(p);
    }
    q->tail = NULL;
    q->n = 0;
    if (!q->active || !t)
        return;
    make_inactive(t, q);
    if (!turn_due(t))
        scheduler_sleep(&w->sched, &t->subject, w->now);
}

/* ---- barrier: the same, without waiting ----
 *
 * What a worker has begun for a tenant ends with the tenant's turn, or what of it was suspended, and with the jobs that came
 * before the barrier. So the barrier is a job of each tenant that has any of these, and else is passed at once. */

struct barrier {
    struct letter letter;
    _Atomic unsigned left;
    struct datapath *dp;
    uint32_t tenant;           /* whose packets are waited for; 0 = everybody's */
    void (*done)(void *);
    void *arg;
    struct call calls[];
};

struct stop {                  /* a barrier on one tenant's way */
    struct letter letter;
    struct barrier *barrier;
};

static void arrived(struct letter *l, void *consumer)
{
    struct barrier *b = (struct barrier *)l;
    b->done(b->arg);
    free(b);
}

static bool is_last(struct barrier *b)
{
    return atomic_fetch_sub_explicit(&b->left, 1, memory_order_acq_rel) == 1;
}

static void pass_one(struct barrier *b)
{
    if (is_last(b)) {
        b->letter.fn = arrived;
        mailbox_post(&b->dp->mail, &b->letter);
    }
}

static void leave_stop(struct letter *l, void *consumer)
{
    struct stop *s = (struct stop *)l;
    pass_one(s->barrier);
    free(s);
}

/* Without memory for a stop the turn is ended instead, and its jobs are what gets lost. */
static void stop_at(struct worker *w, struct wtenant *t, struct barrier *b)
{
    if (!t || !(t->suspended || t->jobs))
        return;
    struct stop *s = malloc(sizeof *s);
    if (!s) {
        turn_end(w, t);
        turn_finish_jobs(w, t);
        return;
    }
    s->barrier = b;
    atomic_fetch_add_explicit(&b->left, 1, memory_order_relaxed);
    turn_add_job(w, t, &s->letter, leave_stop);
}

static void pass(struct worker *w, void *arg)
{
    struct barrier *b = arg;
    if (b->tenant)
        stop_at(w, w->tenants[b->tenant], b);
    else
        for (uint32_t i = 1; i < DP_MAX_TENANTS; i++)
            stop_at(w, w->tenants[i], b);
    pass_one(b);
}

/* ---- in a worker's place ---- */

bool worker_borrow(struct worker *w)
{
    int free = SEAT_FREE;
    /* L1: pairs with L0 in path/worker.c. */
    return w->dp->threaded && mailbox_empty(&w->mail) &&
           atomic_compare_exchange_strong_explicit(&w->seat, &free, SEAT_LENT, memory_order_acquire, memory_order_relaxed);
}

static void nudged(struct letter *l, void *consumer)
{
}

void worker_give_back(struct worker *w)
{
    bool due = w->sched.queue.n || w->sched.parked.n;
    worker_account(w, &w->row->system[DP_SYS_IDLE]);
    atomic_store_explicit(&w->seat, SEAT_FREE, memory_order_release);
    if (due) {
        w->nudge.fn = nudged;
        worker_post(w, &w->nudge);
    }
}

/* A worker that sleeps with nothing in its mailbox has no packet in flight, and will see every change when it wakes. */
static bool has_nothing(struct worker *w)
{
    /* S0: pairs with A0 in path/worker.c. */
    return mailbox_empty(&w->mail) && atomic_load_explicit(&w->seat, memory_order_seq_cst) != SEAT_TAKEN;
}

void datapath_barrier(struct datapath *dp, uint32_t tenant, void (*done)(void *), void *arg)
{
    struct barrier *b = calloc(1, sizeof *b + dp->n_workers * sizeof b->calls[0]);
    if (!b) {
        done(arg);
        return;
    }
    b->dp = dp;
    b->tenant = tenant;
    b->done = done;
    b->arg = arg;
    /* One more than there are workers: this loop's own. */
    atomic_init(&b->left, dp->n_workers + 1);
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; i < dp->n_workers; i++) {
        struct worker *w = dp->workers[i];
        b->calls[i] = (struct call){.letter.fn = answer, .fn = pass, .arg = b};
        if (dp->threaded && has_nothing(w))
            is_last(b);
        else
            worker_post(w, &b->calls[i].letter);
    }
    if (is_last(b))
        arrived(&b->letter, dp);
}
