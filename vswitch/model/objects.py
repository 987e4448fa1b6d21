"""What a user wants there to be: tenants own bridges, bridges own ports. Plain values; checking is `Switch`'s."""
from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tenant:
    name: str                   # 1-63 characters of [A-Za-z0-9_.-], unique
    weight: int = 100           # 1..10000, share of CPU time in proportion to the others'
    cpu_min: float = 0.0        # fraction of one worker, 0..1; 0 = none
    cpu_max: float = 0.0        # fraction of one worker, 0..1; 0 = no limit
    max_rules: int = 0          # 0 = 1,000,000
    max_megaflows: int = 0      # per worker, 0 = 65,536
    id: int = 0                 # given by the switch, 1..4095, stable


@dataclass(frozen=True)
class Bridge:
    name: str                   # unique over all tenants
    tenant: str
    dpid: int = 0               # 64 bits; 0 = the switch picks one; unique
    fail_mode: str = "standalone"          # "standalone" | "secure"
    controllers: tuple[str, ...] = ()      # "tcp:host[:6653]", "ssl:...", "unix:path"
    listen: tuple[str, ...] = ()           # "ptcp:[port][:host]", "pssl:...", "punix:path"
    protocols: tuple[str, ...] = ()        # OpenFlow versions that are spoken: "1.0", ..., "1.5"; () = all
    auxiliary: int = 0          # auxiliary connections to each controller
    tls_certificate: str = ""   # paths of PEM files, for ssl: and pssl:
    tls_key: str = ""
    tls_ca: str = ""
    mac_ageing: int = 300       # seconds, 1..86400
    mac_max: int = 8192         # learned addresses
    egress_table: int = 0       # first egress table (OpenFlow 1.5.1, 5.1), 1..253; 0 = none
    id: int = 0                 # given by the switch


@dataclass(frozen=True)
class Port:
    name: str                   # unique in its bridge
    bridge: str
    kind: str                   # "tap" | "netdev" | "vxlan" | "patch" | "dummy" | "vhost-user"
    port_no: int = 0            # OpenFlow number 1..0xffffff00 or 0xfffffffe (LOCAL); 0 = the switch picks one
    ifname: str = ""            # tap, netdev: device name, at most 15 characters; "" = name
    queues: int = 1             # tap: 1..16; vhost-user: the most pairs of queues, 1..16
    mac: str = ""               # "" = the switch picks one
    mtu: int = 0                # bytes; 0 = 1500 for a tap, as it is for a netdev
    vni: int | None = None      # vxlan: 0..16777215, of this bridge alone
    remotes: tuple[str, ...] = ()          # vxlan: addresses flooded to
    learning: bool = True       # vxlan: learn remote addresses
    peer_bridge: str = ""       # patch
    peer_port: str = ""         # patch: the peer's name
    config: int = 0             # OFPPC_* bits
    max_rate: int = 0           # kbit/s that may leave in all; 0 = no limit
    egress_queues: tuple[str, ...] = ()    # queues that set-queue chooses: egress_queues.py
    socket: str = ""            # vhost-user: path of the Unix socket
    mode: str = "server"        # vhost-user: "server" = the switch listens there, "client" = it connects
    xdp_mode: str = "off"       # netdev: "off" = AF_PACKET, or how AF_XDP is had, as Open vSwitch names it: "best-effort" |
                                # "native-with-zerocopy" | "native" | "generic"
    busy_poll: int = 0          # netdev with an xdp_mode: microseconds, 0..10000; 0 = not
    steering: str = "all"       # netdev: "all" packets are the switch's, or the "vtep"'s alone, and the kernel has the rest


@dataclass(frozen=True)
class Vtep:
    local4: str = ""            # IPv4 address of the tunnel end point, "0.0.0.0" = any, "" = no IPv4 underlay
    local6: str = ""            # likewise IPv6
    udp_port: int = 4789
    uplink: str = ""            # "BRIDGE/PORT" through which tunnels go as raw frames, "" = by UDP sockets
    udp_checksum: bool = False  # of outer IPv4 headers that leave through the uplink
    uplink_device: str = ""     # device whose kernel's routes and neighbours lead to remotes, "" = the switch asks for them itself


@dataclass(frozen=True)
class Balance:
    """When queues of ports move from busy workers to others."""
    interval: int = 0           # seconds between two looks, 1..3600; 0 = never
    load: int = 95              # percent of its time that a worker must have been busy, 1..100
    improvement: int = 25       # percent by which a move must lessen the variance of the workers' loads, 1..100


@dataclass(frozen=True)
class BalanceStatus:
    balance: Balance
    looks: int                  # since the datapath started
    moves: int
    refused: int                # moves given up
    last_look: str              # what was found
    last_move: str              # which queue, from where to where, and why


@dataclass
class PortStatus:
    """A port as the datapath has it."""
    port: Port
    state: int                  # OFPPS_*: 1 link down
    speed_kbps: int
    slot: int
    counters: dict[str, int] = field(default_factory=dict)   # rx_packets, rx_bytes, tx_..., rx_drops, ...
    detail: dict[str, str] = field(default_factory=dict)     # what its driver knows of itself


@dataclass
class AccountUsage:
    """One tenant on one worker, since the datapath started."""
    worker: int
    tenant: str
    cycles: dict[str, int]      # by stage name
    turns: int
    rx_packets: int
    rx_bytes: int
    tx_packets: int
    tx_bytes: int
    emc_hits: int
    megaflow_hits: int
    slow: int
    packet_ins: int
    drops: dict[str, int]       # by reason, those that are not 0
    yields: int = 0             # turns suspended because their slice was over,
    overtaken: int = 0          # or because somebody woke who was due before
    waited: int = 0             # cycles with work while others had the core
    throttled: int = 0          # cycles with work that cpu_max held back
    waited_for: dict[str, int] = field(default_factory=dict)    # cycles by tenant, an estimate; the few that matter most


@dataclass
class WorkerUsage:
    worker: int
    start: int                  # time-stamp counter
    now: int
    system: dict[str, int]      # cycles by use
    loops: int
    sleeps: int
    stalls: int
    stall_cycles: int
    longest: int
    stretch: list[int]
    accounts: list[AccountUsage]
    longest_raw: int = 0        # as longest, with the machine's stalls
    longest_tenant: str = ""    # whose turn the longest was, "" = the system's own work
    longest_stage: str = ""     # in which it ended
    longest_port: int = -1      # slot of the port whose packets they were, -1 = none


@dataclass
class Usage:
    tsc_hz: int
    workers: list[WorkerUsage]


@dataclass(frozen=True)
class MacEntry:
    mac: str
    vlan: int
    port_no: int
    age: int                    # seconds


@dataclass(frozen=True)
class Event:
    """Something that `Switch.watch` tells."""
    kind: str                   # "tenant" | "bridge" | "port" | "vtep" | "flow_removed" | "controller" | "datapath"
    action: str                 # "added" | "changed" | "removed" | "up" | "down"
    bridge: str = ""
    name: str = ""
    detail: object = None       # Tenant, Bridge, PortStatus, OF flow_removed body (bytes), controller URL, ...


@dataclass(frozen=True)
class ControllerStatus:
    bridge: str
    target: str                 # "tcp:..." or the peer of a passive connection
    connected: bool
    version: int                # OpenFlow wire version, 0 when not connected
    role: str
    last_error: str
    auxiliary: int = 0          # open auxiliary connections


@dataclass(frozen=True)
class RuleUpdate:
    """A rule that came, went or changed."""
    what: int                   # enum dp_update, as OpenFlow 1.4's ofp_flow_update_event
    reason: int                 # OFPRR_*, of one that went
    entry: bytes                # its OF flow_stats
    origin: object = None       # who asked for it, as given to Switch.write_flows; None = nobody: a timeout
    xid: int = 0                # of that request
