"""The channel's structs (datapath_c/channel/contract.h) as frozen dataclasses, converted member by member.

A class says which struct it mirrors; its attributes carry the struct's names. Texts are str, addresses and other byte
arrays are bytes, nested `dp_addr` is its 16 bytes. Members that a class leaves out are reserved and sent as 0.
"""
from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import ClassVar, TypeVar

from vswitch._datapath import ffi, lib
from vswitch.errors import InvalidError, UnavailableError

PORT_KINDS = {"tap": lib.DP_PORT_TAP, "netdev": lib.DP_PORT_NETDEV, "vxlan": lib.DP_PORT_VXLAN,
              "patch": lib.DP_PORT_PATCH, "dummy": lib.DP_PORT_DUMMY, "vhost-user": lib.DP_PORT_VHOST_USER}
XDP_MODES = {"off": lib.DP_XDP_OFF, "best-effort": lib.DP_XDP_BEST_EFFORT, "native-with-zerocopy": lib.DP_XDP_ZERO_COPY,
             "native": lib.DP_XDP_NATIVE, "generic": lib.DP_XDP_GENERIC}
STEERING = {"all": lib.DP_STEER_ALL, "vtep": lib.DP_STEER_VTEP}
MISS_DROP, MISS_NORMAL, MISS_CONTROLLER = lib.DP_MISS_DROP, lib.DP_MISS_NORMAL, lib.DP_MISS_CONTROLLER
MAX_TENANTS, MAX_BRIDGES, MAX_REMOTES = lib.DP_MAX_TENANTS, lib.DP_MAX_BRIDGES, lib.DP_MAX_REMOTES
MAX_QUEUES = lib.DP_MAX_QUEUES
TABLE_MAX_ENTRIES = 1_000_000      # of a table that was not given a size
UPDATE_ADDED, UPDATE_REMOVED, UPDATE_MODIFIED = lib.DP_UPDATE_ADDED, lib.DP_UPDATE_REMOVED, lib.DP_UPDATE_MODIFIED
NO_ADDRESS = bytes(16)
PACKET_IN_HEAD = struct.Struct("=HH4x")   # struct dp_packet_in: controller_id, userdata_len
assert PACKET_IN_HEAD.size == ffi.sizeof("struct dp_packet_in")


class Record:
    struct: ClassVar[str]


@dataclass(frozen=True)
class Hello(Record):
    struct = "struct dp_hello"
    version: int
    role: int


@dataclass(frozen=True)
class HelloReply(Record):
    struct = "struct dp_hello_reply"
    version: int
    pid: int
    n_workers: int
    policy: int
    tsc_hz: int
    incarnation: int
    shm_size: int


@dataclass(frozen=True)
class SchedulerRecord(Record):
    struct = "struct dp_scheduler"
    policy: int
    slice_ns: int


@dataclass(frozen=True)
class BalanceRecord(Record):
    struct = "struct dp_balance"
    interval: int
    load: int
    improvement: int
    looks: int = 0
    moves: int = 0
    refused: int = 0
    last_look: str = ""
    last_move: str = ""


@dataclass(frozen=True)
class TenantRecord(Record):
    struct = "struct dp_tenant"
    id: int
    weight: int
    cpu_min_ppm: int
    cpu_max_ppm: int
    max_rules: int
    max_megaflows: int
    max_memory: int
    name: str


@dataclass(frozen=True)
class BridgeRecord(Record):
    struct = "struct dp_bridge"
    id: int
    tenant: int
    dpid: int
    miss: int
    mac_ageing: int
    mac_max: int
    n_rules: int
    miss_send_len: int
    config_flags: int
    egress_table: int
    name: str


@dataclass(frozen=True)
class PortRecord(Record):
    struct = "struct dp_port"
    bridge: int
    port_no: int
    kind: int
    config: int = 0
    state: int = 0
    slot: int = 0
    n_queues: int = 0
    vni: int = 0
    mtu: int = 0
    peer_bridge: int = 0
    peer_port: int = 0
    learning: int = 0
    reason: int = 0
    speed_kbps: int = 0
    busy_poll: int = 0
    steering: int = 0
    mac: bytes = bytes(6)
    client: int = 0
    xdp_mode: int = 0
    name: str = ""
    ifname: str = ""
    socket: str = ""


@dataclass(frozen=True)
class PortRef(Record):
    struct = "struct dp_port_ref"
    port_no: int


@dataclass(frozen=True)
class PortMod(Record):
    struct = "struct dp_port_mod"
    port_no: int
    config: int
    mask: int
    mac: bytes = bytes(6)


@dataclass(frozen=True)
class VtepRecord(Record):
    struct = "struct dp_vtep"
    local4: bytes = NO_ADDRESS
    local6: bytes = NO_ADDRESS
    port: int = 0
    any6: int = 0
    uplink_checksum: int = 0
    uplink_bridge: str = ""
    uplink_port: str = ""
    uplink_device: str = ""


@dataclass(frozen=True)
class Remotes(Record):
    struct = "struct dp_remotes"
    port_no: int
    n: int


@dataclass(frozen=True)
class Queues(Record):
    struct = "struct dp_queues"
    port_no: int
    n: int
    max_kbps: int


@dataclass(frozen=True)
class QueueRecord(Record):
    struct = "struct dp_queue"
    queue_id: int
    min_kbps: int
    max_kbps: int
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    age_nsec: int = 0


@dataclass(frozen=True)
class TableRecord(Record):
    struct = "struct dp_table"
    table_id: int
    vacancy_down: int = 0
    vacancy_up: int = 0
    vacancy: int = 0
    config: int = 0
    max_entries: int = 0
    reason: int = 0


@dataclass(frozen=True)
class FlowWatch(Record):
    struct = "struct dp_flow_watch"
    on: int


@dataclass(frozen=True)
class FlowUpdate(Record):
    struct = "struct dp_flow_update"
    what: int
    reason: int
    xid: int
    item: int


@dataclass(frozen=True)
class FlowRemoved(Record):
    struct = "struct dp_flow_removed"
    want: int


@dataclass(frozen=True)
class Mac(Record):
    struct = "struct dp_mac"
    mac: bytes
    vlan: int
    port_no: int
    age: int


@dataclass(frozen=True)
class Trace(Record):
    struct = "struct dp_trace"
    in_port: int


@dataclass(frozen=True)
class CacheStats(Record):
    struct = "struct dp_cache"
    tenant: int
    worker: int
    megaflows: int
    masks: int
    emc_hits: int
    megaflow_hits: int
    misses: int
    stale: int


@dataclass(frozen=True)
class ErrorRecord(Record):
    struct = "struct dp_error"
    error: int
    of_type: int
    of_code: int
    field: str
    reason: str


R = TypeVar("R", bound=Record)


@lru_cache(maxsize=None)
def _members(cls: type[Record]) -> tuple[tuple[str, str, int], ...]:
    """(name, how to convert, room) of each attribute: "number", "text", "bytes" or "address"."""
    types = {name: member.type for name, member in ffi.typeof(cls.struct).fields}
    found = []
    for field in fields(cls):
        kind = types[field.name]
        if kind.kind == "primitive":
            found.append((field.name, "number", 0))
        elif kind.kind == "struct":
            found.append((field.name, "address", ffi.sizeof(kind)))
        else:
            found.append((field.name, "text" if kind.item.cname == "char" else "bytes", kind.length))
    return tuple(found)


def pack(record: Record) -> bytes:
    """The struct's bytes. InvalidError names a member whose value does not fit."""
    c = ffi.new(record.struct + " *")
    for name, how, room in _members(type(record)):
        value = getattr(record, name)
        try:
            if how == "number":
                setattr(c, name, value)
            elif how == "address":
                ffi.buffer(getattr(c, name).ip)[:] = value
            elif how == "text":
                data = value.encode()
                if len(data) >= room:
                    raise ValueError(f"longer than {room - 1} bytes")
                ffi.buffer(getattr(c, name))[:len(data)] = data
            else:
                ffi.buffer(getattr(c, name))[:] = value
        except (OverflowError, ValueError, TypeError) as e:
            raise InvalidError(str(e), name) from None
    return bytes(ffi.buffer(c))


def _convert(cls: type[R], c: object) -> R:
    values = {}
    for name, how, _ in _members(cls):
        member = getattr(c, name)
        if how == "number":
            values[name] = member
        elif how == "address":
            values[name] = bytes(ffi.buffer(member.ip))
        elif how == "text":
            values[name] = ffi.string(member).decode("utf-8", "replace")
        else:
            values[name] = bytes(ffi.buffer(member))
    return cls(**values)


def size(cls: type[Record]) -> int:
    return ffi.sizeof(cls.struct)


def unpack(cls: type[R], body: bytes) -> R:
    """The struct at the start of `body`; UnavailableError when it is cut off."""
    if len(body) < size(cls):
        raise UnavailableError(f"the datapath answered {len(body)} bytes where {cls.struct} was due")
    return _convert(cls, ffi.from_buffer(cls.struct + " *", body, require_writable=False)[0])


def unpack_all(cls: type[R], body: bytes) -> list[R]:
    n, rest = divmod(len(body), size(cls))
    if rest:
        raise UnavailableError(f"the datapath answered {len(body)} bytes, not whole {cls.struct}")
    array = ffi.from_buffer(cls.struct + "[]", body, require_writable=False)
    return [_convert(cls, array[i]) for i in range(n)]


def address_bytes(text: str) -> bytes:
    """An IPv4 or IPv6 address as dp_addr has it; "" is no address."""
    if not text:
        return NO_ADDRESS
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def address_text(data: bytes) -> str:
    if data == NO_ADDRESS:
        return ""
    address = ipaddress.IPv6Address(data)
    return str(address.ipv4_mapped or address)
