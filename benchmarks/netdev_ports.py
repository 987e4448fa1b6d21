"""Two containers on veths, joined by netdev ports: AF_XDP beside AF_PACKET, in turn. Prints medians, their spread, and ratios. Needs root.

One TCP stream; datagrams of 64 bytes as fast as they come; and echoes, one at a time. All ends share the machine's cores with the switch.
"""
from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "demo"))

from hosts import Lab, Switch, ping, tcp_server, tcp_throughput  # noqa: E402

CONFIG = """
tenants:
  red:
    bridges:
      br:
        ports:
          one: {kind: netdev, ifname: v1, port_no: 1, xdp_mode: MODE}
          two: {kind: netdev, ifname: v2, port_no: 2, xdp_mode: MODE}
"""
WAYS = {"AF_PACKET": "off", "AF_XDP": "best-effort"}
WORK = {"tcp": "Gbit/s, one TCP stream", "datagrams": "1,000 datagrams of 64 bytes a second", "echo": "µs, an echo's round trip, median"}


def measure(way: str, directory: Path, seconds: float) -> dict[str, float]:
    lab = Lab(f"vsnd{os.getpid()}-", directory)
    try:
        host = lab.namespace("host")
        ends = []
        for number in (1, 2):
            end = lab.namespace(f"end{number}")
            end.without_ipv6()
            lab.link(host, f"v{number}", end, "eth0")
            end.ip("address", "add", f"10.0.0.{number}/24", "dev", "eth0")
            ends.append(end)
        config = directory / "config.yaml"
        config.write_text(CONFIG.replace("MODE", WAYS[way]))
        switch = Switch(host, f"switch-{way}")
        switch.apply(config)
        tcp_server(ends[1], "iperf3")
        ping(ends[0], "10.0.0.2", count=3)
        found = {"tcp": tcp_throughput(ends[0], "10.0.0.2", seconds)[0]}
        report = json.loads(ends[0].run("iperf3", "-J", "-u", "-l", 64, "-b", 0, "-c", "10.0.0.2", "-t", seconds, timeout=seconds + 20))
        sum_ = report["end"]["sum"]
        found["datagrams"] = (sum_["packets"] - sum_["lost_packets"]) / sum_["seconds"] / 1000
        found["echo"] = 1000 * statistics.median(ping(ends[0], "10.0.0.2", count=200, interval=0.005))
        return found
    finally:
        lab.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    arguments = parser.parse_args()
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="vswitch-netdev-") as directory:
        for number in range(arguments.rounds):
            for way in WAYS:
                place = Path(directory) / f"{number}-{way}"
                place.mkdir()
                results[way].append(measure(way, place, arguments.seconds))
    for key, what in WORK.items():
        medians = {way: statistics.median(found[key] for found in results[way]) for way in WAYS}
        spread = {way: "–".join(f"{pick(found[key] for found in results[way]):.3g}" for pick in (min, max)) for way in WAYS}
        print(f"{what}: " + ", ".join(f"{way} {medians[way]:.3g} ({spread[way]})" for way in WAYS) +
              f", AF_XDP : AF_PACKET = {medians['AF_XDP'] / medians['AF_PACKET']:.2f}")


if __name__ == "__main__":
    main()
