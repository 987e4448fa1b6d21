/* Limits of tables: eviction (OpenFlow 1.4.1, 6.5) and vacancy events (6.4, 7.4.5). What a miss does, until 1.2 (A.3.3). */
#include <errno.h>
#include "base/clock.h"
#include "flow/rule_list.h"
#include "path/datapath.h"

enum { OFPRR_EVICTION = 5, OFPET_TABLE_MOD_FAILED = 8, OFPTMFC_BAD_TABLE = 0, OFPTMFC_BAD_CONFIG = 1 };

static uint32_t capacity(const struct table *t)
{
    return t->conf.max_entries ? t->conf.max_entries : TABLE_MAX_ENTRIES;
}

static int configure(struct bridge *b, uint8_t id, const struct dp_table *conf, fault *f)
{
    struct table *t = bridge_table(b, id);
    if (!t)
        return fault_set(f, ENOMEM, "table", "out of memory");
    t->conf = *conf;
    t->conf.table_id = id;
    t->scarce = false;
    table_check_vacancy(t);
    return 0;
}

int table_configure(struct bridge *b, const struct dp_table *conf, fault *f)
{
    uint32_t miss = DP_TABLE_MISS_CONTINUE | DP_TABLE_MISS_DROP;
    if (conf->config & ~(uint32_t)(DP_TABLE_EVICTION | DP_TABLE_VACANCY | miss) || (conf->config & miss) == miss)
        return fault_openflow(f, OFPET_TABLE_MOD_FAILED, OFPTMFC_BAD_CONFIG, "config", "0x%x: unknown bits, or a miss that is to continue and to be dropped", conf->config);
    if (conf->vacancy_down > 100 || conf->vacancy_up > 100 || conf->vacancy_down > conf->vacancy_up)
        return fault_openflow(f, OFPET_TABLE_MOD_FAILED, OFPTMFC_BAD_CONFIG, "vacancy", "down %u, up %u: percent, down at most up",
                              conf->vacancy_down, conf->vacancy_up);
    tenant_changed(b->tenant);
    if (conf->table_id != OFPTT_ALL)
        return conf->table_id < OFPTT_MAX ? configure(b, conf->table_id, conf, f)
                                          : fault_openflow(f, OFPET_TABLE_MOD_FAILED, OFPTMFC_BAD_TABLE, "table_id",
                                                           "there is no table %u", conf->table_id);
    for (unsigned id = 0; id < OFPTT_MAX; id++) {
        int e = configure(b, (uint8_t)id, conf, f);
        if (e)
            return e;
    }
    return 0;
}

static uint8_t vacancy(const struct table *t)
{
    uint32_t most = capacity(t);
    return t->n_rules >= most ? 0 : (uint8_t)((uint64_t)(most - t->n_rules) * 100 / most);
}

void table_describe(const struct table *t, struct dp_table *out)
{
    *out = t->conf;
    out->table_id = t->id;
    out->max_entries = capacity(t);
    out->vacancy = vacancy(t);
    out->reason = 0;
}

void table_check_vacancy(struct table *t)
{
    struct dp_table now;
    if (!(t->conf.config & DP_TABLE_VACANCY))
        return;
    table_describe(t, &now);
    bool down = !t->scarce && now.vacancy < t->conf.vacancy_down, up = t->scarce && now.vacancy > t->conf.vacancy_up;
    if (!down && !up)
        return;
    t->scarce = down;
    now.reason = down ? DP_TABLE_VACANCY_DOWN : DP_TABLE_VACANCY_UP;
    if (t->bridge->dp->table_status)
        t->bridge->dp->table_status(t->bridge, &now);
}

/* When the rule will be gone by itself; UINT64_MAX = never. */
static uint64_t end_of_life(const struct rule *r)
{
    struct rule_totals t;
    rule_totals(r, &t);
    uint64_t hard = r->hard_timeout ? r->created + r->hard_timeout * clock_hz : UINT64_MAX;
    uint64_t idle = r->idle_timeout ? t.used + r->idle_timeout * clock_hz : UINT64_MAX;
    return hard < idle ? hard : idle;
}

bool table_make_room(struct table *t, uint16_t importance)
{
    if (t->n_rules < capacity(t))
        return true;
    if (!(t->conf.config & DP_TABLE_EVICTION) || t->bridge->bundle)
        return false;
    /* Least important first, then those that would go soonest. */
    struct rule *victim = NULL;
    for (struct rule *r = t->rules; r; r = r->next)
        if (!victim || r->importance < victim->importance ||
            (r->importance == victim->importance && end_of_life(r) < end_of_life(victim)))
            victim = r;
    if (!victim || victim->importance > importance)
        return false;
    rule_remove(victim, OFPRR_EVICTION);
    return true;
}
