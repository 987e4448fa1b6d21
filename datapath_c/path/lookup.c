#include "path/lookup.h"
#include "base/step.h"
#include "path/turn.h"

#define DEFAULT_MEGAFLOWS 65536

struct cache *lookup_cache(const struct worker *w, struct wtenant *t)
{
    if (w->dp->no_caches)
        return NULL;
    if (!t->cache)
        t->cache = cache_new(t->tenant->conf.max_megaflows ? t->tenant->conf.max_megaflows : DEFAULT_MEGAFLOWS);
    return t->cache;
}

_Static_assert(BATCH <= CACHE_BURST, "a batch is looked up at once");

void lookup(struct worker *w, struct wtenant *t, struct packet **packets, unsigned n, struct megaflow **hits)
{
    struct cache *c = lookup_cache(w, t);
    /* G1: pairs with tenant_changed (G0). These packets have been received, so they came before this moment. */
    uint64_t generation = atomic_load_explicit(&t->tenant->generation, memory_order_acquire);
    uint64_t emc = c ? c->emc_hits : 0, mega = c ? c->megaflow_hits : 0;
    const union key_words *keys[CACHE_BURST];
    for (unsigned i = 0; i < n; i++)
        keys[i] = &packets[i]->key;
    for (unsigned i = 0, k; i < n; i += k) {
        k = n - i < turn_chunk(w) ? n - i : turn_chunk(w);
        if (w->watchful)
            step((int32_t)k);
        else
            step_spend(k);
        if (c)
            cache_lookup_all(c, keys + i, k, hits + i);
    }
    struct megaflow *last = NULL;
    for (unsigned i = 0; i < n; i++) {
        struct megaflow *m = c ? hits[i] : NULL;
        if (m == last && m)
            continue;
        if (!m || m->generation != generation) {
            hits[i] = NULL;
            continue;
        }
        last = m;
        m->used = w->now;
        if (cache_by_port(m) && m->program->raw) {
            struct stage *s = &packets[i]->rx_port->stages[w->id];
            s->direct = m;
            s->direct_serial = m->serial;
        }
    }
    if (c) {
        t->account->emc_hits += c->emc_hits - emc;
        t->account->megaflow_hits += c->megaflow_hits - mega;
    }
}
struct megaflow *lookup_direct(struct worker *w, struct wtenant *t, struct port *in)
{
    struct stage *s = &in->stages[w->id];
    struct megaflow *m = s->direct;
    /* G1, as above. */
    uint64_t generation = atomic_load_explicit(&t->tenant->generation, memory_order_acquire);
    /* The same megaflow may have got another program since. */
    if (!m || m->serial != s->direct_serial || m->generation != generation || !m->program->raw || w->dp->no_caches)
        return NULL;
    m->used = w->now;
    return m;
}
/* Next: act() for a hit, slow_path() for a miss. */
