#include "tunnel/neighbour.h"
#include "base/clock.h"
#include "base/hash.h"

uint32_t neighbour_clock(void)
{
    return (uint32_t)(clock_now() / clock_hz) + 1;
}

static uint32_t hash(const struct dp_addr *ip)
{
    uint32_t words[4], h = 0;
    memcpy(words, ip->ip, 16);
    for (int i = 0; i < 4; i++)
        h = hash_word(h, words[i]);
    return hash_finish(h);
}

struct neighbour *neighbour_find(struct neighbours *n, const struct dp_addr *ip, bool make)
{
    for (uint32_t i = hash(ip);; i++) {
        struct neighbour *e = &n->at[i % MAX_NEIGHBOURS];
        uint32_t use = atomic_load_explicit(&e->use, memory_order_acquire);
        if (use == NEIGHBOUR_FREE) {
            if (!make || atomic_load(&n->n) >= MAX_NEIGHBOURS * 3 / 4)
                return NULL;
            if (atomic_compare_exchange_strong(&e->use, &use, NEIGHBOUR_BEGUN)) {
                e->ip = *ip;
                atomic_store_explicit(&e->use, NEIGHBOUR_THERE, memory_order_release);
                atomic_fetch_add(&n->n, 1);
                return e;
            }
        }
        while (use == NEIGHBOUR_BEGUN) /* another worker's, between two stores */
            use = atomic_load_explicit(&e->use, memory_order_acquire);
        if (!memcmp(&e->ip, ip, sizeof *ip))
            return e;
    }
}

void neighbour_tell(struct neighbour *e, const uint8_t mac[6])
{
    uint64_t bytes = 0;
    memcpy(&bytes, mac, 6);
    atomic_store_explicit(&e->mac, bytes, memory_order_release);
    atomic_store_explicit(&e->heard, neighbour_clock(), memory_order_relaxed);
}
