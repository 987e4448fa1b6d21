#include "test/cmocka_all.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/bytes.h"
#include "base/defer.h"
#include "flow/cache.h"
#include "flow/classifier.h"
#include "flow/mac_table.h"
#include "flow/rule_stats.h"

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
        cache_insert(c, &k, key_hash(&k), wc, 1, program(), NULL, i);
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
    cache_insert(c, &a, 77, wc, 1, program(), NULL, 0);
    cache_remove(c, cache_lookup(c, &a, 77));
    cache_insert(c, &b, 99, wc, 1, program(), NULL, 0);
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
        cache_insert(c, &k, key_hash(&k), wc, i, program(), NULL, i);
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
        cache_insert(c, &k, key_hash(&k), wc, i, program(), NULL, i);
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

/* As many flows as have no room in the places that there are at first: more are used, until most are remembered; each is found all the while. */
static void the_exact_level_grows_with_what_comes_again(void **state)
{
    enum { FLOWS = 30000, ROUNDS = 12 };
    struct cache *c = cache_new(FLOWS);
    uint32_t places = c->exact.mask + 1;
    uint64_t exact = 0;
    for (uint32_t i = 0; i < FLOWS; i++) {
        union key_words k = {.w = {[7] = i + 1, [8] = i % 7}};
        uint64_t wc[KEY_WORDS] = {[7] = UINT64_MAX, [8] = (uint64_t[]){0, 1, 3, 7}[i % 4]};
        cache_insert(c, &k, key_hash(&k), wc, i, program(), NULL, i);
    }
    for (int round = 0; round < ROUNDS; round++) {
        exact = c->emc_hits;
        for (uint32_t i = 0; i < FLOWS; i++) {
            union key_words k = {.w = {[7] = i + 1, [8] = i % 7}};
            struct megaflow *m = cache_lookup(c, &k, key_hash(&k));
            assert_non_null(m);
            assert_int_equal(m->generation, i);
        }
    }
    assert_true(c->exact.mask + 1 > places && c->exact.mask + 1 <= EXACT_MAX);
    assert_true(c->emc_hits - exact > FLOWS * 97 / 100);
    cache_free(c);
}

/* Nothing but one output of a rule's: the program needn't be looked at, as long as it is that one. */
static void one_output_is_known_without_its_program(void **state)
{
    struct cache *c = cache_new(10);
    struct port *port = (struct port *)(uintptr_t)64;
    struct rule_stats stats, *counts[2] = {&stats, &stats};
    union key_words k = {.w = {[7] = 1}};
    uint64_t wc[KEY_WORDS] = {[7] = UINT64_MAX};
    static const struct {
        uint16_t n_ops, n_rules;
        bool raw, known;
    } cases[] = {{1, 1, true, true}, {2, 1, true, false}, {1, 1, true, true}, {1, 2, true, false}, {1, 1, false, false}, {1, 0, true, false}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct program *p = calloc(1, sizeof *p + 2 * sizeof p->ops[0]);
        p->n_ops = cases[i].n_ops;
        p->n_rules = cases[i].n_rules;
        p->raw = cases[i].raw;
        p->counts = counts;
        p->ops[0].port = port;
        cache_insert(c, &k, key_hash(&k), wc, i, p, NULL, i);
        struct megaflow *m = cache_lookup(c, &k, key_hash(&k));
        assert_ptr_equal(m->out, cases[i].known ? port : NULL);
        assert_int_equal(megaflow_raw(m), cases[i].raw);
        assert_ptr_equal(m->counted, cases[i].n_rules ? &stats : NULL);
    }
    struct program *missed = calloc(1, sizeof *missed + sizeof missed->ops[0]);
    *missed = (struct program){.n_ops = 1, .n_rules = 1, .raw = true, .counts = counts, .miss = (struct table *)port};
    cache_insert(c, &k, key_hash(&k), wc, 0, missed, NULL, 0);
    assert_null(cache_lookup(c, &k, key_hash(&k))->out);
    cache_free(c);
}

/* What is hit lies close together, however many rules there are. */
static void rules_that_are_hit_count_close_together(void **state)
{
    enum { RULES = 10 * RULE_STATS_FIRST, HIT = RULE_STATS_FIRST };
    struct rule_stats_room *room = rule_stats_room_new(2);
    for (int i = 0; i < RULES; i++)
        assert_int_equal(rule_stats_add_rule(room), 0);
    struct rule_stats *first = rule_stats_take(room, 1);
    for (int i = 1; i < HIT; i++)
        assert_ptr_equal(rule_stats_take(room, 1), first + i);
    rule_stats_room_free(room);
}

/* A worker finds a slot of zeros that is nobody else's whenever a rule has none, through rules that come, are hit by some workers, and go. */
static void each_rule_finds_a_place_to_count_in(void **state)
{
    enum { RULES = 3 * RULE_STATS_FIRST, WORKERS = 3 };
    static struct {
        bool in;
        struct rule_stats *_Atomic slots[WORKERS];
    } rules[RULES];
    struct rule_stats_room *room = rule_stats_room_new(WORKERS);
    srandom(11);
    for (int round = 0; round < 40 * RULES; round++) {
        int i = (int)(random() % RULES);
        if (!rules[i].in) {
            assert_int_equal(rule_stats_add_rule(room), 0);
            rules[i].in = true;
        } else if (random() % 4) {
            unsigned w = (unsigned)(random() % WORKERS);
            if (rules[i].slots[w])
                continue;
            struct rule_stats *s = rule_stats_take(room, w);
            rules[i].slots[w] = s;
            assert_int_equal(s->packets | s->bytes | s->used | s->cycles, 0);
            *s = (struct rule_stats){.bytes = (uint64_t)i, .used = w, .cycles = 77};
        } else {
            for (unsigned w = 0; w < WORKERS; w++) {
                struct rule_stats *s = rules[i].slots[w];
                if (s)
                    assert_true(s->bytes == (uint64_t)i && s->used == w);
            }
            rule_stats_remove_rule(room, rules[i].slots);
            memset(&rules[i], 0, sizeof rules[i]);
        }
    }
    assert_true(room->n_slots <= 4 * RULE_STATS_FIRST);
    rule_stats_room_free(room);
}

/* A rule between the threads: whether it is there, and where the worker counts. */
struct handed {
    struct rule_stats_room *room;
    _Atomic int rule;          /* 0: none, 1: to be counted on, 2: counted on, -1: the end */
    struct rule_stats *_Atomic slot;
};

static void *take_slots(void *arg)
{
    struct handed *h = arg;
    int rule;
    while ((rule = atomic_load_explicit(&h->rule, memory_order_acquire)) >= 0)
        if (rule == 1) {
            struct rule_stats *s = rule_stats_take(h->room, 0);
            s->packets++;
            s->bytes = 1;
            h->slot = s;
            atomic_store_explicit(&h->rule, 2, memory_order_release);
        } else {
            sched_yield();
        }
    return NULL;
}

/* The main thread gives back while the worker takes; two rules at a time, so no more than two slots are ever touched. */
static void slots_are_given_back_to_a_running_worker(void **state)
{
    struct handed h = {.room = rule_stats_room_new(1)};
    struct rule_stats *_Atomic old = NULL;
    struct rule_stats *seen[2] = {NULL, NULL};
    pthread_t thread;
    pthread_create(&thread, NULL, take_slots, &h);
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(rule_stats_add_rule(h.room), 0);
        atomic_store_explicit(&h.rule, 1, memory_order_release);
        if (old)
            rule_stats_remove_rule(h.room, &old);
        while (atomic_load_explicit(&h.rule, memory_order_acquire) != 2)
            sched_yield();
        old = h.slot;
        assert_int_equal(old->packets, 1);
        unsigned at = seen[0] && seen[0] != old;
        assert_true(!seen[at] || seen[at] == old);
        seen[at] = old;
    }
    atomic_store_explicit(&h.rule, -1, memory_order_release);
    pthread_join(thread, NULL);
    rule_stats_room_free(h.room);
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
        cache_insert(c, &k, key_hash(&k), wc, 1, program(), NULL, 0);
    }
    assert_true(c->exact.mask >= FLOWS / EXACT_WAYS / 2);
    assert_true(resident(c->exact.places, EXACT_MAX * sizeof *c->exact.places) > 60);
    for (uint64_t now = 0; now < 50; now += 10)
        for (int i = 0; i < FLOWS; i++)
            cache_sweep(c, 100 + now, 10, 4);
    assert_int_equal(c->n_flows, 0);
    assert_int_equal(resident(c->exact.places, EXACT_MAX * sizeof *c->exact.places), 0);
    assert_int_equal(c->room.top, 0);
    /* And it remembers again. */
    union key_words k = {.w = {[7] = 1, [8] = 1}};
    for (uint64_t i = 0; i < 3; i++)
        cache_insert(c, &k, key_hash(&k), (uint64_t[KEY_WORDS]){[7] = UINT64_MAX, [8] = 1 << i}, 1, program(), NULL, 0);
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
        cmocka_unit_test(the_exact_level_grows_with_what_comes_again), cmocka_unit_test(one_output_is_known_without_its_program),
        cmocka_unit_test(rules_that_are_hit_count_close_together), cmocka_unit_test(each_rule_finds_a_place_to_count_in),
        cmocka_unit_test(slots_are_given_back_to_a_running_worker),
        cmocka_unit_test(a_cache_without_flows_has_no_memory),
        cmocka_unit_test(addresses_age_move_and_are_bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
