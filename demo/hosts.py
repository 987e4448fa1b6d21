"""Hosts and containers as network namespaces, and switches that run in them; all of it goes away together."""
from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from vswitch.cli.client import Client
from vswitch.errors import UnavailableError

NETNS = Path("/run/netns")


class Failure(Exception):
    """A command or a wait that did not come out as it must."""


def output(*argv: object, timeout: float = 30) -> str:
    """What a command prints. Failure with its complaint when it fails or takes too long."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise Failure(f"{' '.join(words)}: no end within {timeout:g} s") from None
    if done.returncode:
        raise Failure(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()[-2000:]}")
    return done.stdout


def wait_for(what: str, condition, timeout: float = 10):
    """The first true value of condition()."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {timeout:g} s")
        time.sleep(0.02)
    return value


class Lab:
    """Namespaces whose names begin with the prefix, and the processes in them. Logs and sockets are in the directory."""

    def __init__(self, prefix: str, directory: Path):
        self.prefix = prefix
        self.directory = directory
        self.namespaces: list[Namespace] = []
        self.processes: list[subprocess.Popen] = []

    def remove_leftovers(self) -> None:
        """What an earlier run with this prefix left when it was killed."""
        for path in sorted(NETNS.glob(f"{self.prefix}*")):
            _remove_namespace(path.name)

    def namespace(self, name: str) -> Namespace:
        namespace = Namespace(self, self.prefix + name)
        self.namespaces.append(namespace)
        return namespace

    def link(self, one: Namespace, one_device: str, other: Namespace, other_device: str, mtu: int = 1500) -> None:
        """A veth between two namespaces."""
        output("ip", "-n", one.name, "link", "add", one_device, "mtu", mtu, "type", "veth",
               "peer", "name", other_device, "mtu", mtu, "netns", other.name)
        one.ip("link", "set", one_device, "up")
        other.ip("link", "set", other_device, "up")

    def close(self) -> None:
        """Ends what runs and removes the namespaces; the switches get the time to end cleanly."""
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for namespace in self.namespaces:
            _remove_namespace(namespace.name)
        self.processes, self.namespaces = [], []


def _remove_namespace(name: str) -> None:
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
    for pid in listed.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)


class Namespace:
    """`made`: it is there already, and goes with whoever made it."""

    def __init__(self, lab: Lab, name: str, *, made: bool = False):
        self.lab = lab
        self.name = name
        if not made:
            output("ip", "netns", "add", name)
            self.ip("link", "set", "lo", "up")

    def ip(self, *words: object) -> str:
        return output("ip", "-n", self.name, *words)

    def run(self, *argv: object, timeout: float = 30) -> str:
        return output("ip", "netns", "exec", self.name, *argv, timeout=timeout)

    def start(self, name: str, *argv: object, **options) -> subprocess.Popen:
        """A process that runs until the lab ends it; what it prints is in NAME.log of the lab's directory."""
        with open(self.lab.directory / f"{name}.log", "ab") as log:
            process = subprocess.Popen(["ip", "netns", "exec", self.name, *map(str, argv)],
                                       **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **options})
        self.lab.processes.append(process)
        return process

    def log(self, name: str) -> str:
        """The end of what a process that was started here printed."""
        return (self.lab.directory / f"{name}.log").read_text(errors="replace")[-2000:].strip()

    def without_ipv6(self) -> None:
        """No router solicitations and neighbour discovery: the only packets are those that a test sends."""
        self.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")

    def adopt(self, owner: Namespace, device: str, *addresses: str, name: str = "eth0") -> None:
        """Moves a device here from its owner's namespace, as a container's eth0."""
        owner.ip("link", "set", device, "netns", self.name, "name", name)
        for address in addresses:
            self.ip("address", "add", address, "dev", name, *(("nodad",) if ":" in address else ()))
        self.ip("link", "set", name, "up")


class Switch:
    """vswitchd and its datapath in a host's namespace, reached over the API's Unix socket."""

    def __init__(self, host: Namespace, name: str, *arguments: object):
        directory = host.lab.directory / name
        self.host = host
        self.name = name
        self.patience = 30.0           # seconds that a command may take
        self.process = host.start(name, sys.executable, "-P", "-m", "vswitch.daemon.main", "--state", directory / "state",
                                  "--run", directory / "run", "--stop-datapath", *arguments)
        self.server = f"unix:{directory}/run/api.sock"
        self.client = Client(self.server, None, False)
        wait_for(f"{name}: its datapath", self._is_up, 15)

    def _is_up(self) -> bool:
        if self.process.poll() is not None:
            raise Failure(f"{self.name} has ended: {self.host.log(self.name)}")
        try:
            return self.client.call("SwitchService.GetInfo").connected
        except UnavailableError:
            return False

    def cli(self, *words: object, timeout: float | None = None) -> str:
        """What `vswitch WORDS` prints."""
        return output(sys.executable, "-P", "-m", "vswitch.cli.main", "--server", self.server, *words,
                      timeout=timeout or self.patience)

    def apply(self, config: Path) -> str:
        return self.cli("config", "apply", config)

    def counters(self, bridge: str, port: str) -> dict[str, int]:
        return dict(self.client.call("PortService.GetPort", bridge=bridge, name=port).counters)


def ping(source: Namespace, address: str, count: int = 20, interval: float = 0.05, wait: float = 1) -> list[float]:
    """The round-trip times, in ms, of the echoes that were answered."""
    words = ["ip", "netns", "exec", source.name, "ping", "-n", "-c", str(count), "-i", str(interval), "-W", str(wait), address]
    done = subprocess.run(words, capture_output=True, text=True, timeout=count * (interval + wait) + 10)
    return [float(line.partition("time=")[2].split()[0]) for line in done.stdout.splitlines() if "time=" in line]


def tcp_server(server: Namespace, name: str) -> None:
    """iperf3's server, which serves one test after another."""
    server.start(name, "iperf3", "-s")
    wait_for(f"{name} listens", lambda: ":5201" in server.run("ss", "-Hltn"))


def tcp_throughput(client: Namespace, address: str, seconds: float, *options: object) -> tuple[float, int]:
    """Gbit/s that arrived over one connection, and the bytes. The server must run there."""
    report = json.loads(client.run("iperf3", "-J", "-c", address, "-t", seconds, "--connect-timeout", 3000, *options,
                                   timeout=seconds + 20))
    if "error" in report:
        raise Failure(f"iperf3: {report['error']}")
    received = report["end"]["sum_received"]
    return received["bits_per_second"] / 1e9, received["bytes"]
