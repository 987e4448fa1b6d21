/* Learned addresses of one bridge: (MAC, VLAN) to port number. Sets of eight; a full set forgets its oldest.
 *
 * Any worker may learn and look up at any time; lookups take no lock. What a lookup returns was true at some moment during
 * the call. */
#ifndef VSWITCH_MAC_TABLE_H
#define VSWITCH_MAC_TABLE_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "channel/contract.h"

#define MAC_SET 8

struct mac_entry {
    _Atomic uint64_t key;      /* 1 << 63 | vlan << 48 | address; 0 = empty */
    _Atomic uint64_t value;    /* port << 32 | second last seen */
};

struct mac_table {
    struct mac_entry *_Atomic entries;     /* NULL until the first address is learned */
    uint32_t n_sets;
    uint32_t max;
    _Atomic uint32_t n;
    atomic_flag lock;          /* held by whoever adds or moves an address */
};

void mac_table_init(struct mac_table *t, uint32_t max);
void mac_table_destroy(struct mac_table *t);
/* Notes that `mac` (unicast) was seen on `port`. `now` in seconds. */
void mac_learn(struct mac_table *t, const uint8_t mac[6], uint16_t vlan, uint32_t port, uint32_t now);
/* The port of an address seen less than `ageing` seconds ago, or 0. */
uint32_t mac_lookup(struct mac_table *t, const uint8_t mac[6], uint16_t vlan, uint32_t now, uint32_t ageing);
/* Forgets what has aged, and all of `port` (0 = no port in particular, 0xffffffff = everything). Main thread. */
void mac_sweep(struct mac_table *t, uint32_t now, uint32_t ageing, uint32_t port);
/* Copies up to `max` addresses; returns how many there were. */
uint32_t mac_list(struct mac_table *t, uint32_t now, struct dp_mac *out, uint32_t max);

#endif
