"""TCP that comes through a VXLAN tunnel into a container: from a host with the Linux kernel's vxlan device, over an uplink by AF_XDP or
AF_PACKET. Gbit/s, what the switch's workers spend a KiB of it, and how many segments went in as one. Needs root.

With --beside FILE, a vswitch-datapath of another build, both by turns: what a change is worth. All ends share the machine's cores with
the switch.
"""
from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "demo"))

from hosts import Lab, Switch, ping, tcp_server, tcp_throughput, wait_for  # noqa: E402

CONFIG = """
vtep: {{local4: 192.0.2.1, uplink: under/wire}}
tenants:
  infra:
    bridges:
      under:
        ports:
          wire: {{kind: netdev, mtu: 1600, xdp_mode: {mode}}}
  red:
    bridges:
      br:
        ports:
          c0: {{kind: tap, port_no: 1}}
          vx: {{kind: vxlan, port_no: 2, vni: 1001, remotes: [192.0.2.2]}}
"""
WAYS = {"AF_XDP": "best-effort", "AF_PACKET": "off"}
AS_ON_A_WIRE = "tso off gso off tx off".split()      # segments that are cut and summed


class Site:
    def __init__(self, directory: Path, mode: str):
        self.lab = Lab(f"vstt{os.getpid()}-", directory)
        try:
            self._build(directory, mode)
        except BaseException:
            self.lab.close()
            raise

    def _build(self, directory: Path, mode: str) -> None:
        ours, far, self.container = (self.lab.namespace(name) for name in ("ours", "far", "container"))
        for namespace in (ours, far, self.container):
            namespace.without_ipv6()
        self.lab.link(ours, "wire", far, "eth0", 1600)
        far.run("ethtool", "-K", "eth0", *AS_ON_A_WIRE)
        self.switch = Switch(ours, "switch")
        config = directory / "config.yaml"
        config.write_text(CONFIG.format(mode=mode))
        self.switch.apply(config)
        far.ip("address", "add", "192.0.2.2/24", "dev", "eth0")
        far.ip("link", "add", "vx", "mtu", 1500, "type", "vxlan", "id", 1001, "dstport", 4789, "local", "192.0.2.2", "remote", "192.0.2.1",
               "dev", "eth0")
        far.ip("address", "add", "10.0.0.2/24", "dev", "vx")
        far.ip("link", "set", "vx", "up")
        self.container.adopt(ours, "c0", "10.0.0.1/24")
        self.far = far
        wait_for("the first echo", lambda: ping(far, "10.0.0.1", count=1, wait=0.5))
        tcp_server(self.container, "iperf3")

    def spent(self) -> int:
        usage = self.switch.client.call("StatsService.GetUsage")
        return sum(sum(account.cycles.values()) for worker in usage.workers for account in worker.accounts)

    def measure(self, seconds: float) -> dict[str, float]:
        before, spent = self.switch.counters("br", "vx"), self.spent()
        rate, received = tcp_throughput(self.far, "10.0.0.1", seconds, "-C", "cubic")
        after, cycles = self.switch.counters("br", "vx"), self.spent() - spent
        packets, merged = (after.get(name, 0) - before.get(name, 0) for name in ("rx_packets", "rx_merged"))
        return {"gbits": rate, "cycles": cycles / (received / 1024), "as one": 1 + merged / packets}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--ways", default=",".join(WAYS), help="(default %(default)s)")
    parser.add_argument("--beside", type=Path, help="another build's vswitch-datapath")
    arguments = parser.parse_args()
    builds = {"this": os.environ.get("VSWITCH_DATAPATH", "")} | ({"beside": str(arguments.beside.resolve())} if arguments.beside else {})
    results: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="vswitch-tunnel-") as directory:
        for number in range(arguments.rounds):
            for way in arguments.ways.split(","):
                for build, program in builds.items():
                    os.environ.pop("VSWITCH_DATAPATH", None)
                    if program:
                        os.environ["VSWITCH_DATAPATH"] = program
                    place = Path(directory) / f"{number}-{way}-{build}"
                    place.mkdir()
                    site = Site(place, WAYS[way])
                    try:
                        results.setdefault((way, build), []).append(site.measure(arguments.seconds))
                    finally:
                        site.lab.close()
    print("| uplink | build | Gbit/s | spread | cycles a KiB | segments as one |\n|---|---|---|---|---|---|")
    for (way, build), found in results.items():
        rates = [one["gbits"] for one in found]
        cycles, as_one = (statistics.median(one[key] for one in found) for key in ("cycles", "as one"))
        print(f"| {way} | {build} | {statistics.median(rates):.3g} | {min(rates):.3g}–{max(rates):.3g} | {cycles:.0f} | {as_one:.1f} |")


if __name__ == "__main__":
    main()
