#include "test/cmocka_all.h"
#include <string.h>
#include <sys/mman.h>
#include "flow/cache.h"

#define IDLE 100

static unsigned index_of(const struct flow_room *r, const struct megaflow *m)
{
    assert_non_null(m);
    return (unsigned)(m - r->flows);
}

/* Kilobytes of its memory that are the system's to give and that it has. */
static unsigned resident(const struct flow_room *r)
{
    static unsigned char pages[4096];
    unsigned n = 0, all = (unsigned)(r->words * 64 * sizeof *r->flows / 4096);
    assert_true(all <= sizeof pages);
    assert_int_equal(mincore(r->flows, (size_t)all * 4096, pages), 0);
    for (unsigned i = 0; i < all; i++)
        n += pages[i] & 1;
    return n * 4;
}

static void what_lies_first_is_taken_first(void **state)
{
    struct flow_room r;
    assert_true(flow_room_init(&r, 200));
    for (unsigned i = 0; i < 256; i++)
        assert_int_equal(index_of(&r, flow_room_take(&r)), i);
    assert_null(flow_room_take(&r));
    static const unsigned given[] = {130, 3, 255, 64}, order[] = {3, 64, 130, 255};
    for (unsigned i = 0; i < 4; i++)
        flow_room_give(&r, &r.flows[given[i]]);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(index_of(&r, flow_room_take(&r)), order[i]);
    assert_null(flow_room_take(&r));
    flow_room_destroy(&r);
}

static void all_that_are_taken_have_their_turn(void **state)
{
    struct flow_room r;
    assert_true(flow_room_init(&r, 1000));
    assert_null(flow_room_next(&r));
    for (unsigned i = 0; i < 300; i++)
        flow_room_take(&r);
    assert_int_equal(index_of(&r, flow_room_next(&r)), 0);
    for (unsigned i = 0; i < 300; i++)
        if (i != 5 && i != 77 && i != 299)
            flow_room_give(&r, &r.flows[i]);
    for (unsigned round = 0; round < 3; round++) {
        assert_int_equal(index_of(&r, flow_room_next(&r)), 5);
        assert_int_equal(index_of(&r, flow_room_next(&r)), 77);
        assert_int_equal(index_of(&r, flow_room_next(&r)), 299);
    }
    flow_room_destroy(&r);
}

static void trim(struct flow_room *r, uint64_t now)
{
    for (unsigned i = 0; i < 200; i++)
        flow_room_trim(r, now, IDLE);
}

static void memory_goes_back_when_it_was_empty_for_long(void **state)
{
    struct flow_room r;
    assert_true(flow_room_init(&r, 10000));
    assert_int_equal(resident(&r), 0);
    for (unsigned i = 0; i < 10000; i++)
        flow_room_take(&r)->serial = i + 1;
    unsigned whole = resident(&r), a_word = 64 * sizeof(struct megaflow) / 1024;
    assert_true(whole >= 10000 * sizeof(struct megaflow) / 1024);
    for (unsigned i = 0; i < 10000; i++)
        if (i != 6400)
            flow_room_give(&r, &r.flows[i]);
    trim(&r, 1000);
    trim(&r, 1000 + IDLE - 1);
    assert_int_equal(resident(&r), whole);
    assert_int_equal(flow_room_take(&r)->serial, 1);       /* the first word was in use again meanwhile */
    flow_room_give(&r, &r.flows[0]);
    trim(&r, 1000 + IDLE);
    assert_int_equal(resident(&r), 2 * a_word);
    assert_int_equal(r.flows[6400].serial, 6401);
    assert_int_equal(r.flows[9999].serial, 0);
    assert_int_equal(r.top, 101);
    trim(&r, 1000 + 2 * IDLE);
    flow_room_give(&r, &r.flows[6400]);
    trim(&r, 1000 + 3 * IDLE);
    trim(&r, 1000 + 4 * IDLE);
    assert_int_equal(resident(&r) - 4, 0);                 /* the page that was read above */
    assert_int_equal(r.top, 0);
    /* And it serves again. */
    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(index_of(&r, flow_room_take(&r)), i);
    flow_room_destroy(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_lies_first_is_taken_first),
        cmocka_unit_test(all_that_are_taken_have_their_turn),
        cmocka_unit_test(memory_goes_back_when_it_was_empty_for_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
