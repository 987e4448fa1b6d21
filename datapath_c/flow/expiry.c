/* Rules whose time has come (OpenFlow 1.3.5, 5.5), or whose statistics are to be told of (1.5.1, 7.2.5). */
#include "base/clock.h"
#include "flow/rule_list.h"
#include "flow/trigger.h"
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

bool bridge_expire(struct bridge *b, uint64_t now, uint64_t until)
{
    bool any = false;
    unsigned seen = 0;
    if (b->bundle)
        return true;
    struct rule *r = b->expiring ? b->expiring : b->timed;
    for (; r; r = b->expiring) {
        struct rule_totals t;
        if (++seen % 16 == 0 && clock_now() >= until)
            break;
        b->expiring = r->timed_next;   /* which moves on if that rule goes, too */
        if (!cls_visible(&r->cls, bridge_pending_version(b)))
            continue;
        rule_totals(r, &t);
        if (r->trigger && trigger_look(r->trigger, &t, now - r->created, now > t.used ? now - t.used : 0) && b->dp->stats_triggered)
            b->dp->stats_triggered(b, r);
        bool hard = r->hard_timeout && now - r->created >= r->hard_timeout * clock_hz;
        bool idle = r->idle_timeout && now > t.used && now - t.used >= r->idle_timeout * clock_hz;
        if (hard || idle) {
            rule_remove(r, hard ? OFPRR_HARD_TIMEOUT : OFPRR_IDLE_TIMEOUT);
            any = true;
        }
    }
    b->expiring = r;
    bridge_forget(b);
    if (any)
        tenant_changed(b->tenant);
    return !r;
}
