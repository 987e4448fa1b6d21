/* Changing headers: set-field, push, pop, TTLs, with the checksums that follow (OpenFlow 1.3.5, 5.12). Each returns N_DROPS
 * when done, or why the packet must go. The packet has one reference. A field whose header the packet lacks is left alone:
 * instructions_check has seen to it that rules can't mean such a packet. */
#ifndef VSWITCH_HEADERS_H
#define VSWITCH_HEADERS_H
#include "base/packet.h"
#include "flow/fields.h"
#include "path/drops.h"

enum drop set_field(struct packet *p, enum field_id field, const uint8_t *value);
enum drop push_vlan(struct packet *p, uint16_t ethertype);
enum drop pop_vlan(struct packet *p);
enum drop push_mpls(struct packet *p, uint16_t ethertype);
enum drop pop_mpls(struct packet *p, uint16_t ethertype);
enum drop push_pbb(struct packet *p, uint16_t ethertype);
enum drop pop_pbb(struct packet *p);
enum drop set_mpls_ttl(struct packet *p, uint8_t ttl);
enum drop dec_mpls_ttl(struct packet *p);
enum drop set_nw_ttl(struct packet *p, uint8_t ttl);
enum drop dec_nw_ttl(struct packet *p);
enum drop copy_ttl_out(struct packet *p);
/* An AF packet's drop precedence rises by so many levels, to 3 at most (RFC 2597; OpenFlow 1.3.5, 5.7.1). */
void raise_drop_precedence(struct packet *p, uint8_t levels);
enum drop trunc_packet(struct packet *p, uint32_t len);
enum drop copy_ttl_in(struct packet *p);

#endif
