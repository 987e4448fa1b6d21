#include "port/qos.h"
#include <errno.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/defer.h"
#include "base/rate.h"
#include "path/datapath.h"
#include "port/port.h"

#define BURST_MS 20            /* of the rate, */
#define LEAST_BURST_BITS (8.0 * 2 * PACKET_MAX)   /* but two packets of any size */

struct queue_counts {
    uint64_t packets, bytes, dropped;
};

struct queue {
    uint32_t id, min_kbps, max_kbps;
    uint64_t created;
    struct rate min, max;
    struct queue_counts *counts;   /* a worker's each */
};

struct qos {
    uint32_t n, max_kbps;
    unsigned n_workers;
    struct rate rate;          /* the port's, where it has one */
    struct queue_counts *counts;
    struct queue queues[];     /* by rising id */
};

static void set_rate(struct rate *r, uint32_t kbps)
{
    double per_second = kbps * 1000.0, burst = per_second * BURST_MS / 1000;
    if (kbps)
        rate_init(r, per_second, burst > LEAST_BURST_BITS ? burst : LEAST_BURST_BITS);
}

static struct queue *find(struct qos *q, uint32_t id)
{
    uint32_t low = 0, high = q->n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (q->queues[middle].id == id)
            return &q->queues[middle];
        if (q->queues[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool admits(struct qos *q, struct queue *k, uint64_t bits, uint64_t now)
{
    if (k && k->max_kbps && !rate_admits(&k->max, bits, now))
        return false;
    if (!q->max_kbps)
        return true;
    if (!k || !k->min_kbps || !rate_admits(&k->min, bits, now))
        return rate_admits(&q->rate, bits, now);
    rate_take(&q->rate, bits, now);
    return true;
}

bool qos_admit(struct qos *q, unsigned worker, const struct packet *p, uint64_t now)
{
    struct queue *k = find(q, p->queue_id);
    if (!k && p->queue_id)
        k = find(q, 0);
    bool admitted = admits(q, k, p->len * 8ull, now);
    if (k) {
        struct queue_counts *c = &k->counts[worker];
        __atomic_store_n(&c->packets, c->packets + admitted, __ATOMIC_RELAXED);
        __atomic_store_n(&c->bytes, c->bytes + (admitted ? p->len : 0), __ATOMIC_RELAXED);
        __atomic_store_n(&c->dropped, c->dropped + !admitted, __ATOMIC_RELAXED);
    }
    return admitted;
}

static int check(const struct dp_queues *head, const struct dp_queue *queues, fault *f)
{
    if (head->n > DP_MAX_QUEUES)
        return fault_set(f, EINVAL, "queues", "%u are more than %u", head->n, DP_MAX_QUEUES);
    for (uint32_t i = 0; i < head->n; i++) {
        if (queues[i].queue_id == UINT32_MAX || (i && queues[i].queue_id <= queues[i - 1].queue_id))
            return fault_set(f, EINVAL, "queues", "queue %u: by rising id, none twice, none 0xffffffff", queues[i].queue_id);
        if (queues[i].max_kbps && queues[i].min_kbps > queues[i].max_kbps)
            return fault_set(f, EINVAL, "queues", "queue %u: min %u kbit/s is above max %u", queues[i].queue_id,
                             queues[i].min_kbps, queues[i].max_kbps);
    }
    return 0;
}

int qos_set(struct port *p, const struct dp_queues *head, const struct dp_queue *queues, fault *f)
{
    int e = check(head, queues, f);
    if (e)
        return e;
    struct qos *old = atomic_load_explicit(&p->qos, memory_order_relaxed), *new = NULL;
    if (head->n || head->max_kbps) {
        unsigned workers = p->bridge->dp->n_workers;
        new = calloc(1, sizeof *new + head->n * (sizeof new->queues[0] + workers * sizeof *new->counts));
        if (!new)
            return fault_set(f, ENOMEM, "", "out of memory");
        new->n = head->n;
        new->max_kbps = head->max_kbps;
        new->n_workers = workers;
        new->counts = (struct queue_counts *)&new->queues[head->n];
        set_rate(&new->rate, head->max_kbps);
        for (uint32_t i = 0; i < head->n; i++) {
            struct queue *k = &new->queues[i], *before = old ? find(old, queues[i].queue_id) : NULL;
            *k = (struct queue){.id = queues[i].queue_id, .min_kbps = queues[i].min_kbps, .max_kbps = queues[i].max_kbps,
                                .created = before ? before->created : clock_now(), .counts = new->counts + i * workers};
            set_rate(&k->min, k->min_kbps);
            set_rate(&k->max, k->max_kbps);
            if (before)
                memcpy(k->counts, before->counts, workers * sizeof *k->counts);
        }
    }
    atomic_store_explicit(&p->qos, new, memory_order_release);
    if (old)
        defer(free, old);
    return 0;
}

void qos_describe(const struct port *p, uint64_t now, struct dp_queues *head, struct dp_queue *out)
{
    const struct qos *q = atomic_load_explicit(&((struct port *)p)->qos, memory_order_relaxed);
    *head = (struct dp_queues){.port_no = p->port_no, .n = q ? q->n : 0, .max_kbps = q ? q->max_kbps : 0};
    for (uint32_t i = 0; i < head->n; i++) {
        const struct queue *k = &q->queues[i];
        out[i] = (struct dp_queue){.queue_id = k->id, .min_kbps = k->min_kbps, .max_kbps = k->max_kbps,
                                   .age_nsec = (uint64_t)((double)(now - k->created) * 1e9 / (double)clock_hz)};
        for (unsigned w = 0; w < q->n_workers; w++) {
            out[i].tx_packets += __atomic_load_n(&k->counts[w].packets, __ATOMIC_RELAXED);
            out[i].tx_bytes += __atomic_load_n(&k->counts[w].bytes, __ATOMIC_RELAXED);
            out[i].tx_errors += __atomic_load_n(&k->counts[w].dropped, __ATOMIC_RELAXED);
        }
    }
}
