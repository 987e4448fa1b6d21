#include "flow/mac_table.h"
#include <stdlib.h>
#include <string.h>
#include "base/hash.h"

static uint64_t make_key(const uint8_t mac[6], uint16_t vlan)
{
    uint64_t k = 0;
    memcpy(&k, mac, 6);
    return k | (uint64_t)(vlan & 0xfff) << 48 | (uint64_t)1 << 63;
}

void mac_table_init(struct mac_table *t, uint32_t max)
{
    atomic_init(&t->entries, NULL);
    t->max = max;
    t->n_sets = 1;
    while (t->n_sets * MAC_SET < max * 2)
        t->n_sets *= 2;
    atomic_init(&t->n, 0);
    atomic_flag_clear(&t->lock);
}

void mac_table_destroy(struct mac_table *t)
{
    free(atomic_load(&t->entries));
    atomic_store(&t->entries, NULL);
}

static struct mac_entry *set_of(struct mac_table *t, struct mac_entry *entries, uint64_t key)
{
    return entries + (size_t)(hash_finish(hash_word(0, key)) & (t->n_sets - 1)) * MAC_SET;
}

static void lock(struct mac_table *t)
{
    while (atomic_flag_test_and_set_explicit(&t->lock, memory_order_acquire))
        __builtin_ia32_pause();
}

static void unlock(struct mac_table *t)
{
    atomic_flag_clear_explicit(&t->lock, memory_order_release);
}

static void clear(struct mac_table *t, struct mac_entry *e)
{
    atomic_store_explicit(&e->key, 0, memory_order_release);
    atomic_fetch_sub_explicit(&t->n, 1, memory_order_relaxed);
}

static void add(struct mac_table *t, uint64_t key, uint64_t value)
{
    lock(t);
    struct mac_entry *entries = atomic_load_explicit(&t->entries, memory_order_relaxed);
    if (!entries) {
        entries = calloc((size_t)t->n_sets * MAC_SET, sizeof *entries);
        if (!entries)
            goto out;
        atomic_store_explicit(&t->entries, entries, memory_order_release);
    }
    struct mac_entry *set = set_of(t, entries, key), *empty = NULL, *oldest = NULL;
    for (int i = 0; i < MAC_SET; i++) {
        uint64_t k = atomic_load_explicit(&set[i].key, memory_order_relaxed);
        if (k == key) {
            atomic_store_explicit(&set[i].value, value, memory_order_relaxed);
            goto out;
        }
        if (!k)
            empty = &set[i];
        else if (!oldest || (uint32_t)atomic_load(&set[i].value) < (uint32_t)atomic_load(&oldest->value))
            oldest = &set[i];
    }
    if (empty && atomic_load_explicit(&t->n, memory_order_relaxed) < t->max) {
        atomic_fetch_add_explicit(&t->n, 1, memory_order_relaxed);
    } else if (oldest) {
        /* A reader that finds the old key must not pair it with the new value: it looks at the key again. */
        atomic_store_explicit(&oldest->key, 0, memory_order_release);
        empty = oldest;
    } else {
        goto out;
    }
    atomic_store_explicit(&empty->value, value, memory_order_release);
    atomic_store_explicit(&empty->key, key, memory_order_release);
out:
    unlock(t);
}

void mac_learn(struct mac_table *t, const uint8_t mac[6], uint16_t vlan, uint32_t port, uint32_t now)
{
    uint64_t key = make_key(mac, vlan), value = (uint64_t)port << 32 | now;
    struct mac_entry *entries = atomic_load_explicit(&t->entries, memory_order_acquire);
    if (entries) {
        struct mac_entry *set = set_of(t, entries, key);
        for (int i = 0; i < MAC_SET; i++)
            if (atomic_load_explicit(&set[i].key, memory_order_acquire) == key &&
                atomic_load_explicit(&set[i].value, memory_order_relaxed) == value)
                return;
    }
    add(t, key, value);
}

uint32_t mac_lookup(struct mac_table *t, const uint8_t mac[6], uint16_t vlan, uint32_t now, uint32_t ageing)
{
    struct mac_entry *entries = atomic_load_explicit(&t->entries, memory_order_acquire);
    if (!entries)
        return 0;
    uint64_t key = make_key(mac, vlan);
    struct mac_entry *set = set_of(t, entries, key);
    for (int i = 0; i < MAC_SET; i++) {
        if (atomic_load_explicit(&set[i].key, memory_order_acquire) != key)
            continue;
        uint64_t value = atomic_load_explicit(&set[i].value, memory_order_acquire);
        if (atomic_load_explicit(&set[i].key, memory_order_relaxed) != key)
            return 0;
        return now - (uint32_t)value < ageing ? (uint32_t)(value >> 32) : 0;
    }
    return 0;
}

void mac_sweep(struct mac_table *t, uint32_t now, uint32_t ageing, uint32_t port)
{
    struct mac_entry *entries = atomic_load_explicit(&t->entries, memory_order_acquire);
    if (!entries || !atomic_load_explicit(&t->n, memory_order_relaxed))
        return;
    for (size_t i = 0; i < (size_t)t->n_sets * MAC_SET; i++) {
        if (!atomic_load_explicit(&entries[i].key, memory_order_relaxed))
            continue;
        lock(t);
        uint64_t value = atomic_load_explicit(&entries[i].value, memory_order_relaxed);
        if (atomic_load_explicit(&entries[i].key, memory_order_relaxed) &&
            (port == 0xffffffff || (port && value >> 32 == port) || now - (uint32_t)value >= ageing))
            clear(t, &entries[i]);
        unlock(t);
    }
}

uint32_t mac_list(struct mac_table *t, uint32_t now, struct dp_mac *out, uint32_t max)
{
    struct mac_entry *entries = atomic_load_explicit(&t->entries, memory_order_acquire);
    uint32_t n = 0;
    for (size_t i = 0; entries && i < (size_t)t->n_sets * MAC_SET && n < max; i++) {
        uint64_t key = atomic_load_explicit(&entries[i].key, memory_order_acquire);
        if (!key)
            continue;
        uint64_t value = atomic_load_explicit(&entries[i].value, memory_order_relaxed);
        memcpy(out[n].mac, &key, 6);
        out[n].vlan = key >> 48 & 0xfff;
        out[n].port_no = (uint32_t)(value >> 32);
        out[n].age = now - (uint32_t)value;
        n++;
    }
    return n;
}
