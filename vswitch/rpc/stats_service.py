"""StatsService (proto/vswitch/v1/stats.proto)."""
from __future__ import annotations

from vswitch.model.switch import Switch
from vswitch.rpc import rules
from vswitch.rpc.lookup import find_bridge
from vswitch.rpc.messages import usage_message
from vswitch.rpc.v1 import stats_pb2, stats_pb2_grpc


class StatsService(stats_pb2_grpc.StatsServiceServicer):
    def __init__(self, switch: Switch):
        self.switch = switch

    async def GetUsage(self, request, context):
        return usage_message(self.switch.usage())

    async def ListPortCounters(self, request, context):
        if request.bridge:
            find_bridge(self.switch, request.bridge)
        ports = await self.switch.port_status(request.bridge)
        ports.sort(key=lambda status: (status.port.bridge, status.port.port_no))
        return stats_pb2.ListPortCountersResponse(ports=[
            stats_pb2.PortCounters(bridge=status.port.bridge, name=status.port.name, port_no=status.port.port_no,
                                   counters=status.counters) for status in ports])

    async def ListTableStats(self, request, context):
        find_bridge(self.switch, request.bridge)
        tables = await self.switch.table_stats(request.bridge)
        return stats_pb2.ListTableStatsResponse(tables=[
            stats_pb2.TableStats(table_id=table, active=active, lookups=lookups, matches=matches)
            for table, active, lookups, matches in sorted(tables)])

    async def ListRuleCosts(self, request, context):
        bridge = find_bridge(self.switch, request.bridge)
        names = {port.port_no: port.name for port in self.switch.ports(bridge.name)}
        costs = await self.switch.rule_costs(bridge.name, request.most or 10)
        return stats_pb2.ListRuleCostsResponse(rules=[
            stats_pb2.RuleCost(cycles=cycles, text=entry.text, packets=entry.packets)
            for cycles, entry in ((cycles, rules.text_entry(entry, names)) for cycles, entry in costs)])

    async def ListMacs(self, request, context):
        find_bridge(self.switch, request.bridge)
        macs = sorted(await self.switch.macs(request.bridge), key=lambda entry: (entry.vlan, entry.mac))
        return stats_pb2.ListMacsResponse(macs=[
            stats_pb2.MacEntry(mac=entry.mac, vlan=entry.vlan, port_no=entry.port_no, age=entry.age) for entry in macs])

    async def FlushMacs(self, request, context):
        find_bridge(self.switch, request.bridge)
        await self.switch.flush_macs(request.bridge)
        return stats_pb2.FlushMacsResponse()
