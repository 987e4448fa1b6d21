#include "flow/id_map.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/defer.h"

/* Where `id` is, or would be. */
static uint32_t place(const struct id_map *m, uint32_t id)
{
    uint32_t low = 0, high = m ? m->n : 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (m->at[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void *id_map_find(id_map_ref *ref, uint32_t id)
{
    const struct id_map *m = atomic_load_explicit(ref, memory_order_acquire);
    uint32_t i = place(m, id);
    return m && i < m->n && m->at[i].id == id ? m->at[i].object : NULL;
}

int id_map_set(id_map_ref *ref, uint32_t id, void *object)
{
    struct id_map *old = atomic_load_explicit(ref, memory_order_relaxed);
    uint32_t n = old ? old->n : 0, i = place(old, id);
    bool there = i < n && old->at[i].id == id;
    struct id_map *new = malloc(sizeof *new + (n + 1) * sizeof new->at[0]);
    if (!new)
        return -ENOMEM;
    if (i)
        memcpy(new->at, old->at, i * sizeof new->at[0]);
    new->n = i;
    if (object)
        new->at[new->n++] = (struct id_entry){id, object};
    uint32_t rest = i + there;
    if (rest < n)
        memcpy(new->at + new->n, old->at + rest, (n - rest) * sizeof new->at[0]);
    new->n += n - rest;
    atomic_store_explicit(ref, new, memory_order_release);
    if (old)
        defer(free, old);
    return 0;
}

void id_map_free(id_map_ref *ref)
{
    free(atomic_load_explicit(ref, memory_order_relaxed));
    atomic_store_explicit(ref, NULL, memory_order_relaxed);
}
