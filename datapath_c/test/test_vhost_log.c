/* What is written to a guest's memory is noted while the guest migrates, and after it was written: whoever copies a page as soon as
 * it is noted, and forgets the note, has all of it in the end. */
#include "test/cmocka_all.h"
#include <stdlib.h>
#include <string.h>
#include "port/vhost_frame.h"

#define MEMORY (256 * 1024)
#define GUEST 0x40000000ull
#define SIZE 16
#define BUFFERS (64 * 1024)        /* where they begin, each a page and a piece away from the last */
#define BUFFER_STEP 6000

static uint8_t *memory, *copy, bits[(GUEST + MEMORY) / 4096 / 8 + 1];
static struct packet_pool pool;
static struct vhost d;

void __real_vhost_log_write(struct vhost_memory *m, uint64_t addr, uint64_t len);

/* The monitor, at its fastest. */
void __wrap_vhost_log_write(struct vhost_memory *m, uint64_t addr, uint64_t len)
{
    __real_vhost_log_write(m, addr, len);
    for (uint64_t page = GUEST / 4096; page < (GUEST + MEMORY) / 4096; page++)
        if (bits[page / 8] >> page % 8 & 1) {
            bits[page / 8] &= (uint8_t)~(1u << page % 8);
            memcpy(copy + page * 4096 - GUEST, memory + page * 4096 - GUEST, 4096);
        }
}

/* Ring 0 or 1 at its place in memory, as vring_start would have it. */
static struct vhost_ring *place(unsigned i, bool packed, bool event_idx, bool mergeable)
{
    struct vhost_ring *v = &d.rings[i];
    uint8_t *at = memory + i * 3 * 4096;
    *v = (struct vhost_ring){.dev = &d, .memory = &d.memory, .packed = packed, .event_idx = event_idx, .mergeable = mergeable,
                             .indirect = true, .header = 12, .size = SIZE, .mask = SIZE - 1, .avail_wrap = true, .used_wrap = true,
                             .seen_wrap = true, .call_fd = -1, .err_fd = -1, .kick_fd = -1, .logged = true,
                             .log_addr = GUEST + (uint64_t)(at + 8192 - memory)};
    v->desc = (struct vring_desc *)at;
    v->driver = (struct vring_avail *)(at + 4096);
    v->device = (struct vring_used *)(at + 8192);
    atomic_store(&v->running, true);
    return v;
}

/* The driver makes buffers available, all the ring's; what it writes itself, the monitor sees anyway. */
static void offer(struct vhost_ring *v, bool to_write, uint32_t len)
{
    for (unsigned i = 0; i < SIZE; i++) {
        uint64_t at = GUEST + BUFFERS + i * BUFFER_STEP;
        uint16_t flags = to_write ? VRING_DESC_F_WRITE : 0;
        if (v->packed)
            v->pdesc[i] = (struct vring_packed_desc){at, len, (uint16_t)i, (uint16_t)(flags | 1u << VRING_PACKED_DESC_F_AVAIL)};
        else
            v->desc[i] = (struct vring_desc){at, len, flags, 0}, v->driver->ring[i] = (uint16_t)i;
    }
    if (!v->packed)
        v->driver->idx = SIZE;
}

static struct packet *frame(uint32_t len, uint8_t fill)
{
    struct packet *p = packet_alloc(&pool);
    p->len = len;
    memset(p->data, fill, len);
    return p;
}

static void fresh(void)
{
    memset(memory, 0, MEMORY);
    d.memory = (struct vhost_memory){.n = 1, .log = bits, .log_size = sizeof bits};
    d.memory.at[0] = (struct vhost_region){.guest = GUEST, .size = MEMORY, .host = memory};
}

static void check(const char *what, bool packed, bool event_idx)
{
    for (unsigned i = 0; i < MEMORY; i++)
        if (memory[i] != copy[i])
            fail_msg("%s, %s ring%s: byte 0x%x was written after it was noted, or not noted", what, packed ? "packed" : "split",
                     event_idx ? " with event indexes" : "", i);
}

static void sends(bool packed, bool event_idx, bool mergeable, uint32_t buffer)
{
    struct dp_shm_port counters = {0};
    uint64_t drops[DP_N_DROPS] = {0};
    struct port_io io = {.pool = &pool, .counters = &counters, .drops = drops};
    static const uint32_t lengths[] = {60, 1000, 4500};
    fresh();
    struct vhost_ring *v = place(0, packed, event_idx, mergeable);
    offer(v, true, buffer);
    memcpy(copy, memory, MEMORY);
    for (unsigned i = 0; i < 3; i++) {
        struct packet *p[2] = {frame(lengths[i], (uint8_t)(1 + i)), frame(lengths[i], (uint8_t)(11 + i))};
        unsigned n = packed ? packed_tx(v, &io, p, 2) : split_tx(v, &io, p, 2);
        assert_int_equal(n, lengths[i] + 12 <= buffer || mergeable ? 2 : 0);
        check("sending", packed, event_idx);
        packet_unref(p[0]);
        packet_unref(p[1]);
    }
}

static void receives(bool packed, bool event_idx)
{
    static struct packet *loans[SIZE];
    static uint16_t back[SIZE];
    struct dp_shm_port counters = {0};
    uint64_t drops[DP_N_DROPS] = {0};
    struct port_io io = {.pool = &pool, .counters = &counters, .drops = drops};
    struct packet *out[SIZE];
    fresh();
    struct vhost_ring *v = place(1, packed, event_idx, false);
    v->loans = loans;
    v->back = back;
    v->lender.take_back = packed ? packed_take_back : split_take_back;
    offer(v, false, 1000);
    memcpy(copy, memory, MEMORY);
    unsigned n = packed ? packed_rx(v, &io, out, 5) : split_rx(v, &io, out, 5);
    assert_int_equal(n, 5);
    for (unsigned i = 0; i < n; i++)
        packet_unref(out[i]);
    assert_int_equal(v->used, 5);
    check("receiving", packed, event_idx);
    for (unsigned on = 0; on < 2; on++) {
        if (packed)
            packed_notify(v, on);
        else
            split_notify(v, on);
        check("asking for kicks", packed, event_idx);
    }
}

static void noted_once_written(void **state)
{
    for (unsigned i = 0; i < 4; i++) {
        sends(i & 1, i & 2, true, 1500);
        sends(i & 1, i & 2, false, 5000);
        receives(i & 1, i & 2);
    }
}

/* A bitmap that is too short for the guest's memory is written to its end and no further. */
static void a_short_log(void **state)
{
    fresh();
    uint8_t *one = calloc(1, 1);
    d.memory.log = one;
    d.memory.log_size = 1;
    __real_vhost_log_write(&d.memory, 4096, 7 * 4096ull);
    __real_vhost_log_write(&d.memory, GUEST, 4096);
    __real_vhost_log_write(&d.memory, UINT64_MAX - 10, 11);
    assert_int_equal(*one, 0xfe);
    free(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(noted_once_written), cmocka_unit_test(a_short_log)};
    memory = aligned_alloc(4096, MEMORY);
    copy = aligned_alloc(4096, MEMORY);
    if (!memory || !copy || packet_pool_init(&pool, 64))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    packet_pool_destroy(&pool);
    free(memory);
    free(copy);
    return failed;
}
