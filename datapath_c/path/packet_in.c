#include "path/packet_in.h"
#include <stdlib.h>
#include "base/bytes.h"
#include "base/step.h"
#include "flow/match.h"

#define NOTICE_UNITS 8         /* of base/step.h: memory, a copy, a letter */

struct notice {
    struct letter letter;
    uint32_t bridge_id;
    struct bridge *bridge;
    uint32_t len;
    uint16_t max_len;
    uint16_t controller_id, userdata_len;
    uint8_t reason, table;
    uint64_t cookie;
    struct match match;
    uint8_t frame[];           /* and the user's data behind it */
};

static uint32_t buffer_put(struct bridge *b, uint32_t in_port, const uint8_t *frame, uint32_t len)
{
    uint32_t id = b->next_buffer++;
    struct buffered *s = &b->buffers[id % BRIDGE_BUFFERS];
    uint8_t *copy = malloc(len);
    if (!copy || id == OFP_NO_BUFFER) {
        free(copy);
        return OFP_NO_BUFFER;
    }
    memcpy(copy, frame, len);
    free(s->data);
    *s = (struct buffered){.id = id, .in_port = in_port, .len = len, .data = copy};
    return id;
}

uint8_t *buffer_take(struct bridge *b, uint32_t id, uint32_t *in_port, uint32_t *len)
{
    struct buffered *s = &b->buffers[id % BRIDGE_BUFFERS];
    if (id == OFP_NO_BUFFER || s->id != id || !s->data)
        return NULL;
    uint8_t *data = s->data;
    *in_port = s->in_port;
    *len = s->len;
    *s = (struct buffered){.id = OFP_NO_BUFFER};
    return data;
}

/* Main thread: OFPT_PACKET_IN's body (OpenFlow 1.3.5, 7.4.1). */
static void deliver(struct letter *l, void *consumer)
{
    struct notice *n = (struct notice *)l;
    struct datapath *dp = consumer;
    struct bridge *b = dp->bridges[n->bridge_id];
    if (b == n->bridge) {
        atomic_fetch_sub_explicit(&b->events, 1, memory_order_relaxed);
        const struct dp_packet_in head = {.controller_id = n->controller_id, .userdata_len = n->userdata_len};
        uint8_t *start = malloc(sizeof head + n->userdata_len + 16 + 2048 + 2 + n->len);
        if (start && dp->packet_in) {
            uint8_t *body = start + sizeof head + n->userdata_len;
            memcpy(start, &head, sizeof head);
            memcpy(start + sizeof head, n->frame + n->len, n->userdata_len);
            uint32_t buffer = OFP_NO_BUFFER, send = n->len;
            if (n->max_len != OFPCML_NO_BUFFER && n->max_len < n->len) {
                buffer = buffer_put(b, be32toh(n->match.value.key.in_port), n->frame, n->len);
                if (buffer != OFP_NO_BUFFER)
                    send = n->max_len;
            }
            put32(body, buffer);
            put16(body + 4, (uint16_t)n->len);
            body[6] = n->reason;
            body[7] = n->table;
            put64(body + 8, n->cookie);
            size_t at = 16 + (size_t)match_serialise(&n->match, body + 16, 2048);
            put16(body + at, 0);
            memcpy(body + at + 2, n->frame, send);
            dp->packet_in(b, start, (size_t)(body - start) + at + 2 + send);
        }
        free(start);
    }
    free(n);
}

static void post(struct worker *w, struct wtenant *t, struct bridge *b, const struct packet *p,
                 const struct op *context, const struct op *op)
{
    if (atomic_load_explicit(&b->events, memory_order_relaxed) >= DP_EVENT_BACKLOG) {
        t->account->drops[DROP_PACKET_IN]++;
        return;
    }
    step(NOTICE_UNITS);
    uint32_t len = p->len < 65000 ? p->len : 65000;
    uint16_t userdata_len = op->userdata ? get16(op->userdata) - 4u : 0;
    struct notice *n = malloc(sizeof *n + len + userdata_len);
    if (!n) {
        t->account->drops[DROP_NO_BUFFER]++;
        return;
    }
    n->letter.fn = deliver;
    n->bridge = b;
    n->bridge_id = b->conf.id;
    n->len = len;
    n->max_len = op->arg;
    n->reason = op->reason;
    n->table = op->table;
    n->cookie = op->cookie;
    n->controller_id = op->arg2;
    n->userdata_len = userdata_len;
    memset(&n->match, 0, sizeof n->match);
    struct key *v = &n->match.value.key, *m = &n->match.mask.key;
    v->in_port = p->key.key.in_port;
    m->in_port = 0xffffffff;
    for (; context < op; context++) {
        field_store(&n->match.value, context->field, context->value);
        memset((uint8_t *)m + field_places[context->field].offset, 0xff, field_places[context->field].size);
    }
    if (p->key.key.tunnel_id) {
        v->tunnel_id = p->key.key.tunnel_id;
        m->tunnel_id = UINT64_MAX;
        memcpy(v->tun_src, p->key.key.tun_src, 16);
        memset(m->tun_src, 0xff, 16);
        memcpy(v->tun_dst, p->key.key.tun_dst, 16);
        memset(m->tun_dst, 0xff, 16);
    }
    memcpy(n->frame, p->data, len);
    if (userdata_len)
        memcpy(n->frame + len, op->userdata + 2, userdata_len);
    atomic_fetch_add_explicit(&b->events, 1, memory_order_relaxed);
    t->account->packet_ins++;
    mailbox_post(&w->dp->mail, &n->letter);
}

void packet_in(struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p, const struct op *context,
               const struct op *op)
{
    if (p->rx_port && atomic_load_explicit(&p->rx_port->config, memory_order_relaxed) & OFPPC_NO_PACKET_IN)
        return;
    if (!packet_is_gso(p) && !(p->vnet.flags & VNET_NEEDS_CSUM)) {
        post(w, t, b, p, context, op);
        return;
    }
    struct packet *segments[64];
    struct port_io io = {.worker = w->id, .pool = &t->pool, .drops = t->account->drops};
    struct packet *whole = packet_copy(p);
    if (!whole) {
        t->account->drops[DROP_NO_BUFFER]++;
        return;
    }
    unsigned n = port_segment(whole, &io, segments, 64);
    for (unsigned i = 0; i < n; i++) {
        post(w, t, b, segments[i], context, op);
        packet_unref(segments[i]);
    }
}

void packet_in_ttl(struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p)
{
    struct op op = {.code = OP_CONTROLLER, .reason = OFPR_INVALID_TTL, .arg = b->conf.miss_send_len};
    packet_in(w, t, b, p, &op, &op);
}
