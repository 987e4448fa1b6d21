/* Memory that workers may still be reading. The main thread alone changes what workers read (under liburcu's QSBR flavour);
 * what it unlinks goes here and is freed when every worker has passed a quiescent state since. Main thread only. */
#ifndef VSWITCH_DEFER_H
#define VSWITCH_DEFER_H

/* Calls fn(arg) after a grace period. */
void defer(void (*fn)(void *), void *arg);
/* Waits for a grace period now if anything waits, and carries out what waited. Called from the main loop. */
void defer_run(void);
/* How many calls wait. */
unsigned defer_pending(void);

#endif
