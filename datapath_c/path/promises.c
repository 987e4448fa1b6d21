/* What tenants were promised, turned into what the workers' schedulers go by: weights and limits. Main thread. */
#include <errno.h>
#include <stdlib.h>
#include "path/worker.h"
#include "path/workers_run.h"
#include "sched/shares.h"

#define SLICE_NS 1400          /* with the dearest single step, a stretch stays below 2 µs */
#define SLICE_NS_MIN 500
#define SLICE_NS_MAX 1000000

static unsigned workers_with_queues(const struct datapath *dp, const struct tenant *t)
{
    unsigned n = 0;
    for (unsigned i = 0; i < dp->n_workers; i++)
        n += t->queues[i] > 0;
    return n ? n : 1;
}

static void set_weight(struct worker *w, uint32_t tenant, uint64_t weight)
{
    atomic_store_explicit(&w->weights[tenant], weight, memory_order_relaxed);
}

/* Everybody's weight on one worker. */
static void compute_worker(struct datapath *dp, struct worker *w)
{
    static struct share shares[DP_MAX_TENANTS];
    static uint32_t ids[DP_MAX_TENANTS];
    uint32_t n = 0;
    for (uint32_t i = 1; i < DP_MAX_TENANTS; i++) {
        const struct tenant *t = dp->tenants[i];
        if (!t || !t->queues[w->id])
            continue;
        unsigned over = workers_with_queues(dp, t);
        shares[n] = (struct share){.weight = t->conf.weight, .min = t->conf.cpu_min_ppm / 1e6 / over, .over = over};
        ids[n++] = i;
    }
    shares_compute(shares, n);
    for (uint32_t i = 0; i < n; i++)
        set_weight(w, ids[i], shares[i].effective);
}

void promises_changed(struct datapath *dp, struct tenant *t)
{
    uint64_t promised = 0;
    for (uint32_t i = 1; i < DP_MAX_TENANTS; i++)
        promised += dp->tenants[i] ? dp->tenants[i]->conf.cpu_min_ppm : 0;
    atomic_store_explicit(&t->limit.ppm, t->conf.cpu_max_ppm, memory_order_relaxed);
    if (promised || dp->promised) {
        for (unsigned i = 0; i < dp->n_workers; i++)
            compute_worker(dp, dp->workers[i]);
    } else {
        struct share s = {.weight = t->conf.weight, .over = workers_with_queues(dp, t)};
        shares_compute(&s, 1);
        for (unsigned i = 0; i < dp->n_workers; i++)
            set_weight(dp->workers[i], t->conf.id, s.effective);
    }
    dp->promised = promised;
}

int promises_check(const struct datapath *dp, const struct dp_tenant *conf, fault *f)
{
    if (conf->weight == 0 || conf->weight > 10000)
        return fault_set(f, EINVAL, "weight", "%u is not in 1..10000", conf->weight);
    if (conf->cpu_min_ppm > 1000000)
        return fault_set(f, EINVAL, "cpu_min", "%u is more than 1000000", conf->cpu_min_ppm);
    if (conf->cpu_max_ppm && conf->cpu_max_ppm < conf->cpu_min_ppm)
        return fault_set(f, EINVAL, "cpu_max", "%u is less than cpu_min, %u", conf->cpu_max_ppm, conf->cpu_min_ppm);
    uint64_t others = 0, all = dp->n_workers * UINT64_C(1000000);
    for (uint32_t i = 1; i < DP_MAX_TENANTS; i++)
        others += dp->tenants[i] && i != conf->id ? dp->tenants[i]->conf.cpu_min_ppm : 0;
    if (conf->cpu_min_ppm && others + conf->cpu_min_ppm > all)
        return fault_set(f, ENOSPC, "cpu_min", "%u is more than the %llu that are left", conf->cpu_min_ppm,
                         (unsigned long long)(all > others ? all - others : 0));
    return 0;
}

/* ---- the policy ---- */

static void change(struct worker *w, void *arg)
{
    const struct datapath *dp = arg;
    struct subject **all = calloc(DP_MAX_TENANTS, sizeof *all);
    if (!all)
        return;
    for (uint32_t i = 0; i < DP_MAX_TENANTS; i++)
        all[i] = w->tenants[i] ? &w->tenants[i]->subject : NULL;
    w->slice = dp->slice;
    scheduler_change(&w->sched, policy_by_number(dp->policy), dp->slice, all, DP_MAX_TENANTS, w->now);
    free(all);
}

int datapath_set_scheduler(struct datapath *dp, const struct dp_scheduler *s, fault *f)
{
    uint32_t ns = s->slice_ns ? s->slice_ns : SLICE_NS;
    if (!policy_by_number(s->policy))
        return fault_set(f, EINVAL, "policy", "%u is not in 0..%u", s->policy, DP_POLICY_NONE);
    if (ns < SLICE_NS_MIN || ns > SLICE_NS_MAX)
        return fault_set(f, EINVAL, "slice_ns", "%u is not in %u..%u", ns, SLICE_NS_MIN, SLICE_NS_MAX);
    dp->policy = s->policy;
    dp->slice_ns = ns;
    dp->slice = (uint64_t)((double)clock_hz * ns / 1e9);
    if (dp->workers[0])
        workers_run(dp, change, dp);
    return 0;
}
