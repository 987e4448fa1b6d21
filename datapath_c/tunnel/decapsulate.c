#include "tunnel/decapsulate.h"
#include <smmintrin.h>
#include "base/bytes.h"
#include "base/step.h"
#include "flow/bridge.h"
#include "port/merge.h"
#include "tunnel/ask.h"
#include "tunnel/uplink.h"
#include "tunnel/vtep.h"
#include "tunnel/vxlan.h"

#define BACKLOG 256            /* frames of a VNI that wait for its tenant's turns: more would have left the caches when it is theirs */
#define MERGED_AT_ONCE 4       /* segments, 600 cycles each, before others may have the core */
#define TAKE_UNITS 2           /* of base/step.h, on virtual clocks: what a packet is told apart and decapsulated for */
#define TUNNELS 4              /* that a batch's packets are compared with: a power of two */
#define INNER_MIN 14           /* bytes */
#define ALIKE 64               /* bytes that are compared: the outer headers, and of the inner one up to its source address */
#define INNER_SOURCE (UPLINK_OVERHEAD + 6)

/* ---- the headers, one by one ---- */

/* Length of the outer headers of a frame for the VTEP, VXLAN's not included; 0 when it is none. */
static uint32_t outer_headers(const struct vtep *v, uint64_t mac, const struct packet *p)
{
    const uint8_t *d = p->data;
    uint32_t at = 14 + (d[14] & 15) * 4u, own;
    uint64_t to = 0;
    memcpy(&own, v->conf.local4.ip + 12, 4);
    memcpy(&to, d, 6);
    if (p->len < 14 + 20 + 8 + VXLAN_HEADER || get16(d + 12) != 0x0800 || d[14] >> 4 != 4 || at < 34 || at > 74 ||
        p->len < at + 8 + VXLAN_HEADER || d[23] != 17 || get16(d + 20) & 0x3fff || memcmp(d + 30, &own, 4) ||
        to != mac || get16(d + at + 2) != v->conf.port)
        return 0;
    uint32_t total = get16(d + 16), udp = get16(d + at + 4);
    return total >= at - 14 + udp && total <= p->len - 14 && udp >= 8 + VXLAN_HEADER ? at + 8 : 0;
}

/* The same of IPv6, without extension headers. */
static uint32_t outer_headers6(const struct vtep *v, uint64_t mac, const struct packet *p)
{
    const uint8_t *d = p->data;
    const uint32_t at = 14 + 40;
    uint64_t to = 0;
    memcpy(&to, d, 6);
    if (p->len < at + 8 + VXLAN_HEADER || d[14] >> 4 != 6 || d[20] != 17 || to != mac || memcmp(d + 38, v->conf.local6.ip, 16) ||
        v->conf.any6 || get16(d + at + 2) != v->conf.port)
        return 0;
    uint32_t udp = get16(d + at + 4);
    return udp <= get16(d + 18) && get16(d + 18) + at <= p->len && udp >= 8 + VXLAN_HEADER ? at + 8 : 0;
}

/* What an offloading sender left open in the inner frame is open still; of the outer one it doesn't matter. */
static void inner_offloads(struct packet *p, uint32_t outer)
{
    if (p->vnet.gso_type == VNET_GSO_NONE && p->vnet.flags & VNET_NEEDS_CSUM && p->vnet.csum_start >= outer + VXLAN_HEADER + 14)
        p->vnet.csum_start = (uint16_t)(p->vnet.csum_start - outer - VXLAN_HEADER);
    else
        p->vnet = (struct vnet_hdr){0};
}

/* ---- by the one before ---- */

/* Packets of one VNI from one remote, of which one was looked at header by header: the next ones are compared with it. */
struct tunnel {
    __m128i seen[ALIKE / 16];
    uint32_t len, inner;       /* bytes, of the whole frame and of the inner one */
    struct port *port;         /* NULL: there is none */
    struct wtenant *owner;
    struct dp_addr from;
};

struct demux {
    uint32_t vni;              /* of the packet that was looked at last */
    struct port *port;         /* NULL: nobody's, or none looked up yet */
    struct wtenant *owner;
    struct dp_addr from;
    uint64_t source;           /* MAC address that was learned there last */
    unsigned merged;           /* segments, in this batch */
    unsigned last;             /* of the tunnels */
    struct tunnel tunnels[TUNNELS];
};

/* What decides in outer_headers, and the VNI and the inner source address: not the outer source's MAC address, TOS, IP's identification, TTL
 * and checksum, the flags that aren't looked at, the UDP source port and checksum. */
static const uint8_t compared[ALIKE] __attribute__((aligned(16))) = {
    255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 255, 255, 255, 0,
    255, 255, 0, 0, 0x3f, 255, 0, 255, 0, 0, 255, 255, 255, 255, 255, 255,
    255, 255, 0, 0, 255, 255, 255, 255, 0, 0, 0x08, 0, 0, 0, 255, 255,
    255, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 0, 0};

/* Of 16 bytes. */
static inline __m128i differs(const struct tunnel *u, const uint8_t *d, unsigned i)
{
    __m128i mask = _mm_load_si128((const __m128i *)compared + i);
    return _mm_and_si128(_mm_xor_si128(_mm_loadu_si128((const __m128i *)d + i), u->seen[i]), mask);
}

/* Whether nothing that is compared differs; there is more memory than the frame. */
static inline bool is_like(const struct tunnel *u, const uint8_t *d)
{
    __m128i all = _mm_or_si128(_mm_or_si128(differs(u, d, 0), differs(u, d, 1)), _mm_or_si128(differs(u, d, 2), differs(u, d, 3)));
    return _mm_testz_si128(all, all);
}

static struct tunnel *tunnel_of(struct demux *d, const uint8_t *frame)
{
    d->last = (frame[29] ^ frame[48]) % TUNNELS;
    return &d->tunnels[d->last];
}

/* Nothing of it is elsewhere, and nothing was left open: so said the port, which therefore needn't be looked for. */
static inline bool is_plain(const struct packet *p)
{
    uint16_t wishes;           /* flags and gso_type */
    memcpy(&wishes, &p->vnet, sizeof wishes);
    return p->bare && !p->lender && !wishes;
}

static void remember(struct demux *d, const struct packet *p, uint32_t inner)
{
    struct tunnel *u = tunnel_of(d, p->data);
    memcpy(u->seen, p->data, ALIKE);
    u->len = p->len;
    u->inner = inner;
    u->port = d->port;
    u->owner = d->owner;
    u->from = d->from;
}

/* Of a plain packet whether only its length is another, or who sent it behind the remote; that is remembered then. */
static __attribute__((noinline)) bool is_alike(struct worker *w, struct tunnel *u, const struct packet *p)
{
    const uint8_t *d = p->data;
    uint32_t total = get16(d + 16), udp = get16(d + 38);
    if (p->len < ALIKE || udp < 8 + VXLAN_HEADER + INNER_MIN || total < 20 + udp || total > p->len - 14)
        return false;
    struct tunnel like = *u;
    memcpy((uint8_t *)like.seen + 16, d + 16, 2);
    memcpy((uint8_t *)like.seen + 38, d + 38, 2);
    memcpy((uint8_t *)like.seen + INNER_SOURCE, d + INNER_SOURCE, 6);
    like.len = p->len;
    like.inner = udp - 8 - VXLAN_HEADER;
    if (!is_like(&like, d))
        return false;
    if (memcmp((uint8_t *)u->seen + INNER_SOURCE, d + INNER_SOURCE, 6))
        vxlan_learn(u->port, d + INNER_SOURCE, &u->from, w->now_s);
    *u = like;
    return true;
}

/* Takes packets from the first on while they are of that tunnel, need nothing but to be decapsulated, and find room; returns how many. They
 * stay bare: what their keys have of the tunnel is read from the outer headers, which stay where they are (path/parse.c). */
static unsigned take_alike(struct worker *w, struct tunnel *u, struct packet **batch, unsigned n)
{
    struct rxq *q = &u->port->queues[0];
    struct packet_pool *pool = &u->owner->pool;
    uint32_t room = q->n < BACKLOG ? BACKLOG - q->n : 0, held = packet_pool_may_hold(pool), i = 0;
    room = room < held ? room : held;
    n = n < room ? n : room;
    struct packet **end = q->tail ? &q->tail->queued : &q->head;
    for (; i < n; i++) {
        struct packet *p = batch[i];
        if (!is_plain(p) || (__builtin_expect(p->len != u->len || !is_like(u, p->data), 0) && !is_alike(w, u, p)))
            break;
        p->pool = pool;
        p->data += UPLINK_OVERHEAD;
        p->len = u->inner;
        *end = p;
        end = &p->queued;
    }
    if (!i)
        return 0;
    *end = NULL;
    q->tail = batch[i - 1];
    q->n += i;
    return i;
}

/* ---- one by one ---- */

static struct wtenant *owner_of(struct worker *w, struct vtep *v, struct demux *d, uint32_t vni)
{
    if (d->port && d->vni == vni)
        return d->owner;
    d->vni = vni;
    d->source = 0;
    d->owner = vtep_owner(v, w, vni, &d->port);
    return d->owner;
}

static void learn(struct worker *w, struct demux *d, const uint8_t *frame, const struct dp_addr *from)
{
    uint64_t source = 0;
    memcpy(&source, frame + 6, 6);
    if (source == d->source && !memcmp(from, &d->from, sizeof *from))
        return;
    vxlan_learn(d->port, frame + 6, from, w->now_s);
    d->source = source;
    d->from = *from;
}

/* Behind what waits already, or as part of it where that is worth while: which may be since an earlier batch. */
static void queue(struct worker *w, struct demux *d, struct packet *p, bool merges)
{
    struct rxq *q = &d->port->queues[0];
    if (merges && q->tail && !q->tail->bare && merge_segment(q->tail, p)) {
        shm_port(w->dp, w->id, d->port->slot)->rx_merged++;
        d->merged++;
        packet_unref(p);
    } else {
        rxq_push(q, p);        /* there is room */
    }
}

/* Decapsulates, and queues for whom it is. Returns the tenant, or NULL when it is nobody's. What finds no room is dropped before more is
 * done for it. */
static struct wtenant *take_tunnelled(struct worker *w, struct vtep *v, struct demux *d, struct packet *p, uint32_t outer)
{
    const uint8_t *vxlan = p->data + outer;
    uint32_t end = outer - 8 + get16(vxlan - 4);       /* of UDP: short frames are padded */
    struct wtenant *t = NULL;
    if (end < outer + VXLAN_HEADER + INNER_MIN || !(vxlan[0] & 0x08))
        vtep_nobodys(w, p, DROP_BAD_TUNNEL);
    else if (!(t = owner_of(w, v, d, get32(vxlan + 4) >> 8)))
        vtep_nobodys(w, p, DROP_UNKNOWN_VNI);
    else if (d->port->queues[0].n >= BACKLOG || !packet_hand_over(p, &t->pool))
        vtep_lose(w, t, d->port, p);
    else {
        bool v6 = p->data[14] >> 4 == 6, merges = atomic_load_explicit(&d->port->merges, memory_order_relaxed);
        struct dp_addr from = {{[10] = 0xff, 0xff}};
        memcpy(from.ip + (v6 ? 0 : 12), p->data + (v6 ? 22 : 26), v6 ? 16 : 4);
        learn(w, d, vxlan + VXLAN_HEADER, &from);
        if (is_plain(p) && !merges && !v6 && outer + VXLAN_HEADER == UPLINK_OVERHEAD) {
            remember(d, p, end - UPLINK_OVERHEAD);
            p->len = end;
            packet_pull(p, UPLINK_OVERHEAD);
        } else {
            packet_whole(p);
            if (p->bare)
                packet_begin_key(p);
            inner_offloads(p, outer);
            p->len = end;
            packet_pull(p, outer + VXLAN_HEADER);
            struct key *k = &p->key.key;
            k->tunnel_id = htobe64(d->vni);
            memcpy(k->tun_src, from.ip, 16);
            memcpy(k->tun_dst, v6 ? v->conf.local6.ip : v->conf.local4.ip, 16);
        }
        queue(w, d, p, merges);
        worker_wake(w, &d->port->queues[0]);
    }
    return t;
}

/* ---- a batch ---- */

struct fed {                   /* whose the batch's packets are, and how many of each */
    unsigned n;
    struct {
        struct wtenant *owner;
        unsigned n;
    } at[BATCH];
};

static void note_owner(struct fed *f, struct wtenant *t, struct wtenant *owner, unsigned n)
{
    if (owner == t)
        return;
    unsigned i = 0;
    while (i < f->n && f->at[i].owner != owner)
        i++;
    if (i == f->n) {
        f->at[f->n].owner = owner;
        f->at[f->n++].n = 0;
        owner->fed = t->feeds = true;
    }
    f->at[i].n += n;
}

/* `n` packets' share of the time, `each`, is their tenant's rather than the turn's. */
static void charge_owner(struct worker *w, uint64_t *bucket, struct wtenant *owner, unsigned n, uint64_t each)
{
    uint64_t share = n * each;
    account_move(&w->clerk, bucket, &owner->account->cycles[DP_STAGE_TUNNEL], share);
    /* Not this turn's time, but theirs; unless they owe a slice already: else whoever floods the tunnel could have it received at
     * nobody's cost, and would never come to work off what was received. */
    if (!runqueue_owes(&w->sched.queue, &owner->subject.entity))
        w->turn_start += share;
    worker_charge(w, owner, share);
}

/* The first packets of those, by the one before them; 0 where they are not like it. */
static unsigned take_run(struct worker *w, struct wtenant *t, struct demux *d, struct packet **batch, unsigned n, struct fed *fed)
{
    struct tunnel *u = &d->tunnels[d->last];
    struct packet *from = batch[0];
    struct packet_pool *pool = from->pool;
    unsigned k = u->port ? take_alike(w, u, batch, n) : 0;
    if (!k && is_plain(from) && from->len >= ALIKE) {
        struct tunnel *other = tunnel_of(d, from->data);
        k = other != u && other->port ? take_alike(w, u = other, batch, n) : 0;
    }
    if (!k)
        return 0;
    pool->held -= k;
    u->owner->pool.held += k;
    worker_wake(w, &u->port->queues[0]);
    note_owner(fed, t, u->owner, k);
    return k;
}

unsigned uplink_receive(struct worker *w, struct wtenant *t, struct port *up, struct packet **batch, unsigned n, unsigned *kept)
{
    struct vtep *v = __atomic_load_n(&w->dp->vtep, __ATOMIC_ACQUIRE);
    if (!v || atomic_load_explicit(&v->uplink.port, memory_order_acquire) != up || w->id) {
        *kept = n;
        return n;
    }
    struct fed fed = {.n = 0};
    struct demux d;
    memset(&d, 0, offsetof(struct demux, tunnels));
    for (unsigned i = 0; i < TUNNELS; i++)
        d.tunnels[i].port = NULL;
    unsigned done = 0;
    *kept = 0;
    uint64_t *bucket = w->clerk.bucket, mac = uplink_mac(v, up);
    bool kernel = v->conf.uplink_device[0];
    worker_account(w, bucket);
    uint64_t before = w->now;
    while (done < n && d.merged < MERGED_AT_ONCE) {
        unsigned k = take_run(w, t, &d, batch + done, n - done, &fed);
        done += k;
        if (k)
            continue;
        struct packet *p = batch[done++];
        uint16_t type = p->len >= 42 ? get16(p->data + 12) : 0;
        uint32_t outer = type == 0x0800 ? outer_headers(v, mac, p) : type == 0x86dd ? outer_headers6(v, mac, p) : 0;
        if (outer) {
            struct wtenant *owner = take_tunnelled(w, v, &d, p, outer);
            if (owner)
                note_owner(&fed, t, owner, 1);
        } else if (!kernel && type && type != 0x0800 && ask_take(w, up, v, p)) {
            packet_unref(p);
        } else {
            batch[(*kept)++] = p;
        }
    }
    step_spend(done * TAKE_UNITS);
    worker_account(w, bucket);
    uint64_t each = (w->now - before) / done;
    for (unsigned i = 0; i < fed.n; i++)
        charge_owner(w, bucket, fed.at[i].owner, fed.at[i].n, each);
    return done;
}
