/* OFPT_PACKET_OUT (OpenFlow 1.3.5, 7.3.7): checked by the main thread, carried out by a worker. */
#include <errno.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "flow/actions_check.h"
#include "flow/translate.h"
#include "path/act.h"
#include "path/packet_in.h"
#include "path/parse.h"
#include "path/slow_path.h"
#include "path/turn.h"
#include "path/tx.h"
#include "path/workers_run.h"

#define MAX_ORDERS 1024        /* of a tenant, that wait for its turn */
#define SHORT_OUTPUTS 2        /* of an order that the main thread may carry out itself */
#define ORDERS_APART_US 100    /* and while they don't come in numbers, which are the workers' */

struct order {
    struct letter letter;
    uint32_t bridge;
    uint32_t in_port;
    uint32_t actions_len;
    uint32_t frame_len;
    uint8_t bytes[];           /* actions, then frame */
};

static struct packet *make_packet(struct wtenant *t, struct bridge *b, const struct order *o)
{
    struct packet *p = packet_alloc(&t->pool);
    if (!p)
        return NULL;
    p->len = o->frame_len;
    memcpy(p->data, o->bytes + o->actions_len, o->frame_len);
    p->rx_port = bridge_port(b, o->in_port);
    p->key.key.in_port = p->key.key.in_phy_port = htobe32(o->in_port);
    p->key.key.bridge = b->conf.id;
    parse(p);
    return p;
}

/* Within the tenant's turn: a job. */
static void carry_out(struct letter *l, void *consumer)
{
    struct translation x;
    struct order *o = (struct order *)l;
    struct worker *w = consumer;
    struct bridge *b = w->dp->bridges[o->bridge];
    struct wtenant *t = b ? worker_tenant(w, b->tenant) : NULL;
    struct packet *p;
    if (!t)
        goto out;
    if (step_ending()) {
        t->account->drops[DROP_INTERRUPTED]++;
    } else if (!(p = make_packet(t, b, o))) {
        t->account->drops[DROP_NO_BUFFER]++;
    } else {
        translation_init(&x, w, t, b, p);
        translate_actions(&x, o->bytes, o->actions_len);
        count_rules(w, x.counts, x.n_rules, x.miss, 1, p->len);
        if (x.overflow || step_ending()) {
            t->account->drops[step_ending() ? DROP_INTERRUPTED : DROP_LOOP]++;
            if (x.packet)
                packet_unref(x.packet);
        } else if (x.packet && (p = act_run(w, t, b, x.packet, x.ops, x.n_ops)))
            packet_unref(p);
        worker_process(w, t, NULL, 0);
    }
out:
    free(o);
}

/* Between turns: the order waits for its tenant's next. */
static void accept(struct letter *l, void *consumer)
{
    struct order *o = (struct order *)l;
    struct worker *w = consumer;
    struct bridge *b = w->dp->bridges[o->bridge];
    struct wtenant *t = b ? worker_tenant(w, b->tenant) : NULL;
    if (!t) {
        free(o);
    } else if (t->n_jobs >= MAX_ORDERS) {
        t->account->drops[DROP_TENANT_QUEUE]++;
        free(o);
    } else {
        turn_add_job(w, t, l, carry_out);
    }
}

/* Only outputs, and few: nothing whose length the tenant's rules choose. */
static bool is_short(const struct bridge *b, const struct order *o)
{
    unsigned n = b->conf.egress_table ? SHORT_OUTPUTS : 0;
    for (uint32_t at = 0; at < o->actions_len; at += get16(o->bytes + at + 2)) {
        uint32_t port = get16(o->bytes + at) == OFPAT_OUTPUT ? get32(o->bytes + at + 4) : OFPP_ANY;
        if ((port > OFPP_MAX && port != OFPP_IN_PORT) || ++n > SHORT_OUTPUTS)
            return false;
    }
    return true;
}

/* Whether it was carried out: where the worker sleeps, and the tenant may run. */
static bool carry_out_here(struct bridge *b, struct order *o)
{
    struct datapath *dp = b->dp;
    struct worker *w = dp->workers[0];
    uint64_t now = clock_now(), since = now - dp->ordered;
    dp->ordered = now;
    if (since < clock_from_us(ORDERS_APART_US) || !is_short(b, o) || !worker_borrow(w))
        return false;
    struct wtenant *t = w->tenants[b->tenant->conf.id];
    bool may = t && !turn_due(t) && limit_due(&t->tenant->limit) <= now;
    if (may) {
        worker_account(w, &t->account->cycles[DP_STAGE_CONTROL]);
        uint64_t began = w->now;
        carry_out(&o->letter, w);
        worker_account(w, &w->row->system[DP_SYS_IDLE]);
        worker_charge(w, t, w->now - began);
    }
    worker_give_back(w);
    return may;
}

static int send_order(struct bridge *b, uint32_t in_port, const uint8_t *actions, uint32_t actions_len,
                      const uint8_t *frame, uint32_t frame_len, fault *f)
{
    struct order *o = malloc(sizeof *o + actions_len + frame_len);
    if (!o)
        return fault_set(f, ENOMEM, "", "out of memory");
    o->letter.fn = accept;
    o->bridge = b->conf.id;
    o->in_port = in_port;
    o->actions_len = actions_len;
    o->frame_len = frame_len;
    memcpy(o->bytes, actions, actions_len);
    memcpy(o->bytes + actions_len, frame, frame_len);
    if (!carry_out_here(b, o))
        worker_post(b->dp->workers[0], &o->letter);
    return 0;
}

/* What a frame fixes, so that actions can be checked against it. */
static void match_of_frame(const uint8_t *frame, uint32_t len, struct match *m)
{
    struct packet p = {.data = (uint8_t *)frame, .len = len};
    parse(&p);
    memset(&m->value, 0, sizeof m->value);
    memcpy(&m->value, &p.key, CACHE_WORDS * 8);
    memset(&m->mask, 0xff, sizeof m->mask);
}

int datapath_packet_out(struct bridge *b, const uint8_t *d, size_t len, fault *f)
{
    if (len < 16)
        return fault_openflow(f, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN, "packet_out", "%zu bytes", len);
    uint32_t buffer = get32(d), in_port = get32(d + 4), actions_len = get16(d + 8), frame_len;
    if (16 + actions_len > len)
        return fault_openflow(f, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN, "actions_len", "%u of %zu bytes", actions_len, len - 16);
    if ((in_port > OFPP_MAX && in_port < OFPP_CONTROLLER) || in_port == 0 || in_port == OFPP_ANY)
        return fault_openflow(f, OFPET_BAD_REQUEST, OFPBRC_BAD_PORT, "in_port", "0x%x", in_port);
    const uint8_t *frame = d + 16 + actions_len;
    uint8_t *stored = NULL;
    if (buffer == OFP_NO_BUFFER) {
        frame_len = (uint32_t)(len - 16 - actions_len);
    } else {
        uint32_t from;
        if (!(stored = buffer_take(b, buffer, &from, &frame_len)))
            return fault_openflow(f, OFPET_BAD_REQUEST, OFPBRC_BUFFER_UNKNOWN, "buffer_id", "no packet in buffer 0x%x", buffer);
        frame = stored;
    }
    struct match m;
    int e = 0;
    if (frame_len < 14)
        e = fault_openflow(f, OFPET_BAD_REQUEST, OFPBRC_BAD_PACKET, "data", "a frame of %u bytes", frame_len);
    if (!e) {
        match_of_frame(frame, frame_len, &m);
        struct actions_context c = {.bridge = b, .packet_out = true, .match = &m};
        e = actions_check(&c, d + 16, actions_len, f);
    }
    if (!e)
        e = send_order(b, in_port, d + 16, actions_len, frame, frame_len, f);
    free(stored);
    return e;
}

int datapath_send_buffered(struct bridge *b, uint32_t buffer_id, fault *f)
{
    static const uint8_t to_tables[16] = {0, OFPAT_OUTPUT, 0, 16, 0xff, 0xff, 0xff, 0xf9};
    uint32_t in_port, len;
    uint8_t *frame = buffer_take(b, buffer_id, &in_port, &len);
    if (!frame)
        return fault_openflow(f, OFPET_BAD_REQUEST, OFPBRC_BUFFER_UNKNOWN, "buffer_id", "no packet in buffer 0x%x", buffer_id);
    int e = send_order(b, in_port, to_tables, sizeof to_tables, frame, len, f);
    free(frame);
    return e;
}
