"""Mixed load for as long as one likes, while ports, queues, guests and rules come and go. Says whether memory stays flat and whether
every packet is accounted for: received from a port, then sent by another or counted under a drop reason. Needs root; VSWITCH_DATAPATH
names the datapath to run, one under the sanitizers say.

Two tenants on two workers. The ledger's ports stay; its traffic comes in phases, each with other guests and other streams, and when a
phase is over the books must balance to the packet. Rules that change and come between make some of its packets dropped or rerouted.
The storm's ports, guests and rules come and go at random, under traffic."""
from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "demo"))

from hosts import Failure, Lab, Switch, tcp_server  # noqa: E402

GUEST = ROOT / "build" / "release" / "datapath_c" / "bench" / "vswitch-guest"
CONFIG = """
balance: {interval: 5, load: 50, improvement: 10}
tenants:
  ledger:
    weight: 200
    bridges:
      books:
        fail_mode: secure
        ports:
          c1: {kind: tap, port_no: 1, queues: 2}
          c2: {kind: tap, port_no: 2}
          v3: {kind: vhost-user, port_no: 3, socket: DIR/v3}
          v4: {kind: vhost-user, port_no: 4, socket: DIR/v4}
          v5: {kind: vhost-user, port_no: 5, socket: DIR/v5, queues: 2}
          v6: {kind: vhost-user, port_no: 6, socket: DIR/v6, queues: 2}
  storm:
    bridges:
      sea: {fail_mode: secure}
"""
PAIRS = {1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5}
RING = 256                         # of vswitch-guest
PHASE = 12.0                       # seconds of traffic
POOL = 128 << 10                   # KiB from which on a mapping is a worker's pool of packet buffers


class Trouble(Exception):
    """What this looks for."""


def guests(ports: list[str], sends: list[str]) -> subprocess.Popen:
    words = [word for port in ports for word in ("--port", port)] + [word for send in sends for word in ("--send", send)]
    return subprocess.Popen([GUEST, *words, "--seconds", "36000", "--warm-up", "0", "--wait", "20", "--go"], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def go(process: subprocess.Popen) -> bool:
    """Starts the guests when they are set up; False when they did not get that far."""
    if process.stderr.readline() != "ready\n":
        process.kill()
        process.communicate()
        return False
    process.stdin.write("go\n")
    process.stdin.flush()
    return True


class Ledger:
    def __init__(self, switch: Switch, directory: Path, one, two, r: random.Random):
        self.switch, self.directory, self.one, self.two, self.random = switch, directory, one, two, r
        self.packets = self.phases = 0
        self.drops: collections.Counter[str] = collections.Counter()
        for a, b in PAIRS.items():
            switch.cli("flow", "add", "books", f"priority=10,in_port={a},actions=output:{b}")

    def counters(self) -> dict[int, dict[str, int]]:
        listed = self.switch.client.call("StatsService.ListPortCounters", bridge="books").ports
        return {port.port_no: dict(port.counters) for port in listed}

    def dropped(self) -> collections.Counter[str]:
        drops: collections.Counter[str] = collections.Counter()
        for worker in self.switch.client.call("StatsService.GetUsage").workers:
            for account in worker.accounts:
                if account.tenant == "ledger":
                    drops.update(dict(account.drops))
        return drops

    def settled(self) -> tuple[dict[int, dict[str, int]], collections.Counter[str]]:
        """Counters when nothing is on its way any more."""
        last, deadline = None, time.monotonic() + 20
        while True:
            now = self.counters(), self.dropped()
            if now == last:
                return now
            if time.monotonic() > deadline:
                raise Trouble("packets arrive though nobody sends")
            last = now
            time.sleep(0.3)

    def streams(self) -> list[str]:
        r, out = self.random, []
        for port, queues in ((0, 1), (1, 1), (2, 2), (3, 2)):
            for queue in range(queues):
                kind = r.choice(("rate", "rate", "flood", "none"))
                if kind != "none":
                    rate = 0 if kind == "flood" else r.choice((1000, 20000, 100000))
                    out.append(f"{port}:len={r.choice((60, 256, 600, 1514))},flows={r.choice((1, 100, 5000))},rate={rate},queue={queue},"
                               f"burst={r.choice((1, 8, 32))}")
        return out or ["0:len=60,rate=1000"]

    def change_rules(self, end: float, stop: threading.Event) -> None:
        """Rules between the packets and where they would go, again and again."""
        rules, r = self.directory / "rules", random.Random(self.random.random())
        while time.monotonic() < end and not stop.is_set():
            rules.write_text("".join(f"priority={r.randrange(11, 100)},udp,in_port={r.randrange(3, 7)},tp_src={1000 + r.randrange(0, 200)},"
                                     f"actions={r.choice(('drop', 'output:3', 'output:4', 'output:6'))}\n" for _ in range(100)))
            self.switch.cli("flow", "add", "books", "-f", rules)
            self.switch.cli("tenant", "set", "ledger", "--weight", r.choice((50, 200, 1000)))
            self.switch.cli("flow", "del", "books", "udp")

    def phase(self, seconds: float) -> None:
        before, dropped_before = self.settled()
        keys = [self.random.choice(("", ",packed", ",event-idx", ",mergeable", ",packed,mergeable", ",in-order")) for _ in range(4)]
        streams = self.streams()
        process = guests([f"{self.directory}/v{n}{key}{',pairs=2' if n > 4 else ''}" for n, key in zip((3, 4, 5, 6), keys)], streams)
        if not go(process):
            raise Trouble(f"the guests are not served: {keys}")
        # Begins where the guests are connected, and their ports' rings are not torn down under the count.
        stop, end = threading.Event(), time.monotonic() + seconds
        changes = threading.Thread(target=self.change_rules, args=(end, stop))
        changes.start()
        stream = subprocess.Popen(["ip", "netns", "exec", self.one.name, "iperf3", "-c", "10.0.0.2", "-t", str(max(1, int(seconds - 1))),
                                   "-b", self.random.choice(("50M", "500M")), *self.random.choice(((), ("-R",)))],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(max(0, end - time.monotonic()))
        stop.set()
        changes.join()
        process.terminate()
        text, errors = process.communicate(timeout=30)
        stream.wait(30)
        if process.returncode:
            raise Trouble(f"the guests ended with {process.returncode}: {errors}")
        self.balance(json.loads(text), before, dropped_before, f"guests {keys}, streams {streams}")

    def balance(self, seen: dict, before, dropped_before, what: str) -> None:
        after, dropped = self.settled()
        rx, tx = (sum(after[p][key] - before[p][key] for p in after) for key in ("rx_packets", "tx_packets"))
        drops = dropped - dropped_before
        missing = rx - tx - sum(drops.values())
        if missing:
            ports = {p: {k: v - before[p][k] for k, v in after[p].items() if v != before[p][k]} for p in after}
            raise Trouble(f"{missing} of {rx} packets are neither sent nor counted as dropped: {dict(drops)}\n{ports}\n{what}")
        for i, number in enumerate((3, 4, 5, 6)):
            rings = RING * (2 if number > 4 else 1)
            sent = sum(s["sent"] for s in seen["streams"] if s["port"] == i)
            pairs = (("sent", sent, after[number]["rx_packets"] + after[number]["rx_errors"] - before[number]["rx_packets"] - before[number]["rx_errors"]),
                     ("received", after[number]["tx_packets"] - before[number]["tx_packets"], seen["ports"][i]["received"]))
            for verb, more, less in pairs:
                # What the end of the guests left in their rings.
                if not 0 <= more - less <= rings:
                    raise Trouble(f"guest of port {number}: {verb}: {more} on the one side, {less} on the other\n{what}")
        self.packets += rx
        self.phases += 1
        self.drops += drops


class Storm:
    def __init__(self, switch: Switch, directory: Path, r: random.Random):
        self.switch, self.directory, self.random = switch, directory, r
        self.ports: dict[int, tuple[str, int]] = {}    # kind, pairs of queues
        self.running: list[subprocess.Popen] = []
        self.changes: collections.Counter[str] = collections.Counter()

    def add_port(self) -> None:
        number = self.random.choice([n for n in range(1, 9) if n not in self.ports] or [0])
        if number:
            kind, queues = self.random.choice(("vhost-user", "vhost-user", "tap", "dummy")), self.random.choice((1, 2, 4))
            words = {"vhost-user": ("--socket", self.directory / f"s{number}", "--queues", queues), "tap": ("--ifname", f"st{number}",
                     "--queues", queues)}.get(kind, ())
            self.switch.cli("port", "add", "sea", f"s{number}", "--kind", kind, "--number", number, *words)
            self.ports[number] = kind, queues

    def delete_port(self) -> None:
        if self.ports:
            number = self.random.choice(list(self.ports))
            del self.ports[number]
            self.switch.cli("port", "del", "sea", f"s{number}")

    def start_guests(self) -> None:
        free = [n for n, (kind, _) in self.ports.items() if kind == "vhost-user"]
        if len(free) > 1 and len(self.running) < 2:
            chosen = self.random.sample(free, 2)
            process = guests([f"{self.directory}/s{n}{self.random.choice(('', ',packed', ',mergeable'))},pairs="
                              f"{self.random.randint(1, self.ports[n][1])}" for n in chosen],
                             [f"{i}:len={self.random.choice((60, 1514))},flows=100,rate={self.random.choice((0, 20000))}" for i in range(2)])
            if go(process):        # else: another guest came to the same port
                self.running.append(process)

    def end_guests(self) -> None:
        if self.running:
            process = self.running.pop(self.random.randrange(len(self.running)))
            (process.kill if self.random.random() < 0.5 else process.terminate)()
            process.communicate()

    def change_rules(self) -> None:
        rules = self.directory / "sea"
        rules.write_text("".join(f"priority={self.random.randrange(1, 50)},in_port={self.random.randrange(1, 9)},"
                                 f"actions={self.random.choice(('normal', 'flood', 'all', 'output:' + str(self.random.randrange(1, 9))))}\n"
                                 for _ in range(60)))
        self.switch.cli("flow", "add", "sea", "-f", rules)
        if self.random.random() < 0.5:
            self.switch.cli("flow", "del", "sea", f"in_port={self.random.randrange(1, 9)}")

    def change_tenant(self) -> None:
        self.switch.cli("tenant", "set", "storm", "--weight", self.random.choice((1, 100, 500)), "--cpu-max", self.random.choice((0, 0.2, 0.5)))

    def come_and_go(self) -> None:
        """A tenant with a bridge, two ports and a patch into nowhere; all of it goes again."""
        self.switch.cli("tenant", "add", "guest")
        self.switch.cli("bridge", "add", "g", "--tenant", "guest")
        for n in (1, 2):
            self.switch.cli("port", "add", "g", f"g{n}", "--kind", "vhost-user", "--socket", self.directory / f"g{n}")
        self.switch.cli("flow", "add", "g", "actions=normal")
        process = guests([f"{self.directory}/g1", f"{self.directory}/g2,packed"], ["0:len=60,rate=50000", "1:len=1514,rate=5000"])
        try:
            if not go(process):
                raise Trouble("the guests of a fresh tenant are not served")
            time.sleep(0.5)
            self.switch.cli("bridge", "del", "g")
            self.switch.cli("tenant", "del", "guest")
        finally:
            process.kill()
            process.communicate()

    def step(self) -> None:
        kinds = (self.add_port, self.add_port, self.delete_port, self.start_guests, self.start_guests, self.end_guests, self.change_rules,
                 self.change_tenant, self.come_and_go)
        change = self.random.choice(kinds)
        change()
        self.changes[change.__name__.replace("_", " ")] += 1

    def close(self) -> None:
        while self.running:
            self.end_guests()


class Memory:
    """Of a process, over time, in MiB: the pools of packet buffers, and all else that is its own. What guests share is theirs.

    A buffer holds a whole 64 KiB segment, and its pages come into use as frames first reach them: so the pools grow by the deepest
    queues and the longest frames so far, up to what they were made for, and stay. A leak grows everywhere else, and for ever."""

    def __init__(self, name: str, pid: int, slack: float, share: float):
        self.name, self.pid, self.slack, self.share = name, pid, slack, share
        self.buffers: list[float] = []
        self.rest: list[float] = []
        self.bound = 0.0

    def sample(self) -> None:
        buffers = rest = self.bound = size = 0
        for line in Path(f"/proc/{self.pid}/smaps").read_text().splitlines():
            if line.startswith("Size:"):
                size = int(line.split()[1])
                self.bound += size / 1024 if size >= POOL else 0
            elif line.startswith("Anonymous:"):
                if size >= POOL:
                    buffers += int(line.split()[1])
                else:
                    rest += int(line.split()[1])
        self.buffers.append(buffers / 1024)
        self.rest.append(rest / 1024)

    def __str__(self) -> str:
        return f"{self.name} {self.rest[-1]:.1f} MiB and {self.buffers[-1]:.1f} of buffers"

    def judge(self) -> tuple[str, bool]:
        """The second half: what it grows by in each moment, as a rule, is the median of the slopes between any two samples (Theil and
        Sen). A leak has them all; a cache that once becomes larger, and stays so, has few."""
        half = self.rest[len(self.rest) // 2:]
        slopes = [(half[j] - half[i]) / (j - i) for i in range(len(half)) for j in range(i + 1, len(half))]
        growth = statistics.median(slopes or [0]) * max(1, len(half) - 1)
        flat = growth <= self.slack + self.share * half[0]
        text = f"{self.name}: {self.rest[0]:.1f} MiB first, {half[0]:.1f} in the middle, {half[-1]:.1f} last; grows by {growth:.2f} in that half"
        if self.bound:
            text += f"; buffers {self.buffers[0]:.1f}, {self.buffers[len(self.buffers) // 2]:.1f}, {self.buffers[-1]:.1f} of {self.bound:.0f}"
        return text + ("" if flat else ": it grows"), flat


def soak(lab: Lab, directory: Path, minutes: float, seed: int) -> list[str]:
    """Runs it all and prints the summary; returns what was wrong."""
    r = random.Random(seed)
    host = lab.namespace("host")
    host.without_ipv6()
    (directory / "config.yaml").write_text(CONFIG.replace("DIR", str(directory)))
    switch = Switch(host, "switch", "--workers", "2")
    switch.patience = 120              # how long a command takes is not what this looks for
    switch.apply(directory / "config.yaml")
    one, two = lab.namespace("one"), lab.namespace("two")
    for namespace, device, address in ((one, "c1", "10.0.0.1/24"), (two, "c2", "10.0.0.2/24")):
        namespace.without_ipv6()
        namespace.adopt(host, device, address)
    pid = switch.client.call("SwitchService.GetInfo").pid
    ledger, storm = Ledger(switch, directory, one, two, random.Random(r.random())), Storm(switch, directory, random.Random(r.random()))
    tcp_server(two, "iperf3")
    # The sanitizers keep what was freed for a while.
    sanitized = bool(os.environ.get("VSWITCH_DATAPATH"))
    memories = [Memory("datapath", pid, 32 if sanitized else 1, 0.02), Memory("vswitchd", switch.process.pid, 2, 0.02)]
    wrong: list[str] = []
    stop = threading.Event()

    def rage() -> None:
        while not stop.is_set():
            try:
                storm.step()
            except (Failure, Trouble) as error:
                wrong.append(f"storm: {error}")
                return
    thread = threading.Thread(target=rage)
    end = time.monotonic() + 60 * minutes
    thread.start()
    try:
        while time.monotonic() < end and not wrong:
            ledger.phase(min(PHASE, max(3.0, end - time.monotonic())))
            for memory in memories:
                memory.sample()
            print(f"{ledger.phases} phases, {ledger.packets} packets, {sum(storm.changes.values())} changes, "
                  f"{', '.join(map(str, memories))}", flush=True)
    except (Failure, Trouble) as error:
        wrong.append(f"ledger: {error}")
    finally:
        stop.set()
        thread.join()
        storm.close()
    now, moves = None, 0
    with contextlib.suppress(Exception):
        moves = switch.client.call("SwitchService.GetBalance").moves
        now = switch.client.call("SwitchService.GetInfo").pid
    if now != pid:
        wrong.append("the datapath has ended")
    if memories[0].rest:
        for text, flat in (memory.judge() for memory in memories):
            print(text)
            if not flat:
                wrong.append(text)
    print(f"{ledger.phases} phases, {ledger.packets} packets, dropped: {dict(ledger.drops)}")
    print(f"changes: {dict(storm.changes)}, queues moved to another worker {moves} times")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="of what happens in which order; by default another each time")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else int(time.time())
    print(f"seed {seed}")
    directory = Path(tempfile.mkdtemp(prefix="vswitch-soak-"))
    lab = Lab(f"vssoak{os.getpid()}-", directory)
    try:
        wrong = soak(lab, directory, arguments.minutes, seed)
    finally:
        lab.close()
    # After the end: leaks are reported there.
    log = (directory / "switch.log").read_text(errors="replace")
    wrong += re.findall(r"^.*(?:ERROR: \w+Sanitizer|runtime error).*$", log, re.MULTILINE)[:5]
    for line in wrong:
        print(f"WRONG: {line}")
    print(f"{'failed, see ' + str(directory) if wrong else 'all is well'}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
