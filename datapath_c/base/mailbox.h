/* Many-producer, one-consumer mailbox of calls: main thread to worker, worker to main thread.
 *
 * Push is one atomic exchange loop; the consumer takes everything at once, in the order of the pushes. Whoever pushes into
 * an empty mailbox wakes the consumer through its eventfd. */
#ifndef VSWITCH_MAILBOX_H
#define VSWITCH_MAILBOX_H
#include <stdatomic.h>
#include <stdbool.h>

struct letter {
    struct letter *next;
    void (*fn)(struct letter *, void *consumer);   /* owns the letter */
};

struct mailbox {
    _Atomic(struct letter *) head;
    int event_fd;
};

/* 0 or a negative errno. */
int mailbox_init(struct mailbox *m);
void mailbox_close(struct mailbox *m);
void mailbox_post(struct mailbox *m, struct letter *l);
/* Carries out everything posted so far; returns whether there was anything. */
bool mailbox_drain(struct mailbox *m, void *consumer);

/* Takes everything posted so far, in the order of the pushes; NULL when there is nothing. */
struct letter *mailbox_take(struct mailbox *m);

static inline bool mailbox_empty(struct mailbox *m)
{
    return !atomic_load_explicit(&m->head, memory_order_relaxed);
}

#endif
