/* A datapath dies at any instruction while it works on a guest's rings: whoever comes after it goes on there. The driver, here, looks
 * that each buffer comes back once for each time that it was made available, in order, and that all come back in the end.
 *
 * The datapath is a child process, killed a thousand times; both have the guest's memory. */
#include "test/cmocka_all.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "port/vhost_frame.h"

#define MEMORY (1 << 20)
#define GUEST 0x40000000ull
#define SIZE 64
#define BUFFERS (64 * 1024)
#define BUFFER 4096
#define CHAIN 3                    /* descriptors of every fourth buffer */
#define KILLS 500
#define SHORT 60                   /* bytes of the frames that need one buffer */

static uint8_t *memory;
static struct vhost d;

/* ---- the datapath: what arrives is dropped, some of it long after it came; frames are sent that need one buffer and several ---- */

static struct vhost_ring *place(unsigned i, bool packed, uint32_t base)
{
    static struct packet *loans[SIZE];
    static struct vhost_back back[SIZE];
    struct vhost_ring *v = &d.rings[i];
    uint8_t *at = memory + i * 3 * 4096;
    *v = (struct vhost_ring){.dev = &d, .memory = &d.memory, .packed = packed, .mergeable = true, .indirect = true, .header = 12,
                             .size = SIZE, .mask = SIZE - 1, .call_fd = -1, .err_fd = -1, .kick_fd = -1, .base = base};
    d.memory.n = 1;
    d.memory.at[0] = (struct vhost_region){.guest = GUEST, .size = MEMORY, .host = memory};
    v->desc = (struct vring_desc *)at;
    v->driver = (struct vring_avail *)(at + 4096);
    v->device = (struct vring_used *)(at + 8192);
    if (packed)
        packed_place(v);
    else
        split_place(v);
    v->seen = v->taken = v->seen_at = v->avail;
    v->seen_wrap = v->avail_wrap;
    if (i) {
        v->loans = loans;
        v->back = back;
        v->lender.take_back = packed ? packed_take_back : split_take_back;
    }
    atomic_store(&v->running, true);
    return v;
}

static _Noreturn void datapath(bool packed, bool sends, uint32_t base, unsigned seed)
{
    struct packet_pool pool;
    struct dp_shm_port counters = {0};
    uint64_t drops[DP_N_DROPS] = {0};
    struct port_io io = {.pool = &pool, .counters = &counters, .drops = drops};
    struct packet *p[32];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (packet_pool_init(&pool, 256))
        _exit(1);
    struct vhost_ring *v = place(sends, packed, base);
    srand(seed);
    while (atomic_load(&v->running)) {
        unsigned n = 1 + (unsigned)rand() % 32;
        if (sends) {
            n = packed ? packed_rx(v, &io, p, n) : split_rx(v, &io, p, n);
        } else {
            for (unsigned i = 0; i < n; i++) {
                p[i] = packet_alloc(&pool);
                p[i]->len = rand() % 4 ? SHORT : 9000;
                memset(p[i]->data, 0xff, p[i]->len);
            }
            if (packed)
                packed_tx(v, &io, p, n);
            else
                split_tx(v, &io, p, n);
        }
        for (unsigned i = 0; i < n; i++) {   /* not in the order in which they came */
            unsigned j = i + (unsigned)rand() % (n - i);
            struct packet *q = p[j];
            p[j] = p[i];
            packet_unref(q);
        }
    }
    fprintf(stderr, "%s\n", v->fault);
    _exit(2);
}

/* ---- the driver ---- */

static struct {
    bool packed, sends;
    uint16_t avail, used;          /* positions (packed), indexes (split) */
    bool avail_wrap, used_wrap;
    struct {
        uint16_t id, n;
    } out[SIZE];                   /* in the order in which they were made available */
    unsigned first, n_out, n_desc;
    uint16_t free_ids[SIZE], n_free;
    uint64_t offered, returned;
} driver;

static struct vring_packed_desc *pdesc(void)
{
    return (void *)(memory + driver.sends * 3 * 4096);
}

static void step(uint16_t *at, bool *wrap)
{
    if (++*at == SIZE) {
        *at = 0;
        *wrap = !*wrap;
    }
}

/* One buffer of one or several descriptors; it lies at its id's place. */
static void offer(uint64_t serial)
{
    unsigned n = serial % 4 ? 1 : CHAIN, id = driver.free_ids[0];
    uint32_t len = driver.sends ? (serial % 3 ? 100 : 1500) : 2048;
    uint64_t at = GUEST + BUFFERS + (uint64_t)id * BUFFER;
    memmove(driver.free_ids, driver.free_ids + 1, --driver.n_free * sizeof driver.free_ids[0]);
    unsigned slot = (driver.first + driver.n_out++) % SIZE;
    driver.out[slot].id = (uint16_t)id;
    driver.out[slot].n = (uint16_t)n;
    driver.n_desc += n;
    driver.offered++;
    if (!driver.packed) {
        /* A table of descriptors for each id; those of chains lie behind the heads'. Here chains are indirect. */
        struct vring_desc *desc = (void *)(memory + driver.sends * 3 * 4096), *table = (void *)(memory + BUFFERS + id * BUFFER + 2048);
        struct vring_avail *avail = (void *)((uint8_t *)desc + 4096);
        uint16_t flags = driver.sends ? 0 : VRING_DESC_F_WRITE;
        for (unsigned i = 0; i < n; i++)
            table[i] = (struct vring_desc){at + i * (len / n), len / n, (uint16_t)(flags | (i + 1 < n ? VRING_DESC_F_NEXT : 0)),
                                           (uint16_t)(i + 1)};
        desc[id] = n > 1 ? (struct vring_desc){at + 2048, n * 16, VRING_DESC_F_INDIRECT, 0} : (struct vring_desc){at, len, flags, 0};
        avail->ring[driver.avail % SIZE] = (uint16_t)id;
        __atomic_store_n(&avail->idx, ++driver.avail, __ATOMIC_RELEASE);
        return;
    }
    struct vring_packed_desc *head = &pdesc()[driver.avail];
    uint16_t head_flags = 0;
    for (unsigned i = 0; i < n; i++) {
        struct vring_packed_desc *e = &pdesc()[driver.avail];
        uint16_t flags = (uint16_t)((driver.sends ? 0 : VRING_DESC_F_WRITE) | (i + 1 < n ? VRING_DESC_F_NEXT : 0) |
                                    (driver.avail_wrap ? 1u << VRING_PACKED_DESC_F_AVAIL : 1u << VRING_PACKED_DESC_F_USED));
        e->addr = at + i * (len / n);
        e->len = len / n;
        e->id = (uint16_t)id;
        if (e == head)
            head_flags = flags;
        else
            e->flags = flags;
        step(&driver.avail, &driver.avail_wrap);
    }
    __atomic_store_n(&head->flags, head_flags, __ATOMIC_RELEASE);
}

/* Takes what came back; false when something did that can't. */
static bool collect(void)
{
    for (;;) {
        uint32_t id, len;
        if (driver.packed) {
            struct vring_packed_desc *e = &pdesc()[driver.used];
            uint16_t flags = __atomic_load_n(&e->flags, __ATOMIC_ACQUIRE);
            bool avail = flags >> VRING_PACKED_DESC_F_AVAIL & 1, used = flags >> VRING_PACKED_DESC_F_USED & 1;
            if (avail != used || used != driver.used_wrap)
                return true;
            id = e->id;
            len = e->len;
        } else {
            struct vring_used *used = (void *)(memory + driver.sends * 3 * 4096 + 8192);
            if (__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) == driver.used)
                return true;
            id = used->ring[driver.used % SIZE].id;
            len = used->ring[driver.used++ % SIZE].len;
        }
        if (!driver.n_out || id != driver.out[driver.first].id || len > 2048) {
            fprintf(stderr, "buffer %u with %u bytes, of %u that are out, the first of them %u\n", id, len, driver.n_out,
                    driver.out[driver.first].id);
            return false;
        }
        unsigned n = driver.out[driver.first].n;
        uint16_t buffers;      /* of the frame that begins here; 0xffff where one goes on */
        memcpy(&buffers, memory + BUFFERS + id * BUFFER + offsetof(struct virtio_net_hdr_mrg_rxbuf, num_buffers), 2);
        if (!driver.sends && buffers == 1 && len != SHORT + 12 && (len || n == 1)) {
            fprintf(stderr, "buffer %u has %u bytes, of a frame of %d\n", id, len, SHORT);
            return false;
        }
        for (unsigned i = 0; driver.packed && i < n; i++)
            step(&driver.used, &driver.used_wrap);
        driver.first = (driver.first + 1) % SIZE;
        driver.n_out--;
        driver.n_desc -= n;
        driver.free_ids[driver.n_free++] = (uint16_t)id;
        driver.returned++;
    }
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* The driver's work for a while, but until something has come back; or (0) until all is back. */
static void drive(uint64_t us)
{
    uint64_t begin = now_us(), before = driver.returned;
    for (; us || driver.n_out;) {
        if (!collect())
            fail_msg("the ring's order is broken");
        while (us && driver.n_free && driver.n_desc + CHAIN <= SIZE && rand() % 8)
            offer(driver.offered);
        uint64_t passed = now_us() - begin;
        if (passed > 20000000)
            fail_msg("%u buffers do not come back", driver.n_out);
        if (us && passed > us && driver.returned > before)
            return;
    }
}

static pid_t child;

static void start(uint32_t base)
{
    unsigned seed = (unsigned)rand();
    child = fork();
    if (!child)
        datapath(driver.packed, driver.sends, base, seed);
}

static int end(void **state)
{
    int status = 0;
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
    }
    child = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

static void kill_often(bool packed, bool sends)
{
    uint32_t base = packed ? 1 << 15 : 0;  /* what a front-end says that knows no better */
    memset(memory, 0, MEMORY);
    memset(&driver, 0, sizeof driver);
    driver.packed = packed;
    driver.sends = sends;
    driver.avail_wrap = driver.used_wrap = true;
    for (driver.n_free = 0; driver.n_free < SIZE; driver.n_free++)
        driver.free_ids[driver.n_free] = driver.n_free;
    for (unsigned i = 0; i < KILLS; i++) {
        start(base);
        drive(200 + (uint64_t)rand() % 2000);
        assert_int_equal(end(NULL), 0);
    }
    start(base);
    drive(0);
    assert_int_equal(end(NULL), 0);
    assert_int_equal(driver.offered, driver.returned);
    assert_true(driver.returned > KILLS);
}

static void split_ring_that_receives(void **state)
{
    kill_often(false, false);
}

static void split_ring_that_sends(void **state)
{
    kill_often(false, true);
}

static void packed_ring_that_receives(void **state)
{
    kill_often(true, false);
}

static void packed_ring_that_sends(void **state)
{
    kill_often(true, true);
}

/* Who ended in order is believed; and a fresh ring begins at its start. */
static void where_a_ring_begins(void **state)
{
    memset(memory, 0, MEMORY);
    struct vhost_ring *v = place(0, true, 1 << 15 | 7);
    assert_int_equal(v->used, 7);
    packed_end(v);
    v = place(0, true, 9);
    assert_int_equal(v->avail, 9);
    assert_false(v->avail_wrap || v->taken_over);
    v = place(0, true, 9);
    assert_int_equal(v->avail, 0);
    assert_true(v->avail_wrap && v->taken_over);
}

/* The driver may be in the middle of a buffer while a datapath looks for its place. Letters: what a descriptor's two bits say, upper
 * case where set (A: made available, U: given back). */
static void look(const char *bits, uint16_t used, bool wrap)
{
    memset(memory, 0, MEMORY);
    struct vhost_ring *v = place(0, true, 1 << 15);
    struct vring_packed_desc *e = (void *)memory;
    unsigned n = (unsigned)strlen(bits) / 2;
    for (unsigned i = 0; i < n; i++)
        e[i].flags = (uint16_t)((bits[2 * i] == 'A') << VRING_PACKED_DESC_F_AVAIL | (bits[2 * i + 1] == 'U') << VRING_PACKED_DESC_F_USED |
                                VRING_DESC_F_WRITE);
    v->size = (uint16_t)n;
    packed_place(v);
    assert_true(v->taken_over);
    if (v->used != used || v->used_wrap != wrap)
        fail_msg("%s: goes on at %u, %d and not at %u, %d", bits, v->used, v->used_wrap, used, wrap);
}

static void a_driver_in_the_middle(void **state)
{
    look("auauauauauauauau", 0, true);     /* nothing yet */
    look("AuAuAuauauauauau", 0, true);     /* three */
    look("AUAUAuauauauauau", 2, true);     /* one is left */
    look("AUAUAUauauauauau", 3, true);     /* none is */
    look("AUAUAUAUAUAUAUAU", 0, false);    /* a round is over */
    look("AuAuAuAuAuAuAuAu", 0, true);     /* a whole ring */
    look("aUaUAuAuAuAuAuAu", 2, true);     /* the same, begun at 2 */
    look("aUaUAUAUAuAuAuAu", 4, true);
    look("AUAUauAuAuauauau", 2, true);     /* it is writing three, the first last */
    look("AUAuauAuAuauauau", 1, true);
    look("aUAUAUAUAUAUauAu", 6, true);     /* three from 6 on, across the end */
    look("aUAUAUAUAUAuauAu", 5, true);
    look("aUAUAUAUAUAuauau", 5, true);
    look("aUaUAUAUAUAUAUau", 7, true);
    look("AUAuAUAUauauauau", 4, true);     /* a datapath died before it gave back the first of a batch */
    look("AUAuAUAUAuauauau", 4, true);
    look("aUaUAUAUAUAuAUAU", 0, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(split_ring_that_receives, end), cmocka_unit_test_teardown(split_ring_that_sends, end),
        cmocka_unit_test_teardown(packed_ring_that_receives, end), cmocka_unit_test_teardown(packed_ring_that_sends, end),
        cmocka_unit_test(where_a_ring_begins), cmocka_unit_test(a_driver_in_the_middle)};
    memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
