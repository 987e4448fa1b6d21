/* The flow key: every header field of a packet that a rule can match, as KEY_WORDS 64-bit words.
 *
 * Values are in network byte order and right-aligned in their member, except IPv4 addresses, which take the first four
 * bytes of ip_src and ip_dst (the rest is zero then). Fields that a packet doesn't have are zero: two packets that a rule
 * can tell apart have different keys. Members the OXM list doesn't name (bridge, vlan_inner) are what a cached
 * decision can depend on besides.
 *
 * The first CACHE_WORDS words are what a packet brings along. The rest is the pipeline's own (registers and the like): zero
 * when a walk through the tables begins, so that no cached decision depends on it, and not kept with packets. */
#ifndef VSWITCH_KEY_H
#define VSWITCH_KEY_H
#include <stdint.h>
#include <string.h>

#define KEY_WORDS 32
#define CACHE_WORDS 22

struct key {
    /* 0 */
    uint32_t in_port;      /* OpenFlow port number */
    uint32_t bridge;       /* bridge id, host order: never matched by a rule, always by a cache */
    /* 1 */
    uint64_t metadata;
    /* 2 */
    uint64_t tunnel_id;
    /* 3-6 */
    uint8_t tun_src[16];   /* IPv4 as ::ffff:a.b.c.d */
    uint8_t tun_dst[16];
    /* 7 */
    uint8_t eth_dst[6];
    uint16_t eth_type;     /* of the payload: what follows the VLAN tags */
    /* 8 */
    uint8_t eth_src[6];
    uint16_t vlan_vid;     /* outer tag, OFPVID_PRESENT | vid; 0 = untagged */
    /* 9 */
    uint8_t vlan_pcp;
    uint8_t mpls_tc;
    uint8_t mpls_bos;
    uint8_t ip_proto;
    uint8_t ip_dscp;
    uint8_t ip_ecn;
    uint8_t ip_frag;       /* KEY_FRAG_* */
    uint8_t ip_ttl;        /* or IPv6 hop limit: what dec-nw-ttl decides by */
    /* 10 */
    uint32_t mpls_label;
    uint8_t pbb_isid[3];
    uint8_t pbb_uca;
    /* 11-14 */
    uint8_t ip_src[16];    /* IPv4, IPv6, or ARP's sender */
    uint8_t ip_dst[16];
    /* 15 */
    union {
        uint16_t tp_src;
        struct {
            uint8_t icmp_type;
            uint8_t icmp_code;
        };
    };
    uint16_t tp_dst;
    uint16_t tcp_flags;
    uint16_t ipv6_exthdr;
    /* 16 */
    uint32_t ipv6_flabel;
    uint16_t arp_op;
    uint8_t mpls_ttl;
    uint8_t pad;
    /* 17-18 */
    uint8_t arp_sha[6];    /* or ND's source link-layer address */
    uint16_t sha_pad;
    uint8_t arp_tha[6];    /* or ND's target link-layer address */
    uint16_t tha_pad;
    /* 19-20 */
    uint8_t nd_target[16];
    /* 21 */
    uint32_t in_phy_port;
    uint16_t vlan_inner;   /* second tag's TCI, 0 = none */
    uint16_t vlan_inner_n; /* tags below the outer one, host order */
    /* 22-29 */
    uint32_t reg[16];
    /* 30 */
    uint32_t conj_id;
    uint32_t actset_output;/* port of the output action in the action set; OFPP_UNSET where there is none */
    /* 31 */
    uint32_t pkt_mark;
    uint32_t packet_type;  /* 0: Ethernet (OpenFlow 1.5.1, 7.2.3.11) */
};

_Static_assert(sizeof(struct key) == KEY_WORDS * 8, "struct key is made of whole words");

#define KEY_FRAG_ANY 1     /* the packet is a fragment */
#define KEY_FRAG_LATER 2   /* and not the first: it has no transport header */

union key_words {
    struct key key;
    uint64_t w[KEY_WORDS];
};

#endif
