#include "test/lab.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/defer.h"
#include "base/step.h"
#include "path/worker.h"
#include "test/sim_inside.h"

#define RING 1024              /* packets that wait at a port */
#define RX_UNITS 2             /* of base/step.h: what an in-process port's packet costs */
#define TX_UNITS 2
#define FLOW_MOD_UNITS 100     /* besides what it steps through: 1.2 us, as long as one takes on the real clock (benchmarks/programming.py) */
#define DEFERRED 1000          /* objects that wait for the workers before they are freed */
#define MAGIC 0x6c616273

struct mark {                  /* the last bytes of a frame */
    uint32_t magic, source;
    uint64_t arrived;
};

struct state {
    struct lab_source *source;
    struct port *port;
    struct state *shared;      /* the first one at this port, whose ring all of them use, */
    struct state *next_here;   /* and the others, in a list: a look at a port costs no more for those at others */
    struct {
        uint64_t arrived;
        struct state *of;
    } ring[RING];
    uint32_t head, n;
    double next;               /* cycles, when the next arrives */
    uint32_t frame;
    size_t offset;
};

static struct lab {
    struct state *states;
    uint32_t n;
    struct state *by_slot[DP_MAX_PORTS];
    uint64_t start, end, random;
    double hz;                 /* cycles in a nanosecond */
} lab;

static struct {                /* of lab_churn() */
    uint32_t bridge, n, at;
    const uint8_t *bodies, *next;
    const uint32_t *lengths;
    uint64_t free, done, refused;  /* clock, when the main thread is done with the last one */
} churn;

static double uniform(void)
{
    lab.random ^= lab.random << 13;
    lab.random ^= lab.random >> 7;
    lab.random ^= lab.random << 17;
    return ((double)(lab.random >> 11) + 0.5) / 9007199254740992.0;
}

static void arrive(struct state *s, uint64_t when)
{
    s->source->offered++;
    struct state *at = s->shared;
    if (at->n == RING) {
        s->source->lost++;
        return;
    }
    uint32_t place = (at->head + at->n++) % RING;
    at->ring[place].arrived = when;
    at->ring[place].of = s;
}

/* In a burst, or when the next one begins. */
static double in_burst(const struct lab_source *c, double at)
{
    if (c->on_ns <= 0)
        return at;
    double period = (c->on_ns + c->off_ns) * lab.hz, offset = fmod(at - (double)lab.start + c->phase_ns * lab.hz, period);
    return offset < c->on_ns * lab.hz ? at : at + period - offset;
}

static void advance(struct state *s, uint64_t now)
{
    struct lab_source *c = s->source;
    now = now < lab.end ? now : lab.end;
    while (!c->outstanding && c->interval_ns > 0 && s->next <= (double)now) {
        arrive(s, (uint64_t)s->next);
        double gap = c->interval_ns * lab.hz * (c->poisson ? -log(uniform()) : 1);
        s->next = in_burst(c, s->next + gap);
    }
}

static uint32_t frames_now(const struct lab_source *c, uint64_t now)
{
    double part = (double)(now - lab.start) / ((double)(lab.end - lab.start) * (c->ramp > 0 ? c->ramp : 1));
    uint32_t n = c->ramp > 0 && part < 1 ? (uint32_t)(part * c->n_frames) : c->n_frames;
    return n ? n : 1;
}

static struct state *state_of(const struct port *p)
{
    return lab.by_slot[p->slot];
}

static unsigned lab_rx(struct rxq *q, struct port_io *io, struct packet **out, unsigned max)
{
    struct state *s = state_of(q->port);
    if (!s)
        return rxq_pop(q, io, out, max);
    struct state *at = s;
    unsigned n = 0;
    for (; n < max && at->n; n++) {
        struct packet *p = packet_alloc(io->pool);
        if (!p)
            break;
        s = at->ring[at->head].of;
        if (s->frame >= frames_now(s->source, clock_now())) {
            s->frame = 0;
            s->offset = 0;
        }
        p->len = s->source->lengths[s->frame];
        step_copy(p->data, s->source->frames + s->offset, p->len);
        struct mark m = {MAGIC, (uint32_t)(s - lab.states), at->ring[at->head].arrived};
        memcpy(p->data + p->len - sizeof m, &m, sizeof m);
        s->offset += p->len;
        s->frame++;
        at->head = (at->head + 1) % RING;
        at->n--;
        out[n] = p;
    }
    step_spend(RX_UNITS * n);
    return n;
}

static void leave(const struct packet *p, uint64_t now)
{
    struct mark m;
    memcpy(&m, p->data + p->len - sizeof m, sizeof m);
    if (m.magic != MAGIC || m.source >= lab.n)
        return;
    struct state *s = &lab.states[m.source];
    s->source->delivered++;
    if (s->source->n_latency < s->source->latency_room)
        s->source->latency[s->source->n_latency++] = (uint32_t)((double)(now - m.arrived) / lab.hz);
    if (s->source->outstanding && now < lab.end)
        arrive(s, now);
}

static void lab_tx(struct port *p, struct port_io *io, struct packet **packets, unsigned n)
{
    step_spend(TX_UNITS * n);
    uint64_t now = clock_now();
    for (unsigned i = 0; i < n; i++) {
        io->counters->tx_packets++;
        io->counters->tx_bytes += packets[i]->len;
        leave(packets[i], now);
        packet_unref(packets[i]);
    }
}

static bool lab_ready(struct rxq *q)
{
    struct state *s = state_of(q->port);
    if (!s)
        return false;
    for (struct state *here = s; here; here = here->next_here)
        if (!here->source->outstanding)
            advance(here, clock_now());
    return s->n;
}

static unsigned lab_waiting(struct rxq *q, unsigned most)
{
    struct state *s = state_of(q->port);
    return !lab_ready(q) ? 0 : s->n < most ? s->n : most;
}

static bool lab_notify(struct rxq *q, bool on)
{
    return on && lab_ready(q);
}

static const struct port_ops lab_ops = {.name = "lab", .rx = lab_rx, .tx = lab_tx, .ready = lab_ready, .waiting = lab_waiting, .notify = lab_notify};

static void swap_ports(struct datapath *dp, const struct port_ops *from, const struct port_ops *to)
{
    for (uint32_t i = 0; i < DP_MAX_PORTS; i++)
        if (dp->ports[i] && dp->ports[i]->ops == from)
            dp->ports[i]->ops = to;
}

struct sim *lab_new(uint32_t n_workers, uint32_t unit_ns)
{
    struct sim *s = sim_new_on(n_workers, unit_ns != 0);
    clock_counted = unit_ns;
    return s;
}

int lab_scheduler(struct sim *s, uint32_t policy, uint32_t slice_ns, struct dp_error *error)
{
    struct datapath *dp = sim_datapath(s);
    return datapath_set_scheduler(dp, &(struct dp_scheduler){policy, slice_ns ? slice_ns : dp->slice_ns}, error);
}

static void begin(struct datapath *dp, struct lab_source *sources, uint32_t n, double ns, uint64_t seed)
{
    lab.states = calloc(n, sizeof *lab.states);
    if (!lab.states)
        abort();
    lab.n = n;
    lab.hz = (double)clock_hz / 1e9;
    lab.random = seed * 2 + 1;
    lab.start = clock_now();
    lab.end = lab.start + (uint64_t)(ns * lab.hz);
    for (uint32_t i = 0; i < n; i++) {
        fault f;
        struct state *s = &lab.states[i];
        s->source = &sources[i];
        s->source->n_latency = 0;
        s->source->offered = s->source->lost = s->source->delivered = 0;
        s->port = datapath_port(dp, sources[i].bridge, sources[i].port_no, &f);
        s->shared = s->port && lab.by_slot[s->port->slot] ? lab.by_slot[s->port->slot] : s;
        if (s->port)
            lab.by_slot[s->port->slot] = s->shared;
        if (s->shared != s) {
            s->next_here = s->shared->next_here;
            s->shared->next_here = s;
        }
        s->next = in_burst(s->source, (double)lab.start + uniform() * sources[i].interval_ns * lab.hz);
        for (uint32_t k = 0; k < sources[i].outstanding; k++)
            arrive(s, lab.start);
    }
    swap_ports(dp, &dummy_ops, &lab_ops);
}

/* Wakes the queues that have packets; returns when the next packet comes at the earliest. */
static uint64_t look(struct worker *w)
{
    double next = (double)lab.end;
    uint64_t now = clock_now();
    for (uint32_t i = 0; i < lab.n; i++) {
        struct state *s = &lab.states[i];
        if (!s->port)
            continue;
        advance(s, now);
        if (s->shared == s && s->n && !s->port->queues[0].active) {
            w->now = now;
            worker_wake(w, &s->port->queues[0]);
        }
        if (!s->source->outstanding && s->next < next)
            next = s->next;
    }
    return (uint64_t)next + 1;
}

void lab_churn(struct sim *s, uint32_t bridge, const uint8_t *bodies, const uint32_t *lengths, uint32_t n)
{
    (void)s;
    churn.bridge = bridge;
    churn.n = n;
    churn.at = 0;
    churn.bodies = churn.next = bodies;
    churn.lengths = lengths;
}

uint64_t lab_churned(uint64_t *refused)
{
    *refused = churn.refused;
    return churn.done;
}

/* Carries out the next flow-mod; the clock is what it was before. Returns the cycles it took. */
static uint64_t change_rules(struct sim *s)
{
    struct dp_error e;
    uint64_t now = clock_now(), start = clock_virtual_now;
    struct steps before = steps;
    steps.over = NULL;
    churn.refused += sim_flow_mod(s, churn.bridge, churn.next, churn.lengths[churn.at], &e) != 0;
    uint64_t cycles = clock_now() - now + FLOW_MOD_UNITS * clock_counted;
    steps = before;
    clock_virtual_now = start;
    churn.next += churn.lengths[churn.at];
    if (++churn.at == churn.n) {
        churn.at = 0;
        churn.next = churn.bodies;
    }
    churn.done++;
    return cycles;
}

static void change_rules_until(struct sim *s, uint64_t now)
{
    struct datapath *dp = sim_datapath(s);
    while (churn.n && churn.free <= now && churn.free < lab.end) {
        uint64_t cycles = change_rules(s);
        struct dp_shm_control *row = shm_control(dp, dp->bridges[churn.bridge]->tenant->conf.id);
        row->steps++;
        row->cycles += cycles;
        churn.free += cycles;
    }
    if (defer_pending() > DEFERRED)
        defer_run();
}

static uint64_t charged(struct datapath *dp, const struct lab_source *c)
{
    const struct dp_shm_account *a = shm_account(dp, 0, dp->bridges[c->bridge]->tenant->conf.id);
    uint64_t sum = 0;
    for (int i = 0; i < DP_N_STAGES; i++)
        sum += a->cycles[i];
    return sum;
}

double lab_run(struct sim *sim, struct lab_source *sources, uint32_t n, double ns, uint64_t seed)
{
    struct datapath *dp = sim_datapath(sim);
    struct worker *w = dp->workers[0];
    uint64_t idle = w->row->system[DP_SYS_IDLE];
    begin(dp, sources, n, ns, seed);
    churn.free = lab.start;
    churn.done = churn.refused = 0;
    for (uint32_t i = 0; i < n; i++)
        sources[i].cycles = charged(dp, &sources[i]);
    while (clock_now() < lab.end) {
        change_rules_until(sim, clock_now());
        worker_account(w, &w->row->system[DP_SYS_IDLE]);
        uint64_t next = look(w), parked = scheduler_next(&w->sched), now;
        worker_account(w, &w->row->system[DP_SYS_POLL]);
        if (worker_step(w) || !clock_virtual)
            continue;
        if (parked && parked < next)
            next = parked;
        if (churn.n && churn.free < next)
            next = churn.free;
        now = clock_now();
        if (next > now)
            clock_warp(next - now);
        w->last_decision = clock_now();        /* nothing was there to decide */
    }
    worker_account(w, &w->row->system[DP_SYS_IDLE]);
    idle = w->row->system[DP_SYS_IDLE] - idle;
    for (uint32_t i = 0; i < n; i++)
        sources[i].cycles = charged(dp, &sources[i]) - sources[i].cycles;
    /* What is on its way leaves before the sources go. */
    for (uint32_t i = 0; i < n; i++)
        lab.states[i].n = 0;
    for (int i = 0; i < 100000 && w->sched.queue.n; i++)
        worker_step(w);
    worker_end_turns(w, 0);
    swap_ports(dp, &lab_ops, &dummy_ops);
    mailbox_drain(&dp->mail, dp);
    free(lab.states);
    lab.states = NULL;
    memset(lab.by_slot, 0, sizeof lab.by_slot);
    lab.n = 0;
    return (double)idle / lab.hz;
}
