/* A worker: one core's loop over the tenants that have something to do.
 *
 * pick -> rx -> process -> charge -> tick. Everything in struct worker belongs to its thread, but for the mailbox. */
#ifndef VSWITCH_WORKER_H
#define VSWITCH_WORKER_H
#include <pthread.h>
#include "base/packet.h"
#include "path/datapath.h"
#include "port/port.h"
#include "sched/account.h"
#include "sched/policy.h"

#define BATCH 32

struct cache;

/* A tenant on one worker. */
struct wtenant {
    struct entity entity;      /* first: the scheduler hands it back */
    struct tenant *tenant;
    struct dp_shm_account *account;
    struct cache *cache;       /* NULL until its first packet */
    struct rxq *first, *last;  /* queues that may have packets, served in turn */
    struct packet *patched_first, *patched_last;   /* on their way through a patch port */
    uint64_t extra;            /* cycles spent for it outside its turns, charged at the next */
};

struct worker {
    unsigned id;
    struct datapath *dp;
    pthread_t thread;
    struct mailbox mail;
    _Atomic bool stop;
    _Atomic bool asleep;       /* holds no packet and will look at everything anew when it wakes */
    int epoll_fd;
    struct packet_pool pool;
    struct wfq sched;
    struct clerk clerk;
    struct dp_shm_worker *row;
    struct wtenant *tenants[DP_MAX_TENANTS];
    struct wtenant *running;   /* whose turn it is */
    struct rxq *polled;        /* rings that it looks at itself: path/polling.c */
    uint64_t last_look;        /* at the other ports, while it has rings to look at */
    struct port *pending;      /* ports with staged packets */
    uint64_t now;              /* of the last account switch */
    uint32_t now_s;            /* the same in seconds, for ageing */
    uint64_t last_poll, last_work, last_decision;
};

struct worker *worker_new(struct datapath *dp, unsigned id, int *error);
int worker_start(struct worker *w);
void worker_stop(struct worker *w);
void worker_free(struct worker *w);

/* One turn of the loop; returns whether there was anything to do. Tests call it without a thread. */
bool worker_step(struct worker *w);

/* This worker's share of a tenant, made when needed; NULL without memory. Worker thread. */
struct wtenant *worker_tenant(struct worker *w, struct tenant *t);
/* A queue may have packets: its tenant becomes runnable. Worker thread. */
void worker_wake(struct worker *w, struct rxq *q);
/* Processes packets of one tenant, already received, and sends what comes of them. Worker thread. */
void worker_process(struct worker *w, struct wtenant *t, struct packet **packets, unsigned n);
struct port_io worker_io(struct worker *w, struct port *p);

/* Calls fn(letter, worker) on the worker's thread; at once if the workers have no threads. */
void worker_post(struct worker *w, struct letter *l);

static inline void worker_account(struct worker *w, uint64_t *bucket)
{
    w->now = account_switch(&w->clerk, bucket);
}

#endif
