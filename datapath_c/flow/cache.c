#include "flow/cache.h"
#include <stdlib.h>
#include <sys/mman.h>
#include "base/hash.h"
#include "base/step.h"

#define ROOM_CHOICE 8          /* flows of which one makes room */

#define EMC_FIRST 1024             /* places at the beginning */
#define EMC_TRIM 2048              /* whose memory goes back at a time */

struct cache *cache_new(uint32_t max_flows)
{
    struct cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->max_flows = max_flows;
    c->max_bytes = (uint64_t)max_flows * CACHE_FLOW_BYTES;
    c->emc_mask = EMC_FIRST - 1;
    c->emc = mmap(NULL, CACHE_EMC_MAX * sizeof *c->emc, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (c->emc != MAP_FAILED && flow_room_init(&c->room, max_flows))
        return c;
    if (c->emc != MAP_FAILED)
        munmap(c->emc, CACHE_EMC_MAX * sizeof *c->emc);
    free(c);
    return NULL;
}

static void free_table(struct mask_table *t)
{
    free(t->slots);
    free(t);
}

void cache_free(struct cache *c)
{
    cache_clear(c);
    flow_room_destroy(&c->room);
    munmap(c->emc, CACHE_EMC_MAX * sizeof *c->emc);
    free(c);
}

uint32_t key_hash(const union key_words *k)
{
    /* Three chains, because the instruction takes three cycles and one can start each cycle. Words that seldom differ
     * between flows (metadata, tunnel source, ND) are left out: the megaflow's own comparison decides. */
    uint32_t a = hash_word(0, k->w[0]), b = hash_word(1, k->w[7]), c = hash_word(2, k->w[8]);
    a = hash_word(a, k->w[11]);
    b = hash_word(b, k->w[13]);
    c = hash_word(c, k->w[15]);
    a = hash_word(a, k->w[12]);
    b = hash_word(b, k->w[14]);
    c = hash_word(c, k->w[2] ^ k->w[9]);
    return hash_finish(hash_word(a, (uint64_t)b << 32 | c));
}

static bool matches(const struct megaflow *m, const union key_words *k)
{
    const struct mask_table *t = m->masks;
    unsigned n = 0;
    uint64_t differ = 0;
    for (uint32_t map = t->map; map; map &= map - 1, n++)
        differ |= (k->w[__builtin_ctz(map)] & t->mask[n]) ^ m->value[n];
    return !differ;
}

static uint32_t masked(const struct mask_table *t, const union key_words *k, uint64_t *value)
{
    uint32_t h = 0;
    unsigned n = 0;
    for (uint32_t map = t->map; map; map &= map - 1, n++) {
        value[n] = k->w[__builtin_ctz(map)] & t->mask[n];
        h = hash_word(h, value[n]);
    }
    return hash_finish(h);
}

/* A slot that was taken: probing goes on past it. */
static struct megaflow tombstone;

static bool equal(const uint64_t *a, const uint64_t *b, unsigned n)
{
    uint64_t differ = 0;
    for (unsigned i = 0; i < n; i++)
        differ |= a[i] ^ b[i];
    return !differ;
}

static struct megaflow *find(const struct mask_table *t, const uint64_t *value, uint32_t hash)
{
    for (uint32_t i = hash & (t->size - 1);; i = (i + 1) & (t->size - 1)) {
        struct megaflow *m = t->slots[i];
        if (!m)
            return NULL;
        if (m != &tombstone && m->hash == hash && equal(m->value, value, t->n_words))
            return m;
        step(1);
    }
}

/* Masks that hit more come first. */
static void rank(struct cache *c)
{
    for (uint32_t i = 1; i < c->n_tables; i++) {
        step(2);
        for (uint32_t j = i; j > 0 && c->tables[j]->hits > c->tables[j - 1]->hits; j--) {
            struct mask_table *t = c->tables[j];
            c->tables[j] = c->tables[j - 1];
            c->tables[j - 1] = t;
        }
    }
    for (uint32_t i = 0; i < c->n_tables; i++)
        c->tables[i]->hits /= 2;
    c->since_ranked = 0;
}

struct megaflow *cache_lookup_masks(struct cache *c, const union key_words *k)
{
    if (++c->since_ranked > 65536)
        rank(c);
    for (uint32_t i = 0; i < c->n_tables; i++) {
        struct mask_table *t = c->tables[i];
        uint64_t value[CACHE_WORDS];
        if (i % 4 == 3)
            step(4 * STEP_PROBE);
        uint32_t hash = masked(t, k, value);
        struct megaflow *m = find(t, value, hash);
        if (m) {
            t->hits++;
            return m;
        }
    }
    return NULL;
}

bool cache_by_port(const struct megaflow *m)
{
    return m->masks->map == 1;
}

/* Remembers a hit. Where all ways are taken, one of them goes; when that has happened to many, more places are used: what was
 * remembered in the wrong half then is found anew. */
static void emc_put(struct cache *c, uint32_t hash, struct megaflow *m)
{
    struct emc_entry *e = c->emc[hash & c->emc_mask].at;
    unsigned way = 0;
    while (way < CACHE_EMC_WAYS && e[way].megaflow && e[way].hash != hash)
        way++;
    if (way == CACHE_EMC_WAYS) {
        way = c->emc_evictions++ % CACHE_EMC_WAYS;
        if (c->emc_evictions > c->emc_mask && c->emc_mask + 1 < CACHE_EMC_MAX) {
            c->emc_mask = c->emc_mask * 2 + 1;
            c->emc_evictions = 0;
        }
    }
    e[way] = (struct emc_entry){hash, m->serial, m};
    if (c->emc_used <= c->emc_mask)
        c->emc_used = c->emc_mask + 1;
}

static const struct emc_entry *emc_find(const struct cache *c, uint32_t hash)
{
    const struct emc_entry *e = c->emc[hash & c->emc_mask].at;
    for (unsigned way = 0; way < CACHE_EMC_WAYS; way++)
        if (e[way].hash == hash && e[way].megaflow)
            return &e[way];
    return NULL;
}

static struct megaflow *lookup_masks_and_remember(struct cache *c, const union key_words *k, uint32_t hash)
{
    struct megaflow *m = cache_lookup_masks(c, k);
    if (m) {
        c->megaflow_hits++;
        emc_put(c, hash, m);
    }
    return m;
}

struct megaflow *cache_lookup(struct cache *c, const union key_words *k, uint32_t hash)
{
    const struct emc_entry *e = emc_find(c, hash);
    if (e && e->megaflow->serial == e->serial && matches(e->megaflow, k)) {
        c->emc_hits++;
        return e->megaflow;
    }
    return lookup_masks_and_remember(c, k, hash);
}

/* Which of the keys agree with a megaflow: bit i of the result. A word at a time, so that each is loaded once. */
static uint32_t agree(const struct mask_table *t, const struct megaflow *m, const union key_words *const *keys, unsigned n)
{
    uint64_t differ[CACHE_BURST] = {0};
    for (unsigned j = 0; j < t->n_words; j++) {
        uint64_t mask = t->mask[j], value = m->value[j];
        size_t word = t->word[j];
        for (unsigned i = 0; i < n; i++)
            differ[i] |= (keys[i]->w[word] & mask) ^ value;
    }
    uint32_t same = 0;
    for (unsigned i = 0; i < n; i++)
        same |= (uint32_t)!differ[i] << i;
    return same;
}

/* The hash of each key's masked words, as masked() has it. */
static void hash_all(const struct mask_table *t, const union key_words *const *keys, unsigned n, uint32_t *hash)
{
    memset(hash, 0, n * sizeof *hash);
    for (unsigned j = 0; j < t->n_words; j++) {
        uint64_t mask = t->mask[j];
        size_t word = t->word[j];
        for (unsigned i = 0; i < n; i++)
            hash[i] = hash_word(hash[i], keys[i]->w[word] & mask);
    }
    for (unsigned i = 0; i < n; i++) {
        hash[i] = hash_finish(hash[i]);
        __builtin_prefetch(&t->slots[hash[i] & (t->size - 1)]);
    }
}

/* The table's megaflow of a key with this hash, or NULL. */
static struct megaflow *find_key(const struct mask_table *t, const union key_words *k, uint32_t hash)
{
    for (uint32_t i = hash & (t->size - 1);; i = (i + 1) & (t->size - 1)) {
        struct megaflow *m = t->slots[i];
        if (!m)
            return NULL;
        if (m->hash == hash && m != &tombstone) {
            uint64_t differ = 0;
            for (unsigned j = 0; j < t->n_words; j++)
                differ |= (k->w[t->word[j]] & t->mask[j]) ^ m->value[j];
            if (!differ)
                return m;
        }
        step(1);
    }
}

static void lookup_one_mask(struct cache *c, const union key_words *const *keys, unsigned n, struct megaflow **out)
{
    struct mask_table *t = c->tables[0];
    struct megaflow *recent = t->recent;
    unsigned hits = n;
    if (recent && agree(t, recent, keys, n) == (uint32_t)((1ull << n) - 1)) {
        for (unsigned i = 0; i < n; i++)
            out[i] = recent;
    } else {
        uint32_t hash[CACHE_BURST];
        hash_all(t, keys, n, hash);
        for (unsigned i = 0; i < n; i++) {
            uintptr_t m = (uintptr_t)t->slots[hash[i] & (t->size - 1)];    /* may be NULL, of which there is no next line */
            __builtin_prefetch((const void *)m);
            __builtin_prefetch((const void *)(m + 64));
        }
        hits = 0;
        for (unsigned i = 0; i < n; i++) {
            out[i] = find_key(t, keys[i], hash[i]);
            hits += out[i] != NULL;
            if (out[i]) {
                __builtin_prefetch(out[i]->program);
                __builtin_prefetch(out[i]->counted, 1);
            }
        }
        /* Where flows are many, a look at one of them isn't worth it. */
        t->recent = n && out[0] && out[n - 1] == out[0] ? out[0] : NULL;
    }
    c->megaflow_hits += hits;
    t->hits += hits;
}

void cache_lookup_all(struct cache *c, const union key_words *const *keys, unsigned n, struct megaflow **out)
{
    if (c->n_tables == 1) {
        lookup_one_mask(c, keys, n, out);
        return;
    }
    if (!cache_is_exact_first(c)) {
        for (unsigned i = 0; i < n; i++)
            c->megaflow_hits += (out[i] = cache_lookup_masks(c, keys[i])) != NULL;
        return;
    }
    uint32_t hash[CACHE_BURST];
    const struct emc_entry *found[CACHE_BURST];
    for (unsigned i = 0; i < n; i++) {
        hash[i] = key_hash(keys[i]);
        __builtin_prefetch(&c->emc[hash[i] & c->emc_mask]);
    }
    for (unsigned i = 0; i < n; i++)
        if ((found[i] = emc_find(c, hash[i]))) {
            __builtin_prefetch(found[i]->megaflow);
            __builtin_prefetch((const void *)((uintptr_t)found[i]->megaflow + 64));
        }
    for (unsigned i = 0; i < n; i++) {
        struct megaflow *m = found[i] ? found[i]->megaflow : NULL;
        out[i] = m && m->serial == found[i]->serial && matches(m, keys[i]) ? m : NULL;
        if (out[i]) {
            __builtin_prefetch(m->program);
            __builtin_prefetch(m->counted, 1);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        if (out[i])
            c->emc_hits++;
        else
            out[i] = lookup_masks_and_remember(c, keys[i], hash[i]);
    }
}

static struct megaflow *alloc_flow(struct cache *c)
{
    struct megaflow *m = flow_room_take(&c->room);
    if (m)
        m->serial = ++c->next_serial ? c->next_serial : ++c->next_serial;   /* 0: in no use */
    return m;
}

static void set_program(struct cache *c, struct megaflow *m, struct program *program)
{
    c->bytes -= m->program ? m->program->size : 0;
    c->bytes += program ? program->size : 0;
    free(m->program);
    m->program = program;
}

static void release_flow(struct cache *c, struct megaflow *m)
{
    set_program(c, m, NULL);
    m->serial = 0;
    flow_room_give(&c->room, m);
    c->n_flows--;
}

static void drop_table(struct cache *c, struct mask_table *t)
{
    uint32_t i = 0;
    while (c->tables[i] != t)
        i++;
    memmove(&c->tables[i], &c->tables[i + 1], (c->n_tables - i - 1) * sizeof c->tables[0]);
    c->n_tables--;
    c->sweep_slot = 0;
    free_table(t);
}

void cache_remove(struct cache *c, struct megaflow *m)
{
    struct mask_table *t = m->masks;
    t->recent = NULL;
    for (uint32_t i = m->hash & (t->size - 1);; i = (i + 1) & (t->size - 1))
        if (t->slots[i] == m) {
            t->slots[i] = &tombstone;
            break;
        }
    release_flow(c, m);
    if (--t->n == 0)
        drop_table(c, t);
}

void cache_clear(struct cache *c)
{
    while (c->n_tables) {
        struct mask_table *t = c->tables[c->n_tables - 1];
        for (uint32_t i = 0; i < t->size; i++)
            if (t->slots[i] && t->slots[i] != &tombstone)
                release_flow(c, t->slots[i]);
        c->n_tables--;
        free_table(t);
    }
    c->sweep_table = c->sweep_slot = 0;
}

static struct mask_table *get_table(struct cache *c, const uint64_t wc[CACHE_WORDS])
{
    uint32_t map = 0;
    uint64_t mask[CACHE_WORDS];
    uint8_t word[CACHE_WORDS];
    unsigned n = 0;
    for (int i = 0; i < CACHE_WORDS; i++)
        if (wc[i]) {
            map |= 1u << i;
            word[n] = (uint8_t)i;
            mask[n++] = wc[i];
        }
    for (uint32_t i = 0; i < c->n_tables; i++)
        if (c->tables[i]->map == map && !memcmp(c->tables[i]->mask, mask, n * 8))
            return c->tables[i];
    static const uint64_t all_ones[CACHE_WORDS] = {[0 ... CACHE_WORDS - 1] = UINT64_MAX};
    if (c->n_tables >= CACHE_MAX_MASKS && memcmp(wc, all_ones, sizeof all_ones))
        return get_table(c, all_ones);
    struct mask_table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->map = map;
    t->n_words = n;
    memcpy(t->mask, mask, n * 8);
    memcpy(t->word, word, n);
    t->size = 16;
    t->slots = calloc(t->size, sizeof t->slots[0]);
    if (!t->slots) {
        free(t);
        return NULL;
    }
    c->tables[c->n_tables++] = t;
    return t;
}

static void put(struct mask_table *t, struct megaflow *m)
{
    uint32_t i = m->hash & (t->size - 1);
    while (t->slots[i] && t->slots[i] != &tombstone)
        i = (i + 1) & (t->size - 1);
    if (!t->slots[i])
        t->used++;
    t->slots[i] = m;
}

static bool grow(struct mask_table *t)
{
    if (t->used + 1 <= t->size / 2)
        return true;
    uint32_t old_size = t->size, size = 16;
    while (size < (t->n + 1) * 4)
        size *= 2;
    struct megaflow **old = t->slots, **new = calloc(size, sizeof *new);
    if (!new)
        return t->used + 1 < t->size;
    /* The old slots serve until the new ones are full: between two steps the turn may be given up. */
    struct mask_table next = {.slots = new, .size = size};
    for (uint32_t i = 0; i < old_size && !step_ending(); i++) {
        if (i % 4 == 3)
            step(2);
        if (old[i] && old[i] != &tombstone)
            put(&next, old[i]);
    }
    if (step_ending()) {
        free(new);
        return t->used + 1 < t->size;
    }
    t->slots = new;
    t->size = size;
    t->used = next.used;
    free(old);
    return true;
}

/* Removes what was used longest ago among the next few. Returns where it was: no flow any more. */
static const struct megaflow *make_room(struct cache *c)
{
    struct megaflow *oldest = NULL;
    for (uint32_t seen = 0; seen < ROOM_CHOICE && seen < c->n_flows; seen++) {
        step(1);
        struct megaflow *m = flow_room_next(&c->room);
        if (!oldest || m->used < oldest->used)
            oldest = m;
    }
    /* A line each, far from each other. */
    __builtin_prefetch(oldest->program);
    __builtin_prefetch(&oldest->masks->slots[oldest->hash & (oldest->masks->size - 1)], 1);
    /* Until then those that will be looked at next are on their way: where all are new, each look would wait for memory. */
    flow_room_fetch(&c->room, ROOM_CHOICE);
    cache_remove(c, oldest);
    return oldest;
}

void cache_insert(struct cache *c, const union key_words *k, uint32_t hash, const uint64_t wc[CACHE_WORDS],
                  uint64_t generation, struct program *program, const void *counted, struct megaflow *stale, uint64_t now)
{
    while ((c->n_flows >= c->max_flows || c->bytes + program->size > c->max_bytes) && c->n_flows && !step_ending())
        if (make_room(c) == stale)
            stale = NULL;
    struct mask_table *t = get_table(c, wc);
    struct megaflow *m = NULL;
    uint64_t value[CACHE_WORDS];
    uint32_t h = 0;
    if (!t) {
        free(program);
        return;
    }
    h = masked(t, k, value);
    m = find(t, value, h);
    if (stale && stale != m) {
        /* The table of the new mask is not empty or has just been made: it must outlive the stale one's removal. */
        t->n++;
        cache_remove(c, stale);
        t->n--;
    }
    if (!m) {
        if (!grow(t) || !(m = alloc_flow(c))) {
            if (!t->n)
                drop_table(c, t);
            free(program);
            return;
        }
        m->masks = t;
        m->hash = h;
        memcpy(m->value, value, t->n_words * 8);
        m->program = NULL;
        put(t, m);
        t->n++;
        c->n_flows++;
    }
    set_program(c, m, program);
    m->counted = counted;
    m->generation = generation;
    m->used = now;
    /* With few masks, not before it was hit once: never-seen flows would only push each other out. */
    if (c->n_tables > CACHE_FEW_MASKS)
        emc_put(c, hash, m);
}

/* Without flows there is nothing to remember: what it remembers is of the dead. */
static void emc_trim(struct cache *c)
{
    uint32_t n = c->emc_used < EMC_TRIM ? c->emc_used : EMC_TRIM;
    madvise(c->emc + (c->emc_used -= n), n * sizeof *c->emc, MADV_DONTNEED);
    c->emc_mask = EMC_FIRST - 1;
    c->emc_evictions = 0;
}

bool cache_sweep(struct cache *c, uint64_t now, uint64_t idle, unsigned n)
{
    flow_room_trim(&c->room, now, idle);
    if (!c->n_flows && c->emc_used)
        emc_trim(c);
    while (n--) {
        if (c->sweep_table >= c->n_tables) {
            c->sweep_table = c->sweep_slot = 0;
            return true;
        }
        struct mask_table *t = c->tables[c->sweep_table];
        if (c->sweep_slot >= t->size) {
            c->sweep_table++;
            c->sweep_slot = 0;
            continue;
        }
        struct megaflow *m = t->slots[c->sweep_slot++];
        if (m && m != &tombstone && now - m->used >= idle)
            cache_remove(c, m);
    }
    return false;
}
