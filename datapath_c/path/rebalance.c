#include "path/rebalance.h"
#include <errno.h>
#include <stdio.h>
#include <stddef.h>
#include "flow/bridge.h"
#include "path/lookup.h"
#include "path/promises.h"
#include "path/turn.h"
#include "path/worker.h"
#include "path/workers_run.h"

#define DEFAULT_LOAD 95        /* as Open vSwitch's */
#define DEFAULT_IMPROVEMENT 25
#define INTERVAL_MAX 3600

int rebalance_set(struct datapath *dp, const struct dp_balance *conf, fault *f)
{
    struct balancer *b = &dp->balancer;
    if (conf->interval > INTERVAL_MAX)
        return fault_set(f, EINVAL, "interval", "%u is not in 0..%u", conf->interval, INTERVAL_MAX);
    if (conf->load > 100)
        return fault_set(f, EINVAL, "load", "%u is more than 100", conf->load);
    if (conf->improvement > 100)
        return fault_set(f, EINVAL, "improvement", "%u is more than 100", conf->improvement);
    b->conf.interval = conf->interval;
    b->conf.load = conf->load ? conf->load : DEFAULT_LOAD;
    b->conf.improvement = conf->improvement ? conf->improvement : DEFAULT_IMPROVEMENT;
    b->next = 0;
    return 0;
}

/* ---- a move ---- */

static void arrived(struct letter *l, void *datapath);

/* On the new worker. */
static void join(struct worker *w, void *balancer)
{
    struct balancer *b = balancer;
    if (w->id != b->to)
        return;
    struct wtenant *t = worker_tenant(w, b->moving->port->bridge->tenant);
    if (t)
        lookup_cache(w, t);
    b->moving->worker = w->id;
    worker_watch(w, b->moving);
    worker_wake(w, b->moving); /* what came meanwhile was told to nobody */
}

/* On the old one, as a job of the queue's tenant: between two batches, with nothing of the queue's in hand. */
static void leave(struct letter *l, void *consumer)
{
    struct balancer *b = (struct balancer *)((char *)l - offsetof(struct balancer, job));
    struct worker *w = consumer;
    struct rxq *q = b->moving;
    struct wtenant *t = w->tenants[q->port->bridge->tenant->conf.id];
    if (q->head || steps.ending) {
        atomic_store_explicit(&b->refused, true, memory_order_relaxed);
    } else {
        worker_let_go(w, t, q);
    }
    /* J0: with J1, the new worker sees all that was done to the queue here. */
    atomic_store_explicit(&b->left, true, memory_order_release);
    b->news.fn = arrived;
    mailbox_post(&w->dp->mail, &b->news);
}

/* The queue has left, and nobody has it. */
static void finish(struct balancer *b)
{
    struct rxq *q = b->moving;
    struct port *p = q->port;
    struct tenant *t = p->bridge->tenant;
    if (atomic_load(&b->refused)) {
        b->conf.refused++;
    } else {
        workers_run(b->dp, join, b);       /* J1 */
        t->queues[b->from]--;
        t->queues[b->to]++;
        promises_changed(b->dp, t);
        b->conf.moves++;
    }
    b->moving = NULL;
    b->next = 0;               /* measured anew */
}

static void arrived(struct letter *l, void *datapath)
{
    struct balancer *b = &((struct datapath *)datapath)->balancer;
    b->news_pending = false;
    if (b->moving && atomic_load_explicit(&b->left, memory_order_acquire))
        finish(b);
}

static void begin(struct worker *w, void *balancer)
{
    struct balancer *b = balancer;
    struct wtenant *t = w->id == b->from ? worker_tenant(w, b->moving->port->bridge->tenant) : NULL;
    if (t)
        turn_add_job(w, t, &b->job, leave);
}

static void give_up(struct worker *w, void *balancer)
{
    struct balancer *b = balancer;
    struct wtenant *t = w->id == b->from ? w->tenants[b->moving->port->bridge->tenant->conf.id] : NULL;
    struct letter *before = NULL, *l = t ? t->jobs : NULL;
    for (; l && l != &b->job; l = l->next)
        before = l;
    if (!l)
        return;
    if (before)
        before->next = l->next;
    else
        t->jobs = l->next;
    if (t->last_job == l)
        t->last_job = before;
    t->n_jobs--;
}

void rebalance_settle(struct datapath *dp, const struct port *p)
{
    struct balancer *b = &dp->balancer;
    if (!b->moving || (p && b->moving->port != p))
        return;
    workers_run(dp, give_up, b);
    if (atomic_load_explicit(&b->left, memory_order_acquire)) {
        finish(b);
    } else {
        b->moving = NULL;
        b->news_pending = false;
    }
}

static void move(struct datapath *dp, struct rxq *q, unsigned to)
{
    struct balancer *b = &dp->balancer;
    b->dp = dp;
    b->moving = q;
    b->from = q->worker;
    b->to = to;
    atomic_store(&b->left, false);
    atomic_store(&b->refused, false);
    b->news_pending = true;
    workers_run(dp, begin, b);
}

/* ---- measuring, and deciding ---- */

static bool movable(const struct rxq *q)
{
    return q->fd >= 0 && q->registered && !atomic_load_explicit(&((struct rxq *)q)->port->underlay, memory_order_relaxed);
}

static void begin_interval(struct datapath *dp)
{
    struct balancer *b = &dp->balancer;
    for (unsigned i = 0; i < dp->n_workers; i++) {
        b->idle[i] = dp->workers[i]->row->system[DP_SYS_IDLE];
        b->clock[i] = dp->workers[i]->row->now;
    }
    for (uint32_t i = 0; i < DP_MAX_PORTS; i++)
        for (unsigned k = 0; dp->ports[i] && k < dp->ports[i]->n_queues; k++) {
            struct rxq *q = &dp->ports[i]->queues[k];
            q->cycles_before = atomic_load_explicit(&q->cycles, memory_order_relaxed);
        }
    b->next = clock_now() + b->conf.interval * clock_hz;
}

struct plan {
    struct rxq *queue;
    unsigned to;
    double improvement;        /* percent of the variance of the workers' loads */
};

static double variance(const double *load, unsigned n)
{
    double sum = 0, mean, v = 0;
    for (unsigned i = 0; i < n; i++)
        sum += load[i];
    mean = sum / n;
    for (unsigned i = 0; i < n; i++)
        v += (load[i] - mean) * (load[i] - mean);
    return v / n;
}

/* Percent of the interval that the worker was busy, and the cycles that queues have cost it. */
static double busy(const struct datapath *dp, unsigned worker)
{
    const struct balancer *b = &dp->balancer;
    const struct dp_shm_worker *row = dp->workers[worker]->row;
    uint64_t all = row->now - b->clock[worker], idle = row->system[DP_SYS_IDLE] - b->idle[worker];
    return all && idle < all ? 100.0 * (double)(all - idle) / (double)all : 0;
}

static double cost(struct rxq *q)
{
    return (double)(atomic_load_explicit(&q->cycles, memory_order_relaxed) - q->cycles_before);
}

/* The one move that makes the loads most even. */
static struct plan best_move(struct datapath *dp, const bool *over)
{
    struct plan best = {0};
    double load[DP_MAX_WORKERS] = {0};
    for (uint32_t i = 0; i < DP_MAX_PORTS; i++)
        for (unsigned k = 0; dp->ports[i] && k < dp->ports[i]->n_queues; k++)
            load[dp->ports[i]->queues[k].worker] += cost(&dp->ports[i]->queues[k]);
    double before = variance(load, dp->n_workers);
    for (uint32_t i = 0; before > 0 && i < DP_MAX_PORTS; i++)
        for (unsigned k = 0; dp->ports[i] && k < dp->ports[i]->n_queues; k++) {
            struct rxq *q = &dp->ports[i]->queues[k];
            double c = cost(q);
            if (!over[q->worker] || c <= 0 || !movable(q))
                continue;
            for (unsigned to = 0; to < dp->n_workers; to++) {
                if (to == q->worker)
                    continue;
                load[q->worker] -= c;
                load[to] += c;
                double improvement = 100 * (before - variance(load, dp->n_workers)) / before;
                load[q->worker] += c;
                load[to] -= c;
                if (improvement > best.improvement)
                    best = (struct plan){q, to, improvement};
            }
        }
    return best;
}

void rebalance_tick(struct datapath *dp)
{
    struct balancer *b = &dp->balancer;
    bool over[DP_MAX_WORKERS], any = false;
    if (!b->conf.interval || dp->n_workers < 2 || b->moving || b->news_pending)
        return;
    if (!b->next) {
        begin_interval(dp);
        return;
    }
    if (clock_now() < b->next)
        return;
    b->conf.looks++;
    double most = 0;
    for (unsigned i = 0; i < dp->n_workers; i++) {
        double percent = busy(dp, i);
        over[i] = percent >= b->conf.load;
        any |= over[i];
        most = percent > most ? percent : most;
    }
    struct plan p = any ? best_move(dp, over) : (struct plan){0};
    if (!any) {
        snprintf(b->conf.last_look, sizeof b->conf.last_look, "no worker is busy: %.0f %% of its time at most", most);
    } else if (p.improvement < b->conf.improvement) {
        snprintf(b->conf.last_look, sizeof b->conf.last_look, "the best move would gain %.0f %%", p.improvement);
    } else {
        struct port *port = p.queue->port;
        snprintf(b->conf.last_look, sizeof b->conf.last_look, "a move gains %.0f %%", p.improvement);
        snprintf(b->conf.last_move, sizeof b->conf.last_move, "%s/%s queue %u from worker %u (%.0f %% busy) to %u (%.0f %%), gains %.0f %%",
                 port->bridge->conf.name, port->conf.name, (unsigned)(p.queue - port->queues), p.queue->worker, busy(dp, p.queue->worker),
                 p.to, busy(dp, p.to), p.improvement);
        move(dp, p.queue, p.to);
        return;
    }
    begin_interval(dp);
}
