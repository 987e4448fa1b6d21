#include "base/mailbox.h"
#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int mailbox_init(struct mailbox *m)
{
    atomic_init(&m->head, NULL);
    m->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return m->event_fd < 0 ? -errno : 0;
}

void mailbox_close(struct mailbox *m)
{
    close(m->event_fd);
}

void mailbox_post(struct mailbox *m, struct letter *l)
{
    struct letter *head = atomic_load_explicit(&m->head, memory_order_relaxed);
    do
        l->next = head;
    /* P0: the letter's contents are seen by whoever takes it (D0). */
    while (!atomic_compare_exchange_weak_explicit(&m->head, &head, l, memory_order_release, memory_order_relaxed));
    if (!head) {
        uint64_t one = 1;
        ssize_t unused = write(m->event_fd, &one, sizeof one);
        (void)unused;   /* EAGAIN: the counter is full, so the consumer is being woken already */
    }
}

struct letter *mailbox_take(struct mailbox *m)
{
    if (mailbox_empty(m))
        return NULL;
    uint64_t count;
    ssize_t unused = read(m->event_fd, &count, sizeof count);
    (void)unused;
    /* D0: pairs with P0. */
    struct letter *l = atomic_exchange_explicit(&m->head, NULL, memory_order_acquire);
    struct letter *in_order = NULL;
    while (l) {
        struct letter *next = l->next;
        l->next = in_order;
        in_order = l;
        l = next;
    }
    return in_order;
}

bool mailbox_drain(struct mailbox *m, void *consumer)
{
    struct letter *l = mailbox_take(m);
    bool any = l != NULL;
    while (l) {
        struct letter *next = l->next;
        l->fn(l, consumer);
        l = next;
    }
    return any;
}
