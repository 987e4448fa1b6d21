"""Whether a tenant, bridge, port or VTEP may join the desired state. Each check raises an error that names the field, or
returns the object as it is to be kept. Nothing here changes anything."""
from __future__ import annotations

import ipaddress
import re
from dataclasses import replace

from vswitch.errors import BusyError, ExistsError, InvalidError, NotFoundError, QuotaError
from vswitch.model import targets
from vswitch.model.egress_queues import parse_queues, queue_text
from vswitch.model.objects import Balance, Bridge, Port, Tenant, Vtep
from vswitch.model.store import State

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,63}")
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
OFPP_MAX, OFPP_LOCAL = 0xffffff00, 0xfffffffe
PORT_CONFIG_BITS = 0x75     # OFPPC_PORT_DOWN, NO_RECV, NO_FWD, NO_PACKET_IN (OpenFlow 1.3.5, 7.2.1), NO_FLOOD (1.0, 5.2.1)
STEERING = ("all", "vtep")
XDP_MODES = ("off", "best-effort", "native-with-zerocopy", "native", "generic")
KINDS = ("tap", "netdev", "vxlan", "patch", "dummy", "vhost-user")
PROTOCOLS = ("1.0", "1.1", "1.2", "1.3", "1.4", "1.5")
MAX_AUXILIARY = 16          # connections to a controller besides the main one
MAX_TENANT_ID, MAX_BRIDGE_ID, MAX_REMOTES, MAX_TARGETS = 4095, 16383, 1024, 16
DEVICE_NAME_MAX = 15
SOCKET_PATH_MAX = 107


def _name(value: str, field: str) -> None:
    if not _NAME.fullmatch(value) or value in (".", ".."):
        raise InvalidError("must be 1 to 63 characters of A-Z a-z 0-9 _ . -", field)


def _range(value: object, low: int | float, high: int | float, field: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, type(low))) or not low <= value <= high:
        raise InvalidError(f"must be between {low} and {high}, not {value}", field)


def _address(text: str, field: str, version: int = 0) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidError(f"{text!r} is not an IP address", field) from None
    if version and address.version != version:
        raise InvalidError(f"{text!r} is not an IPv{version} address", field)
    return address


def tenant(state: State, new: Tenant, n_workers: int | None) -> Tenant:
    """`n_workers` is None while the datapath is away: the sum of cpu_min is then not checked."""
    _name(new.name, "tenant.name")
    _range(new.weight, 1, 10_000, "tenant.weight")
    _range(new.cpu_min, 0.0, 1.0, "tenant.cpu_min")
    _range(new.cpu_max, 0.0, 1.0, "tenant.cpu_max")
    _range(new.max_rules, 0, 0xffffffff, "tenant.max_rules")
    _range(new.max_megaflows, 0, 0xffffffff, "tenant.max_megaflows")
    if new.cpu_max and new.cpu_min > new.cpu_max:
        raise InvalidError(f"{new.cpu_min:g} is more than cpu_max, {new.cpu_max:g}", "tenant.cpu_min")
    promised = sum(t.cpu_min for t in state.tenants.values() if t.name != new.name)
    if new.cpu_min and n_workers is not None and promised + new.cpu_min > n_workers + 1e-9:
        raise QuotaError(f"{new.cpu_min:g} is more than the {max(0.0, n_workers - promised):g} that {n_workers} workers have"
                         " left unpromised", "tenant.cpu_min")
    return new


def new_tenant(state: State, new: Tenant, n_workers: int | None) -> Tenant:
    tenant(state, new, n_workers)
    if new.name in state.tenants:
        raise ExistsError(f"tenant {new.name} exists", "tenant.name")
    used = {t.id for t in state.tenants.values()}
    return replace(new, id=_free_id(used, state.last_tenant_id, MAX_TENANT_ID, "tenants"))


def changed_tenant(state: State, new: Tenant, n_workers: int | None) -> Tenant:
    old = found_tenant(state, new.name)
    if new.id not in (0, old.id):
        raise InvalidError(f"can't change; it is {old.id}", "tenant.id")
    return tenant(state, replace(new, id=old.id), n_workers)


def found_tenant(state: State, name: str, field: str = "tenant.name") -> Tenant:
    if name not in state.tenants:
        raise NotFoundError(f"there is no tenant {name!r}", field)
    return state.tenants[name]


def removable_tenant(state: State, name: str) -> Tenant:
    old = found_tenant(state, name)
    if owned := [b.name for b in state.bridges.values() if b.tenant == name]:
        raise BusyError(f"tenant {name} owns the bridge{'s' if len(owned) > 1 else ''} {', '.join(owned[:5])}", "tenant.name")
    return old


def _free_id(used: set[int], last: int, highest: int, what: str) -> int:
    for i in range(highest):
        candidate = (last + i) % highest + 1
        if candidate not in used:
            return candidate
    raise QuotaError(f"there are {highest} {what} already")


def found_bridge(state: State, name: str, field: str = "bridge.name") -> Bridge:
    if name not in state.bridges:
        raise NotFoundError(f"there is no bridge {name!r}", field)
    return state.bridges[name]


def _bridge(state: State, new: Bridge) -> None:
    _name(new.name, "bridge.name")
    found_tenant(state, new.tenant, "bridge.tenant")
    _range(new.dpid, 0, 2**64 - 1, "bridge.dpid")
    if new.fail_mode not in ("standalone", "secure"):
        raise InvalidError(f"must be standalone or secure, not {new.fail_mode!r}", "bridge.fail_mode")
    _range(new.mac_ageing, 1, 86_400, "bridge.mac_ageing")
    _range(new.mac_max, 1, 2**20, "bridge.mac_max")
    _range(new.egress_table, 0, 253, "bridge.egress_table")
    secured = [text for text in new.controllers if targets.controller(text).tls]
    secured += [text for text in new.listen if targets.listener(text).tls]
    for key in ("tls_certificate", "tls_key", "tls_ca"):
        value = getattr(new, key)
        if value and not value.startswith("/"):
            raise InvalidError(f"{value!r} is not the path of a file from the root", f"bridge.{key}")
        if secured and not value:
            raise InvalidError(f"{secured[0]} needs it", f"bridge.{key}")
    for word in new.protocols:
        if word not in PROTOCOLS:
            raise InvalidError(f"{word!r} is none of {', '.join(PROTOCOLS)}", "bridge.protocols")
    if len(set(new.protocols)) != len(new.protocols):
        raise InvalidError("names the same version twice", "bridge.protocols")
    _range(new.auxiliary, 0, MAX_AUXILIARY, "bridge.auxiliary")
    for field, named in (("bridge.controllers", new.controllers), ("bridge.listen", new.listen)):
        if len(set(named)) != len(named):
            raise InvalidError("names the same target twice", field)
        if len(named) > MAX_TARGETS:
            raise InvalidError(f"{len(named)} targets, a bridge has at most {MAX_TARGETS}", field)
    taken = {t: b.name for b in state.bridges.values() if b.name != new.name for t in b.listen}
    for target in new.listen:
        if target in taken:
            raise ExistsError(f"{target} is bridge {taken[target]}'s", "bridge.listen")
    for other in state.bridges.values():
        if new.dpid and other.dpid == new.dpid and other.name != new.name:
            raise ExistsError(f"{new.dpid:016x} is bridge {other.name}'s", "bridge.dpid")


def new_bridge(state: State, new: Bridge, host_id: int) -> Bridge:
    """`host_id` (48 bits) is what a datapath id is made of when none is asked for."""
    _bridge(state, new)
    if new.name in state.bridges:
        raise ExistsError(f"bridge {new.name} exists", "bridge.name")
    used = {b.id for b in state.bridges.values()}
    bridge_id = _free_id(used, state.last_bridge_id, MAX_BRIDGE_ID, "bridges")
    dpid = new.dpid
    if not dpid:
        taken = {b.dpid for b in state.bridges.values()}
        dpid = next(d for n in range(len(taken) + 1) if (d := ((bridge_id + n) & 0xffff) << 48 | host_id) not in taken)
    return replace(new, id=bridge_id, dpid=dpid)


def changed_bridge(state: State, new: Bridge) -> Bridge:
    old = found_bridge(state, new.name)
    if new.tenant != old.tenant:
        raise InvalidError(f"can't change; it is {old.tenant}", "bridge.tenant")
    if new.id not in (0, old.id):
        raise InvalidError(f"can't change; it is {old.id}", "bridge.id")
    new = replace(new, id=old.id, dpid=new.dpid or old.dpid)
    _bridge(state, new)
    return new


def found_port(state: State, bridge: str, name: str) -> Port:
    found_bridge(state, bridge, "port.bridge")
    if (bridge, name) not in state.ports:
        raise NotFoundError(f"bridge {bridge} has no port {name!r}", "port.name")
    return state.ports[bridge, name]


# Which fields a kind of port has besides name, bridge, kind, port_no, mac and config.
_FIELDS_OF = {"tap": {"ifname", "queues", "mtu"}, "netdev": {"ifname", "mtu", "xdp_mode", "busy_poll", "steering"},
              "vxlan": {"vni", "remotes", "learning"},
              "patch": {"peer_bridge", "peer_port"}, "dummy": {"mtu"},
              "vhost-user": {"socket", "mode", "queues", "mtu"}}
_DEFAULTS = {"ifname": "", "queues": 1, "mtu": 0, "vni": None, "remotes": (), "learning": True, "peer_bridge": "",
             "peer_port": "", "socket": "", "mode": "server", "xdp_mode": "off", "busy_poll": 0, "steering": "all"}


def _port(state: State, new: Port) -> Port:
    _name(new.name, "port.name")
    bridge = found_bridge(state, new.bridge, "port.bridge")
    if new.kind not in KINDS:
        raise InvalidError(f"must be one of {', '.join(KINDS)}, not {new.kind!r}", "port.kind")
    for field, default in _DEFAULTS.items():
        if field not in _FIELDS_OF[new.kind] and getattr(new, field) != default:
            raise InvalidError(f"is not for a {new.kind} port", f"port.{field}")
    if new.port_no != OFPP_LOCAL:
        _range(new.port_no, 0, OFPP_MAX, "port.port_no")
    if new.mac:
        if not _MAC.fullmatch(new.mac):
            raise InvalidError(f"{new.mac!r} is not a MAC address (aa:bb:cc:dd:ee:ff)", "port.mac")
        if int(new.mac[:2], 16) & 1 or int(new.mac.replace(":", ""), 16) == 0:
            raise InvalidError(f"{new.mac} is not a unicast address", "port.mac")
    if new.config & ~PORT_CONFIG_BITS or new.config < 0:
        raise InvalidError(f"{new.config:#x} has bits other than {PORT_CONFIG_BITS:#x}", "port.config")
    if new.mtu:
        _range(new.mtu, 68, 65535, "port.mtu")
    _range(new.queues, 1, 16, "port.queues")
    _range(new.max_rate, 0, 0xffffffff, "port.max_rate")
    if new.kind == "patch" and (new.max_rate or new.egress_queues):
        raise InvalidError("a patch port has no rate", "port.max_rate" if new.max_rate else "port.egress_queues")
    new = replace(new, egress_queues=tuple(map(queue_text, parse_queues(new.egress_queues))))
    others = [p for p in state.ports.values() if (p.bridge, p.name) != (new.bridge, new.name)]
    for other in others:
        if new.port_no and other.bridge == new.bridge and other.port_no == new.port_no:
            raise ExistsError(f"{new.port_no} is port {other.name}'s", "port.port_no")
    return _BY_KIND[new.kind](state, bridge, replace(new, mac=new.mac.lower()), others)


def _device_name(text: str, field: str) -> None:
    if len(text.encode()) > DEVICE_NAME_MAX:
        raise InvalidError(f"{text!r} is longer than the {DEVICE_NAME_MAX} characters of a device name", field)
    if not _NAME.fullmatch(text) or text in (".", ".."):
        raise InvalidError(f"{text!r} is not a device name", field)


def _device(state: State, bridge: Bridge, new: Port, others: list[Port]) -> Port:
    field = "port.ifname" if new.ifname else "port.name"
    ifname = new.ifname or new.name
    _device_name(ifname, field)
    if new.xdp_mode not in XDP_MODES:
        raise InvalidError(f"must be one of {', '.join(XDP_MODES)}, not {new.xdp_mode!r}", "port.xdp_mode")
    _range(new.busy_poll, 0, 10000, "port.busy_poll")
    if new.steering not in STEERING:
        raise InvalidError(f"must be one of {', '.join(STEERING)}, not {new.steering!r}", "port.steering")
    if new.busy_poll and new.xdp_mode == "off":
        raise InvalidError("is for AF_XDP; without an xdp_mode the port is AF_PACKET's", "port.busy_poll")
    for other in others:
        if other.kind in ("tap", "netdev") and other.ifname == ifname:
            raise ExistsError(f"device {ifname} is port {other.name} of bridge {other.bridge}", field)
    return replace(new, ifname=ifname)


def _vxlan(state: State, bridge: Bridge, new: Port, others: list[Port]) -> Port:
    if new.vni is None:
        raise InvalidError("a vxlan port needs one", "port.vni")
    _range(new.vni, 0, 0xffffff, "port.vni")
    for other in others:
        if other.kind == "vxlan" and other.vni == new.vni:
            raise ExistsError(f"{new.vni} is port {other.name} of bridge {other.bridge}", "port.vni")
    if len(new.remotes) > MAX_REMOTES:
        raise InvalidError(f"{len(new.remotes)} are more than {MAX_REMOTES}", "port.remotes")
    addresses = [_address(text, "port.remotes") for text in new.remotes]
    for address in addresses:
        if address.is_unspecified or address.is_multicast:
            raise InvalidError(f"{address} is not the address of a host", "port.remotes")
    if len(set(addresses)) != len(addresses):
        raise InvalidError("names the same address twice", "port.remotes")
    return replace(new, remotes=tuple(map(str, addresses)))


def _patch(state: State, bridge: Bridge, new: Port, others: list[Port]) -> Port:
    _name(new.peer_port, "port.peer_port")
    peer = found_bridge(state, new.peer_bridge, "port.peer_bridge")
    if peer.tenant != bridge.tenant:
        raise InvalidError(f"bridge {peer.name} is tenant {peer.tenant}'s, not {bridge.tenant}'s", "port.peer_bridge")
    if (new.peer_bridge, new.peer_port) == (new.bridge, new.name):
        raise InvalidError("names the port itself", "port.peer_port")
    at_peer = state.ports.get((new.peer_bridge, new.peer_port))
    if at_peer is not None and at_peer.kind != "patch":
        raise InvalidError(f"port {new.peer_port} of bridge {peer.name} is a {at_peer.kind} port", "port.peer_port")
    return new


def _dummy(state: State, bridge: Bridge, new: Port, others: list[Port]) -> Port:
    return new


def _vhost_user(state: State, bridge: Bridge, new: Port, others: list[Port]) -> Port:
    if not new.socket:
        raise InvalidError("a vhost-user port needs one", "port.socket")
    if not new.socket.startswith("/") or "\0" in new.socket:
        raise InvalidError(f"{new.socket!r} is not a path from the root", "port.socket")
    if len(new.socket.encode()) > SOCKET_PATH_MAX:
        raise InvalidError(f"is longer than the {SOCKET_PATH_MAX} bytes of a socket's path", "port.socket")
    if new.mode not in ("server", "client"):
        raise InvalidError(f"must be server or client, not {new.mode!r}", "port.mode")
    for other in others:
        if other.socket == new.socket:
            raise ExistsError(f"{new.socket} is port {other.name} of bridge {other.bridge}", "port.socket")
    return new


_BY_KIND = {"tap": _device, "netdev": _device, "vxlan": _vxlan, "patch": _patch, "dummy": _dummy,
            "vhost-user": _vhost_user}


def new_port(state: State, new: Port) -> Port:
    """With its number filled in: the lowest that is free."""
    new = _port(state, new)
    if (new.bridge, new.name) in state.ports:
        raise ExistsError(f"bridge {new.bridge} has a port {new.name}", "port.name")
    return new if new.port_no else replace(new, port_no=_free_port(state, new.bridge))


def _free_port(state: State, bridge: str) -> int:
    used = {p.port_no for p in state.ports_of(bridge)}
    return next(n for n in range(1, len(used) + 2) if n not in used)


def changed_port(state: State, new: Port) -> Port:
    old = found_port(state, new.bridge, new.name)
    return _port(state, replace(new, port_no=new.port_no or old.port_no, mac=new.mac or old.mac))


def vtep(new: Vtep) -> Vtep:
    if new.local4:
        _address(new.local4, "vtep.local4", 4)
    if new.local6:
        _address(new.local6, "vtep.local6", 6)
    _range(new.udp_port, 1, 65535, "vtep.udp_port")
    if new.uplink:
        bridge, slash, port = new.uplink.partition("/")
        if not slash:
            raise InvalidError("must be BRIDGE/PORT", "vtep.uplink")
        _name(bridge, "vtep.uplink")
        _name(port, "vtep.uplink")
        if new.local4 == "0.0.0.0" or not new.local4 and new.local6 in ("", "::"):
            raise InvalidError("must be the address that the tunnel end point has on its uplink", "vtep.local4")
    elif new.udp_checksum:
        raise InvalidError("is for an uplink; without one the host's UDP sockets decide", "vtep.udp_checksum")
    if new.uplink_device:
        if not new.uplink:
            raise InvalidError("is for an uplink; without one the host's UDP sockets decide", "vtep.uplink_device")
        _device_name(new.uplink_device, "vtep.uplink_device")
    return new


def balance(new: Balance) -> Balance:
    _range(new.interval, 0, 3600, "balance.interval")
    _range(new.load, 1, 100, "balance.load")
    _range(new.improvement, 1, 100, "balance.improvement")
    return new
