/* A file descriptor that the main loop looks after. Main thread. */
#ifndef VSWITCH_WATCH_H
#define VSWITCH_WATCH_H
#include <stdint.h>

struct watch {
    int fd;                    /* -1: not watched */
    void (*ready)(struct watch *w, uint32_t events);   /* EPOLL*; may end or free any watch */
};

/* `set` is an epoll descriptor. 0 or a negative errno. */
int watch_begin(int set, struct watch *w, uint32_t events);
/* No effect on one that is not watched. Doesn't close the descriptor; w->fd is -1 then. */
void watch_end(int set, struct watch *w);
/* Calls `ready` of those that are. Returns how many. */
int watch_run(int set);

#endif
