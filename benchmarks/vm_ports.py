"""Cycles per packet between virtual machines, beside Open vSwitch with DPDK: one worker each, the same guests (vswitch-guest), in
one run, the repeats by turns, so that the machine's moods fall on both alike.

Prints a Markdown table and one line a row (reached, or short by how much), writes every figure to out/vm_ports.json. What is to be
reached is a share of the other's figure; absolute cycles differ from machine to machine, and on a shared one from minute to minute.
"""
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks")]      # not there under python -P

from acl_rules import AccessList, write_pcap  # noqa: E402
from vm_switches import GUEST_CORE, MissingPeer, OpenVswitch, Ours, Switch, clean, take_precedence  # noqa: E402

GUEST = ROOT / "build" / "release" / "datapath_c" / "bench" / "vswitch-guest"
PORT_RULE = ["in_port=1,actions=output:2", "in_port=2,actions=output:1"]
ADDRESS_RULE = ["priority=10,in_port=1,ip,nw_dst=10.0.0.0/8,actions=output:2", "priority=1,in_port=2,actions=output:1"]


@dataclass
class Row:
    key: str
    title: str
    share: float                # of Open vSwitch's figure that is to be reached
    flows: list[str] = field(default_factory=lambda: PORT_RULE)
    send: str = "0:len=60"
    port: str = ""              # of the guests' devices
    unit: str = "cycles/packet"
    access_list: tuple[int, int, int] | None = None    # rules, masks, flows


ROWS = [
    Row("port-rule", "port rule, 60 bytes", 115 / 230),
    Row("port-rule-packed", "the same, packed rings", 115 / 230, port=",packed"),
    Row("flows-1000", "1,000 flows, port rule", 140 / 271, send="0:len=60,flows=1000"),
    Row("address-1000", "1,000 flows, rule on nw_dst", 140 / 271, ADDRESS_RULE, "0:len=60,flows=1000"),
    Row("flows-100000", "100,000 flows, one megaflow, port rule", 170 / 367, send="0:len=60,flows=100000"),
    Row("address-100000", "100,000 flows, one megaflow, rule on nw_dst", 170 / 367, ADDRESS_RULE, "0:len=60,flows=100000"),
    Row("acl-1000", "1,000 ACL rules, 10,000 flows", 250 / 572, access_list=(1000, 30, 10000)),
    Row("acl-10000", "10,000 ACL rules (53 masks), 10,000 flows", 300 / 2770, access_list=(10000, 53, 10000)),
    Row("frames-256", "256-byte frames, port rule", 0.5, send="0:len=256"),
    Row("frames-512", "512-byte frames, port rule", 0.5, send="0:len=512"),
    Row("frames-1514", "1,514-byte frames, port rule", 340 / 673, send="0:len=1514"),
    Row("latency", "one-way latency at 10 kpps, p50", 0.7 / 1.2, send="0:len=60,rate=10000,stamp", unit="µs"),
]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1, help="of each measurement (default %(default)s)")
    parser.add_argument("--rows", default=",".join(row.key for row in ROWS), help="which (default all)")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "vm_ports.json")
    return parser.parse_args()


def guest(switch: Switch, row: Row, send: str, seconds: float) -> dict:
    ports = [f"--port={path},listen{row.port}" for path in switch.sockets]
    # Not by preexec_fn: gRPC's threads don't outlive a fork.
    done = subprocess.run(["nice", "-n", "-20", str(GUEST), *ports, "--send", send, "--seconds", str(seconds), "--warm-up", "0.3",
                           "--wait", "30", "--cpu", str(GUEST_CORE)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"vswitch-guest ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def measure(switch: Switch, row: Row, send: str, seconds: float) -> dict:
    switch.begin()
    seen = guest(switch, row, send, seconds)
    busy = switch.end()
    latency = seen["streams"][0]["latency"]
    return {"value": latency.get("p50_ns", 0) / 1000 if row.unit == "µs" else busy.cycles, "mpps": seen["ports"][1]["mpps"],
            "cycles": busy.cycles, "stages": busy.stages, "latency": latency, "stalls": seen["stalls"], "stall_ms": seen["stall_ms"],
            "hz": seen["tsc_hz"]}


def prepare(row: Row, switches: list[Switch], directory: Path) -> str:
    """The row's rules into the switches; the guest's stream."""
    flows, send = row.flows, row.send
    if row.access_list:
        n_rules, n_masks, n_flows = row.access_list
        access = AccessList(n_rules, n_masks)
        flows = access.flow_lines("output:2")
        capture = directory / f"{row.key}.pcap"
        write_pcap(capture, access.frames(n_flows))
        send = f"0:pcap={capture}"
    for switch in switches:
        switch.resume()
        switch.flows(flows)
        switch.pause()
    return send


def run_row(row: Row, switches: list[Switch], directory: Path, repeats: int, seconds: float) -> dict[str, list[dict]]:
    send = prepare(row, switches, directory)
    results: dict[str, list[dict]] = {switch.name: [] for switch in switches}
    for switch in switches:     # caches, mappings and mempools are made outside of what is measured
        switch.resume()
        guest(switch, row, send, 1)
        switch.pause()
    for _ in range(repeats):
        for switch in switches:
            switch.resume()
            results[switch.name].append(measure(switch, row, send, seconds))
            switch.pause()
    return results


def spread(values: list[float]) -> str:
    low, high = (statistics.quantiles(values, n=4)[::2] if len(values) > 1 else values * 2)
    digits = 2 if max(values) < 10 else 0
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def verdict(row: Row, ratio: float | None) -> str:
    if ratio is None:
        return "no peer"
    return "reached" if ratio <= row.share else f"short by {100 * (ratio / row.share - 1):.0f} %"


def main() -> int:
    args = arguments()
    wanted = args.rows.split(",")
    if unknown := set(wanted) - {row.key for row in ROWS}:
        print(f"no row {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    take_precedence()
    directory = Path(tempfile.mkdtemp(prefix="vm-ports-"))
    switches: list[Switch] = []
    report, lines = {}, []
    try:
        switches.append(Ours(directory / "ours", 2))
        switches[0].pause()
        try:
            switches.append(OpenVswitch(directory / "ovs", 2))
            switches[1].pause()
        except MissingPeer as error:
            print(f"{error}\n", file=sys.stderr)
        print(f"| work | {' | '.join(switch.name for switch in switches)} | ratio | to reach | Mpps | stalls seen, ms |")
        print("|---|" + "---|" * (len(switches) + 4))
        for row in (row for row in ROWS if row.key in wanted):
            results = run_row(row, switches, directory, args.repeats, args.seconds)
            values = [[result["value"] for result in results[switch.name]] for switch in switches]
            ratio = statistics.median(a / b for a, b in zip(*values, strict=True)) if len(values) > 1 else None
            mpps = " / ".join(f"{statistics.median(r['mpps'] for r in results[s.name]):.2f}" for s in switches)
            stalls = " / ".join(f"{sum(r['stall_ms'] for r in results[s.name]):.0f}" for s in switches)
            print(f"| {row.title}, {row.unit} | {' | '.join(map(spread, values))} | {f'{ratio:.2f}' if ratio else '-'} | {row.share:.2f} | "
                  f"{mpps} | {stalls} |", flush=True)
            lines.append(f"{row.title}: {verdict(row, ratio)}")
            report[row.key] = {"title": row.title, "unit": row.unit, "share": row.share, "ratio": ratio, "results": results}
    finally:
        for switch in switches:
            switch.stop()
        clean(directory)
    print("\n" + "\n".join(lines))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"rows": report, "repeats": args.repeats, "seconds": args.seconds}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
