/* The counters' memory: made by the datapath, mapped by whoever watches. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/clock.h"
#include "path/datapath.h"

#define SHM_MAGIC 0x5653574954434831u

static uint64_t align_up(uint64_t n)
{
    return (n + 4095) / 4096 * 4096;
}

int shm_create(struct datapath *dp)
{
    struct dp_shm_header h = {.magic = SHM_MAGIC, .version = DP_CONTRACT_VERSION, .n_workers = dp->n_workers,
                              .max_tenants = DP_MAX_TENANTS, .max_ports = DP_MAX_PORTS, .tsc_hz = clock_hz};
    h.workers_off = 4096;
    h.accounts_off = align_up(h.workers_off + dp->n_workers * sizeof(struct dp_shm_worker));
    h.ports_off = align_up(h.accounts_off + (uint64_t)dp->n_workers * DP_MAX_TENANTS * sizeof(struct dp_shm_account));
    h.control_off = align_up(h.ports_off + (uint64_t)dp->n_workers * DP_MAX_PORTS * sizeof(struct dp_shm_port));
    dp->shm_size = align_up(h.control_off + DP_MAX_TENANTS * sizeof(struct dp_shm_control));
    dp->shm_fd = memfd_create("vswitch-counters", MFD_CLOEXEC);
    if (dp->shm_fd < 0)
        return -errno;
    if (ftruncate(dp->shm_fd, (off_t)dp->shm_size))
        return -errno;
    dp->shm = mmap(NULL, dp->shm_size, PROT_READ | PROT_WRITE, MAP_SHARED, dp->shm_fd, 0);
    if (dp->shm == MAP_FAILED)
        return -errno;
    memcpy(dp->shm, &h, sizeof h);
    return 0;
}

void shm_destroy(struct datapath *dp)
{
    munmap(dp->shm, dp->shm_size);
    close(dp->shm_fd);
}

static void *at(const struct datapath *dp, uint64_t offset)
{
    return (char *)dp->shm + offset;
}

struct dp_shm_worker *shm_worker(const struct datapath *dp, unsigned worker)
{
    const struct dp_shm_header *h = dp->shm;
    return (struct dp_shm_worker *)at(dp, h->workers_off) + worker;
}

struct dp_shm_account *shm_account(const struct datapath *dp, unsigned worker, uint32_t tenant)
{
    const struct dp_shm_header *h = dp->shm;
    return (struct dp_shm_account *)at(dp, h->accounts_off) + (size_t)worker * h->max_tenants + tenant;
}

struct dp_shm_port *shm_port(const struct datapath *dp, unsigned worker, uint32_t slot)
{
    const struct dp_shm_header *h = dp->shm;
    return (struct dp_shm_port *)at(dp, h->ports_off) + (size_t)worker * h->max_ports + slot;
}

struct dp_shm_control *shm_control(const struct datapath *dp, uint32_t tenant)
{
    const struct dp_shm_header *h = dp->shm;
    return (struct dp_shm_control *)at(dp, h->control_off) + tenant;
}
