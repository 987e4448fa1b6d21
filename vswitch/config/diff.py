"""What has to change for the running state to become what a file says."""
from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields, replace

from vswitch.config.load import Config, FlowLine, port_numbers
from vswitch.model.objects import Bridge, Port, Tenant
from vswitch.model.switch import Switch
from vswitch.openflow.flow_text_print import format_instructions, format_rule
from vswitch.openflow.flow_text_rule import Rule, read_flow_stats


@dataclass(frozen=True)
class Change:
    """One step. `old` is None for what is added, `new` for what is removed."""
    kind: str           # "tenant", "bridge", "port", "vtep", "balance", "flow"
    name: str           # "red", "br-red", "br-red/vx"; a flow's is its bridge
    old: object
    new: object
    path: str = ""      # where the file says so

    @property
    def action(self) -> str:
        return "add" if self.old is None else "remove" if self.new is None else "change"

    @property
    def object(self) -> str:
        return f"{self.kind} {self.name}".rstrip()

    @property
    def detail(self) -> str:
        if self.kind == "flow":
            return _flow_detail(self.old, self.new)
        return _object_detail(self.old, self.new)


def _flow_detail(old: Rule | None, new: Rule | None) -> str:
    if old is None or new is None:
        return format_rule(new or old)
    if old.instructions != new.instructions:
        return (f"{format_rule(old).partition(' actions=')[0]} actions={format_instructions(old.instructions)} -> "
                f"{format_instructions(new.instructions)}")
    return f"{format_rule(old)} -> {format_rule(new)}"


def _object_detail(old, new) -> str:
    names = [entry.name for entry in fields(new or old) if entry.name not in ("name", "id", "bridge")]
    if old is None or new is None:
        shown = new or old
        default = {entry.name: entry.default for entry in fields(shown)}
        return ", ".join(f"{name} {_show(name, getattr(shown, name))}" for name in names
                         if getattr(shown, name) != default[name])
    return ", ".join(f"{name} {_show(name, getattr(old, name))} -> {_show(name, getattr(new, name))}" for name in names
                     if getattr(old, name) != getattr(new, name))


def _show(name: str, value) -> str:
    if name == "dpid":
        return f"{value:#x}"
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return '""' if value == "" else str(value)


def text(changes) -> str:
    """A line a change, "" where nothing changes."""
    marks = {"add": "+", "change": "~", "remove": "-"}
    return "".join(f"{marks[change.action]} {change.object}{': ' if change.detail else ''}{change.detail}\n"
                   for change in changes)


def object_changes(switch: Switch, config: Config) -> list[Change]:
    """Changes of all but rules, in an order in which they can be made: what goes frees names and numbers for what comes."""
    tenants = {tenant.name: tenant for tenant in switch.tenants()}
    bridges = {bridge.name: bridge for bridge in switch.bridges()}
    ports = {(port.bridge, port.name): port for port in switch.ports()}

    changes: list[Change] = []
    moved = {name for name, bridge in bridges.items()
             if name in config.bridges and config.bridges[name].tenant != bridge.tenant}
    gone = {name for name in bridges if name not in config.bridges} | moved
    for (bridge, name), port in ports.items():
        if bridge not in gone and (bridge, name) not in config.ports:
            changes.append(Change("port", f"{bridge}/{name}", port, None))
    changes += [Change("bridge", name, bridges[name], None) for name in bridges if name in gone]
    changes += [Change("tenant", name, tenant, None) for name, tenant in tenants.items() if name not in config.tenants]

    if config.vtep is not None and config.vtep != switch.vtep():
        changes.append(Change("vtep", "", switch.vtep(), config.vtep, "vtep"))
    if config.balance is not None and config.balance != switch.balance():
        changes.append(Change("balance", "", switch.balance(), config.balance, "balance"))
    changes += _tenant_changes(tenants, config)
    for name, bridge in config.bridges.items():
        path = f"tenants.{bridge.tenant}.bridges.{name}"
        old = None if name in gone else bridges.get(name)
        new = bridge if old is None else wanted_bridge(old, bridge)
        if old != new:
            changes.append(Change("bridge", name, old, new, path))
    for (bridge, name), port in config.ports.items():
        path = f"tenants.{config.bridges[bridge].tenant}.bridges.{bridge}.ports.{name}"
        old = None if bridge in gone else ports.get((bridge, name))
        new = port if old is None else wanted_port(old, port)
        if old != new:
            changes.append(Change("port", f"{bridge}/{name}", old, new, path))
    return changes


def _tenant_changes(tenants: dict[str, Tenant], config: Config) -> list[Change]:
    changes = []
    for name, tenant in config.tenants.items():
        old = tenants.get(name)
        new = tenant if old is None else replace(tenant, id=old.id)
        if old != new:
            changes.append(Change("tenant", name, old, new, f"tenants.{name}"))
    # A guarantee that shrinks makes room for one that grows.
    return sorted(changes, key=lambda change: change.new.cpu_min - (change.old.cpu_min if change.old else 0))


def wanted_bridge(old: Bridge, new: Bridge) -> Bridge:
    """`new` with what the switch had picked where the file leaves it to the switch."""
    return replace(new, id=old.id, dpid=new.dpid or old.dpid)


def wanted_port(old: Port, new: Port) -> Port:
    """Likewise, for ports; what a file leaves out of a port of the same kind stays the switch's choice."""
    picked = {"port_no": new.port_no or old.port_no}
    if old.kind == new.kind:
        picked["mac"] = new.mac or old.mac
        picked["ifname"] = new.ifname or (old.ifname if old.ifname == old.name else "")
        picked["mtu"] = new.mtu or (old.mtu if _default_mtu(old) else 0)
    return replace(new, **picked)


def _default_mtu(port: Port) -> bool:
    return port.kind != "tap" or port.mtu == 1500


async def read_rules(switch: Switch, bridge: str) -> dict[tuple, Rule]:
    """All rules of a bridge by their keys."""
    rules = {}
    async for batch in switch.dump_flows(bridge):
        for entry in batch:
            rule = read_flow_stats(entry).rule
            rules[rule.key] = rule
    return rules


def flow_changes(config: Config, bridge: str, rules: dict[tuple, Rule], wanted: list[tuple[FlowLine, Rule]]) -> list[Change]:
    """Changes of one bridge's rules; what goes first makes room for what comes."""
    keys = {rule.key for _, rule in wanted}
    changes = [Change("flow", bridge, rule, None) for key, rule in rules.items() if key not in keys]
    for entry, rule in wanted:
        old = rules.get(rule.key)
        if old is None or old.lasting != rule.lasting:
            changes.append(Change("flow", bridge, old, rule, entry.path))
    return changes


async def diff(switch: Switch, config: Config) -> list[Change]:
    """All changes, in the order in which they are made. A rule that names a port without a number yet is shown with the
    number that stands for it."""
    changes = object_changes(switch, config)
    new = {change.name for change in changes if change.kind == "bridge" and change.old is None}
    for bridge in config.flows:
        numbers = port_numbers(config, bridge)
        rules: dict[tuple, Rule] = {}
        if bridge not in new:
            running = {port.name: port.port_no for port in switch.ports(bridge)}
            for port in config.ports.values():
                if port.bridge == bridge and not port.port_no and port.name in running:
                    numbers[port.name] = running[port.name]
            rules = await read_rules(switch, bridge)
        changes += flow_changes(config, bridge, rules, await asyncio.to_thread(config.rules, bridge, numbers))
    return changes
