#include "test/cmocka_all.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/bytes.h"
#include "base/defer.h"
#include "flow/cache.h"
#include "flow/classifier.h"
#include "flow/mac_table.h"

/* The classifier against a walk over a list, for random rules of few masks that come and go. */
static void classifier_finds_what_a_walk_finds(void **state)
{
    enum { RULES = 400 };
    static struct {
        struct cls_rule cls;
        uint64_t value[KEY_WORDS];
        struct match match;
        bool in;
    } rules[RULES];
    struct classifier c;
    classifier_init(&c);
    srandom(7);
    for (int i = 0; i < RULES; i++) {
        struct match *m = &rules[i].match;
        memset(&rules[i], 0, sizeof rules[i]);
        rules[i].cls.value = rules[i].value;
        atomic_init(&rules[i].cls.removed, CLS_FOREVER);
        for (int w = 7; w < 10; w++) {
            m->mask.w[w] = (uint64_t[]){0, 0xff, 0xf0, 0xffff00}[random() % 4];
            m->value.w[w] = (uint64_t)(random() % 4 * 0x111110) & m->mask.w[w];
        }
    }
    for (int round = 0; round < 4000; round++) {
        int i = (int)(random() % RULES);
        /* Priorities are all different, so the best rule is one rule. */
        if (rules[i].in) {
            classifier_remove(&c, &rules[i].cls);
            rules[i].in = false;
        } else if (!classifier_find(&c, &rules[i].match, (uint16_t)i, 0)) {
            assert_int_equal(classifier_insert(&c, &rules[i].cls, &rules[i].match, (uint16_t)i), 0);
            rules[i].in = true;
        }
        union key_words k = {.w = {0}};
        uint64_t known[KEY_WORDS] = {0}, wc[KEY_WORDS] = {0};
        for (int w = 7; w < 10; w++)
            k.w[w] = (uint64_t)(random() % 4 * 0x111110);
        int best = -1;
        for (int r = 0; r < RULES; r++) {
            bool match = rules[r].in;
            for (int w = 7; w < 10; w++)
                match = match && (k.w[w] & rules[r].match.mask.w[w]) == rules[r].match.value.w[w];
            if (match)
                best = r;
        }
        struct cls_rule *found = classifier_lookup(&c, 0, &k, known, wc);
        assert_ptr_equal(found, best < 0 ? NULL : &rules[best].cls);
        if (found)
            for (int w = 0; w < KEY_WORDS; w++)
                assert_int_equal(rules[best].match.mask.w[w] & ~wc[w], 0);
    }
    classifier_destroy(&c);
    defer_run();
}

static struct program *program(void)
{
    return calloc(1, sizeof(struct program));
}

static void caches_stay_within_their_bounds(void **state)
{
    struct cache *c = cache_new(1000);
    for (uint32_t i = 0; i < 5000; i++) {
        union key_words k = {.w = {0}};
        uint64_t wc[KEY_WORDS] = {0};
        k.w[7] = i;
        wc[7] = UINT64_MAX;
        wc[8] = i % 200 + 1;      /* more masks than may be */
        cache_insert(c, &k, key_hash(&k), wc, 1, program(), NULL, NULL, i);
        struct megaflow *m = cache_lookup(c, &k, key_hash(&k));
        assert_non_null(m);
        assert_true(c->n_tables <= CACHE_MAX_MASKS + 1);
        assert_true(c->n_flows <= 1000);
    }
    for (int i = 0; i < 100000 && c->n_flows; i++)
        cache_sweep(c, 1000000, 10, 4);
    assert_int_equal(c->n_flows, 0);
    assert_int_equal(c->n_tables, 0);
    cache_free(c);
}

/* What the first level remembers of a megaflow that is gone must not be believed when its memory is another's. */
static void exact_level_forgets_the_dead(void **state)
{
    struct cache *c = cache_new(1000);
    union key_words a = {.w = {0}}, b = {.w = {0}};
    uint64_t wc[KEY_WORDS] = {[7] = UINT64_MAX};
    a.w[7] = 1;
    b.w[7] = 2;
    cache_insert(c, &a, 77, wc, 1, program(), NULL, NULL, 0);
    cache_remove(c, cache_lookup(c, &a, 77));
    cache_insert(c, &b, 99, wc, 1, program(), NULL, NULL, 0);
    assert_null(cache_lookup(c, &a, 77));
    assert_non_null(cache_lookup(c, &b, 99));
    cache_free(c);
}

/* Twice as many as there may be. */
static void many_flows_are_kept_apart_and_the_oldest_go(void **state)
{
    enum { MOST = 30000, ALL = 2 * MOST };
    struct cache *c = cache_new(MOST);
    uint64_t wc[KEY_WORDS] = {[7] = UINT64_MAX};
    for (uint32_t i = 0; i < ALL; i++) {
        union key_words k = {.w = {[7] = i + 1}};
        cache_insert(c, &k, key_hash(&k), wc, i, program(), NULL, NULL, i);
        if (i + 1 == MOST)
            for (uint32_t j = 0; j < MOST; j++) {
                k.w[7] = j + 1;
                struct megaflow *m = cache_lookup_masks(c, &k);
                assert_non_null(m);
                assert_int_equal(m->generation, j);
            }
    }
    assert_int_equal(c->n_flows, MOST);
    unsigned newer = 0;
    for (uint32_t j = 0; j < ALL; j++) {
        union key_words k = {.w = {[7] = j + 1}};
        struct megaflow *m = cache_lookup_masks(c, &k);
        if (m)
            assert_int_equal(m->generation, j);
        newer += m && j >= MOST;
    }
    assert_true(newer > MOST * 9 / 10);
    cache_free(c);
}

/* Few masks with many flows: where memory is slow, one look at the exact-match level is better than two at tables. */
static void many_flows_of_two_masks_are_remembered(void **state)
{
    struct cache *c = cache_new(10 * CACHE_FEW_FLOWS);
    static union key_words keys[CACHE_BURST];
    const union key_words *burst[CACHE_BURST];
    struct megaflow *out[CACHE_BURST];
    for (uint32_t i = 0; i < 4 * CACHE_FEW_FLOWS; i++) {
        union key_words k = {.w = {[7] = i + 1, [8] = i + 1}};
        uint64_t wc[KEY_WORDS] = {[7] = UINT64_MAX, [8] = i % 2 ? UINT64_MAX : 0};
        cache_insert(c, &k, key_hash(&k), wc, i, program(), NULL, NULL, i);
        assert_int_equal(cache_is_exact_first(c), i >= CACHE_FEW_FLOWS);
    }
    for (unsigned i = 0; i < CACHE_BURST; i++) {
        keys[i] = (union key_words){.w = {[7] = i * 64 + 1, [8] = i * 64 + 1}};
        burst[i] = &keys[i];
    }
    for (int round = 0; round < 2; round++) {
        uint64_t exact = c->emc_hits;
        cache_lookup_all(c, burst, CACHE_BURST, out);
        for (unsigned i = 0; i < CACHE_BURST; i++)
            assert_int_equal(out[i]->generation, i * 64);
        if (round)
            assert_int_equal(c->emc_hits - exact, CACHE_BURST);
    }
    cache_free(c);
}

static unsigned resident(const void *p, size_t bytes)
{
    static unsigned char pages[1024];
    unsigned n = 0;
    assert_true(bytes / 4096 <= sizeof pages);
    assert_int_equal(mincore((void *)p, bytes, pages), 0);
    for (size_t i = 0; i < bytes / 4096; i++)
        n += pages[i] & 1;
    return n;
}

static void a_cache_without_flows_has_no_memory(void **state)
{
    enum { FLOWS = 40000 };
    struct cache *c = cache_new(FLOWS);
    for (uint32_t i = 0; i < FLOWS; i++) {
        union key_words k = {.w = {[7] = i + 1, [8] = i + 1}};
        uint64_t wc[KEY_WORDS] = {[7] = UINT64_MAX, [8] = i % 3 + 1};
        cache_insert(c, &k, key_hash(&k), wc, 1, program(), NULL, NULL, 0);
    }
    assert_true(c->emc_mask >= FLOWS / CACHE_EMC_WAYS / 2);
    assert_true(resident(c->emc, CACHE_EMC_MAX * sizeof *c->emc) > 100);
    for (uint64_t now = 0; now < 50; now += 10)
        for (int i = 0; i < FLOWS; i++)
            cache_sweep(c, 100 + now, 10, 4);
    assert_int_equal(c->n_flows, 0);
    assert_int_equal(resident(c->emc, CACHE_EMC_MAX * sizeof *c->emc), 0);
    assert_int_equal(c->room.top, 0);
    /* And it remembers again. */
    union key_words k = {.w = {[7] = 1, [8] = 1}};
    for (uint64_t i = 0; i < 3; i++)
        cache_insert(c, &k, key_hash(&k), (uint64_t[KEY_WORDS]){[7] = UINT64_MAX, [8] = 1 << i}, 1, program(), NULL, NULL, 0);
    struct megaflow *m = cache_lookup(c, &k, key_hash(&k));
    assert_int_equal(c->emc_hits, 1);
    assert_non_null(m);
    cache_free(c);
}

static void addresses_age_move_and_are_bounded(void **state)
{
    struct mac_table t;
    uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
    struct dp_mac list[300];
    mac_table_init(&t, 128);
    mac_learn(&t, mac, 5, 1, 100);
    assert_int_equal(mac_lookup(&t, mac, 5, 399, 300), 1);
    assert_int_equal(mac_lookup(&t, mac, 5, 400, 300), 0);
    assert_int_equal(mac_lookup(&t, mac, 6, 100, 300), 0);
    mac_learn(&t, mac, 5, 2, 101);
    assert_int_equal(mac_lookup(&t, mac, 5, 101, 300), 2);
    for (uint32_t i = 0; i < 10000; i++) {
        put32(mac + 2, i);
        mac_learn(&t, mac, 0, 3, 102);
    }
    assert_true(mac_list(&t, 102, list, 300) <= 128);
    mac_sweep(&t, 102, 300, 3);
    assert_true(mac_list(&t, 102, list, 300) <= 1);
    mac_table_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classifier_finds_what_a_walk_finds), cmocka_unit_test(caches_stay_within_their_bounds),
        cmocka_unit_test(exact_level_forgets_the_dead), cmocka_unit_test(many_flows_are_kept_apart_and_the_oldest_go),
        cmocka_unit_test(many_flows_of_two_masks_are_remembered),
        cmocka_unit_test(a_cache_without_flows_has_no_memory),
        cmocka_unit_test(addresses_age_move_and_are_bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
