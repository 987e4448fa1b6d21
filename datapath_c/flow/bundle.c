#include "flow/bundle.h"
#include <errno.h>
#include <stdlib.h>
#include "base/defer.h"
#include "flow/rule_list.h"
#include "path/datapath.h"

struct note {
    struct rule *rule;
    uint8_t added;             /* else removed, and how: */
    uint8_t how;
};

struct bundle {
    uint64_t owner;
    bool failed;
    uint32_t n, room;
    struct note *notes;        /* in order */
};

int bundle_open(struct bridge *b, uint64_t owner, fault *f)
{
    if (b->bundle)
        return fault_set(f, EBUSY, "bundle", "another bundle of the bridge is being carried out");
    b->bundle = calloc(1, sizeof *b->bundle);
    if (!b->bundle)
        return fault_set(f, ENOMEM, "bundle", "out of memory");
    b->bundle->owner = owner;
    return 0;
}

uint64_t bundle_owner(const struct bridge *b)
{
    return b->bundle ? b->bundle->owner : 0;
}

void bundle_fail(struct bridge *b)
{
    b->bundle->failed = true;
}

bool bundle_failed(const struct bridge *b)
{
    return b->bundle->failed;
}

static int note(struct bridge *b, struct note what, fault *f)
{
    struct bundle *d = b->bundle;
    if (d->n == d->room) {
        uint32_t room = d->room ? 2 * d->room : 64;
        struct note *notes = realloc(d->notes, room * sizeof *notes);
        if (!notes)
            return fault_set(f, ENOMEM, "bundle", "out of memory");
        d->notes = notes;
        d->room = room;
    }
    d->notes[d->n++] = what;
    return 0;
}

int bundle_added(struct bridge *b, struct rule *r, fault *f)
{
    if (!b->bundle)
        return 0;
    int e = note(b, (struct note){.rule = r, .added = 1}, f);
    if (e)
        rule_unlink(r);
    return e;
}

int bundle_removed(struct bridge *b, struct rule *r, enum bundle_removal how, fault *f)
{
    int e = note(b, (struct note){.rule = r, .how = (uint8_t)how}, f);
    if (!e)
        atomic_store_explicit(&r->cls.removed, bridge_pending_version(b), memory_order_relaxed);
    return e;
}

bool bundle_keeps(const struct bridge *b, const struct rule *r)
{
    return b->bundle && atomic_load_explicit(&((struct rule *)r)->cls.added, memory_order_relaxed) != bridge_pending_version(b);
}

static void end(struct bridge *b)
{
    free(b->bundle->notes);
    free(b->bundle);
    b->bundle = NULL;
}

/* What the rule in whose place this one came had counted. */
static void inherit(struct rule *r)
{
    struct rule_totals t;
    if (!r->successor_of)
        return;
    rule_totals(r->successor_of, &t);
    r->packets_base -= t.packets;
    r->bytes_base -= t.bytes;
    r->successor_of = NULL;
}

void bundle_commit(struct bridge *b)
{
    struct bundle *d = b->bundle;
    atomic_store_explicit(&b->version, bridge_pending_version(b), memory_order_release);
    tenant_changed(b->tenant);
    for (uint32_t i = 0; i < d->n; i++) {
        struct rule *r = d->notes[i].rule;
        if (!d->notes[i].added)
            continue;
        bool successor = r->successor_of;
        inherit(r);
        if (atomic_load_explicit(&r->cls.removed, memory_order_relaxed) == CLS_FOREVER)
            rule_changed(r, successor ? DP_UPDATE_MODIFIED : DP_UPDATE_ADDED, 0);
    }
    for (uint32_t i = 0; i < d->n; i++) {
        struct note *n = &d->notes[i];
        if (n->added)
            continue;
        if (n->how == BUNDLE_DELETED)
            rule_remove(n->rule, OFPRR_DELETE);
        else
            rule_unlink(n->rule);
        if (defer_pending() > 4096)
            defer_run();
    }
    end(b);
    bridge_forget(b);
}

void bundle_discard(struct bridge *b)
{
    struct bundle *d = b->bundle;
    for (uint32_t i = d->n; i--;) {
        struct note *n = &d->notes[i];
        if (n->added)
            rule_unlink(n->rule);
        else
            atomic_store_explicit(&n->rule->cls.removed, CLS_FOREVER, memory_order_relaxed);
    }
    end(b);
}
