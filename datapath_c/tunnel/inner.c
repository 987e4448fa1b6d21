#include "tunnel/inner.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "path/parse.h"

void inner_restore_offloads(struct packet *p, uint32_t mtu)
{
    if (packet_is_gso(p))
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
