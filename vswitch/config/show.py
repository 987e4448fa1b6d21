"""The configuration file that recreates the running state, in a stable order. What the defaults say is left out."""
from __future__ import annotations

from dataclasses import fields

import yaml

from vswitch.config import schema
from vswitch.config.diff import read_rules
from vswitch.model.objects import Balance, Bridge, Port, Tenant, Vtep
from vswitch.model.switch import Switch
from vswitch.openflow.flow_text_fields import PORT_WORDS
from vswitch.openflow.flow_text_print import format_rule


class _Hexadecimal(int):
    """A number that reads better so."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True

    def increase_indent(self, flow=False, indentless=False):
        return super().increase_indent(flow, False)


_Dumper.add_representer(_Hexadecimal, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:int", f"{value:#x}"))


async def show(switch: Switch, flows: bool = True) -> str:
    """YAML text; with `flows`, every bridge has the key and its rules are then exactly those."""
    root: dict[str, object] = {}
    if switch.vtep() != Vtep():
        root["vtep"] = _object(switch.vtep(), tuple(schema.VTEP))
    if switch.balance() != Balance():
        root["balance"] = _object(switch.balance(), tuple(schema.BALANCE))
    tenants = root["tenants"] = {}
    for tenant in sorted(switch.tenants(), key=lambda item: item.name):
        shown = tenants[tenant.name] = _object(tenant, tuple(schema.TENANT))
        bridges = sorted((item for item in switch.bridges() if item.tenant == tenant.name), key=lambda item: item.name)
        if bridges:
            shown["bridges"] = {bridge.name: await _bridge(switch, bridge, flows) for bridge in bridges}
    return yaml.dump(root, Dumper=_Dumper, sort_keys=False, width=1 << 30, allow_unicode=True)


def _object(item: Tenant | Bridge | Port | Vtep | Balance, keys: tuple[str, ...]) -> dict[str, object]:
    defaults = {entry.name: entry.default for entry in fields(item)}
    shown = {}
    for key in keys:
        value = getattr(item, key)
        if value != defaults[key]:
            shown[key] = list(value) if isinstance(value, tuple) else value
    return shown


async def _bridge(switch: Switch, bridge: Bridge, flows: bool) -> dict[str, object]:
    shown = _object(bridge, (*schema.BRIDGE, *schema.BRIDGE_LISTS))
    shown["dpid"] = _Hexadecimal(bridge.dpid)
    ports = sorted(switch.ports(bridge.name), key=lambda port: port.port_no)
    if ports:
        shown["ports"] = {port.name: _port(port) for port in ports}
    if flows:
        names = {port.port_no: port.name for port in ports if _speakable(port.name)}
        rules = (await read_rules(switch, bridge.name)).values()
        rules = sorted(rules, key=lambda rule: (rule.table_id, -rule.priority, format_rule(rule)))
        shown["flows"] = [format_rule(rule, names.get) for rule in rules]
    return shown


def _port(port: Port) -> dict[str, object]:
    allowed = schema.PORT_KINDS[port.kind][0] | schema.PORT_ALWAYS
    shown = _object(port, tuple(key for key in (*schema.PORT, *schema.PORT_LISTS) if key in allowed))
    if shown.get("port_no") == 0xfffffffe:
        shown["port_no"] = "LOCAL"
    return shown


def _speakable(name: str) -> bool:
    """Whether a rule's text may have the name in place of the number."""
    return not name[0].isdigit() and name.lower() not in PORT_WORDS
