/* Rules whose time has come (OpenFlow 1.3.5, 5.5). */
#include "base/clock.h"
#include "flow/rule_list.h"
#include "path/datapath.h"

static uint16_t shorter(uint16_t timeout, uint16_t limit)
{
    return limit && (!timeout || timeout > limit) ? limit : timeout;
}

void rule_shorten(struct rule *r, uint16_t idle, uint16_t hard)
{
    r->idle_timeout = shorter(r->idle_timeout, idle);
    r->hard_timeout = shorter(r->hard_timeout, hard);
    rule_list_timed(r);
}

void bridge_expire(struct bridge *b, uint64_t now)
{
    bool any = false;
    if (b->bundle)
        return;
    for (struct rule *r = b->timed, *next; r; r = next) {
        struct rule_totals t;
        next = r->timed_next;
        if (!cls_visible(&r->cls, bridge_pending_version(b)))
            continue;
        rule_totals(r, b->dp->n_workers, &t);
        bool hard = r->hard_timeout && now - r->created >= r->hard_timeout * clock_hz;
        bool idle = r->idle_timeout && now > t.used && now - t.used >= r->idle_timeout * clock_hz;
        if (hard || idle) {
            rule_remove(r, hard ? OFPRR_HARD_TIMEOUT : OFPRR_IDLE_TIMEOUT);
            any = true;
        }
    }
    bridge_forget(b);
    if (any)
        tenant_changed(b->tenant);
}
