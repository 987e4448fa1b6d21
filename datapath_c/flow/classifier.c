#include "flow/classifier.h"
#include <errno.h>
#include <stdlib.h>
#include "base/defer.h"
#include "base/hash.h"
#include "base/step.h"

/* A slot whose rule is gone, so that probing goes on past it. */
static struct cls_rule tombstone;

static uint32_t mask_map(const union key_words *mask)
{
    uint32_t map = 0;
    for (int i = 0; i < KEY_WORDS; i++)
        map |= (uint32_t)(mask->w[i] != 0) << i;
    return map;
}

size_t match_words(const struct match *m)
{
    return (size_t)__builtin_popcount(mask_map(&m->mask));
}

/* `n` words of a masked value. */
static uint32_t hash_value(const uint64_t *value, unsigned n)
{
    uint32_t h = n;
    for (unsigned i = 0; i < n; i++)
        h = hash_word(h, value[i]);
    return hash_finish(h);
}

static unsigned gather(const union key_words *k, uint32_t map, const uint64_t *mask, uint64_t *out)
{
    unsigned n = 0;
    for (; map; map &= map - 1, n++)
        out[n] = k->w[__builtin_ctz(map)] & mask[n];
    return n;
}

void classifier_init(struct classifier *c)
{
    atomic_init(&c->subtables, NULL);
    c->n_rules = 0;
}

static void free_subtable(struct subtable *s)
{
    free(atomic_load_explicit(&s->slots, memory_order_relaxed));
    free(s);
}

static void free_subtable_later(void *s)
{
    free_subtable(s);
}

void classifier_destroy(struct classifier *c)
{
    struct subtables *t = atomic_load_explicit(&c->subtables, memory_order_relaxed);
    for (uint32_t i = 0; t && i < t->n; i++)
        free_subtable(t->at[i].s);
    free(t);
    classifier_init(c);
}

static int by_priority(const void *a, const void *b)
{
    const __typeof__(((struct subtables *)0)->at[0]) *x = a, *y = b;
    return (int)y->max_priority - (int)x->max_priority;
}

/* Publishes the list anew, with `add` and without `drop`, in order of priority. */
static int publish(struct classifier *c, struct subtable *add, struct subtable *drop)
{
    struct subtables *old = atomic_load_explicit(&c->subtables, memory_order_relaxed);
    uint32_t n = old ? old->n : 0;
    struct subtables *new = malloc(sizeof *new + (n + 1) * sizeof new->at[0]);
    if (!new)
        return -ENOMEM;
    new->n = 0;
    for (uint32_t i = 0; i < n; i++)
        if (old->at[i].s != drop)
            new->at[new->n++].s = old->at[i].s;
    if (add)
        new->at[new->n++].s = add;
    for (uint32_t i = 0; i < new->n; i++)
        new->at[i].max_priority = new->at[i].s->max_priority;
    qsort(new->at, new->n, sizeof new->at[0], by_priority);
    atomic_store_explicit(&c->subtables, new, memory_order_release);
    if (old)
        defer(free, old);
    return 0;
}

static struct slots *new_slots(uint32_t size)
{
    struct slots *s = calloc(1, sizeof *s + size * sizeof s->slot[0]);
    if (s)
        s->size = size;
    return s;
}

static struct subtable *find_subtable(struct classifier *c, const union key_words *mask)
{
    struct subtables *t = atomic_load_explicit(&c->subtables, memory_order_relaxed);
    uint32_t map = mask_map(mask);
    for (uint32_t i = 0; t && i < t->n; i++) {
        struct subtable *s = t->at[i].s;
        if (s->map != map)
            continue;
        uint32_t m = map;
        unsigned n = 0;
        while (m && s->mask[n] == mask->w[__builtin_ctz(m)])
            m &= m - 1, n++;
        if (!m)
            return s;
    }
    return NULL;
}

static struct subtable *new_subtable(const union key_words *mask)
{
    uint32_t map = mask_map(mask);
    unsigned n = (unsigned)__builtin_popcount(map);
    struct subtable *s = calloc(1, sizeof *s + n * sizeof s->mask[0]);
    if (!s)
        return NULL;
    s->map = map;
    s->n_words = (uint8_t)n;
    unsigned i = 0;
    for (uint32_t m = map; m; m &= m - 1)
        s->mask[i++] = mask->w[__builtin_ctz(m)];
    s->n_fields = (uint8_t)match_fields(mask, s->fields, sizeof s->fields);
    struct slots *slots = new_slots(8);
    if (!slots) {
        free(s);
        return NULL;
    }
    atomic_init(&s->slots, slots);
    return s;
}

/* The slot of the chain with this value, or NULL. */
static _Atomic(struct cls_rule *) *find_slot(struct subtable *s, const uint64_t *value, uint32_t hash)
{
    struct slots *t = atomic_load_explicit(&s->slots, memory_order_relaxed);
    for (uint32_t i = hash & (t->size - 1);; i = (i + 1) & (t->size - 1)) {
        struct cls_rule *r = atomic_load_explicit(&t->slot[i], memory_order_relaxed);
        if (!r)
            return NULL;
        if (r != &tombstone && r->hash == hash && !memcmp(r->value, value, s->n_words * 8u))
            return &t->slot[i];
    }
}

static void put_slot(struct slots *t, struct cls_rule *r)
{
    uint32_t i = r->hash & (t->size - 1);
    struct cls_rule *at;
    while ((at = atomic_load_explicit(&t->slot[i], memory_order_relaxed)) && at != &tombstone)
        i = (i + 1) & (t->size - 1);
    if (!at)
        t->used++;
    atomic_store_explicit(&t->slot[i], r, memory_order_release);
}

static int grow(struct subtable *s)
{
    struct slots *old = atomic_load_explicit(&s->slots, memory_order_relaxed);
    if (old->used + 1 <= old->size / 2)
        return 0;
    uint32_t size = 8;
    while (size < (s->n_heads + 1) * 4)
        size *= 2;
    struct slots *new = new_slots(size);
    if (!new)
        return -ENOMEM;
    for (uint32_t i = 0; i < old->size; i++) {
        struct cls_rule *r = atomic_load_explicit(&old->slot[i], memory_order_relaxed);
        if (r && r != &tombstone)
            put_slot(new, r);
    }
    atomic_store_explicit(&s->slots, new, memory_order_release);
    defer(free, old);
    return 0;
}

int classifier_insert(struct classifier *c, struct cls_rule *r, const struct match *m, uint16_t priority)
{
    struct subtable *s = find_subtable(c, &m->mask);
    bool fresh = !s;
    if (fresh && !(s = new_subtable(&m->mask)))
        return -ENOMEM;
    r->subtable = s;
    r->priority = priority;
    gather(&m->value, s->map, s->mask, r->value);
    r->hash = hash_value(r->value, s->n_words);
    _Atomic(struct cls_rule *) *slot = fresh ? NULL : find_slot(s, r->value, r->hash);
    if (slot) {
        _Atomic(struct cls_rule *) *link = slot;
        struct cls_rule *at;
        while ((at = atomic_load_explicit(link, memory_order_relaxed)) && at->priority > priority)
            link = &at->next;
        atomic_store_explicit(&r->next, at, memory_order_relaxed);
        atomic_store_explicit(link, r, memory_order_release);
    } else {
        if (grow(s)) {
            if (fresh)
                free_subtable(s);
            return -ENOMEM;
        }
        atomic_store_explicit(&r->next, NULL, memory_order_relaxed);
        put_slot(atomic_load_explicit(&s->slots, memory_order_relaxed), r);
        s->n_heads++;
    }
    bool higher = fresh || priority > s->max_priority;
    if (higher)
        s->max_priority = priority;
    s->n_rules++;
    c->n_rules++;
    if (higher && publish(c, fresh ? s : NULL, NULL)) {
        /* Without the new order a reader could stop too early: take the rule out again. */
        if (fresh)
            free_subtable(s), c->n_rules--;
        else
            classifier_remove(c, r);
        return -ENOMEM;
    }
    return 0;
}

/* After enough removals the highest priority is worth finding out again. */
static void recount_priority(struct classifier *c, struct subtable *s)
{
    struct slots *t = atomic_load_explicit(&s->slots, memory_order_relaxed);
    uint16_t max = 0;
    for (uint32_t i = 0; i < t->size; i++) {
        struct cls_rule *r = atomic_load_explicit(&t->slot[i], memory_order_relaxed);
        if (r && r != &tombstone && r->priority > max)
            max = r->priority;
    }
    s->removed = 0;
    if (max != s->max_priority) {
        uint16_t was = s->max_priority;
        s->max_priority = max;
        if (publish(c, NULL, NULL))
            s->max_priority = was;
    }
}

void classifier_remove(struct classifier *c, struct cls_rule *r)
{
    struct subtable *s = r->subtable;
    _Atomic(struct cls_rule *) *slot = find_slot(s, r->value, r->hash), *link = slot;
    struct cls_rule *at;
    while ((at = atomic_load_explicit(link, memory_order_relaxed)) != r)
        link = &at->next;
    struct cls_rule *next = atomic_load_explicit(&r->next, memory_order_relaxed);
    if (link == slot && !next) {
        atomic_store_explicit(slot, &tombstone, memory_order_release);
        s->n_heads--;
    } else {
        atomic_store_explicit(link, next, memory_order_release);
    }
    c->n_rules--;
    if (--s->n_rules == 0) {
        if (!publish(c, NULL, s))
            defer(free_subtable_later, s);
        return;
    }
    if (r->priority == s->max_priority && ++s->removed > s->n_rules / 2)
        recount_priority(c, s);
}

void classifier_clear(struct classifier *c)
{
    struct subtables *t = atomic_load_explicit(&c->subtables, memory_order_relaxed);
    atomic_store_explicit(&c->subtables, NULL, memory_order_release);
    c->n_rules = 0;
    for (uint32_t i = 0; t && i < t->n; i++)
        defer(free_subtable_later, t->at[i].s);
    if (t)
        defer(free, t);
}

struct cls_rule *classifier_find(struct classifier *c, const struct match *m, uint16_t priority, uint32_t version)
{
    struct subtable *s = find_subtable(c, &m->mask);
    if (!s)
        return NULL;
    uint64_t value[KEY_WORDS];
    unsigned n = gather(&m->value, s->map, s->mask, value);
    _Atomic(struct cls_rule *) *slot = find_slot(s, value, hash_value(value, n));
    struct cls_rule *r = slot ? atomic_load_explicit(slot, memory_order_relaxed) : NULL;
    while (r && (r->priority != priority || !cls_visible(r, version)))
        r = atomic_load_explicit(&r->next, memory_order_relaxed);
    return r;
}

static bool overlaps(const struct cls_rule *r, const struct match *m)
{
    const struct subtable *s = r->subtable;
    unsigned n = 0;
    for (uint32_t map = s->map; map; map &= map - 1, n++) {
        unsigned w = (unsigned)__builtin_ctz(map);
        if ((r->value[n] ^ m->value.w[w]) & s->mask[n] & m->mask.w[w])
            return false;
    }
    return true;
}

struct cls_rule *classifier_overlap(struct classifier *c, const struct match *m, uint16_t priority, uint32_t version)
{
    struct subtables *t = atomic_load_explicit(&c->subtables, memory_order_relaxed);
    for (uint32_t i = 0; t && i < t->n && t->at[i].max_priority >= priority; i++) {
        struct slots *slots = atomic_load_explicit(&t->at[i].s->slots, memory_order_relaxed);
        for (uint32_t j = 0; j < slots->size; j++) {
            struct cls_rule *r = atomic_load_explicit(&slots->slot[j], memory_order_relaxed);
            if (r == &tombstone)
                continue;
            for (; r; r = atomic_load_explicit(&r->next, memory_order_relaxed))
                if (r->priority == priority && cls_visible(r, version) && overlaps(r, m))
                    return r;
        }
    }
    return NULL;
}

/* The first rule of a chain that the version has. */
static struct cls_rule *seen(struct cls_rule *r, uint32_t version)
{
    while (r && !cls_visible(r, version)) {
        step(1);
        r = atomic_load_explicit(&r->next, memory_order_acquire);
    }
    return r;
}

/* The rules of a subtable that have the packet's value, highest first, or NULL. Notes the bits looked at. */
static struct cls_rule *probe(struct subtable *s, uint32_t version, const union key_words *k,
                              const uint64_t known[KEY_WORDS], uint64_t wc[KEY_WORDS])
{
    uint64_t value[KEY_WORDS];
    unsigned n = 0;
    for (uint32_t map = s->map; map; map &= map - 1, n++) {
        unsigned w = (unsigned)__builtin_ctz(map);
        value[n] = k->w[w] & s->mask[n];
        wc[w] |= s->mask[n] & ~known[w];
    }
    uint32_t hash = hash_value(value, n);
    struct slots *slots = atomic_load_explicit(&s->slots, memory_order_acquire);
    for (uint32_t j = hash & (slots->size - 1);; j = (j + 1) & (slots->size - 1)) {
        struct cls_rule *r = atomic_load_explicit(&slots->slot[j], memory_order_acquire);
        if (!r)
            return NULL;
        if (r != &tombstone && r->hash == hash && !memcmp(r->value, value, n * 8u))
            return seen(r, version);
        step(1);
    }
}

struct cls_rule *classifier_lookup(struct classifier *c, uint32_t version, const union key_words *k,
                                   const uint64_t known[KEY_WORDS], uint64_t wc[KEY_WORDS])
{
    struct subtables *t = atomic_load_explicit(&c->subtables, memory_order_acquire);
    struct cls_rule *best = NULL;
    for (uint32_t i = 0; t && i < t->n; i++) {
        if ((best && best->priority >= t->at[i].max_priority) || step_ending())
            break;
        step(STEP_PROBE);
        struct cls_rule *r = probe(t->at[i].s, version, k, known, wc);
        if (r && (!best || r->priority > best->priority))
            best = r;
    }
    return best;
}

struct cls_rule *classifier_split(struct classifier *c, uint32_t version, const union key_words *k,
                                  const uint64_t known[KEY_WORDS], uint64_t wc[KEY_WORDS], bool (*is_soft)(const struct cls_rule *, void *),
                                  struct cls_rule **soft, unsigned max, unsigned *n)
{
    struct subtables *t = atomic_load_explicit(&c->subtables, memory_order_acquire);
    struct cls_rule *best = NULL;
    for (uint32_t i = 0; t && i < t->n && !step_ending(); i++) {
        step(STEP_PROBE);
        for (struct cls_rule *r = probe(t->at[i].s, version, k, known, wc); r;
             r = seen(atomic_load_explicit(&r->next, memory_order_acquire), version)) {
            step(1);
            if (is_soft(r, NULL)) {
                if (*n < max)
                    soft[(*n)++] = r;
            } else if (!best || r->priority > best->priority) {
                best = r;
            }
        }
    }
    return best;
}

void cls_rule_match(const struct cls_rule *r, struct match *m)
{
    const struct subtable *s = r->subtable;
    memset(m, 0, sizeof *m);
    unsigned n = 0;
    for (uint32_t map = s->map; map; map &= map - 1, n++) {
        unsigned w = (unsigned)__builtin_ctz(map);
        m->value.w[w] = r->value[n];
        m->mask.w[w] = s->mask[n];
    }
}
