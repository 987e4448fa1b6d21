/* Rules: flow-mods in batches, dumps, packet-out, barrier. */
#include <errno.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "base/clock.h"
#include "base/defer.h"
#include "channel/handlers.h"
#include "channel/lanes.h"
#include "flow/bundle.h"
#include "flow/table.h"
#include "port/port.h"

#define MAX_BATCH_ERRORS 256
#define SLICE_CHECK 4          /* items between two looks at whether others wait */
#define DEFER_HIGH 4096        /* unlinked memory that may gather within a batch */

struct batch_reply {
    uint32_t next;             /* item to go on with, and */
    size_t at;                 /* where it is */
    struct dp_batch_reply head;
    struct dp_batch_error errors[MAX_BATCH_ERRORS];
};

/* Carries out a batch's items in order until `stop_at_error`, if so asked. Whether all are through. */
static bool run_batch(struct client *c, struct bridge *b, const struct dp_msg *m, const uint8_t *body, bool stop_at_error, struct batch_reply *r)
{
    struct dp_batch batch;
    memcpy(&batch, body, sizeof batch);
    size_t at = r->at ? r->at : sizeof batch;
    for (uint32_t i = r->next; i < batch.n && !(stop_at_error && r->head.n_errors); i++) {
        uint32_t len;
        fault why;
        struct flow_mod_result result;
        if (at + 4 > m->len || (memcpy(&len, body + at, 4), len > m->len - at - 4)) {
            /* The rest can't be told apart: none of it is carried out. */
            r->errors[r->head.n_errors].index = i;
            fault_set(&r->errors[r->head.n_errors++].error, EINVAL, "batch", "cut short at item %u of %u", i, batch.n);
            break;
        }
        b->dp->request_item = i;
        int e = flow_mod(b, body + at + 4, len, &result, &why);
        if (!e && result.buffer_id != OFP_NO_BUFFER)
            e = datapath_send_buffered(b, result.buffer_id, &why);
        if (e) {
            if (r->head.n_errors < MAX_BATCH_ERRORS) {
                r->errors[r->head.n_errors].index = i;
                r->errors[r->head.n_errors++].error = why;
            }
        } else {
            r->head.n_applied++;
        }
        if (defer_pending() > DEFER_HIGH)
            defer_run();
        at += 4 + len;
        if (i % SLICE_CHECK == SLICE_CHECK - 1 && i + 1 < batch.n && lanes_slice_over(c)) {
            r->next = i + 1;
            r->at = at;
            return false;
        }
    }
    return true;
}

struct waiting {
    void *server;
    uint64_t client;
    struct dp_msg request;
    const struct batch_reply *batch;    /* not yet told, or NULL */
    bool *passed;              /* set, while the barrier is being begun */
};

static void tell_batch(struct client *c, const struct dp_msg *m, const struct batch_reply *r, bool last)
{
    (last ? reply : reply_more)(c, m, &r->head, sizeof r->head + r->head.n_errors * sizeof r->errors[0]);
}

static void passed(void *arg)
{
    struct waiting *w = arg;
    struct client *c = client_by_id(w->server, w->client);
    if (c && w->batch)
        tell_batch(c, &w->request, w->batch, true);
    else if (c)
        reply(c, &w->request, NULL, 0);
    if (w->passed)
        *w->passed = true;
    free(w);
}

/* The outcome is told before anything later is carried out: the log of rules goes by the replies' order. */
static int answer_behind_barrier(struct client *c, const struct bridge *b, const struct dp_msg *m, const struct batch_reply *r, fault *f)
{
    bool through = false;
    struct waiting *w = malloc(sizeof *w);
    if (!w)
        return fault_set(f, ENOMEM, "", "out of memory");
    *w = (struct waiting){client_server(c), client_id(c), *m, r, &through};
    datapath_barrier(client_datapath(c), b->tenant->conf.id, passed, w);
    if (!through) {
        tell_batch(c, m, r, false);
        w->batch = NULL;
        w->passed = NULL;
    }
    return 0;
}

static int answer_batch(struct client *c, struct bridge *b, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    void **state = lanes_state(c);
    struct batch_reply *r = *state ? *state : calloc(1, sizeof *r);
    if (!r)
        return fault_set(f, ENOMEM, "", "out of memory");
    bool bundled = m->type == DP_BUNDLE_ADD;
    if ((!bundled || !bundle_failed(b)) && !run_batch(c, b, m, body, bundled, r)) {
        *state = r;
        return REQUEST_AGAIN;
    }
    *state = NULL;
    if (bundled && r->head.n_errors)
        bundle_fail(b);
    int e = 0;
    if (m->flags & DP_F_BARRIER)
        e = answer_behind_barrier(c, b, m, r, f);
    else
        tell_batch(c, m, r, true);
    free(r);
    return e;
}

int handle_flow_mod(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    if (!b)
        return -ENOENT;
    if (b->bundle)
        return fault_set(f, EBUSY, "bundle", "a bundle of the bridge is being carried out");
    return answer_batch(c, b, m, body, f);
}

/* The bridge, with a bundle of this client's, or NULL. */
static struct bridge *bundled_bridge(struct client *c, const struct dp_msg *m, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    if (b && bundle_owner(b) != client_id(c)) {
        fault_set(f, ENOENT, "bundle", "the bridge has no bundle of yours");
        return NULL;
    }
    return b;
}

int handle_bundle_open(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    int e = b ? bundle_open(b, client_id(c), f) : -ENOENT;
    if (!e)
        reply(c, m, NULL, 0);
    return e;
}

int handle_bundle_add(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = bundled_bridge(c, m, f);
    return b ? answer_batch(c, b, m, body, f) : -ENOENT;
}

int handle_bundle_commit(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = bundled_bridge(c, m, f);
    if (!b)
        return -ENOENT;
    if (bundle_failed(b)) {
        bundle_discard(b);
        return fault_set(f, ECANCELED, "bundle", "a message of the bundle was refused");
    }
    bundle_commit(b);
    reply(c, m, NULL, 0);
    return 0;
}

int handle_bundle_discard(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = bundled_bridge(c, m, f);
    if (!b)
        return -ENOENT;
    bundle_discard(b);
    reply(c, m, NULL, 0);
    return 0;
}

#define DUMP_MAX (DP_MSG_MAX - sizeof(struct dp_msg))
#define DUMP_STEP 60000        /* bytes of entries in a reply: with its headers, one multipart message of OpenFlow's */
#define DUMP_ENOUGH_BESIDE 12000       /* while another tenant's requests wait for each */

static bool dump_step(struct client *c, const struct dp_msg *request, void *context)
{
    static uint8_t data[DUMP_STEP];
    bool end;
    size_t len = flow_dump_next(context, data, sizeof data, lanes_beside(c) ? DUMP_ENOUGH_BESIDE : sizeof data, &end);
    if (end)
        reply(c, request, data, len);
    else
        reply_more(c, request, data, len);
    return end;
}

static void dump_free(void *context)
{
    flow_dump_free(context);
}

int handle_flow_dump(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    struct flow_dump *d = b ? flow_dump_new(b, body, m->len, clock_now(), f) : NULL;
    if (!d)
        return -f->error;
    if (dump_step(c, m, d)) {
        flow_dump_free(d);
        return 0;
    }
    return lanes_continue(client_lanes(c), c, m, dump_step, dump_free, d, f);
}

int handle_table_mod(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    struct dp_table conf;
    if (!b)
        return -ENOENT;
    memcpy(&conf, body, sizeof conf);
    int e = table_configure(b, &conf, f);
    if (!e)
        reply(c, m, NULL, 0);
    return e;
}

int handle_table_desc(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    struct dp_table out[OFPTT_MAX];
    unsigned n = 0;
    if (!b)
        return -ENOENT;
    for (unsigned i = 0; i < OFPTT_MAX; i++) {
        struct table *t = atomic_load_explicit(&b->tables[i], memory_order_relaxed);
        if (t)
            table_describe(t, &out[n++]);
    }
    reply(c, m, out, n * sizeof out[0]);
    return 0;
}

int handle_flow_watch(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    struct dp_flow_watch watch;
    if (!b)
        return -ENOENT;
    memcpy(&watch, body, sizeof watch);
    b->watched = watch.on;
    reply(c, m, NULL, 0);
    return 0;
}

int handle_flow_aggregate(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    uint8_t out[24];
    if (!b)
        return -ENOENT;
    int e = flow_aggregate(b, body, m->len, out, f);
    if (!e)
        reply(c, m, out, sizeof out);
    return e;
}

int handle_table_stats(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    if (!b)
        return -ENOENT;
    uint8_t out[OFPTT_MAX * 24];
    size_t len = 0;
    for (unsigned i = 0; i < OFPTT_MAX; i++)
        if (i == 0 || atomic_load(&b->tables[i])) {
            table_stats_put(b, (uint8_t)i, out + len);
            len += 24;
        }
    reply(c, m, out, len);
    return 0;
}

static void put_port_stats(struct datapath *dp, const struct port *p, uint8_t out[112])
{
    struct dp_shm_port sum = {0};
    for (unsigned w = 0; w < dp->n_workers; w++) {
        const struct dp_shm_port *s = shm_port(dp, w, p->slot);
        sum.rx_packets += s->rx_packets;
        sum.rx_bytes += s->rx_bytes;
        sum.tx_packets += s->tx_packets;
        sum.tx_bytes += s->tx_bytes;
        sum.rx_drops += s->rx_drops;
        sum.tx_drops += s->tx_drops;
        sum.rx_errors += s->rx_errors;
        sum.tx_errors += s->tx_errors;
    }
    uint64_t age = clock_now() - p->opened;
    memset(out, 0, 112);
    put32(out, p->port_no);
    put64(out + 8, sum.rx_packets);
    put64(out + 16, sum.tx_packets);
    put64(out + 24, sum.rx_bytes);
    put64(out + 32, sum.tx_bytes);
    put64(out + 40, sum.rx_drops);
    put64(out + 48, sum.tx_drops);
    put64(out + 56, sum.rx_errors);
    put64(out + 64, sum.tx_errors);
    put32(out + 104, (uint32_t)(age / clock_hz));
    put32(out + 108, (uint32_t)((double)(age % clock_hz) * 1e9 / (double)clock_hz));
}

int handle_port_stats(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct datapath *dp = client_datapath(c);
    struct bridge *b = datapath_bridge(dp, m->object, f);
    struct dp_port_ref ref;
    if (!b)
        return -ENOENT;
    memcpy(&ref, body, sizeof ref);
    if (ref.port_no != OFPP_ANY && !datapath_port(dp, m->object, ref.port_no, f))
        return -ENOENT;
    uint8_t *out = malloc(DUMP_MAX);
    if (!out)
        return fault_set(f, ENOMEM, "", "out of memory");
    size_t len = 0;
    struct port_map *map = atomic_load(&b->ports);
    for (uint32_t i = 0; map && i < map->n; i++) {
        if (ref.port_no != OFPP_ANY && map->at[i]->port_no != ref.port_no)
            continue;
        if (len + 112 > DUMP_MAX) {
            reply_more(c, m, out, len);
            len = 0;
        }
        put_port_stats(dp, map->at[i], out + len);
        len += 112;
    }
    reply(c, m, out, len);
    free(out);
    return 0;
}

int handle_packet_out(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    if (!b)
        return -ENOENT;
    int e = datapath_packet_out(b, body, m->len, f);
    if (!e && !(m->flags & DP_F_QUIET))
        reply(c, m, NULL, 0);
    return e;
}

int handle_barrier(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = m->object ? datapath_bridge(client_datapath(c), m->object, f) : NULL;
    if (m->object && !b)
        return -ENOENT;
    struct waiting *w = malloc(sizeof *w);
    if (!w)
        return fault_set(f, ENOMEM, "", "out of memory");
    *w = (struct waiting){client_server(c), client_id(c), *m, NULL, NULL};
    datapath_barrier(client_datapath(c), b ? b->tenant->conf.id : 0, passed, w);
    return 0;
}
