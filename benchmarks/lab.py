"""Tenants on one worker in process (datapath_c/test/lab.h): on the virtual clock, where work takes counted time and the machine adds no
noise, or on the real one."""
from __future__ import annotations

import socket
from array import array
from dataclasses import dataclass, field

from benchmarks.adversaries import IN, OUT, Adversary
from benchmarks.adversaries.frames import udp
from vswitch._datapath import ffi, lib
from vswitch.openflow import flow_text, group_text
from vswitch.rpc.group_service import _group_mod

UNIT_NS = 12                # a unit of work, base/step.h: 32 cycles at 2.6 GHz
POLICIES = ("wfq", "round-robin", "none")
FAR, NEAR, NEAR_MAC = "198.51.100.2", "198.51.100.1", bytes.fromhex("020000000002")
ROOM = 2_000_000            # latencies kept of a source


@dataclass
class Source:
    bridge: int
    frames: list[bytes]
    port: int = IN
    interval_ns: float = 0.0
    outstanding: int = 0
    poisson: bool = False
    on_ns: float = 0.0
    off_ns: float = 0.0
    phase_ns: float = 0.0
    ramp: float = 0.0
    keep: bool = False          # latencies
    latencies: array = field(default_factory=lambda: array("I"))
    offered: int = 0
    lost: int = 0
    delivered: int = 0
    cycles: int = 0             # charged to the tenant


class Lab:
    """One at a time in a process; use as a context manager."""

    def __init__(self, policy: str = "wfq", real: bool = False):
        self._sim = lib.lab_new(1, 0 if real else UNIT_NS)
        self._error = ffi.new("struct dp_error *")
        self.policy(policy)

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_) -> None:
        lib.lab_churn(self._sim, 0, ffi.NULL, ffi.NULL, 0)
        lib.sim_free(self._sim)

    def _check(self, result: int) -> None:
        if result < 0:
            raise RuntimeError(f"{ffi.string(self._error.field).decode()}: {ffi.string(self._error.reason).decode()}")

    def policy(self, name: str) -> None:
        self._check(lib.lab_scheduler(self._sim, POLICIES.index(name), 0, self._error))

    def uplink(self, id: int) -> None:
        """A tenant whose port IN is the uplink of everybody's tunnels, which end at NEAR."""
        self.tenant(id, ports=0)
        port = ffi.new("struct dp_port *", {"bridge": id, "port_no": IN, "kind": lib.DP_PORT_DUMMY, "name": b"wire", "mac": NEAR_MAC})
        self._check(lib.sim_add_port(self._sim, port, self._error))
        vtep = ffi.new("struct dp_vtep *", {"uplink_bridge": b"b%d" % id, "uplink_port": b"wire"})
        vtep.local4.ip = bytes(10) + b"\xff\xff" + socket.inet_aton(NEAR)
        self._check(lib.sim_set_vtep(self._sim, vtep, self._error))

    def tenant(self, id: int, weight: int = 100, ports: int = 2, rules: list[str] = (f"priority=1,actions=output:{OUT}",),
               groups: list[str] = (), cpu_max_ppm: int = 0, vni: int = 0) -> None:
        """With a VNI, its port IN is that tunnel's."""
        tenant = ffi.new("struct dp_tenant *", {"id": id, "weight": weight, "name": b"t%d" % id, "cpu_max_ppm": cpu_max_ppm})
        self._check(lib.sim_set_tenant(self._sim, tenant, self._error))
        bridge = ffi.new("struct dp_bridge *", {"id": id, "tenant": id, "dpid": id, "name": b"b%d" % id})
        self._check(lib.sim_set_bridge(self._sim, bridge, self._error))
        for number in range(1, ports + 1):
            tunnel = {"kind": lib.DP_PORT_VXLAN, "vni": vni} if vni and number == IN else {"kind": lib.DP_PORT_DUMMY}
            port = ffi.new("struct dp_port *", {"bridge": id, "port_no": number, **tunnel})
            self._check(lib.sim_add_port(self._sim, port, self._error))
        for text in groups:
            body = _group_mod(0, group_text.parse_group(text), 0xffffffff)
            self._check(lib.sim_group_mod(self._sim, id, body, len(body), self._error))
        for text in rules:
            body = flow_text.parse_flow_mod(text)
            self._check(lib.sim_flow_mod(self._sim, id, body, len(body), self._error))

    def adversary(self, id: int, a: Adversary, weight: int = 100) -> list[Source]:
        self.tenant(id, weight, a.ports, a.rules, a.groups)
        if a.flow_mods:
            self.churn(id, a.flow_mods)
        return [Source(id, a.frames, IN + i, a.interval_ns, on_ns=a.on_ns, off_ns=a.off_ns, ramp=a.ramp) for i in range(a.sources)]

    def churn(self, id: int, flow_mods: list[str]) -> None:
        """Its controller sends them in turn, as fast as they are carried out, while run() goes on."""
        bodies = [flow_text.parse_flow_mod(rest, command) for command, rest in (line.split(" ", 1) for line in flow_mods)]
        self._churn = ffi.new("uint8_t[]", b"".join(bodies)), ffi.new("uint32_t[]", [len(body) for body in bodies])
        lib.lab_churn(self._sim, id, *self._churn, len(bodies))

    def churned(self) -> tuple[int, int]:
        """Of the last run: flow-mods carried out, and those of them that were refused."""
        refused = ffi.new("uint64_t *")
        return lib.lab_churned(refused), refused[0]

    def run(self, sources: list[Source], ns: float, seed: int = 1) -> float:
        """Returns the part of the time for which the worker was idle."""
        array_c = ffi.new("struct lab_source[]", len(sources))
        alive = []
        for c, s in zip(array_c, sources):
            frames = ffi.new("uint8_t[]", b"".join(s.frames))
            lengths = ffi.new("uint32_t[]", [len(frame) for frame in s.frames])
            room = ffi.new("uint32_t[]", ROOM if s.keep else 1)
            alive.append((frames, lengths, room))
            c.bridge, c.port_no, c.n_frames, c.outstanding = s.bridge, s.port, len(s.frames), s.outstanding
            c.frames, c.lengths, c.interval_ns, c.poisson = frames, lengths, s.interval_ns, s.poisson
            c.on_ns, c.off_ns, c.phase_ns, c.ramp = s.on_ns, s.off_ns, s.phase_ns, s.ramp
            c.latency, c.latency_room = room, ROOM if s.keep else 0
        idle = lib.lab_run(self._sim, array_c, len(sources), ns, seed)
        for c, s, (_, _, room) in zip(array_c, sources, alive):
            s.offered, s.lost, s.delivered, s.cycles = c.offered, c.lost, c.delivered, c.cycles
            s.latencies = array("I", bytes(ffi.buffer(room, 4 * c.n_latency)))
        return idle / ns

    def polled(self) -> int:
        """Cycles that worker 0 has spent on looking for work and choosing."""
        return self.accounts(1)[0].system[lib.DP_SYS_POLL]

    def mhz(self) -> float:
        return ffi.cast("struct dp_shm_header *", lib.sim_shm(self._sim)).tsc_hz / 1e6

    def received(self, id: int) -> int:
        """Packets that were taken for the tenant, by worker 0."""
        accounts = ffi.new("struct dp_shm_account[]", id + 1)
        lib.dp_shm_read_accounts(lib.sim_shm(self._sim), 0, ffi.new("struct dp_shm_worker *"), accounts, id + 1)
        return accounts[id].rx_packets

    def accounts(self, n: int) -> tuple[object, list[int]]:
        """Worker 0's row, and each tenant's cycles below `n`."""
        row, accounts = ffi.new("struct dp_shm_worker *"), ffi.new("struct dp_shm_account[]", n)
        lib.dp_shm_read_accounts(lib.sim_shm(self._sim), 0, row, accounts, n)
        return row, [sum(account.cycles) for account in accounts]


def victim(id: int = 1, **how) -> Source:
    return Source(id, [udp()], keep=True, **how)


def percentile(latencies: array, part: float) -> float:
    """Of sorted latencies, in us."""
    return latencies[min(len(latencies) - 1, int(part * len(latencies)))] / 1000 if latencies else float("nan")


def summary(source: Source) -> dict[str, float]:
    ordered = array("I", sorted(source.latencies))
    return {"p50_us": percentile(ordered, 0.5), "p99_us": percentile(ordered, 0.99), "p999_us": percentile(ordered, 0.999),
            "max_us": percentile(ordered, 1), "loss": source.lost / source.offered if source.offered else 0.0,
            "offered": source.offered, "delivered": source.delivered}
