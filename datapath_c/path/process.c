#include "path/process.h"
#include "base/step.h"
#include "path/act.h"
#include "path/lookup.h"
#include "path/parse.h"
#include "path/slow_path.h"
#include "path/turn.h"
#include "path/tx.h"
#include "tunnel/decapsulate.h"

/* Of base/step.h, for each packet. While others are watched, a stage goes through a batch in pieces, with a step after each; else there
 * is no look at the clock in these stages: the batch's size is chosen by what such packets cost. */
#define PARSE_UNITS 1
#define ACT_UNITS 2
#define LARGE_CHUNK 16         /* packets between two looks, where a batch is larger than a slice */
#define RAW_PACKETS 4          /* in a unit, where the port alone decides */

#define SAMPLE_BATCHES 16
#define SAMPLE_RULES 8

#define FRAME_MIN 14           /* bytes */

struct arrived {               /* of a whole batch */
    uint64_t bytes;
    uint32_t shortest;
};

static struct arrived note_arrival(struct port *port, struct packet **batch, unsigned n)
{
    struct arrived a = {.shortest = UINT32_MAX};
    for (unsigned i = 0; i < n; i++) {
        struct packet *p = batch[i];
        p->rx_port = port;
        if (!p->bare) {
            p->key.key.in_port = p->key.key.in_phy_port = htobe32(port->port_no);
            p->key.key.bridge = port->bridge->conf.id;
        }
        a.bytes += p->len;
        a.shortest = p->len < a.shortest ? p->len : a.shortest;
    }
    return a;
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

static uint64_t bytes_of(struct packet *const *packets, unsigned n)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < n; i++)
        bytes += packets[i]->len;
    return bytes;
}

/* The turn ends before its time. */
static void give_up(struct wtenant *t, struct packet **packets, unsigned n)
{
    t->account->drops[DROP_INTERRUPTED] += n;
    for (unsigned i = 0; i < n; i++)
        packet_unref(packets[i]);
}

/* A batch whose port alone decides what becomes of it; false when it doesn't. */
static bool by_port(struct worker *w, struct wtenant *t, struct port *in, struct packet **packets, unsigned n, uint64_t bytes)
{
    struct megaflow *m = lookup_direct(w, t, in);
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
        act_raw(w, t, in, packets + i, k, k == n ? bytes : bytes_of(packets + i, k), m);
    }
    return true;
}

/* One packet of every SAMPLE_BATCHES batches tells what its rules cost: so many times what it took. */
static void act_measured(struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p, const struct program *program,
                         unsigned n)
{
    struct rule_stats *counts[SAMPLE_RULES];
    unsigned n_rules = program->n_rules < SAMPLE_RULES ? program->n_rules : SAMPLE_RULES;
    memcpy(counts, program->counts, n_rules * sizeof counts[0]);
    worker_account(w, w->clerk.bucket);
    uint64_t before = turn_spent(w, t);
    act(w, t, b, p, program);
    worker_account(w, w->clerk.bucket);
    charge_rules(counts, n_rules, (turn_spent(w, t) - before + t->cost / 2) * n * SAMPLE_BATCHES);
}

/* Drops what isn't even an Ethernet header; returns how many stay. */
static unsigned drop_short(struct wtenant *t, struct packet **packets, unsigned n)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < n; i++) {
        if (packets[i]->malformed && packets[i]->len < FRAME_MIN) {
            t->account->drops[DROP_MALFORMED]++;
            packet_unref(packets[i]);
        } else {
            packets[kept++] = packets[i];
        }
    }
    return kept;
}

/* How many from the first on have its megaflow and came where it came. */
static unsigned count_alike(const struct worker *w, struct packet *const *packets, struct megaflow *const *hits, unsigned n)
{
    unsigned same = 1, most = act_chunk(w);
    while (same < n && same < most && hits[same] == hits[0] && packets[same]->rx_port == packets[0]->rx_port)
        same++;
    return same;
}

/* parse -> lookup -> slow path and actions, in the order of arrival. Each stage's time is charged as a whole. */
static void stages(struct worker *w, struct wtenant *t, struct packet **packets, unsigned n)
{
    struct megaflow *hits[BATCH];
    uint64_t *cycles = t->account->cycles;
    bool large = turn_is_long(w);      /* a batch, than a slice has room for */
    worker_account(w, &cycles[DP_STAGE_PARSE]);
    unsigned kept = n;
    bool cut = false;
    for (unsigned i = 0, k; i < n; i += k) {
        k = n - i < turn_chunk(w) ? n - i : turn_chunk(w);
        stage_step(w, (int32_t)k * PARSE_UNITS);
        cut |= parse_all(packets + i, k);
    }
    if (__builtin_expect(cut, 0))
        kept = drop_short(t, packets, n);
    worker_account(w, &cycles[DP_STAGE_LOOKUP]);
    turn_check(w);
    lookup(w, t, packets, kept, hits);
    bool slow = false;
    worker_account(w, &cycles[DP_STAGE_ACT]);
    turn_check(w);
    /* Packets whose time was taken; the clock has just been looked at. */
    unsigned given = large && kept > LARGE_CHUNK ? LARGE_CHUNK : BATCH;
    if (!w->watchful)
        step_spend((given < kept ? given : kept) * ACT_UNITS);
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
            unsigned same = 1, until = i < sample && sample < kept ? sample : kept;
            if (megaflow_raw(hits[i]))
                same = count_alike(w, packets + i, hits + i, until - i);
            if (w->watchful || i + same > given) {
                unsigned begun = w->watchful || given < i ? i : given, n = i + same - begun;
                if (!w->watchful && n < LARGE_CHUNK)
                    n = kept - begun < LARGE_CHUNK ? kept - begun : LARGE_CHUNK;
                given = begun + n;
                step((int32_t)n * ACT_UNITS);
                if (step_ending()) {
                    give_up(t, packets + i, kept - i);
                    return;
                }
            }
            if (megaflow_raw(hits[i])) {
                act_raw(w, t, packets[i]->rx_port, packets + i, same, bytes_of(packets + i, same), hits[i]);
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

/* What goes through patch ports is taken through the stages again; then everything is sent. */
static void finish(struct worker *w, struct wtenant *t)
{
    while (t->patched_first) {
        struct packet *batch[BATCH];
        unsigned n = 0;
        for (; n < BATCH && t->patched_first; n++) {
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

void worker_process(struct worker *w, struct wtenant *t, struct packet **packets, unsigned n)
{
    stages(w, t, packets, n);
    finish(w, t);
}

/* Takes what is the tunnels' out of the batch; returns how many packets are left. */
static unsigned take_tunnels(struct worker *w, struct wtenant *t, struct port *port, struct packet **batch, unsigned n)
{
    unsigned kept = 0;
    for (unsigned at = 0, here; at < n; kept += here) {
        struct packet **from = batch + at;
        at += uplink_receive(w, t, port, from, n - at, &here);
        memmove(batch + kept, from, here * sizeof *from);
        if (at < n)
            turn_check(w);
    }
    return kept;
}

void process_received(struct worker *w, struct wtenant *t, struct port *port, struct port_io *io, struct packet **batch, unsigned n)
{
    bool underlay = __builtin_expect(atomic_load_explicit(&port->underlay, memory_order_relaxed), 0);
    struct arrived a = underlay ? (struct arrived){.bytes = bytes_of(batch, n)} : note_arrival(port, batch, n);
    io->counters->rx_packets += n;
    io->counters->rx_bytes += a.bytes;
    t->account->rx_packets += n;
    t->account->rx_bytes += a.bytes;
    if (atomic_load_explicit(&port->config, memory_order_relaxed) & (OFPPC_PORT_DOWN | OFPPC_NO_RECV)) {
        t->account->drops[DROP_PORT_CONFIG] += n;
        io->counters->rx_drops += n;
        packet_unref_all(batch, n);
        return;
    }
    if (underlay) {
        n = take_tunnels(w, t, port, batch, n);
        a = note_arrival(port, batch, n);
    }
    if (!n)
        ;                      /* all of it was the tunnels' */
    else if (a.shortest < FRAME_MIN || !by_port(w, t, port, batch, n, a.bytes))
        stages(w, t, batch, n);
    finish(w, t);
}
