"""A Switch in memory, for tests of the front doors: the checks that the doors rely on, and no datapath."""
from __future__ import annotations

import asyncio
import struct
from dataclasses import replace

from vswitch.errors import BusyError, ExistsError, InvalidError, NotFoundError, OpenFlowError, QuotaError
from vswitch.model import check
from vswitch.model.objects import (AccountUsage, Balance, BalanceStatus, Event, MacEntry, Port, PortStatus, Usage, Vtep,
                                   WorkerUsage)
from vswitch.model.switch import Switch
from vswitch.openflow import flow_text_rule as wire
from vswitch.openflow.actions import encode_instructions
from vswitch.openflow.oxm import decode_match, encode_match

MAX_CPU = 1.0


class SwitchDouble(Switch):
    def __init__(self):
        self._tenants, self._bridges, self._ports, self._vtep, self._balance = {}, {}, {}, Vtep(), Balance()
        self.rules: dict[str, dict] = {}
        self.watchers: list[asyncio.Queue] = []
        self.packets_out: list[bytes] = []
        self.frames: dict[tuple, list] = {}
        self.refuse = None          # (method name, error): the next such call fails
        self.calls: list[str] = []
        self.full_at = 1 << 30      # rules a bridge holds

    def _step(self, name):
        self.calls.append(name)
        if self.refuse and self.refuse[0] == name:
            error, self.refuse = self.refuse[1], None
            raise error

    def _tell(self, *event):
        for queue in self.watchers:
            queue.put_nowait(Event(*event))

    # -- tenants
    def tenants(self):
        return list(self._tenants.values())

    def _check_tenant(self, tenant):
        if not 1 <= len(tenant.name) <= 63 or "/" in tenant.name:
            raise InvalidError(f"{tenant.name!r} is no name", "tenant.name")
        if not 1 <= tenant.weight <= 10000:
            raise InvalidError(f"{tenant.weight} is out of range, 1..10000", "tenant.weight")
        if not 0 <= tenant.cpu_min <= 1:
            raise InvalidError("out of range, 0..1", "tenant.cpu_min")
        if sum(other.cpu_min for other in self.tenants() if other.name != tenant.name) + tenant.cpu_min > MAX_CPU:
            raise QuotaError("more than the workers have", "tenant.cpu_min")

    async def add_tenant(self, tenant):
        self._step("add_tenant")
        self._check_tenant(tenant)
        if tenant.name in self._tenants:
            raise ExistsError(f"there is a tenant {tenant.name!r}", "tenant.name")
        used = {other.id for other in self.tenants()}
        tenant = replace(tenant, id=min(set(range(1, 4096)) - used))
        self._tenants[tenant.name] = tenant
        self._tell("tenant", "added", "", tenant.name, tenant)
        return tenant

    async def change_tenant(self, tenant):
        self._step("change_tenant")
        self._check_tenant(tenant)
        self._tenants[tenant.name] = tenant
        return tenant

    async def remove_tenant(self, name):
        self._step("remove_tenant")
        if any(bridge.tenant == name for bridge in self.bridges()):
            raise BusyError(f"{name} owns bridges", "tenant.name")
        del self._tenants[name]

    # -- bridges
    def bridges(self):
        return list(self._bridges.values())

    def _check_bridge(self, bridge):
        if bridge.tenant not in self._tenants:
            raise NotFoundError(f"there is no tenant {bridge.tenant!r}", "bridge.tenant")
        if any(other.dpid == bridge.dpid and other.name != bridge.name for other in self.bridges()):
            raise ExistsError("is another bridge's", "bridge.dpid")

    async def add_bridge(self, bridge):
        self._step("add_bridge")
        if bridge.name in self._bridges:
            raise ExistsError(f"there is a bridge {bridge.name!r}", "bridge.name")
        number = min(set(range(1, 1000)) - {other.id for other in self.bridges()})
        bridge = replace(bridge, id=number, dpid=bridge.dpid or number)
        self._check_bridge(bridge)
        self._bridges[bridge.name] = bridge
        self.rules[bridge.name] = {}
        self._tell("bridge", "added", bridge.name, bridge.name, bridge)
        return bridge

    async def change_bridge(self, bridge):
        self._step("change_bridge")
        self._check_bridge(bridge)
        self._bridges[bridge.name] = bridge
        return bridge

    async def remove_bridge(self, name):
        self._step("remove_bridge")
        del self._bridges[name], self.rules[name]
        self._ports = {key: port for key, port in self._ports.items() if key[0] != name}

    def controllers(self):
        return []

    # -- ports
    def ports(self, bridge=""):
        return [port for port in self._ports.values() if bridge in ("", port.bridge)]

    async def port_status(self, bridge=""):
        return [PortStatus(port, 0, 10_000_000, index, {"rx_packets": 7, "tx_packets": 8, "rx_drops": 0, "tx_drops": 0})
                for index, port in enumerate(self.ports(bridge))]

    def _check_port(self, port: Port):
        for other in self.ports():
            if (other.bridge, other.name) != (port.bridge, port.name):
                if port.vni is not None and other.vni == port.vni:
                    raise ExistsError(f"{port.vni} is {other.bridge}/{other.name}'s", "port.vni")
                if other.bridge == port.bridge and other.port_no == port.port_no:
                    raise ExistsError(f"{port.port_no} is {other.name}'s", "port.port_no")
        if port.kind == "vxlan" and port.vni is None:
            raise InvalidError("a vxlan port needs it", "port.vni")

    async def add_port(self, port):
        self._step("add_port")
        if port.bridge not in self._bridges:
            raise NotFoundError(f"there is no bridge {port.bridge!r}", "port.bridge")
        if (port.bridge, port.name) in self._ports:
            raise ExistsError(f"there is a port {port.name!r}", "port.name")
        number = port.port_no or min(set(range(1, 1000)) - {other.port_no for other in self.ports(port.bridge)})
        port = replace(port, port_no=number, mac=port.mac or f"02:00:00:00:00:{number & 0xff:02x}")
        self._check_port(port)
        self._ports[port.bridge, port.name] = port
        return port

    async def change_port(self, port):
        self._step("change_port")
        self._check_port(port)
        self._ports[port.bridge, port.name] = port
        return port

    async def remove_port(self, bridge, name):
        self._step("remove_port")
        del self._ports[bridge, name]

    def balance(self):
        return self._balance

    async def balance_status(self):
        return BalanceStatus(self._balance, 3, 1, 0, "a move gains 50 %", "br/p1 queue 0 from worker 0 to 1")

    async def set_balance(self, balance):
        self._step("set_balance")
        self._balance = check.balance(balance)
        return self._balance

    def vtep(self):
        return self._vtep

    async def set_vtep(self, vtep):
        self._step("set_vtep")
        self._vtep = vtep
        return vtep

    # -- rules
    async def write_flows(self, bridge, bodies):
        self._step("write_flows")
        return [self._write(self.rules[bridge], body) for body in bodies]

    def _write(self, rules, body):
        command, rule = wire.read_flow_mod(body)
        key = rule.key
        match command:
            case "add":
                if rule.flags & 2 and key in rules:
                    return OpenFlowError(5, 3, "overlaps", "match")
                if len(rules) >= self.full_at and key not in rules:
                    return OpenFlowError(5, 1, "the table is full")
                rules[key] = rule
            case "modify_strict" | "modify":
                for other in [key] if command.endswith("strict") else list(rules):
                    if other in rules and (command.endswith("strict") or _covers(rule, rules[other])):
                        rules[other] = replace(rules[other], instructions=rule.instructions)
            case _:
                for other in list(rules):
                    if other == key if command.endswith("strict") else _covers(rule, rules[other]):
                        del rules[other]
        return None

    async def dump_flows(self, bridge, request=b""):
        chosen = list(self.rules[bridge].values())
        if request:
            table, out_port, _, cookie, cookie_mask = struct.unpack_from("!BxxxIIxxxxQQ", request)
            match, _ = decode_match(request, 32)
            asked = wire.Rule(table, cookie=cookie, cookie_mask=cookie_mask, match=match)
            chosen = [rule for rule in chosen if _covers(asked, rule)]
        for start in range(0, len(chosen), 100):
            yield [flow_stats(rule) for rule in chosen[start:start + 100]]

    async def aggregate_flows(self, bridge, request):
        flows = [entry async for batch in self.dump_flows(bridge, request) for entry in batch]
        return 3 * len(flows), 180 * len(flows), len(flows)

    async def queues(self, bridge):
        return {}

    async def table_stats(self, bridge):
        return [(0, len(self.rules[bridge]), 10, 9)]

    async def packet_out(self, bridge, body):
        self.packets_out.append(body)

    async def barrier(self, bridge):
        self._step("barrier")

    async def macs(self, bridge):
        return [MacEntry("02:00:00:00:00:01", 0, 1, 5)]

    async def flush_macs(self, bridge):
        self._step("flush_macs")

    async def trace(self, bridge, in_port, frame):
        return f"in_port {in_port}: {len(frame)} bytes\n"

    async def port_detail(self, bridge, port):
        return {"connected": "yes"}

    async def inject(self, bridge, port, frame):
        self.frames.setdefault((bridge, port), []).append(frame)

    async def collect(self, bridge, port):
        return self.frames.pop((bridge, port), [])

    # -- seeing
    def usage(self):
        hz = 1_000_000_000
        self.ticks = getattr(self, "ticks", 0) + 1
        now = self.ticks * hz
        account = AccountUsage(0, "red", {"rx": now // 4, "tx": now // 4}, self.ticks, 1000 * self.ticks, 64000 * self.ticks,
                               900 * self.ticks, 57600 * self.ticks, 800, 100, 10 * self.ticks, 1,
                               {"no_rule": 100 * self.ticks}, waited=now // 20, waited_for={"blue": now // 20})
        return Usage(hz, [WorkerUsage(0, 0, now, {"idle": now // 2, "poll": 0}, 10, 1, 0, 0, 2000, [0] * 40, [account])])

    async def _watch(self, queue):
        try:
            while True:
                yield await queue.get()
        finally:
            self.watchers.remove(queue)

    def watch(self):
        queue = asyncio.Queue()
        self.watchers.append(queue)
        return self._watch(queue)

    def datapath_state(self):
        return {"pid": 1, "incarnation": 2, "restarts": 0, "connected": True, "n_workers": 1, "tsc_hz": 1_000_000_000}


def _covers(asked, rule):
    if asked.table_id not in (255, rule.table_id) or (asked.cookie ^ rule.cookie) & asked.cookie_mask:
        return False
    return all(rule.match.get(name) == value for name, value in asked.match.items())


def flow_stats(rule, seconds=5, nanoseconds=250_000_000, packets=3, octets=180) -> bytes:
    """An ofp_flow_stats entry of a rule."""
    body = encode_match(rule.match) + encode_instructions(rule.instructions)
    return struct.pack("!HBxIIHHHHxxxxQQQ", 48 + len(body), rule.table_id, seconds, nanoseconds, rule.priority,
                       rule.idle_timeout, rule.hard_timeout, rule.flags, rule.cookie, packets, octets) + body
