"""TCP throughput and round-trip times between two containers: our switch, Open vSwitch's userspace datapath (as shipped, and
with its segmentation offload switched on), the Linux bridge.

Throughput is told for two congestion controls. CUBIC, Linux's own, fills the way; BBR, which some
distributions set, keeps about as much under way as the shortest round trip that it saw has room for, so that a switch that is quicker
when there is nothing else to do may get less when there is.

All in one run, the repeats by turns, so that the machine's moods fall on all alike. Both ends share the cores
with the switch. Prints a Markdown table, writes every figure to out/containers.json.
"""
from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "demo")]      # not there under python -P

from container_networks import ADDRESSES, NETWORKS, Network  # noqa: E402
from hosts import Failure, Lab, output, ping, tcp_server, tcp_throughput, wait_for  # noqa: E402

PROBE_MS = 300
CONTROLS = ("cubic", "bbr")
COLUMNS = {     # heading -> how it comes from a system's figures
    "TCP Gbit/s, CUBIC": lambda f: statistics.median(f["gbits"]["cubic"]),
    "TCP Gbit/s, BBR": lambda f: statistics.median(f["gbits"]["bbr"]),
    "ping p50 µs": lambda f: percentile(f["ping_us"], 50),
    "ping p99 µs": lambda f: percentile(f["ping_us"], 99),
    "TCP round trip p50 µs": lambda f: percentile(f["round_trip_us"], 50),
    "TCP round trip p99 µs": lambda f: percentile(f["round_trip_us"], 99),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each TCP stream (default %(default)s)")
    parser.add_argument("--pings", type=int, default=300, help="a repeat, 10 ms apart (default %(default)s)")
    parser.add_argument("--round-trips", type=int, default=20000, help="a repeat (default %(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "containers.json")
    return parser.parse_args()


def percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class Machine:
    """Stalls of the machine's own, seen by a spinning thread for a moment before each measurement: beside it, the thread
    would take a core that the measurement needs."""

    def __init__(self, program: Path):
        self.program = program
        self.gaps_us: list[float] = []
        self.seconds = 0.0

    def probe(self) -> None:
        self.gaps_us += [int(line) / 1000 for line in output(self.program, "stalls", PROBE_MS).split()]
        self.seconds += PROBE_MS / 1000

    @staticmethod
    def stolen_ticks() -> int:
        return int(Path("/proc/stat").read_text().split()[8])

    def report(self) -> dict[str, float]:
        return {"gaps_over_100us_per_second": len(self.gaps_us) / self.seconds, "longest_us": max(self.gaps_us, default=0),
                "percent_of_time": sum(self.gaps_us) / self.seconds / 1e4}


def measure(network: Network, program: Path, machine: Machine, options: argparse.Namespace, figures: dict) -> None:
    client, address = network.containers[0], ADDRESSES[1]
    before = machine.stolen_ticks()
    machine.probe()
    for control in CONTROLS:
        figures["gbits"][control].append(tcp_throughput(client, address, options.seconds, "-C", control)[0])
        machine.probe()
    times = ping(client, address, options.pings, 0.01)
    machine.probe()
    trips = client.run(program, "client", address, options.round_trips, timeout=120).split()
    figures["ping_us"] += [time_ms * 1000 for time_ms in times]
    figures["pings_lost"] += options.pings - len(times)
    figures["round_trip_us"] += [int(trip) / 1000 for trip in trips]
    figures["stolen_ticks"].append(machine.stolen_ticks() - before)


def table(results: dict[str, dict]) -> str:
    values = {label: [column(figures) for column in COLUMNS.values()] for label, figures in results.items()}
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for label, row in values.items():
        lines.append(f"| {NETWORKS[label].name} | " + " | ".join(f"{value:.3g}" for value in row) + " |")
    for label, row in values.items():
        if label != "ours":
            ratios = (mine / other for mine, other in zip(values["ours"], row))
            lines.append(f"| ours : {NETWORKS[label].name} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    return "\n".join(lines)


def run(lab: Lab, options: argparse.Namespace) -> tuple[dict, Machine]:
    program = lab.directory / "round_trip"
    subprocess.run(["cc", "-O2", "-o", program, ROOT / "benchmarks" / "round_trip.c"], check=True)
    machine = Machine(program)
    networks = {}
    for label, kind in NETWORKS.items():
        network = networks[label] = kind(lab, label)
        server = network.containers[1]
        tcp_server(server, f"iperf3-{label}")
        server.start(f"round-trip-{label}", program, "server")
        wait_for(f"{network.name}: the first echo", lambda: ping(network.containers[0], ADDRESSES[1], 2, 0.1), 20)
    results = {label: {"gbits": {control: [] for control in CONTROLS}, "ping_us": [], "pings_lost": 0, "round_trip_us": [],
                       "stolen_ticks": []} for label in NETWORKS}
    for repeat in range(options.repeats):
        for label, network in networks.items():
            measure(network, program, machine, options, results[label])
            print(f"  {repeat + 1}/{options.repeats} {network.name}: "
                  + ", ".join(f"{rates[-1]:.2f} Gbit/s by {control}" for control, rates in results[label]["gbits"].items()),
                  file=sys.stderr, flush=True)
    return results, machine


def save(path: Path, results: dict, machine: Machine, options: argparse.Namespace) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    systems = {label: {"name": NETWORKS[label].name, **{key: figures[key] for key in ("gbits", "pings_lost", "stolen_ticks")},
                       **{heading: column(figures) for heading, column in COLUMNS.items()}}
               for label, figures in results.items()}
    path.write_text(json.dumps({
        "systems": systems, "stalls": machine.report(), "cores": os.cpu_count(), "kernel": platform.release(),
        "open_vswitch": output("ovs-vswitchd", "--version").splitlines()[0],
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "repeats": options.repeats, "seconds": options.seconds, "pings": options.pings,
        "round_trips": options.round_trips}, indent=2) + "\n")


def main() -> int:
    options = arguments()
    if os.geteuid():
        sys.exit("containers: needs root, for network namespaces and taps")
    with tempfile.TemporaryDirectory(prefix="vswitch-bench-") as directory:
        lab = Lab(f"vsbench{os.getpid()}-", Path(directory))
        try:
            results, machine = run(lab, options)
        except Failure as failure:
            print(f"containers: {failure}", file=sys.stderr)
            return 1
        finally:
            lab.close()
    save(options.out, results, machine, options)
    stalls = machine.report()
    lost = ", ".join(f"{figures['pings_lost']} {label}" for label, figures in results.items())
    stolen = ", ".join(f"{sum(figures['stolen_ticks'])} {label}" for label, figures in results.items())
    print(f"\n{table(results)}\n\nMedians and percentiles over {options.repeats} repeats by turns, {os.cpu_count()} cores; "
          f"lost pings: {lost}.\n"
          f"The machine stalled {stalls['gaps_over_100us_per_second']:.1f} times a second for more than 100 µs "
          f"(longest {stalls['longest_us']:.0f} µs, {stalls['percent_of_time']:.2f} % of the time); "
          f"stolen: {stolen} ticks.\n"
          f"All figures: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
