"""Cycles per packet between virtual machines, beside Open vSwitch with DPDK: one worker each, the same guests (vswitch-guest), in
one run, samples by turns, so that the machine's moods fall on both alike.

The guests stay connected for a whole row, and both switches have seen its traffic before anything counts. Busy time on a shared
machine is what the work took and what the machine took besides: of a row's samples the lower quartile is the figure.

Prints a Markdown table and one line a row (reached, or short by how much); writes every sample to out/vm_ports.json, the table to
out/vm_ports.md and a plot to out/vm_ports.svg. What is to be reached is a share of the other's figure, since absolute cycles differ from
machine to machine, and on a shared one from minute to minute; where the row says so, a share of our own figure in another row, which
is then run too. Where rules are many, how long they took to go in and the memory of each are told as well.
"""
from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks")]      # not there under python -P

import plot  # noqa: E402
from acl_rules import AccessList, udp_frame, write_pcap  # noqa: E402
from vm_switches import (FAR, FAR_MAC, GUEST_CORE, NEAR, NEAR_MAC, VNI, Busy, MissingPeer, OpenVswitch,  # noqa: E402
                         OpenVswitchSegments, OpenVswitchTunnel, Ours, OursTunnel, Switch, clean, take_precedence)

GUEST = ROOT / "build" / "release" / "datapath_c" / "bench" / "vswitch-guest"
PORT_RULE = ["in_port=1,actions=output:2", "in_port=2,actions=output:1"]
ADDRESS_RULE = ["priority=10,in_port=1,ip,nw_dst=10.0.0.0/8,actions=output:2", "priority=1,in_port=2,actions=output:1"]
# No frame has that source, and both switches must look at all of it: each source is a flow that the tables decide on.
SOURCE_RULE = ["priority=40000,in_port=1,dl_src=ff:ff:ff:ff:ff:fe,actions=drop", *PORT_RULE]
NEW_SOURCES = "0:len=60,sweep=8/4/16777216"
WARM_UP = 1.0
SETTLE = 20.0                   # the longest wait for a switch to have made its decisions
SETTLE_AGAIN = 3.0              # before each sample: what rests is forgotten
SETTLED = 0.001                 # of the packets that still need one
NAMES_OF_LONG_ROWS = "exact-1000000,exact-1000000-flows,masks-100000"


@dataclass
class Row:
    key: str
    title: str
    share: float                # of Open vSwitch's figure (of our own in `than`) that is to be reached; absolute for rates
    flows: list[str] = field(default_factory=lambda: PORT_RULE)
    send: str = "0:len=60"
    port: str = ""              # of the guests' devices
    unit: str = "cycles/packet"
    access_list: tuple[int, int, int] | None = None    # rules, masks, flows
    than: str = ""              # the row of ours that this one is measured by
    long: bool = False          # only when asked for: loading the rules takes a minute
    offloads: bool = False      # segments whole
    tunnel: str = ""            # "out": from the guest through VXLAN; "in": what comes through it; of so many flows
    tunnel_flows: int = 1


ROWS = [
    Row("port-rule", "port rule, 60 bytes", 115 / 230),
    Row("port-rule-packed", "the same, packed rings", 115 / 230, port=",packed"),
    Row("flows-1000", "1,000 flows, port rule", 140 / 271, send="0:len=60,flows=1000"),
    Row("address-1000", "1,000 flows, rule on nw_dst", 140 / 271, ADDRESS_RULE, "0:len=60,flows=1000"),
    Row("flows-100000", "100,000 flows, one megaflow, port rule", 170 / 367, send="0:len=60,flows=100000"),
    Row("address-100000", "100,000 flows, one megaflow, rule on nw_dst", 170 / 367, ADDRESS_RULE, "0:len=60,flows=100000"),
    Row("acl-1000", "1,000 ACL rules, 10,000 flows", 250 / 572, access_list=(1000, 30, 10000)),
    Row("acl-10000", "10,000 ACL rules (53 masks), 10,000 flows", 300 / 2770, access_list=(10000, 53, 10000)),
    Row("new-flows", "never-seen flows", 1e6, SOURCE_RULE, NEW_SOURCES, unit="flows/s per core"),
    Row("exact-1000", "1,000 exact rules, 1,000 flows", 1.0, access_list=(1000, 1, 1000)),
    Row("exact-10000", "10,000 exact rules, 10,000 flows", 1.0, access_list=(10000, 1, 10000)),
    Row("exact-1000000", "1,000,000 exact rules, 1,000 flows", 1.5, access_list=(1000000, 1, 1000), than="exact-1000", long=True),
    Row("exact-1000000-flows", "1,000,000 exact rules, 10,000 flows", 1.5, access_list=(1000000, 1, 10000), than="exact-10000", long=True),
    Row("masks-100000", "100,000 rules with 64 masks, 10,000 flows", 1.5, access_list=(100000, 64, 10000), than="acl-1000", long=True),
    Row("frames-256", "256-byte frames, port rule", 0.5, send="0:len=256"),
    Row("frames-512", "512-byte frames, port rule", 0.5, send="0:len=512"),
    Row("frames-1514", "1,514-byte frames, port rule", 340 / 673, send="0:len=1514"),
    Row("encap-1", "VXLAN encapsulation, 1 flow", 180 / 345, tunnel="out"),
    Row("encap-10000", "VXLAN encapsulation, 10,000 flows", 240 / 525, tunnel="out", tunnel_flows=10000),
    Row("decap-1", "VXLAN decapsulation, 1 flow", 200 / 432, tunnel="in"),
    Row("decap-10000", "VXLAN decapsulation, 10,000 flows", 300 / 680, tunnel="in", tunnel_flows=10000),
    Row("segments", "64 KiB TCP segments with offloads, port rule", 2.0, send="0:len=65214,gso=1448", port=",offloads,buffer=65600",
        unit="Gbit/s per core", offloads=True),
    Row("latency", "one-way latency at 10 kpps, p50", 0.7 / 1.2, send="0:len=60,rate=10000,stamp", unit="µs"),
]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--samples", type=int, default=12, help="of each switch in each row (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.3, help="of each sample (default %(default)s)")
    parser.add_argument("--rows", default=",".join(row.key for row in ROWS if not row.long),
                        help=f"which (default all but {NAMES_OF_LONG_ROWS})")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "vm_ports.json", help="and beside it .md and .svg")
    return parser.parse_args()


def tunnelled(frame: bytes, source_port: int) -> bytes:
    """The frame as the other host's tunnel end point sends it."""
    udp = struct.pack("!HHHHII", source_port, 4789, len(frame) + 16, 0, 0x08000000, VNI << 8) + frame
    addresses = b"".join(socket.inet_aton(address) for address in (FAR, NEAR))
    head = struct.pack("!BBHHHBBH", 0x45, 0, len(udp) + 20, 0, 0x4000, 64, 17, 0) + addresses
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xffff) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~total & 0xffff) + head[12:]
    return bytes.fromhex((NEAR_MAC + FAR_MAC).replace(":", "")) + b"\x08\0" + head + udp


def arp_of_far() -> str:
    """What the other host answers, in hexadecimal: this guest says it again and again, unasked."""
    mac, near = (text.replace(":", "") for text in (FAR_MAC, NEAR_MAC))
    addresses = [socket.inet_aton(address).hex() for address in (FAR, NEAR)]
    return f"{near}{mac}0806" + f"0001080006040002{mac}{addresses[0]}{near}{addresses[1]}".ljust(92, "0")


def tunnel_streams(row: Row, directory: Path) -> list[str]:
    inner = [udp_frame(0x0a000001 + flow, 0x0a000002, 1000 + flow % 50000, 2000) for flow in range(row.tunnel_flows)]
    capture = directory / f"{row.key}.pcap"
    write_pcap(capture, inner if row.tunnel == "out" else
               [tunnelled(frame, 49152 + index * 7919 % 16384) for index, frame in enumerate(inner)])
    return [f"{0 if row.tunnel == 'out' else 1}:pcap={capture}", f"1:hex={arp_of_far()},rate=100,burst=1"]


class Guests:
    """Both guests of one switch, connected from here to stop()."""

    def __init__(self, switch: Switch, row: Row, streams: list[str]):
        self.switch = switch
        ports = [f"--port={path},listen{row.port}" for path in switch.sockets]
        sends = [word for stream in streams for word in ("--send", stream)]
        self.process = subprocess.Popen(
            ["nice", "-n", "-20", str(GUEST), *ports, *sends, "--seconds", "3600", "--warm-up", "0.1", "--wait", "30", "--go",
             "--cpu", str(GUEST_CORE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        if line != "ready\n":
            raise RuntimeError(f"vswitch-guest: {line}")
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)
        self.switch.pause()

    def resume(self) -> None:
        self.switch.resume()
        os.kill(self.process.pid, signal.SIGCONT)
        time.sleep(0.05)

    def seen(self) -> dict:
        """What the guests have seen since this was asked the last time."""
        self.process.send_signal(signal.SIGUSR1)
        return json.loads(self.process.stdout.readline())

    def stop(self) -> dict:
        """The same for the last time."""
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.terminate()
        text, errors = self.process.communicate(timeout=30)
        if self.process.returncode:
            raise RuntimeError(f"vswitch-guest ended with {self.process.returncode}: {errors}")
        return json.loads(text)

    def settle(self, decided: bool, longest: float = SETTLE) -> float:
        """Waits until it delivers, and if `decided`, until what it forwards is decided, as far as that ends; returns the share of the
        packets that wasn't at last."""
        deadline = time.monotonic() + longest
        while True:
            self.seen()
            self.switch.begin()
            time.sleep(0.3)
            busy = self.switch.end()
            share = busy.decided / busy.packets if busy.packets else 1.0
            delivers = any(port["received"] for port in self.seen()["ports"])
            if (delivers and (share < SETTLED or not decided)) or time.monotonic() > deadline:
                return share

    def sample(self, seconds: float) -> dict:
        self.seen()
        self.switch.begin()
        begin = time.monotonic()
        time.sleep(seconds)
        busy: Busy = self.switch.end()
        passed = time.monotonic() - begin
        seen = self.seen()
        if busy.packets and not any(port["received"] for port in seen["ports"]):
            raise RuntimeError(f"{self.switch.name} delivered none of {busy.packets} packets: what it costs to drop them is no figure")
        busy_seconds = busy.cycles * busy.packets / seen["tsc_hz"]
        delivered = sum(port["bytes"] for port in seen["ports"])
        received = sum(port["received"] for port in seen["ports"])
        gbits = delivered * 8 / busy_seconds / 1e9 if busy_seconds else 0.0
        return {"cycles": busy.cycles, "gbits": gbits, "mpps": busy.packets / passed / 1e6,
                "stages": busy.stages, "decided": min(busy.decided, received) / passed,
                "latency": seen["streams"][0]["latency"], "stall_ms": seen["stall_ms"]}


@dataclass
class Loaded:
    """What the rules took, by switch."""
    seconds: dict[str, float] = field(default_factory=dict)
    bytes_a_rule: dict[str, float] = field(default_factory=dict)


def flow_sender(directory: Path) -> Path:
    program = directory / "flow_sender"
    if not program.exists():
        subprocess.run(["cc", "-O2", "-o", program, ROOT / "benchmarks" / "flow_sender.c"], check=True)
    return program


def load_access_list(row: Row, switches: list[Switch], directory: Path) -> tuple[list[str], Loaded]:
    n_rules, n_masks, n_flows = row.access_list
    access = AccessList(n_rules, n_masks) if n_masks > 1 else AccessList.exact(n_rules)
    capture, messages, loaded = directory / f"{row.key}.pcap", directory / "flow_mods", Loaded()
    write_pcap(capture, access.frames(n_flows))
    with open(messages, "wb") as file:
        file.writelines(access.flow_mods(2))
    for switch in switches:
        switch.resume()
        switch.keep_flows(True)
        before = switch.memory()
        loaded.seconds[switch.name] = switch.flow_mods(flow_sender(directory), messages)
        if len(access.rules) > 4 * switch.most_rules:       # else they lie where earlier ones were
            loaded.bytes_a_rule[switch.name] = (switch.memory() - before) / len(access.rules)
        switch.most_rules = max(switch.most_rules, len(access.rules))
        switch.pause()
    messages.unlink()
    return [f"0:pcap={capture}"], loaded


def prepare(row: Row, switches: list[Switch], directory: Path) -> tuple[list[str], Loaded]:
    """The row's rules into the switches; the guests' streams."""
    if row.access_list:
        return load_access_list(row, switches, directory)
    for switch in switches:
        switch.resume()
        switch.keep_flows(False)
        switch.flows(row.flows)
        switch.pause()
    return tunnel_streams(row, directory) if row.tunnel else [row.send], Loaded()


def value(row: Row, sample: dict) -> float:
    if row.unit == "µs":
        return sample["latency"].get("p50_ns", 0) / 1000
    return sample["decided" if row.unit.startswith("flows/s") else "gbits" if row.unit.startswith("Gbit/s") else "cycles"]


def more_is_better(row: Row) -> bool:
    return not row.unit.startswith(("cycles", "µs"))


def one_sample(row: Row, guests: Guests, seconds: float) -> dict:
    guests.resume()
    if row.access_list:
        guests.settle(True, SETTLE_AGAIN)
    sample = guests.sample(seconds)
    guests.pause()
    return sample


def cached_samples(row: Row, guests: Guests, samples: int, seconds: float) -> list[dict]:
    """Of Open vSwitch with its signature cache. It decides on everything anew when it is told of that, so this is not by turns."""
    guests.resume()
    guests.switch.signature_cache(True)
    guests.settle(True)
    taken = [guests.sample(seconds) for _ in range(samples)]
    guests.switch.signature_cache(False)
    guests.settle(True)
    guests.pause()
    return taken


def run_row(row: Row, switches: list[Switch], directory: Path, samples: int, seconds: float) -> dict[str, dict]:
    """By switch: samples, and what the guests saw. Open vSwitch is measured with its signature cache too where rules are many."""
    streams, loaded = prepare(row, switches, directory)
    results: dict[str, dict] = {}
    guests: list[tuple[str, Guests]] = []
    try:
        for switch in switches:
            switch.resume()
            guests.append((switch.name, Guests(switch, row, streams)))
            time.sleep(WARM_UP)
            results[switch.name] = {"samples": []}
            results[switch.name]["undecided"] = guests[-1][1].settle(not row.unit.startswith("flows/s"))
            guests[-1][1].pause()
            if loaded.seconds:
                results[switch.name].update(load_seconds=loaded.seconds[switch.name], bytes_a_rule=loaded.bytes_a_rule.get(switch.name))
        for _ in range(samples):
            for name, each in guests:
                results[name]["samples"].append(one_sample(row, each, seconds))
        if row.access_list and len(guests) > 1:
            results["with its signature cache"] = {"samples": cached_samples(row, guests[1][1], samples, seconds)}
    finally:
        for name, each in guests:
            each.switch.resume()
            seen = each.stop()
            results[name].update(stall_ms=sum(sample["stall_ms"] for sample in results[name]["samples"]), hz=seen["tsc_hz"])
            each.switch.pause()
    return results


def figure(row: Row, result: dict) -> float:
    values = sorted(value(row, sample) for sample in result["samples"])
    quarter = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return quarter[2] if more_is_better(row) else quarter[0]


def told(row: Row, result: dict) -> str:
    """The figure, and in brackets the median and the other quartile of the samples."""
    values = sorted(value(row, sample) for sample in result["samples"])
    quarter = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    digits = 2 if row.unit == "µs" else 0
    return f"{figure(row, result):,.{digits}f} ({quarter[1]:,.{digits}f}, {quarter[0 if more_is_better(row) else 2]:,.{digits}f})"


@dataclass
class Verdict:
    row: Row
    ours: float
    theirs: float | None
    cached: float | None = None     # Open vSwitch with its signature cache
    peer_ratio: float | None = None # Open vSwitch's figure over its own in row.than
    loads: str = ""

    def ratio(self) -> float | None:
        return self.ours / self.theirs if self.theirs else None

    def text(self) -> str:
        if self.row.unit.startswith("flows/s"):
            reached = self.ours / self.row.share
            beside = f", {self.ratio():.0f} times the other's" if self.theirs else ""
            return ("reached" if reached >= 1 else f"short by {100 * (1 - reached):.0f} %") + f" ({self.ours:,.0f} a second{beside})"
        if self.ratio() is None:
            return "no peer" if not self.row.than else f"needs the row {self.row.than} in the same run"
        if more_is_better(self.row):
            return "reached" if self.ratio() >= self.row.share else f"short by {100 * (1 - self.ratio() / self.row.share):.0f} %"
        text = "reached" if self.ratio() <= self.row.share else f"short by {100 * (self.ratio() / self.row.share - 1):.0f} %"
        if self.peer_ratio:
            text += f" ({self.ratio():.2f} times our own figure; the other's {self.peer_ratio:.2f} times its own)"
        if self.cached:
            text += f" ({self.ours / self.cached:.2f} of the other's with its signature cache)"
        return text + self.loads


def told_loads(results: dict[str, dict], names: list[str]) -> str:
    told = []
    for name in names:
        size = results[name]["bytes_a_rule"]
        told.append(f"{name} {results[name]['load_seconds']:.1f} s" + (f", {size:,.0f} bytes each" if size else ""))
    return "; rules loaded: " + ", ".join(told)


def judge(row: Row, results: dict[str, dict], names: list[str], before: dict[str, dict[str, float]]) -> Verdict:
    """`before`: each earlier row's figures by switch."""
    figures = {name: figure(row, results[name]) for name in names}
    than = before.get(row.than, {}) if row.than else {}
    cached = results.get("with its signature cache")
    verdict = Verdict(row, figures[names[0]], than.get(names[0]) if row.than else figures[names[1]] if len(names) > 1 else None,
                      figure(row, cached) if cached and not row.than else None)
    if than and len(names) > 1:
        verdict.peer_ratio = figures[names[1]] / than[names[1]]
    if row.long:
        verdict.loads = told_loads(results, names)
    before[row.key] = figures
    return verdict


PAIRS = {"plain": (Ours, OpenVswitch), "segments": (Ours, OpenVswitchSegments), "tunnel": (OursTunnel, OpenVswitchTunnel)}


def pair_of(row: Row) -> str:
    return "tunnel" if row.tunnel else "segments" if row.offloads else "plain"


def start(directory: Path, pair: str) -> list[Switch]:
    """Both switches, paused; ours alone where the other isn't installed."""
    ours, theirs = PAIRS[pair]
    switches: list[Switch] = []
    try:
        switches.append(ours(directory / f"ours-{pair}", 2))
        switches[0].pause()
        switches.append(theirs(directory / f"ovs-{pair}", 2))
        switches[1].pause()
    except MissingPeer as error:
        print(f"{error}\n", file=sys.stderr)
    except BaseException:
        for switch in switches:
            switch.stop()
        raise
    return switches


class Report:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.rows: dict[str, dict] = {}
        self.verdicts: list[Verdict] = []
        self.figures: dict[str, dict[str, float]] = {}     # by row and switch

    def say(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)

    def head(self, names: list[str]) -> None:
        if not self.lines:
            self.say(f"| work | {' | '.join(names)} | with its signature cache | ratio | to reach | Mpps | stalls seen, ms |")
            self.say("|---|" + "---|" * (len(names) + 5))

    def add(self, row: Row, results: dict[str, dict], names: list[str]) -> None:
        verdict = judge(row, results, names, self.figures)
        self.verdicts.append(verdict)
        cached = results.get("with its signature cache")
        mpps = " / ".join(f"{statistics.median(s['mpps'] for s in results[name]['samples']):.2f}" for name in names)
        stalls = " / ".join(f"{results[name]['stall_ms']:.0f}" for name in names)
        share = f"{row.share:,.0f}" if row.unit.startswith("flows/s") else f"{row.share:.2f}" + (f" of {row.than}" if row.than else "")
        ratio = verdict.ratio()
        self.say(f"| {row.title}, {row.unit} | {' | '.join(told(row, results[name]) for name in names)} | "
                 f"{told(row, cached) if cached else '-'} | {f'{ratio:.2f}' if ratio else '-'} | {share} | {mpps} | {stalls} |")
        self.rows[row.key] = {"title": row.title, "unit": row.unit, "share": row.share, "than": row.than, "ratio": ratio,
                              "verdict": verdict.text(), "results": results}

    def write(self, args: argparse.Namespace) -> None:
        self.say("")
        for verdict in self.verdicts:
            self.say(f"- {verdict.row.title}: {verdict.text()}")
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps({"rows": self.rows, "samples": args.samples, "seconds": args.seconds}, indent=1))
        args.out.with_suffix(".md").write_text("\n".join(self.lines) + "\n")
        plot.bars(args.out.with_suffix(".svg"), "Open vSwitch's figure is 1; the mark is what is to be reached",
                  [(v.row.title, v.ratio(), v.row.share) for v in self.verdicts if v.ratio() and not more_is_better(v.row)])


def main() -> int:
    args = arguments()
    wanted = args.rows.split(",")
    wanted += [row.than for row in ROWS if row.key in wanted and row.than]
    if unknown := set(wanted) - {row.key for row in ROWS}:
        print(f"no row {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    take_precedence()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))      # the switches end with this program
    directory = Path(tempfile.mkdtemp(prefix="vm-ports-"))
    report = Report()
    try:
        for pair in PAIRS:
            rows = [row for row in ROWS if row.key in wanted and pair_of(row) == pair]
            switches = start(directory, pair) if rows else []
            names = [switch.name for switch in switches]
            try:
                for row in rows:
                    report.head(names)
                    report.add(row, run_row(row, switches, directory, args.samples, args.seconds), names)
            finally:
                for switch in switches:
                    switch.stop()
    finally:
        clean(directory)
    report.write(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
