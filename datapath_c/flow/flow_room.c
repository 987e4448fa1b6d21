#include "flow/flow_room.h"
#include <stdlib.h>
#include <sys/mman.h>
#include "flow/cache.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_register_root_region(begin, size) ((void)0)
#define __lsan_unregister_root_region(begin, size) ((void)0)
#endif

#define WORD_BYTES (64 * sizeof(struct megaflow))
#define TRIM_WORDS 8           /* looked at in one call: its price is that of freeing their pages */

enum flow_pages {
    PAGES_NONE,                /* not in use */
    PAGES_USED,
    PAGES_EMPTY                /* no flow is in them, nor was since the last look */
};

_Static_assert(WORD_BYTES % 4096 == 0, "a word's flows are whole pages");

bool flow_room_init(struct flow_room *r, uint32_t max)
{
    *r = (struct flow_room){.words = max / 64 + (max % 64 != 0), .trim = UINT32_MAX};
    r->taken = calloc(r->words, sizeof *r->taken);
    r->pages = calloc(r->words, sizeof *r->pages);
    void *p = mmap(NULL, r->words * WORD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    r->flows = p == MAP_FAILED ? NULL : p;
    /* The leak sanitizer doesn't look into mappings, and would take the flows' programs for lost. */
    if (r->flows)
        __lsan_register_root_region(r->flows, r->words * WORD_BYTES);
    if (r->taken && r->pages && r->flows)
        return true;
    flow_room_destroy(r);
    return false;
}

void flow_room_destroy(struct flow_room *r)
{
    free(r->taken);
    free(r->pages);
    if (!r->flows)
        return;
    __lsan_unregister_root_region(r->flows, r->words * WORD_BYTES);
    munmap(r->flows, r->words * WORD_BYTES);
}

struct megaflow *flow_room_take(struct flow_room *r)
{
    uint32_t w = r->first;
    while (w < r->words && r->taken[w] == UINT64_MAX)
        w++;
    r->first = w;
    if (w == r->words)
        return NULL;
    unsigned bit = (unsigned)__builtin_ctzll(~r->taken[w]);
    r->taken[w] |= 1ull << bit;
    r->pages[w] = PAGES_USED;
    if (w >= r->top)
        r->top = w + 1;
    return &r->flows[w * 64 + bit];
}

void flow_room_give(struct flow_room *r, struct megaflow *m)
{
    uint32_t i = (uint32_t)(m - r->flows), w = i / 64;
    r->taken[w] &= ~(1ull << i % 64);
    if (w < r->first)
        r->first = w;
}

struct megaflow *flow_room_next(struct flow_room *r)
{
    for (uint32_t seen = 0; seen <= r->top; seen++) {
        uint32_t w = r->at / 64;
        uint64_t rest = w < r->top ? r->taken[w] & UINT64_MAX << r->at % 64 : 0;
        if (rest) {
            uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(rest);
            r->at = i + 1;
            return &r->flows[i];
        }
        r->at = w + 1 < r->top ? (w + 1) * 64 : 0;
    }
    return NULL;
}

void flow_room_fetch(const struct flow_room *r, unsigned n)
{
    for (uint32_t i = r->at; i < r->at + n && i < r->top * 64; i++)
        __builtin_prefetch(&r->flows[i], 1);
}

static void give_back(struct flow_room *r, uint32_t from, uint32_t to)
{
    if (from < to)
        madvise((char *)r->flows + from * WORD_BYTES, (to - from) * WORD_BYTES, MADV_DONTNEED);
}

void flow_room_trim(struct flow_room *r, uint64_t now, uint64_t idle)
{
    if (r->trim == UINT32_MAX) {
        if (now - r->trimmed < idle)
            return;
        r->trim = 0;
        r->trimmed = now;
    }
    uint32_t end = r->trim + TRIM_WORDS < r->top ? r->trim + TRIM_WORDS : r->top, run = r->trim;
    for (uint32_t w = r->trim; w < end; w++) {
        bool old = !r->taken[w] && r->pages[w] == PAGES_EMPTY;
        if (!r->taken[w] && r->pages[w] != PAGES_NONE)
            r->pages[w] = old ? PAGES_NONE : PAGES_EMPTY;
        if (!old) {
            give_back(r, run, w);
            run = w + 1;
        }
    }
    give_back(r, run, end);
    r->trim = end < r->top ? end : UINT32_MAX;
    if (r->trim == UINT32_MAX)
        while (r->top && r->pages[r->top - 1] == PAGES_NONE)
            r->top--;
}
