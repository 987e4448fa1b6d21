#include "path/process.h"
#include "base/step.h"
#include "path/act.h"
#include "path/lookup.h"
#include "path/parse.h"
#include "path/slow_path.h"
#include "path/turn.h"
#include "path/tx.h"

/* Of base/step.h, for each packet. While others are watched, a stage goes through a batch in pieces, with a step after each; else there
 * is no look at the clock in these stages: the batch's size is chosen by what such packets cost. */
#define PARSE_UNITS 1
#define ACT_UNITS 2
#define RAW_PACKETS 4          /* in a unit, where the port alone decides */


#define SAMPLE_BATCHES 16
#define SAMPLE_RULES 8

unsigned receive(struct worker *w, struct wtenant *t, struct port *port, struct port_io *io, struct packet **batch,
                 unsigned n)
{
    uint32_t config = atomic_load_explicit(&port->config, memory_order_relaxed);
    uint64_t bytes = 0;
    for (unsigned i = 0; i < n; i++) {
        struct packet *p = batch[i];
        p->rx_port = port;
        if (!p->bare) {
            p->key.key.in_port = p->key.key.in_phy_port = htobe32(port->port_no);
            p->key.key.bridge = port->bridge->conf.id;
        }
        bytes += p->len;
    }
    io->counters->rx_packets += n;
    io->counters->rx_bytes += bytes;
    t->account->rx_packets += n;
    t->account->rx_bytes += bytes;
    if (!(config & (OFPPC_PORT_DOWN | OFPPC_NO_RECV)))
        return n;
    t->account->drops[DROP_PORT_CONFIG] += n;
    io->counters->rx_drops += n;
    for (unsigned i = 0; i < n; i++)
        packet_unref(batch[i]);
    return 0;
}

static void stage_step(const struct worker *w, int32_t units)
{
    if (w->watchful)
        step(units);
    else
        step_spend((uint32_t)units);
}

static unsigned act_chunk(const struct worker *w)
{
    return w->watchful ? TURN_CHUNK / ACT_UNITS : BATCH;
}

/* The turn ends before its time. */
static void give_up(struct wtenant *t, struct packet **packets, unsigned n)
{
    t->account->drops[DROP_INTERRUPTED] += n;
    for (unsigned i = 0; i < n; i++)
        packet_unref(packets[i]);
}

/* A batch whose port alone decides what becomes of it; false when it doesn't. */
static bool by_port(struct worker *w, struct wtenant *t, struct packet **packets, unsigned n)
{
    struct port *in = packets[0]->rx_port;
    struct megaflow *m = in ? lookup_direct(w, t, in) : NULL;
    for (unsigned i = 0; m && i < n; i++)
        if (packets[i]->rx_port != in || packets[i]->len < 14)
            return false;
    if (!m)
        return false;
    worker_account(w, &t->account->cycles[DP_STAGE_ACT]);
    t->account->megaflow_hits += n;
    for (unsigned i = 0, k; i < n; i += k) {
        k = w->watchful && n - i > TURN_RING_CHUNK ? TURN_RING_CHUNK : n - i;
        stage_step(w, ((int32_t)k + RAW_PACKETS - 1) / RAW_PACKETS);
        if (step_ending()) {
            give_up(t, packets + i, n - i);
            return true;
        }
        act_raw(w, t, in, packets + i, k, m->program);
    }
    return true;
}

/* One packet of every SAMPLE_BATCHES batches tells what its rules cost: so many times what it took. */
static void act_measured(struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p, const struct program *program,
                         unsigned n)
{
    struct rule *rules[SAMPLE_RULES];
    unsigned n_rules = program->n_rules < SAMPLE_RULES ? program->n_rules : SAMPLE_RULES;
    memcpy(rules, program->rules, n_rules * sizeof rules[0]);
    worker_account(w, w->clerk.bucket);
    uint64_t before = turn_spent(w, t);
    act(w, t, b, p, program);
    worker_account(w, w->clerk.bucket);
    charge_rules(w, rules, n_rules, (turn_spent(w, t) - before + t->cost / 2) * n * SAMPLE_BATCHES);
}

/* parse -> lookup -> slow path and actions, in the order of arrival. Each stage's time is charged as a whole. */
static void stages(struct worker *w, struct wtenant *t, struct packet **packets, unsigned n)
{
    if (n && by_port(w, t, packets, n))
        return;
    struct megaflow *hits[BATCH];
    uint64_t *cycles = t->account->cycles;
    worker_account(w, &cycles[DP_STAGE_PARSE]);
    unsigned kept = 0;
    for (unsigned i = 0, next = 0; i < n; i++) {
        if (i == next) {
            unsigned k = n - i < turn_chunk(w) ? n - i : turn_chunk(w);
            stage_step(w, (int32_t)k * PARSE_UNITS);
            next = i + k;
        }
        parse(packets[i]);
        if (packets[i]->malformed && packets[i]->len < 14) {
            t->account->drops[DROP_MALFORMED]++;
            packet_unref(packets[i]);
        } else {
            packets[kept++] = packets[i];
        }
    }
    worker_account(w, &cycles[DP_STAGE_LOOKUP]);
    turn_check(w);
    lookup(w, t, packets, kept, hits);
    bool slow = false;
    worker_account(w, &cycles[DP_STAGE_ACT]);
    turn_check(w);
    if (!w->watchful)
        step_spend(kept * ACT_UNITS);
    unsigned sample = ++t->batches % SAMPLE_BATCHES ? BATCH : t->batches / SAMPLE_BATCHES % (kept + 1);
    for (unsigned i = 0; i < kept; i++) {
        if (step_ending()) {
            give_up(t, packets + i, kept - i);
            return;
        }
        struct bridge *b = packets[i]->rx_port->bridge;
        if (hits[i] && !slow) {
            if (__builtin_expect(i == sample, 0)) {
                act_measured(w, t, b, packets[i], hits[i]->program, kept);
                continue;
            }
            unsigned same = 1;
            while (i + same < kept && i + same != sample && hits[i + same] == hits[i] &&
                   packets[i + same]->rx_port == packets[i]->rx_port && same < act_chunk(w))
                same++;
            if (w->watchful) {
                step((int32_t)(hits[i]->program->raw ? same : 1) * ACT_UNITS);
                if (step_ending()) {
                    give_up(t, packets + i, kept - i);
                    return;
                }
            }
            if (hits[i]->program->raw) {
                act_raw(w, t, packets[i]->rx_port, packets + i, same, hits[i]->program);
                i += same - 1;
            } else {
                act(w, t, b, packets[i], hits[i]->program);
            }
            continue;
        }
        /* Once a packet of the batch took the slow path, the cache may have changed under the later hits. */
        slow = true;
        worker_account(w, &cycles[DP_STAGE_SLOW]);
        slow_path(w, t, packets[i]);
        worker_account(w, &cycles[DP_STAGE_ACT]);
    }
}

void worker_process(struct worker *w, struct wtenant *t, struct packet **packets, unsigned n)
{
    stages(w, t, packets, n);
    while (t->patched_first) {
        struct packet *batch[BATCH];
        for (n = 0; n < BATCH && t->patched_first; n++) {
            batch[n] = t->patched_first;
            t->patched_first = batch[n]->next;
        }
        if (!t->patched_first)
            t->patched_last = NULL;
        stages(w, t, batch, n);
    }
    worker_account(w, &t->account->cycles[DP_STAGE_TX]);
    tx_flush(w, t);
}
