/* A worker: one core's loop over the tenants that have something to do.
 *
 * pick -> rx -> process -> charge -> tick. Everything in struct worker belongs to its thread, but for the mailbox. */
#ifndef VSWITCH_WORKER_H
#define VSWITCH_WORKER_H
#include <pthread.h>
#include "base/packet.h"
#include "base/step.h"
#include "path/datapath.h"
#include "port/port.h"
#include "sched/account.h"
#include "sched/fiber.h"
#include "sched/scheduler.h"

#define BATCH 32
#define POLL_INTERVAL_US 10    /* how often ready ports are looked for while somebody is active; */
#define RINGS_INTERVAL_US 50   /* with --poll, where all ports are rings in memory: those are left to their kicks only when nothing came for long */

struct cache;

/* A tenant on one worker. */
struct wtenant {
    struct subject subject;    /* first: the scheduler hands it back */
    struct tenant *tenant;
    struct worker *worker;
    struct dp_shm_account *account;
    struct cache *cache;       /* NULL until its first packet */
    struct packet_pool pool;   /* draws on the worker's */
    struct rxq *first, *last;  /* queues that may have packets, served in turn */
    struct packet *patched_first, *patched_last;   /* on their way through a patch port */
    uint32_t n_active;         /* queues in that list */
    uint32_t n_quiet;          /* rings of its own among the worker's quiet ones */
    struct port *pending;      /* ports with staged packets */
    struct letter *jobs, *last_job;    /* what else is to be done within its turns, in order */
    uint32_t n_jobs;
    uint32_t batches;
    uint32_t cost;             /* cycles of a packet, moving average; 0 = none measured yet */
    uint64_t spent;            /* cycles of its turns */
    struct fiber *fiber;       /* the stack of the turn that has begun */
    bool suspended;            /* in the middle of something */
    bool feeds;                /* in its last turn it received for others, through the tunnels' uplink */
    bool fed;                  /* it was received for, and has not had a turn since */
    unsigned lane;             /* of the queue whose batch is in hand */
    const struct port *at;     /* where the batch in hand came from; only to tell of */
};

struct worker {
    unsigned id;
    struct datapath *dp;
    pthread_t thread;
    struct mailbox mail;
    _Atomic bool stop;
    _Atomic int seat;          /* enum seat: whose all of this is */
    struct letter nudge;       /* to wake it for what was left to do in its seat */
    int epoll_fd;
    struct packet_pool pool;
    struct scheduler sched;
    struct subject uplink;     /* receiving from shared tunnels: what turns out to be nobody's is charged to it */
    struct letter *letters;    /* taken out of the mailbox and not yet carried out */
    struct clerk clerk;
    struct dp_shm_worker *row;
    struct wtenant *tenants[DP_MAX_TENANTS];
    struct wtenant *running;   /* whose turn it is, while its stack is in use */
    struct fiber loop;         /* the thread's own stack */
    struct fiber *stacks;      /* for turns */
    uint32_t n_stacks;
    uint64_t slice;            /* cycles of a turn */
    uint64_t stall;            /* a gap between two looks at the clock longer than this is the machine's */
    bool watchful;             /* others' rings are quiet: the turn looks at them, and ends when their owners are due */
    uint64_t overtaken;        /* clock, when the last turn was ended for another's sake, or 0 */
    uint32_t looks, unread;    /* at rings; those since the clock was read */
    uint64_t turn_start, deadline;
    uint64_t turn_end;         /* later than the deadline where turns are longer than a slice, which is looked at in between; else the deadline */
    uint64_t grace;            /* later than the deadline by so little that a few packets in hand are finished rather than left */
    uint64_t looked;           /* clock, when time was last looked at within a turn */
    uint64_t stalled;          /* cycles of this stretch in which the machine had taken the core away, */
    uint64_t forgiven;         /* and of the turn's earlier ones */
    uint64_t *stage;           /* what the turn was in when it was suspended */
    uint64_t last_fed;         /* clock, when somebody was last received for */
    uint32_t left_over;        /* packets that whoever was received for last left in its queue */
    struct rxq *quiet;         /* rings in memory that had nothing when last looked at, in a circle; the next to look at first */
    uint32_t n_quiet;
    uint32_t n_held;           /* those of tenants whose turn was left in the middle: nobody waits for what comes there */
    uint64_t last_look;        /* at the other ports, while it has rings to look at */
    uint32_t n_told;           /* queues that only the kernel tells of */
    uint64_t poll_interval;    /* cycles between two looks at what it tells, while somebody is active */
    uint64_t now;              /* of the last account switch */
    uint32_t now_s;            /* the same in seconds, for ageing; until `next_second` */
    uint64_t next_second;
    uint64_t spin;             /* cycles without work before it sleeps */
    uint64_t last_poll, last_work, last_decision, last_packet_in, last_sweep;
    uint32_t sweeping;         /* tenant whose cache is looked through while the worker is idle */
    /* By tenant: odd while a turn that was suspended hasn't finished what it had begun. Read by the main thread. */
    _Atomic uint32_t turns[DP_MAX_TENANTS];
    /* By tenant: its weight here, from the main thread. */
    _Atomic uint64_t weights[DP_MAX_TENANTS];
};

/* While a worker sleeps, holding no packet, the main thread may do something short in its place (path/workers_run.h). */
enum seat {
    SEAT_TAKEN,                /* the worker is awake, or parked tenants have packets in hand */
    SEAT_FREE,                 /* asleep, and will look at everything anew when it wakes */
    SEAT_LENT,                 /* asleep, or waiting for it */
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
/* The tenant has something to do: its queues, jobs, or a suspended turn. Worker thread. */
void worker_runnable(struct worker *w, struct wtenant *t);
/* Charges the tenant cycles that were spent for it outside its turns. Worker thread. */
void worker_charge(struct worker *w, struct wtenant *t, uint64_t cycles);
/* A decision who goes on was made: from the last one until `now` it was t's turn or, where t is NULL, work of the system's own. */
void worker_decided(struct worker *w, uint64_t now, const struct wtenant *t);
/* Ends the suspended turn of a tenant, or (0) of every tenant. Worker thread. */
void worker_end_turns(struct worker *w, uint32_t tenant);
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
