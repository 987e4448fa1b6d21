"""What may stand in a configuration file: one table a kind of object. The model says what a value means; ranges are here."""
from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

from vswitch.errors import InvalidError
from vswitch.model import targets
from vswitch.model.check import MAX_AUXILIARY, PROTOCOLS, STEERING, XDP_MODES
from vswitch.model.egress_queues import parse_queue, queue_text


@dataclass(frozen=True)
class Key:
    """One key of an object. `check` takes the value and returns what the model holds; it raises ValueError(reason)."""
    check: Callable[[object], object]
    required: bool = False
    attribute: str = ""         # the model's name where it differs


NAME = re.compile(r"[A-Za-z0-9_.-]{1,63}")
MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")


def name(value: object) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError(f"{value!r} is no name: 1..63 characters of A-Z a-z 0-9 _ . - (quote a number)")
    return value


def integer(low: int, high: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{value!r} is not a whole number")
        if not low <= value <= high:
            raise ValueError(f"{value} is out of range, {low}..{high}")
        return value
    return check


def fraction(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} is not a number")
    if not 0 <= value <= 1:
        raise ValueError(f"{value} is out of range, 0..1 of one worker")
    return float(value)


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value


def one_of(*words: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in words:
            raise ValueError(f"{value!r} is none of {', '.join(words)}")
        return value
    return check


def address(version: int | None = None, empty: bool = False) -> Callable[[object], str]:
    def check(value: object) -> str:
        if empty and value == "":
            return ""
        try:
            parsed = ipaddress.ip_address(text(value))
        except ValueError:
            parsed = None
        if parsed is None or version not in (None, parsed.version):
            raise ValueError(f"{value!r} is not an IP{f'v{version}' if version else ''} address")
        return str(parsed)
    return check


def mac(value: object) -> str:
    if not isinstance(value, str) or not MAC.fullmatch(value):
        raise ValueError(f"{value!r} is not an Ethernet address (quote it)")
    if int(value[:2], 16) & 1:
        raise ValueError(f"{value} is a multicast address")
    return value.lower()


def ifname(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value.encode()) <= 15 or "/" in value or value.split() != [value]:
        raise ValueError(f"{value!r} is no device name: 1..15 characters, no blank, no /")
    return value


def device(value: object) -> str:
    return "" if value == "" else ifname(value)


def target(parse: Callable[[str], object], form: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        try:
            parse(text(value))
        except InvalidError:
            raise ValueError(f"{value!r} is not {form}") from None
        return value
    return check


def path(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError(f"{value!r} is not the path of a file from the root")
    return value


def protocol(value: object) -> str:
    """An OpenFlow version; YAML reads 1.3 as a number."""
    word = str(value)
    if word not in PROTOCOLS:
        raise ValueError(f"{value!r} is none of {', '.join(PROTOCOLS)}")
    return word


def queue(value: object) -> str:
    try:
        return queue_text(parse_queue(str(value)))
    except InvalidError as e:
        raise ValueError(e.reason) from None


def xdp_mode(value: object) -> str:
    """YAML reads off as a boolean."""
    return one_of(*XDP_MODES)("off" if value is False else value)


def port_number(value: object) -> int:
    if value == "LOCAL":
        return 0xfffffffe
    if value == 0xfffffffe:
        return value
    return integer(1, 0xffffff00)(value)


VTEP = {
    "local4": Key(address(4, empty=True)),
    "local6": Key(address(6, empty=True)),
    "udp_port": Key(integer(1, 65535)),
    "uplink": Key(text),
    "udp_checksum": Key(boolean),
    "uplink_device": Key(device),
}

BALANCE = {
    "interval": Key(integer(0, 3600)),
    "load": Key(integer(1, 100)),
    "improvement": Key(integer(1, 100)),
}

TENANT = {
    "weight": Key(integer(1, 10000)),
    "cpu_min": Key(fraction),
    "cpu_max": Key(fraction),
    "max_rules": Key(integer(0, 0xffffffff)),
    "max_megaflows": Key(integer(0, 0xffffffff)),
}

BRIDGE = {
    "dpid": Key(integer(1, (1 << 64) - 1)),
    "fail_mode": Key(one_of("standalone", "secure")),
    "mac_ageing": Key(integer(1, 86400)),
    "mac_max": Key(integer(1, 1 << 20)),
    "egress_table": Key(integer(0, 253)),
    "auxiliary": Key(integer(0, MAX_AUXILIARY)),
    "tls_certificate": Key(path),
    "tls_key": Key(path),
    "tls_ca": Key(path),
}
BRIDGE_LISTS = {
    "controllers": target(targets.controller, targets.ACTIVE_FORM),
    "listen": target(targets.listener, targets.PASSIVE_FORM),
    "protocols": protocol,
}

PORT = {
    "kind": Key(one_of("tap", "netdev", "vxlan", "patch", "dummy", "vhost-user"), required=True),
    "port_no": Key(port_number),
    "ifname": Key(ifname),
    "queues": Key(integer(1, 16)),
    "mac": Key(mac),
    "mtu": Key(integer(68, 65535)),
    "vni": Key(integer(0, 0xffffff)),
    "learning": Key(boolean),
    "peer_bridge": Key(name),
    "peer_port": Key(name),
    "config": Key(integer(0, 0xffffffff)),
    "socket": Key(path),
    "mode": Key(one_of("server", "client")),
    "max_rate": Key(integer(0, 0xffffffff)),
    "xdp_mode": Key(xdp_mode),
    "busy_poll": Key(integer(0, 10000)),
    "steering": Key(one_of(*STEERING)),
}
PORT_LISTS = {"remotes": address(), "egress_queues": queue}

# Which keys a kind of port may have beyond those of all ports, and which it must have.
PORT_KINDS = {
    "tap": ({"ifname", "queues", "mtu"}, ()),
    "netdev": ({"ifname", "mtu", "xdp_mode", "busy_poll", "steering"}, ()),
    "vxlan": ({"vni", "learning", "remotes"}, ("vni",)),
    "patch": ({"peer_bridge", "peer_port"}, ("peer_bridge", "peer_port")),
    "dummy": ({"mtu"}, ()),
    "vhost-user": ({"socket", "mode", "queues", "mtu"}, ("socket",)),
}
PORT_ALWAYS = {"kind", "port_no", "mac", "config", "max_rate", "egress_queues"}
