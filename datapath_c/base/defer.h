/* Memory that workers may still be reading. The main thread alone changes what workers read (under liburcu's QSBR flavour);
 * what it unlinks goes here and is freed when every worker has passed a quiescent state since, and when the turns that were
 * suspended at that moment (path/turn.h) have finished what they had begun. A turn reads only what is its tenant's: with
 * defer_owner() set, only that tenant's turns are waited for, so that one tenant's slow turn holds back no other's memory.
 * Main thread only. */
#ifndef VSWITCH_DEFER_H
#define VSWITCH_DEFER_H
#include <stdatomic.h>
#include <stdint.h>

/* A worker's counters of turns, by tenant: odd while a suspended turn has something in hand. */
void defer_watch(_Atomic uint32_t *turns, uint32_t n);
void defer_unwatch(const _Atomic uint32_t *turns);
/* Whose what is deferred from now on is; 0 = perhaps read by everybody's turns. Returns who it was before. */
uint32_t defer_owner(uint32_t tenant);
/* Called when suspended turns of a tenant (0 = of anybody) hold back more than DEFER_HELD_MAX calls: shall end them. */
#define DEFER_HELD_MAX 16384
extern void (*defer_release)(uint32_t tenant);

/* Calls fn(arg) after a grace period. */
void defer(void (*fn)(void *), void *arg);
/* Waits for a grace period now if anything waits, and carries out what waited and is in nobody's hand. Called from the main
 * loop. */
void defer_run(void);
/* How many calls wait for a grace period; and how many for suspended turns. */
unsigned defer_pending(void);
unsigned defer_held(void);

#endif
