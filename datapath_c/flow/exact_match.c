#include "flow/exact_match.h"
#include <errno.h>
#include <sys/mman.h>

#define TRIM 2048              /* places whose memory goes back at a time */
#define CROWDED 64             /* hits for each eviction, below which more places are used */

int exact_match_init(struct exact_match *e)
{
    *e = (struct exact_match){.mask = EXACT_FIRST - 1};
    e->places = mmap(NULL, EXACT_MAX * sizeof *e->places, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return e->places == MAP_FAILED ? -ENOMEM : 0;
}

void exact_match_destroy(struct exact_match *e)
{
    munmap(e->places, EXACT_MAX * sizeof *e->places);
}

static void look_for_room(struct exact_match *e, uint64_t hits)
{
    if (hits - e->since < (uint64_t)e->evictions * CROWDED && e->mask + 1 < EXACT_MAX)
        e->mask = e->mask * 2 + 1;
    e->evictions = 0;
    e->since = hits;
}

void exact_match_put(struct exact_match *e, uint32_t hash, const struct megaflow *m, uint64_t hits)
{
    struct exact_place *p = &e->places[hash & e->mask];
    uint64_t address = (uintptr_t)m;
    unsigned way = 0;
    while (way < EXACT_WAYS && p->signature[way] != exact_signature(hash) && exact_address(p, way))
        way++;
    if (way == EXACT_WAYS)
        way = e->evictions++ % EXACT_WAYS;
    p->signature[way] = exact_signature(hash);
    memcpy(p->address[way], &address, sizeof p->address[way]);
    if (e->used <= e->mask)
        e->used = e->mask + 1;
    if (e->evictions > e->mask / 4)
        look_for_room(e, hits);
}

void exact_match_trim(struct exact_match *e)
{
    uint32_t n = e->used < TRIM ? e->used : TRIM;
    madvise(e->places + (e->used -= n), n * sizeof *e->places, MADV_DONTNEED);
    e->mask = EXACT_FIRST - 1;
    e->evictions = 0;
}
