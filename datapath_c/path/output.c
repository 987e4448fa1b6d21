#include "path/output.h"
#include "base/bytes.h"
#include "base/step.h"
#include "path/tx.h"

#define MAX_HOPS 8
#define FLOOD_UNITS 2          /* of base/step.h, for each port */

/* The packet arrives at the peer's bridge. The copy goes through that bridge's tables when this batch is done. */
static void output_patch(struct worker *w, struct wtenant *t, struct port *out, struct packet *p)
{
    struct bridge *b = w->dp->bridges[out->conf.peer_bridge];
    struct port *peer = b ? bridge_port(b, out->conf.peer_port) : NULL;
    if (!peer || peer->ops != &patch_ops || peer->conf.peer_bridge != out->conf.bridge ||
        peer->conf.peer_port != out->port_no) {
        t->account->drops[DROP_NO_PORT]++;
        return;
    }
    if (p->hops >= MAX_HOPS) {
        t->account->drops[DROP_LOOP]++;
        return;
    }
    struct packet *c = packet_copy(p);
    if (!c) {
        t->account->drops[DROP_NO_BUFFER]++;
        return;
    }
    struct dp_shm_port *sent = shm_port(w->dp, w->id, out->slot), *got = shm_port(w->dp, w->id, peer->slot);
    sent->tx_packets++;
    sent->tx_bytes += p->len;
    got->rx_packets++;
    got->rx_bytes += p->len;
    c->hops++;
    c->rx_port = peer;
    c->key.key.bridge = b->conf.id;
    c->key.key.in_port = c->key.key.in_phy_port = htobe32(peer->port_no);
    c->key.key.metadata = 0;
    c->next = NULL;
    if (t->patched_last)
        t->patched_last->next = c;
    else
        t->patched_first = c;
    t->patched_last = c;
}

void output_port(struct worker *w, struct wtenant *t, struct port *out, struct packet *p)
{
    if (atomic_load_explicit(&out->config, memory_order_relaxed) & (OFPPC_PORT_DOWN | OFPPC_NO_FWD))
        t->account->drops[DROP_PORT_CONFIG]++;
    else if (out->ops == &patch_ops)
        output_patch(w, t, out, p);
    else
        tx_stage(w, t, out, p);
}

void output_flood(struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p, uint32_t without)
{
    struct port_map *m = atomic_load_explicit(&b->ports, memory_order_acquire);
    for (uint32_t i = 0; m && i < m->n && !step_ending(); i++) {
        step(FLOOD_UNITS);
        struct port *out = m->at[i];
        uint32_t config = atomic_load_explicit(&out->config, memory_order_relaxed);
        if (out != p->rx_port && !(config & without))
            output_port(w, t, out, p);
    }
}

static uint16_t vlan_of(const struct packet *p)
{
    uint16_t type = get16(p->data + 12);
    return (type == 0x8100 || type == 0x88a8) && p->len >= 16 ? get16(p->data + 14) & 0xfff : 0;
}

struct normal normal_decide(struct worker *w, struct wtenant *t, struct bridge *b, struct port *in, const uint8_t dst[6],
                            const uint8_t src[6], uint16_t vlan)
{
    static const uint8_t reserved[5] = {0x01, 0x80, 0xc2, 0x00, 0x00};
    if (!memcmp(dst, reserved, 5) && dst[5] < 0x10) {
        t->account->drops[DROP_STP]++;
        return (struct normal){0};
    }
    if (in && !(src[0] & 1))
        mac_learn(&b->macs, src, vlan, in->port_no, w->now_s);
    uint32_t port_no = dst[0] & 1 ? 0 : mac_lookup(&b->macs, dst, vlan, w->now_s, b->conf.mac_ageing);
    struct port *out = port_no ? bridge_port(b, port_no) : NULL;
    if (out && out == in) {
        t->account->drops[DROP_IN_PORT]++;
        return (struct normal){0};
    }
    return (struct normal){.out = out, .flood = !out};
}

void output_normal(struct worker *w, struct wtenant *t, struct bridge *b, struct packet *p)
{
    struct normal n = normal_decide(w, t, b, p->rx_port, p->data, p->data + 6, vlan_of(p));
    if (n.flood)
        output_flood(w, t, b, p, FLOOD_WITHOUT);
    else if (n.out)
        output_port(w, t, n.out, p);
}
