/* One handler a request; handlers.c has the table. */
#ifndef VSWITCH_HANDLERS_H
#define VSWITCH_HANDLERS_H
#include "channel/server.h"

#define HANDLER(name) int handle_##name(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)

HANDLER(hello);
HANDLER(tenant_set);
HANDLER(tenant_del);
HANDLER(tenant_list);
HANDLER(bridge_set);
HANDLER(bridge_del);
HANDLER(bridge_list);
HANDLER(port_add);
HANDLER(port_del);
HANDLER(port_mod);
HANDLER(port_list);
HANDLER(port_detail);
HANDLER(vtep_set);
HANDLER(vtep_get);
HANDLER(remotes_set);
HANDLER(remotes_get);
HANDLER(queues_set);
HANDLER(queues_get);
HANDLER(flow_mod);
HANDLER(bundle_open);
HANDLER(bundle_add);
HANDLER(bundle_commit);
HANDLER(bundle_discard);
HANDLER(flow_dump);
HANDLER(group_mod);
HANDLER(group_desc);
HANDLER(group_stats);
HANDLER(meter_mod);
HANDLER(meter_config);
HANDLER(meter_stats);
HANDLER(flow_watch);
HANDLER(table_mod);
HANDLER(table_desc);
HANDLER(flow_aggregate);
HANDLER(table_stats);
HANDLER(port_stats);
HANDLER(packet_out);
HANDLER(barrier);
HANDLER(mac_list);
HANDLER(mac_flush);
HANDLER(trace);
HANDLER(inject);
HANDLER(collect);
HANDLER(cache_stats);
HANDLER(shutdown);
HANDLER(scheduler_set);
HANDLER(scheduler_get);
HANDLER(balance_set);
HANDLER(balance_get);
HANDLER(rule_costs);

#endif
