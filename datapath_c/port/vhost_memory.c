#include "port/vhost_memory.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096ull
#define LOG_PAGE_SHIFT 12

/* Every mapping of a guest's, for the SIGBUS handler, which may run in any thread at any access. A slot is in use while
 * `begin` is not 0. */
#define MAX_MAPPINGS 65536

static struct mapping {
    _Atomic uintptr_t begin, end;
    _Atomic bool *truncated;
} mappings[MAX_MAPPINGS];
static _Atomic unsigned n_mappings;

/* mmap is not in POSIX' list of what a handler may call, but on Linux it is a system call and no more. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)info->si_addr;
    unsigned n = atomic_load_explicit(&n_mappings, memory_order_acquire);
    for (unsigned i = 0; i < n; i++) {
        struct mapping *m = &mappings[i];
        uintptr_t begin = atomic_load_explicit(&m->begin, memory_order_acquire);
        if (!begin || at < begin || at >= atomic_load_explicit(&m->end, memory_order_relaxed))
            continue;
        int saved = errno;
        atomic_store_explicit(m->truncated, true, memory_order_release);
        /* The whole mapping: its file is not to be trusted any more, and huge pages can't be replaced one by one. */
        void *p = mmap((void *)begin, m->end - begin, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
        errno = saved;
        if (p != MAP_FAILED)
            return;
    }
    signal(SIGBUS, SIG_DFL);
}

static void install_handler(void)
{
    struct sigaction a = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    sigaction(SIGBUS, &a, NULL);
}

static int register_mapping(void *map, size_t size, _Atomic bool *truncated)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install_handler);
    for (unsigned i = 0; i < MAX_MAPPINGS; i++) {
        struct mapping *m = &mappings[i];
        if (atomic_load_explicit(&m->begin, memory_order_relaxed))
            continue;
        m->truncated = truncated;
        atomic_store_explicit(&m->end, (uintptr_t)map + size, memory_order_relaxed);
        atomic_store_explicit(&m->begin, (uintptr_t)map, memory_order_release);
        if (i >= atomic_load_explicit(&n_mappings, memory_order_relaxed))
            atomic_store_explicit(&n_mappings, i + 1, memory_order_release);
        return 0;
    }
    return -ENOSPC;
}

static void unmap(void *map, size_t size)
{
    unsigned n = atomic_load_explicit(&n_mappings, memory_order_relaxed);
    for (unsigned i = 0; i < n; i++)
        if (atomic_load_explicit(&mappings[i].begin, memory_order_relaxed) == (uintptr_t)map)
            atomic_store_explicit(&mappings[i].begin, 0, memory_order_release);
    munmap(map, size);
}

static int map_file(int fd, uint64_t offset, uint64_t size, _Atomic bool *truncated, void **map, size_t *map_size,
                    const char **why)
{
    struct stat st;
    uint64_t page = PAGE;
    if (fd < 0 || fstat(fd, &st)) {
        *why = "no file was passed along";
        return -EBADF;
    }
    if (!size || offset + size < size || offset + size > INT64_MAX) {
        *why = "size and offset are out of range";
        return -EINVAL;
    }
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size < offset + size) {
        *why = "the file is shorter than the region";
        return -EINVAL;
    }
    if (st.st_blksize > (blksize_t)page)
        page = (uint64_t)st.st_blksize;    /* huge pages: mappings are of whole ones */
    /* From the file's start, as the offset need not be a page's. */
    *map_size = (size_t)((offset + size + page - 1) / page * page);
    *map = mmap(NULL, *map_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (*map == MAP_FAILED) {
        *why = "the file can't be mapped";
        return -errno;
    }
    madvise(*map, *map_size, MADV_DONTDUMP);
    madvise(*map, *map_size, MADV_HUGEPAGE);
    int e = register_mapping(*map, *map_size, truncated);
    if (e) {
        munmap(*map, *map_size);
        *why = "too many mappings";
    }
    return e;
}

int vhost_memory_add(struct vhost_memory *m, const struct vhost_msg_region *r, int fd, const char **why)
{
    if (m->n == VHOST_MAX_REGIONS) {
        *why = "too many regions";
        return -ENOSPC;
    }
    if (r->guest_addr + r->size < r->size || r->user_addr + r->size < r->size) {
        *why = "size and address are out of range";
        return -EINVAL;
    }
    for (unsigned i = 0; i < m->n; i++)
        if (r->guest_addr < m->at[i].guest + m->at[i].size && m->at[i].guest < r->guest_addr + r->size) {
            *why = "two regions overlap";
            return -EINVAL;
        }
    void *map;
    size_t size;
    int e = map_file(fd, r->mmap_offset, r->size, &m->truncated, &map, &size, why);
    if (e)
        return e;
    struct vhost_region new = {.guest = r->guest_addr, .size = r->size, .user = r->user_addr,
                               .host = (uint8_t *)map + r->mmap_offset, .map = map, .map_size = size};
    /* The largest first: most buffers are there. */
    unsigned i = m->n++;
    for (; i > 0 && m->at[i - 1].size < new.size; i--)
        m->at[i] = m->at[i - 1];
    m->at[i] = new;
    return 0;
}

bool vhost_memory_has(const struct vhost_memory *m, const struct vhost_msg_region *r)
{
    for (unsigned i = 0; i < m->n; i++)
        if (m->at[i].guest == r->guest_addr && m->at[i].size == r->size && m->at[i].user == r->user_addr)
            return true;
    return false;
}

int vhost_memory_remove(struct vhost_memory *m, const struct vhost_msg_region *r)
{
    for (unsigned i = 0; i < m->n; i++)
        if (m->at[i].guest == r->guest_addr && m->at[i].size == r->size) {
            unmap(m->at[i].map, m->at[i].map_size);
            memmove(&m->at[i], &m->at[i + 1], (m->n - i - 1) * sizeof m->at[0]);
            m->n--;
            return 0;
        }
    return -ENOENT;
}

void vhost_memory_clear(struct vhost_memory *m)
{
    for (unsigned i = 0; i < m->n; i++)
        unmap(m->at[i].map, m->at[i].map_size);
    m->n = 0;
    atomic_store(&m->truncated, false);
}

int vhost_memory_log(struct vhost_memory *m, uint64_t size, uint64_t offset, int fd, const char **why)
{
    void *map;
    size_t map_size;
    int e = map_file(fd, offset, size, &m->truncated, &map, &map_size, why);
    if (e)
        return e;
    vhost_memory_log_end(m);
    m->log_map = map;
    m->log_map_size = map_size;
    m->log = (uint8_t *)map + offset;
    m->log_size = size;
    return 0;
}

void vhost_memory_log_end(struct vhost_memory *m)
{
    if (m->log_map)
        unmap(m->log_map, m->log_map_size);
    m->log_map = NULL;
    m->log = NULL;
    m->log_size = 0;
}

void *vhost_user_address(const struct vhost_memory *m, uint64_t user, uint64_t size)
{
    for (unsigned i = 0; i < m->n; i++) {
        const struct vhost_region *r = &m->at[i];
        uint64_t at = user - r->user;
        if (at < r->size && size <= r->size - at)
            return r->host + at;
    }
    return NULL;
}

uint64_t vhost_guest_of(const struct vhost_memory *m, const void *host)
{
    for (unsigned i = 0; i < m->n; i++) {
        const struct vhost_region *r = &m->at[i];
        if ((const uint8_t *)host >= r->host && (const uint8_t *)host < r->host + r->size)
            return r->guest + (uint64_t)((const uint8_t *)host - r->host);
    }
    return 0;
}

void vhost_log_write(struct vhost_memory *m, uint64_t addr, uint64_t len)
{
    if (!m->log || !len)
        return;
    for (uint64_t page = addr >> LOG_PAGE_SHIFT; page <= (addr + len - 1) >> LOG_PAGE_SHIFT; page++)
        if (page / 8 < m->log_size)
            __atomic_fetch_or(&m->log[page / 8], (uint8_t)(1 << page % 8), __ATOMIC_RELAXED);
}
