#include "flow/rule_stats.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static uint64_t piece_slots(unsigned piece)
{
    return piece ? (uint64_t)RULE_STATS_FIRST << (piece - 1) : RULE_STATS_FIRST;
}

static size_t piece_bytes(unsigned piece)
{
    return piece_slots(piece) * sizeof(struct rule_stats);
}

struct rule_stats_room *rule_stats_room_new(unsigned n_workers)
{
    size_t size = sizeof(struct rule_stats_room) + n_workers * sizeof(struct rule_stats_shelf);
    struct rule_stats_room *room = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!room)
        return NULL;
    memset(room, 0, size);
    room->n_workers = n_workers;
    return room;
}

static void free_piece(struct rule_stats_room *room, unsigned piece)
{
    for (unsigned w = 0; w < room->n_workers; w++) {
        struct rule_stats *at = atomic_load_explicit(&room->shelves[w].pieces[piece], memory_order_relaxed);
        if (at)
            munmap(at, piece_bytes(piece));
        atomic_store_explicit(&room->shelves[w].pieces[piece], NULL, memory_order_relaxed);
    }
}

void rule_stats_room_free(struct rule_stats_room *room)
{
    for (unsigned piece = 0; room && piece < room->n_pieces; piece++)
        free_piece(room, piece);
    free(room);
}

/* Memory that costs nothing before it is used. Not of huge pages: a worker would clear 2 MB within somebody's turn. */
static int add_piece(struct rule_stats_room *room)
{
    unsigned piece = room->n_pieces;
    if (piece == RULE_STATS_PIECES)
        return -ENOMEM;
    for (unsigned w = 0; w < room->n_workers; w++) {
        void *at = mmap(NULL, piece_bytes(piece), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) {
            free_piece(room, piece);
            return -ENOMEM;
        }
        /* S0: pairs with S1. A worker needs the piece only for a rule that is published later. */
        atomic_store_explicit(&room->shelves[w].pieces[piece], at, memory_order_release);
    }
    room->n_pieces++;
    room->n_slots += piece_slots(piece);
    return 0;
}

int rule_stats_add_rule(struct rule_stats_room *room)
{
    if (room->n_rules == room->n_slots && add_piece(room))
        return -ENOMEM;
    room->n_rules++;
    return 0;
}

void rule_stats_remove_rule(struct rule_stats_room *room, struct rule_stats *_Atomic *slots)
{
    for (unsigned w = 0; w < room->n_workers; w++) {
        struct rule_stats *s = atomic_load_explicit(&slots[w], memory_order_relaxed);
        _Atomic(struct rule_stats *) *first = &room->shelves[w].returned;
        if (!s)
            continue;
        s->next = atomic_load_explicit(first, memory_order_relaxed);
        /* S2: pairs with S3. */
        while (!atomic_compare_exchange_weak_explicit(first, &s->next, s, memory_order_release, memory_order_relaxed))
            ;
    }
    room->n_rules--;
}

struct rule_stats *rule_stats_take(struct rule_stats_room *room, unsigned worker)
{
    struct rule_stats_shelf *shelf = &room->shelves[worker];
    if (!shelf->free && atomic_load_explicit(&shelf->returned, memory_order_relaxed))
        shelf->free = atomic_exchange_explicit(&shelf->returned, NULL, memory_order_acquire);   /* S3 */
    struct rule_stats *s = shelf->free;
    if (s) {
        shelf->free = s->next;
    } else {
        if (shelf->at == piece_slots(shelf->piece)) {
            shelf->piece++;
            shelf->at = 0;
        }
        /* S1 */
        s = atomic_load_explicit(&shelf->pieces[shelf->piece], memory_order_acquire);
        assert(s);
        s += shelf->at++;
    }
    memset(s, 0, sizeof *s);
    return s;
}
