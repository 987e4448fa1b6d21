#include "tunnel/ask.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "path/worker.h"
#include "tunnel/vtep.h"

#define ND_LENGTH 86           /* Ethernet, IPv6, message, target, one option with an Ethernet address */
#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_SOURCE 1            /* options: whose address it is */
#define ND_TARGET 2
#define ND_SOLICITED_OVERRIDE 0x60

static struct packet *begin(struct port_io *io, uint32_t len)
{
    struct packet *p = packet_alloc(io->pool);
    if (!p) {
        io->drops[DROP_NO_BUFFER]++;
        return NULL;
    }
    p->len = len;
    memset(p->data, 0, len);
    return p;
}

/* ---- ARP ---- */

/* `mac`: whom it answers, or NULL: it asks everybody. */
static void send_arp(struct port *up, const struct vtep *v, struct port_io *io, const uint8_t *mac, const uint8_t ip[4])
{
    static const uint8_t start[8] = {0, 1, 8, 0, 6, 4, 0, 0};
    struct packet *p = begin(io, 60);
    if (!p)
        return;
    uint8_t *d = p->data;
    memset(d, 0xff, 6);
    if (mac)
        memcpy(d, mac, 6);
    memcpy(d + 6, up->conf.mac, 6);
    put16(d + 12, 0x0806);
    memcpy(d + 14, start, 8);
    put16(d + 20, mac ? 2 : 1);
    memcpy(d + 22, up->conf.mac, 6);
    memcpy(d + 28, v->conf.local4.ip + 12, 4);
    if (mac)
        memcpy(d + 32, mac, 6);
    memcpy(d + 38, ip, 4);
    up->ops->tx(up, io, &p, 1);
}

static bool take_arp(struct worker *w, struct port *up, struct vtep *v, const struct packet *p)
{
    static const uint8_t start[6] = {0, 1, 8, 0, 6, 4};
    const uint8_t *a = p->data + 14;
    struct dp_addr sender = {{[10] = 0xff, 0xff}};
    if (memcmp(a, start, 6) || !address_is_set(&v->conf.local4))
        return false;
    memcpy(sender.ip + 12, a + 14, 4);
    struct neighbour *e = neighbour_find(&v->uplink.neighbours, &sender, false);
    if (e && !(a[8] & 1))
        neighbour_tell(e, a + 8);
    if (memcmp(a + 24, v->conf.local4.ip + 12, 4))
        return false;
    if (get16(a + 6) == 1) {
        struct port_io io = worker_io(w, up);
        send_arp(up, v, &io, a + 8, a + 14);
    }
    return true;
}

/* ---- neighbour discovery ---- */

static uint16_t icmp_checksum(const uint8_t *ip)
{
    uint32_t len = get16(ip + 4);
    return (uint16_t)~csum_fold(csum_partial(ip + 40, len, csum_pseudo(ip + 8, ip + 24, true, 58, len)));
}

/* `to`: whom it answers, `to_ip` its address; or NULL: it asks who has `target`. */
static void send_nd(struct port *up, const struct vtep *v, struct port_io *io, const uint8_t *to, const uint8_t *to_ip, const uint8_t *target)
{
    static const uint8_t solicited_node[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
    struct packet *p = begin(io, ND_LENGTH);
    if (!p)
        return;
    uint8_t *d = p->data, *ip = d + 14, *m = ip + 40;
    if (to) {
        memcpy(d, to, 6);
        memcpy(ip + 24, to_ip, 16);
    } else {
        memcpy(ip + 24, solicited_node, 13);
        memcpy(ip + 37, target + 13, 3);
        d[0] = d[1] = 0x33;
        memcpy(d + 2, ip + 36, 4);
    }
    memcpy(d + 6, up->conf.mac, 6);
    put16(d + 12, 0x86dd);
    ip[0] = 0x60;
    put16(ip + 4, 32);
    ip[6] = 58;
    ip[7] = 255;
    memcpy(ip + 8, v->conf.local6.ip, 16);
    m[0] = to ? ND_ADVERTISEMENT : ND_SOLICITATION;
    m[4] = to ? ND_SOLICITED_OVERRIDE : 0;
    memcpy(m + 8, target, 16);
    m[24] = to ? ND_TARGET : ND_SOURCE;
    m[25] = 1;
    memcpy(m + 26, up->conf.mac, 6);
    uint16_t sum = icmp_checksum(ip);
    memcpy(m + 2, &sum, 2);
    up->ops->tx(up, io, &p, 1);
}

/* The Ethernet address in an option, or NULL. */
static const uint8_t *nd_option(const uint8_t *m, uint32_t len, uint8_t type)
{
    for (uint32_t at = 24; at + 8 <= len && m[at + 1]; at += m[at + 1] * 8u)
        if (m[at] == type)
            return m + at + 2;
    return NULL;
}

/* RFC 4861, 7.1.1 and 7.1.2: what else is no solicitation, resp. advertisement, that counts. */
static bool nd_is_valid(const struct packet *p)
{
    const uint8_t *ip = p->data + 14, *m = ip + 40;
    uint32_t len = get16(ip + 4);
    return ip[7] == 255 && len >= 24 && len <= p->len - 54 && !m[1] && m[8] != 0xff &&
           (p->vnet.flags & VNET_NEEDS_CSUM || !icmp_checksum(ip));
}

static bool take_nd(struct worker *w, struct port *up, struct vtep *v, const struct packet *p)
{
    const uint8_t *ip = p->data + 14, *m = ip + 40, *mac;
    struct dp_addr who;
    if (p->len < 78 || ip[6] != 58 || (m[0] != ND_SOLICITATION && m[0] != ND_ADVERTISEMENT) || !address_is_set(&v->conf.local6) ||
        !nd_is_valid(p))
        return false;
    bool asks = m[0] == ND_SOLICITATION, ours = !memcmp(asks ? m + 8 : ip + 24, v->conf.local6.ip, 16);
    memcpy(who.ip, asks ? ip + 8 : m + 8, 16);
    mac = nd_option(m, get16(ip + 4), asks ? ND_SOURCE : ND_TARGET);
    struct neighbour *e = neighbour_find(&v->uplink.neighbours, &who, false);
    if (e && mac && !(mac[0] & 1))
        neighbour_tell(e, mac);
    if (ours && asks && address_is_set(&who)) {        /* who has no address yet looks whether somebody has the one that it wants */
        struct port_io io = worker_io(w, up);
        send_nd(up, v, &io, p->data + 6, ip + 8, m + 8);
    }
    return ours;
}

void ask_send(struct port *up, const struct vtep *v, struct port_io *io, const struct dp_addr *ip)
{
    if (address_is_v6(ip))
        send_nd(up, v, io, NULL, NULL, ip->ip);
    else
        send_arp(up, v, io, NULL, ip->ip + 12);
}

bool ask_take(struct worker *w, struct port *up, struct vtep *v, const struct packet *p)
{
    uint16_t type = get16(p->data + 12);
    return type == 0x0806 ? take_arp(w, up, v, p) : type == 0x86dd && take_nd(w, up, v, p);
}
