#include "path/workers_run.h"
#include <semaphore.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include "path/polling.h"

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
}

void worker_unwatch(struct worker *w, struct rxq *q)
{
    q->registered = false;
    polling_end(w, q);
    if (q->fd >= 0)
        epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, q->fd, NULL);
    while (q->head) {
        struct packet *p = q->head;
        q->head = p->next;
        packet_unref(p);
    }
    q->tail = NULL;
    q->n = 0;
    struct wtenant *t = w->tenants[q->port->bridge->tenant->conf.id];
    if (!q->active || !t)
        return;
    q->active = false;
    struct rxq *before = NULL;
    for (struct rxq *at = t->first; at != q; at = at->next)
        before = at;
    if (before)
        before->next = q->next;
    else
        t->first = q->next;
    if (t->last == q)
        t->last = before;
    if (!t->first)
        wfq_sleep(&w->sched, &t->entity);
}

/* ---- barrier: the same, without waiting ---- */

struct barrier {
    struct letter letter;
    _Atomic unsigned left;
    struct datapath *dp;
    void (*done)(void *);
    void *arg;
    struct call calls[];
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

static void pass(struct worker *w, void *arg)
{
    struct barrier *b = arg;
    if (is_last(b)) {
        b->letter.fn = arrived;
        mailbox_post(&b->dp->mail, &b->letter);
    }
}

/* A worker that sleeps with nothing in its mailbox has no packet in flight, and will see every change when it wakes. */
static bool has_nothing(struct worker *w)
{
    /* S0: pairs with A0 in path/worker.c. */
    return mailbox_empty(&w->mail) && atomic_load_explicit(&w->asleep, memory_order_seq_cst);
}

void datapath_barrier(struct datapath *dp, void (*done)(void *), void *arg)
{
    struct barrier *b = calloc(1, sizeof *b + dp->n_workers * sizeof b->calls[0]);
    if (!b) {
        done(arg);
        return;
    }
    b->dp = dp;
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
