#include "path/packet_in.h"
#include <stdlib.h>
#include <sys/socket.h>
#include "base/bytes.h"
#include "base/clock.h"
#include "base/step.h"
#include "flow/match.h"

#define ALONE_US 100           /* since the last one: then a packet-in is sent at once */
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

/* OFPT_PACKET_IN's body (OpenFlow 1.3.5, 7.4.1) behind a struct dp_packet_in, with room for a struct dp_msg in front. */
static uint8_t *encode(const struct notice *n, uint32_t buffer, uint32_t send, size_t *len)
{
    const struct dp_packet_in head = {.controller_id = n->controller_id, .userdata_len = n->userdata_len};
    uint8_t *start = malloc(sizeof(struct dp_msg) + sizeof head + n->userdata_len + 16 + 2048 + 2 + send);
    if (!start)
        return NULL;
    uint8_t *at = start + sizeof(struct dp_msg);
    memcpy(at, &head, sizeof head);
    memcpy(at + sizeof head, n->frame + n->len, n->userdata_len);
    uint8_t *body = at + sizeof head + n->userdata_len;
    put32(body, buffer);
    put16(body + 4, (uint16_t)n->len);
    body[6] = n->reason;
    body[7] = n->table;
    put64(body + 8, n->cookie);
    size_t end = 16 + (size_t)match_serialise(&n->match, body + 16, 2048);
    put16(body + end, 0);
    memcpy(body + end + 2, n->frame, send);
    *len = (size_t)(body - at) + end + 2 + send;
    return start;
}

static bool wants_buffer(const struct notice *n)
{
    return n->max_len != OFPCML_NO_BUFFER && n->max_len < n->len;
}

/* Main thread. */
static void deliver(struct letter *l, void *consumer)
{
    struct notice *n = (struct notice *)l;
    struct datapath *dp = consumer;
    struct bridge *b = dp->bridges[n->bridge_id];
    if (b == n->bridge) {
        uint32_t buffer = OFP_NO_BUFFER, send = n->len;
        if (wants_buffer(n) && (buffer = buffer_put(b, be32toh(n->match.value.key.in_port), n->frame, n->len)) != OFP_NO_BUFFER)
            send = n->max_len;
        size_t len;
        uint8_t *start = dp->packet_in ? encode(n, buffer, send, &len) : NULL;
        if (start)
            dp->packet_in(b, start + sizeof(struct dp_msg), len);
        free(start);
        /* Last: while it counts, no later one overtakes it (send_at_once). */
        atomic_fetch_sub_explicit(&b->events, 1, memory_order_release);
    }
    free(n);
}

/* A packet-in that comes alone is not worth waking the main thread for, which would take longer than sending it. */
static bool send_at_once(struct worker *w, struct bridge *b, const struct notice *n)
{
    uint64_t before = w->last_packet_in;
    w->last_packet_in = w->now;
    if (w->now - before < clock_from_us(ALONE_US) || wants_buffer(n))
        return false;
    int fd = atomic_load_explicit(&w->dp->packet_in_fd, memory_order_acquire);
    if (fd < 0 || atomic_load_explicit(&b->events, memory_order_acquire))
        return false;
    size_t len;
    uint8_t *start = encode(n, OFP_NO_BUFFER, n->len, &len);
    if (!start)
        return false;
    const struct dp_msg m = {.type = DP_EV_PACKET_IN, .object = n->bridge_id, .len = (uint32_t)len};
    memcpy(start, &m, sizeof m);
    bool sent = send(fd, start, sizeof m + len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
    free(start);
    return sent;
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
    t->account->packet_ins++;
    if (send_at_once(w, b, n)) {
        free(n);
        return;
    }
    atomic_fetch_add_explicit(&b->events, 1, memory_order_relaxed);
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
