/* A guest's memory, as its virtual machine monitor shares it: a few regions, each a mapping of ours.
 *
 * The guest may shrink the file behind a mapping at any time. A page that is gone then reads as zeroes (a SIGBUS handler puts an
 * empty page there), and the memory is `truncated`, which ends the port's use of it.
 *
 * Main thread maps and unmaps, while no worker uses the memory; workers translate. */
#ifndef VSWITCH_VHOST_MEMORY_H
#define VSWITCH_VHOST_MEMORY_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include "port/vhost_message.h"

struct vhost_region {
    uint64_t guest, size;      /* guest-physical address of its first byte; bytes */
    uint8_t *host;             /* of its first byte */
    uint64_t user;             /* its address in the monitor, which ring addresses are given in */
    void *map;
    size_t map_size;
};

struct vhost_memory {
    unsigned n;
    _Atomic bool truncated;
    struct vhost_region at[VHOST_MAX_REGIONS];
    /* Dirty pages, a bit each of 4 KiB of guest-physical memory, while the guest migrates; or NULL. */
    uint8_t *log;
    size_t log_size;           /* bytes */
    void *log_map;
    size_t log_map_size;
};

/* Maps one region more. 0 or a negative errno, with *why. The descriptor stays the caller's. */
int vhost_memory_add(struct vhost_memory *m, const struct vhost_msg_region *r, int fd, const char **why);
/* Whether this very region is there. */
bool vhost_memory_has(const struct vhost_memory *m, const struct vhost_msg_region *r);
/* Unmaps the region that begins there and has this size. 0 or -ENOENT. */
int vhost_memory_remove(struct vhost_memory *m, const struct vhost_msg_region *r);
void vhost_memory_clear(struct vhost_memory *m);
int vhost_memory_log(struct vhost_memory *m, uint64_t size, uint64_t offset, int fd, const char **why);
void vhost_memory_log_end(struct vhost_memory *m);

/* What the monitor calls `user`, if `size` bytes of it are there; else NULL. For rings. */
void *vhost_user_address(const struct vhost_memory *m, uint64_t user, uint64_t size);
/* The guest-physical address of a ring's memory (for the log); 0 when it is not there. */
uint64_t vhost_guest_of(const struct vhost_memory *m, const void *host);

/* The host address of guest-physical `addr`, and in *len, which is reduced, how much of what follows lies behind it there. NULL
 * when the guest has no memory there. */
static inline uint8_t *vhost_guest_address(const struct vhost_memory *m, uint64_t addr, uint32_t *len)
{
    for (unsigned i = 0; i < m->n; i++) {
        const struct vhost_region *r = &m->at[i];
        uint64_t at = addr - r->guest;
        if (at < r->size) {
            if (*len > r->size - at)
                *len = (uint32_t)(r->size - at);
            return r->host + at;
        }
    }
    return NULL;
}

/* Notes that `len` bytes at a guest-physical address were written. After they were: the monitor forgets the note and copies the page
 * at any moment. */
void vhost_log_write(struct vhost_memory *m, uint64_t addr, uint64_t len);

#endif
