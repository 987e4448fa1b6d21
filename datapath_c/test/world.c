#include "test/world.h"
#include <stdio.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "flow/group.h"
#include "flow/table.h"
#include "port/dummy.h"

static void check(int error, const fault *f)
{
    if (!error)
        return;
    fprintf(stderr, "%s: %s\n", f->field, f->reason);
    abort();
}

void world_open(struct world *w)
{
    int error;
    clock_init(true);
    clock_counted = WORLD_UNIT;
    w->dp = datapath_new(1, false, false, &error);
    if (!w->dp)
        abort();
    w->w = w->dp->workers[0];
}

void world_close(struct world *w)
{
    datapath_free(w->dp, false);
    clock_counted = 0;
}

void world_tenant(struct world *w, uint32_t id, uint32_t weight, uint32_t ports)
{
    fault f;
    struct dp_tenant t = {.id = id, .weight = weight};
    struct dp_bridge b = {.id = id, .tenant = id};
    snprintf(t.name, sizeof t.name, "t%u", id);
    snprintf(b.name, sizeof b.name, "b%u", id);
    check(datapath_set_tenant(w->dp, &t, &f), &f);
    check(datapath_set_bridge(w->dp, &b, &f), &f);
    for (uint32_t i = 1; i <= ports; i++) {
        struct dp_port p = {.bridge = id, .port_no = i, .kind = DP_PORT_DUMMY};
        check(datapath_add_port(w->dp, &p, &f), &f);
    }
}

void act_clear(struct actions *a)
{
    a->len = 0;
}

void act_output(struct actions *a, uint32_t port)
{
    uint8_t *at = a->bytes + a->len;
    memset(at, 0, 16);
    put16(at, OFPAT_OUTPUT);
    put16(at + 2, 16);
    put32(at + 4, port);
    a->len += 16;
}

void act_group(struct actions *a, uint32_t group)
{
    uint8_t *at = a->bytes + a->len;
    put16(at, OFPAT_GROUP);
    put16(at + 2, 8);
    put32(at + 4, group);
    a->len += 8;
}

/* An OXM of `n` bytes; returns its length. */
static uint32_t oxm(uint8_t *at, unsigned field, uint32_t value, uint32_t mask, unsigned n)
{
    bool whole = mask == (n == 4 ? 0xffffffff : n == 2 ? 0xffffu : 0xffu);
    put16(at, 0x8000);
    at[2] = (uint8_t)(field << 1 | !whole);
    at[3] = (uint8_t)(n * (whole ? 1 : 2));
    for (unsigned i = 0; i < n; i++) {
        at[4 + i] = (uint8_t)(value >> 8 * (n - 1 - i));
        if (!whole)
            at[4 + n + i] = (uint8_t)(mask >> 8 * (n - 1 - i));
    }
    return 4 + at[3];
}

static uint32_t put_match(uint8_t *out, const struct udp_match *m)
{
    uint32_t n = 4;
    if (m->in_port)
        n += oxm(out + n, 0, m->in_port, 0xffffffff, 4);
    n += oxm(out + n, 5, 0x0800, 0xffff, 2);
    n += oxm(out + n, 10, 17, 0xff, 1);
    if (m->src_mask)
        n += oxm(out + n, 11, m->src & m->src_mask, m->src_mask, 4);
    if (m->dst_mask)
        n += oxm(out + n, 12, m->dst & m->dst_mask, m->dst_mask, 4);
    if (m->sport_mask)
        n += oxm(out + n, 15, m->sport & m->sport_mask, m->sport_mask, 2);
    if (m->dport_mask)
        n += oxm(out + n, 16, m->dport & m->dport_mask, m->dport_mask, 2);
    put16(out, 1);
    put16(out + 2, (uint16_t)n);
    uint32_t padded = (n + 7) / 8 * 8;
    memset(out + n, 0, padded - n);
    return padded;
}

void world_rule(struct world *w, uint32_t bridge, uint8_t table, uint16_t priority, const struct udp_match *m,
                const struct actions *a, int next)
{
    static uint8_t body[OFP_FLOW_MOD_FIXED + 512 + 65536];
    struct flow_mod_result r;
    fault f;
    memset(body, 0, OFP_FLOW_MOD_FIXED);
    body[16] = table;
    put16(body + 22, priority);
    memset(body + 24, 0xff, 12);
    uint32_t n = OFP_FLOW_MOD_FIXED + put_match(body + OFP_FLOW_MOD_FIXED, m);
    if (a && a->len) {
        put16(body + n, OFPIT_APPLY_ACTIONS);
        put16(body + n + 2, (uint16_t)(8 + a->len));
        put32(body + n + 4, 0);
        memcpy(body + n + 8, a->bytes, a->len);
        n += 8 + a->len;
    }
    if (next >= 0) {
        memset(body + n, 0, 8);
        put16(body + n, OFPIT_GOTO_TABLE);
        put16(body + n + 2, 8);
        body[n + 4] = (uint8_t)next;
        n += 8;
    }
    check(flow_mod(datapath_bridge(w->dp, bridge, &f), body, n, &r, &f), &f);
}

void world_group(struct world *w, uint32_t bridge, uint32_t id, uint8_t type, uint32_t buckets, const struct actions *a)
{
    static uint8_t body[65536];
    fault f;
    memset(body, 0, 16);
    body[2] = type;
    put32(body + 4, id);
    put32(body + 12, 0xffffffff);      /* OFPG_BUCKET_ALL */
    uint32_t n = 16;
    for (uint32_t i = 0; i < buckets; i++) {
        uint32_t size = 8 + a->len + (type == GROUP_SELECT ? 8 : 0);
        put16(body + n, (uint16_t)size);
        put16(body + n + 2, (uint16_t)a->len);
        put32(body + n + 4, i);
        memcpy(body + n + 8, a->bytes, a->len);
        if (type == GROUP_SELECT) {
            uint8_t *p = body + n + 8 + a->len;
            memset(p, 0, 8);
            put16(p + 2, 8);           /* OFPGBPT_WEIGHT */
            put16(p + 4, 1);
        }
        n += size;
    }
    put16(body + 8, (uint16_t)(n - 16));
    check(group_mod(datapath_bridge(w->dp, bridge, &f), body, n, &f), &f);
}

void world_frame(uint8_t *out, uint32_t len, uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport)
{
    static const uint8_t head[24] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17};
    memset(out, 0, len);
    memcpy(out, head, sizeof head);
    put16(out + 16, (uint16_t)(len - 14));
    put32(out + 26, src);
    put32(out + 30, dst);
    put16(out + 34, sport);
    put16(out + 36, dport);
    put16(out + 38, (uint16_t)(len - 34));
}

void world_inject(struct world *w, uint32_t bridge, uint32_t port, const uint8_t *frame, uint32_t len)
{
    fault f;
    check(datapath_inject(datapath_port(w->dp, bridge, port, &f), frame, len, NULL, &f), &f);
}

unsigned world_collect(struct world *w, uint32_t bridge, uint32_t port)
{
    static uint8_t frame[70000];
    struct vnet_hdr vnet;
    uint32_t len;
    fault f;
    struct port *p = datapath_port(w->dp, bridge, port, &f);
    unsigned n = 0;
    while (dummy_collect(p, frame, sizeof frame, &len, &vnet))
        n++;
    return n;
}

void world_run(struct world *w)
{
    for (;;) {
        while (worker_step(w->w))
            mailbox_drain(&w->dp->mail, w->dp);
        uint64_t next = scheduler_next(&w->w->sched);
        if (!next)
            break;
        if (next > clock_now())
            clock_warp(next - clock_now());
    }
    mailbox_drain(&w->dp->mail, w->dp);
}

struct wtenant *world_account(struct world *w, uint32_t tenant)
{
    return worker_tenant(w->w, w->dp->tenants[tenant]);
}
