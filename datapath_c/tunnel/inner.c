#include "tunnel/inner.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "path/parse.h"

/* Whether the checksum of plain UDP or TCP over IPv4 is as a sender leaves it that has its device fill it in. Anything but such a frame may
 * be. Most are not, and needn't be parsed to know. */
static bool may_be_open(const struct packet *p)
{
    const uint8_t *ip = p->data + 14;
    uint32_t total = p->len >= 54 ? get16(ip + 2) : 0;
    if (p->len < 54 || get16(p->data + 12) != 0x0800 || ip[0] != 0x45 || get16(ip + 6) & 0x3fff || (ip[9] != 6 && ip[9] != 17) ||
        total < 28 || total > p->len - 14)
        return true;
    uint16_t field;
    memcpy(&field, ip + 20 + (ip[9] == 6 ? 16 : 6), 2);
    /* Zero is no sum of these, and UDP without a checksum. */
    return field && field == csum_fold(csum_pseudo(ip + 12, ip + 16, false, ip[9], total - 20));
}

void inner_restore_offloads(struct packet *p, uint32_t mtu)
{
    if (packet_is_gso(p) || !may_be_open(p))
        return;
    parse(p);
    const struct key *k = &p->key.key;
    if (p->l4 == OFFSET_NONE || k->ip_frag || (k->ip_proto != 6 && k->ip_proto != 17))
        return;
    uint8_t *ip = p->data + p->l3, *l4 = p->data + p->l4;
    bool v6 = ip[0] >> 4 == 6, tcp = k->ip_proto == 6;
    uint32_t l4_len = p->len - p->l4, in_ip = v6 ? 40u + get16(ip + 4) : get16(ip + 2);
    if (p->l3 + in_ip > p->len || p->l3 + in_ip < p->l4 || l4_len < (tcp ? 20u : 8u))
        return;
    l4_len = p->l3 + in_ip - p->l4;
    uint16_t field, open = csum_fold(csum_pseudo(ip + (v6 ? 8 : 12), ip + (v6 ? 24 : 16), v6, k->ip_proto, l4_len));
    memcpy(&field, l4 + (tcp ? 16 : 6), 2);
    if (field != open)
        return;
    p->vnet = (struct vnet_hdr){.flags = VNET_NEEDS_CSUM, .csum_start = p->l4, .csum_offset = tcp ? 16 : 6};
    uint32_t headers = p->l4 - p->l3 + (l4[12] >> 4) * 4u;
    if (!tcp || in_ip <= mtu || mtu <= headers)
        return;
    p->vnet.gso_type = v6 ? VNET_GSO_TCPV6 : VNET_GSO_TCPV4;
    p->vnet.gso_size = (uint16_t)(mtu - headers);
    p->vnet.hdr_len = (uint16_t)(p->l3 + headers);
}

uint32_t inner_hash_other(const struct packet *p)
{
    const uint8_t *d = p->data;
    uint16_t type = get16(d + 12);
    uint32_t at = 14, h;
    if ((type == 0x8100 || type == 0x88a8) && p->len >= 18) {
        type = get16(d + 16);
        at = 18;
    }
    const uint8_t *ip = d + at;
    if (type == 0x0800 && p->len >= at + 24 && ip[0] == 0x45) {
        h = inner_hash_ipv4(ip);
    } else if (type == 0x86dd && p->len >= at + 44) {
        h = hash_word(hash_word(ip[6], inner_load(ip + 8, 8)), inner_load(ip + 16, 8));
        h = hash_word(hash_word(h, inner_load(ip + 24, 8)), inner_load(ip + 32, 8));
        if (inner_has_ports(ip[6]))
            h = hash_word(h, inner_load(ip + 40, 4));
    } else {
        h = hash_word(hash_word(0, inner_load(d, 8)), inner_load(d + 8, 6));
    }
    return hash_finish(h);
}
