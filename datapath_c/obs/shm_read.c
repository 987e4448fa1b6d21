/* The reader's half of the counters: copies that are all of one moment. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include "channel/contract.h"

#define READ_TRIES 1000

int dp_shm_read_accounts(const void *shm, uint32_t worker, struct dp_shm_worker *row, struct dp_shm_account *accounts,
                         uint32_t n)
{
    const struct dp_shm_header *h = shm;
    if (worker >= h->n_workers || n > h->max_tenants)
        return -EINVAL;
    const char *base = shm;
    const struct dp_shm_worker *w = (const struct dp_shm_worker *)(base + h->workers_off) + worker;
    const struct dp_shm_account *a =
        (const struct dp_shm_account *)(base + h->accounts_off) + (size_t)worker * h->max_tenants;
    const _Atomic uint64_t *seq = (const _Atomic uint64_t *)&w->seq;
    for (int i = 0; i < READ_TRIES; i++) {
        uint64_t before = atomic_load_explicit(seq, memory_order_acquire);
        memcpy(row, w, sizeof *row);
        memcpy(accounts, a, (size_t)n * sizeof *a);
        atomic_thread_fence(memory_order_acquire);
        if (!(before & 1) && atomic_load_explicit(seq, memory_order_relaxed) == before)
            return 0;
    }
    return -EAGAIN;
}
