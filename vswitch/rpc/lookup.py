"""Finds the object that a request names; NotFoundError names the field that named it."""
from __future__ import annotations

from vswitch.errors import InvalidError, NotFoundError
from vswitch.model.objects import Bridge, Port, Tenant
from vswitch.model.switch import Switch


def _named(objects, name: str, noun: str, field: str):
    if not name:
        raise InvalidError("is required", field)
    for item in objects:
        if item.name == name:
            return item
    raise NotFoundError(f"there is no {noun} {name!r}", field)


def find_tenant(switch: Switch, name: str, field: str = "tenant.name") -> Tenant:
    return _named(switch.tenants(), name, "tenant", field)


def find_bridge(switch: Switch, name: str, field: str = "bridge") -> Bridge:
    return _named(switch.bridges(), name, "bridge", field)


def find_port(switch: Switch, bridge: str, name: str, field: str = "port.name") -> Port:
    find_bridge(switch, bridge)
    return _named(switch.ports(bridge), name, f"port of {bridge}", field)
