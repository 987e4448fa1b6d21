/* Names of what is counted, for whoever shows counters. */
#include <stddef.h>
#include "channel/contract.h"
#include "path/drops.h"

_Static_assert(N_DROPS <= DP_N_DROPS, "the shared counters have room for every drop reason");

static const struct {
    const char *name, *text;
} drop_reasons[] = {
#define DROP(id, name, text) {name, text},
#include "path/drops.def"
#undef DROP
};

const char *dp_drop_name(uint32_t reason)
{
    return reason < N_DROPS ? drop_reasons[reason].name : NULL;
}

const char *dp_drop_text(uint32_t reason)
{
    return reason < N_DROPS ? drop_reasons[reason].text : NULL;
}

const char *dp_stage_name(uint32_t stage)
{
    static const char *const names[DP_N_STAGES] = {"rx", "parse", "lookup", "slow", "act", "tx", "tunnel", "control"};
    return stage < DP_N_STAGES ? names[stage] : NULL;
}

const char *dp_system_name(uint32_t system)
{
    static const char *const names[DP_N_SYSTEM] = {"idle", "poll", "housekeeping", "demux"};
    return system < DP_N_SYSTEM ? names[system] : NULL;
}
