#include "base/watch.h"
#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>

int watch_begin(int set, struct watch *w, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = w};
    return epoll_ctl(set, EPOLL_CTL_ADD, w->fd, &e) ? -errno : 0;
}

void watch_end(int set, struct watch *w)
{
    if (w->fd >= 0)
        epoll_ctl(set, EPOLL_CTL_DEL, w->fd, NULL);
    w->fd = -1;
}

int watch_run(int set)
{
    /* One at a time: what it does may free another that is ready. */
    int n = 0;
    for (struct epoll_event e; n < 64 && epoll_wait(set, &e, 1, 0) == 1; n++)
        ((struct watch *)e.data.ptr)->ready(e.data.ptr, e.events);
    return n;
}
