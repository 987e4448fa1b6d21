"""How fast rules go in and out: this switch and Open vSwitch (userspace datapath), the same senders, one after the other in
rounds. Needs root; make bench-programming.

Rows: ovs-ofctl add-flows (a barrier behind each rule), the same as one bundle, a sender at native speed, plain and as one bundle,
dump-flows, the same to a reader at native speed, del-flows, memory per rule; then, with a hundred bridges of different tenants, a
sender at native speed to all.
"""
from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "demo"))

from hosts import Failure, Lab, Switch, wait_for  # noqa: E402

HERE = Path(__file__).resolve().parent
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
BRIDGES = 100


def rules_file(path: Path, n: int) -> Path:
    path.write_text("".join(
        f"priority=100,in_port=1,tcp,nw_dst=10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255},tp_dst=80,"
        "actions=set_field:02:00:00:00:00:01->eth_dst,output:2\n" for i in range(n)))
    return path


class Peer:
    """A switch under test: management sockets of its bridges br0 ... brN, and the process that holds its rules."""
    name = ""

    def socket(self, bridge: int) -> str:
        raise NotImplementedError

    def ofctl(self, *words: object, timeout: float = 120) -> str:
        command = [self.bin_ofctl(), "-O", "OpenFlow13", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise Failure(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    @staticmethod
    def bin_ofctl() -> str:
        return "ovs-ofctl"

    def rss(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


    def set_bridges(self, n: int) -> None:
        """br0 to br<n-1>, each its own tenant's where there are tenants."""
        self._set_bridges(n)
        wait_for("management sockets", lambda: Path(self.socket(n - 1)).exists(), 60)


class Ours(Peer):
    name = "this switch"

    def __init__(self, lab: Lab):
        self.config = lab.directory / "ours.yaml"
        self.switch = Switch(lab.namespace("ours"), "ours")
        self.directory = lab.directory / "ours" / "run"
        self.set_bridges(1)
        self.pid = self.switch.client.call("SwitchService.GetInfo").pid

    def _set_bridges(self, n: int) -> None:
        lines = ["tenants:"]
        for i in range(n):
            lines += [f"  t{i}:", "    bridges:", f"      br{i}: {{fail_mode: secure}}"]
        self.config.write_text("\n".join(lines) + "\n")
        self.switch.apply(self.config)

    def socket(self, bridge: int) -> str:
        return f"{self.directory}/br{bridge}.mgmt"


class OpenVswitch(Peer):
    name = "Open vSwitch"

    def __init__(self, lab: Lab):
        self.host = host = lab.namespace("ovs")
        self.directory = directory = lab.directory / "ovs"
        directory.mkdir()
        subprocess.run(["ovsdb-tool", "create", directory / "conf.db", SCHEMA], check=True)
        database = f"unix:{directory}/db.sock"
        environment = os.environ | {"OVS_RUNDIR": str(directory)}
        host.start("ovsdb-server", "ovsdb-server", directory / "conf.db", f"--remote=p{database}",
                   f"--unixctl={directory}/ovsdb.ctl", env=environment)
        wait_for("ovsdb-server", (directory / "db.sock").exists)
        self.vsctl = ("ovs-vsctl", f"--db={database}", "--timeout=60")
        host.run(*self.vsctl, "--no-wait", "init")
        self.process = host.start("ovs-vswitchd", "ovs-vswitchd", database, f"--unixctl={directory}/vswitchd.ctl",
                                  env=environment)
        self.pid = self.process.pid
        self.set_bridges(1)

    def _set_bridges(self, n: int) -> None:
        words: list[str] = []
        for i in range(n):
            words += ["--", "--may-exist", "add-br", f"br{i}", "--", "set", "bridge", f"br{i}", "datapath_type=netdev",
                      "fail_mode=secure"]
        self.host.run(*self.vsctl, *words, timeout=120)

    def socket(self, bridge: int) -> str:
        return f"{self.directory}/br{bridge}.mgmt"


def timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def send(sender: Path, peer: Peer, n: int, bridges: int, *how: str) -> float:
    done = subprocess.run([sender, *how, str(n), "0", *(peer.socket(i) for i in range(bridges))], capture_output=True, text=True,
                          timeout=300)
    if done.returncode:
        raise Failure(f"flow_sender: {done.stderr}")
    seconds, errors = done.stdout.split()
    if errors != "0":
        raise Failure(f"{peer.name} refused {errors} of {n} rules")
    return float(seconds)


def dumped(sender: Path, peer: Peer, n: int) -> float:
    done = subprocess.run([sender, "dump", peer.socket(0)], capture_output=True, text=True, timeout=120)
    seconds, rules = done.stdout.split()
    if int(rules) != n:
        raise Failure(f"{peer.name} told of {rules} rules, not {n}")
    return float(seconds)


def count(peer: Peer, bridge: int) -> int:
    return int(re.search(r"flow_count=(\d+)", peer.ofctl("dump-aggregate", f"unix:{peer.socket(bridge)}")).group(1))


def check_count(peer: Peer, bridge: int, n: int) -> None:
    if (found := count(peer, bridge)) != n:
        raise Failure(f"{peer.name} has {found} rules, not {n}")


def clear(peer: Peer, bridges: int = 1) -> None:
    for i in range(bridges):
        peer.ofctl("del-flows", f"unix:{peer.socket(i)}")


def measure(peer: Peer, sender: Path, n: int, flows: Path, few: Path, figures: dict[str, list[float]]) -> None:
    target = f"unix:{peer.socket(0)}"
    add = figures.setdefault

    def note(row: str, value: float) -> None:
        add(row, []).append(value)

    clear(peer)
    some = n // 10
    note("add-flows, rules/s", some / timed(lambda: peer.ofctl("add-flows", target, few)))
    check_count(peer, 0, some)
    clear(peer)
    before, first = peer.rss(), "bundle, rules/s" not in figures
    note("bundle, rules/s", n / timed(lambda: peer.ofctl("--bundle", "add-flows", target, flows)))
    check_count(peer, 0, n)
    if first:                  # later the memory of rules that are gone is filled again
        note("memory, bytes/rule", (peer.rss() - before) / n)
    clear(peer)
    note("native sender, rules/s", n / send(sender, peer, n, 1))
    check_count(peer, 0, n)
    clear(peer)
    note("native sender, one bundle, rules/s", n / send(sender, peer, n, 1, "bundle"))
    check_count(peer, 0, n)
    note("dump to a native reader, rules/s", n / dumped(sender, peer, n))
    with open(os.devnull, "w") as null:
        command = [peer.bin_ofctl(), "-O", "OpenFlow13", "dump-flows", target]
        note("dump-flows, rules/s", n / timed(lambda: subprocess.run(command, stdout=null, check=True, timeout=120)))
    note("del-flows, rules/s", n / timed(lambda: peer.ofctl("del-flows", target)))


def measure_many(peer: Peer, sender: Path, n: int, figures: dict[str, list[float]]) -> None:
    each = n // BRIDGES
    figures.setdefault("native sender, 100 bridges, rules/s", []).append(each * BRIDGES / send(sender, peer, each, BRIDGES))
    check_count(peer, BRIDGES - 1, each)
    clear(peer, BRIDGES)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rules", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("ours", "ovs"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vswitch-programming-") as directory:
        sender = Path(directory) / "flow_sender"
        subprocess.run(["cc", "-O2", "-o", sender, HERE / "flow_sender.c"], check=True)
        flows = rules_file(Path(directory) / "flows", options.rules)
        few = rules_file(Path(directory) / "few", options.rules // 10)
        lab = Lab("vsprog-", Path(directory))
        lab.remove_leftovers()
        try:
            kinds = [kind for key, kind in (("ours", Ours), ("ovs", OpenVswitch)) if options.only in (None, key)]
            peers = [kind(lab) for kind in kinds]
            figures: dict[str, dict[str, list[float]]] = {peer.name: {} for peer in peers}
            for _ in range(options.repeats):
                for peer in peers:
                    measure(peer, sender, options.rules, flows, few, figures[peer.name])
            for peer in peers:
                peer.set_bridges(BRIDGES)
            for _ in range(options.repeats):
                for peer in peers:
                    measure_many(peer, sender, options.rules, figures[peer.name])
        finally:
            lab.close()
    rows = list(next(iter(figures.values())))
    print(f"{options.rules} rules of five fields, medians of {options.repeats} (least to most)")
    for row in rows:
        cells = []
        for name, values in figures.items():
            v = sorted(values[row])
            cells.append(f"{name} {statistics.median(v):,.0f} ({v[0]:,.0f} to {v[-1]:,.0f})")
        ratio = ""
        if len(figures) == 2:
            ours, theirs = (statistics.median(values[row]) for values in figures.values())
            ratio = f"; ratio {ours / theirs:.2f}"
        print(f"{row}: {', '.join(cells)}{ratio}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
