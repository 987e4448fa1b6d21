"""Two switches between the same guests' sockets: ours, and Open vSwitch with DPDK. One worker each, pinned to one core; only one
of them runs at a time (the other's worker is stopped), and each says what its worker's busy time was per packet."""
from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import grpc

import thread_stop

from vswitch.rpc.v1 import stats_pb2, stats_pb2_grpc

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
OVS_DPDK = Path("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")
HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
WORKER_CORE, GUEST_CORE = 1, 0
SCRIPTS = Path(sys.executable).parent


class MissingPeer(Exception):
    pass


@dataclass
class Busy:
    """What a worker did between two looks."""
    packets: int
    cycles: float               # per packet, of its busy time
    stages: dict[str, float]    # cycles per packet, where the switch tells
    decided: int = 0            # packets for which the tables were walked


def wait_for(what: str, condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come")
        time.sleep(0.05)


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr}")
    return done.stdout


class Switch:
    """Ports 1..n are sockets that guests listen at: directory/vmN."""
    name = ""
    worker = ""                 # part of its worker thread's name
    most_rules = 0              # that it has had at a time, of those that flow_mods() loaded

    def __init__(self, directory: Path, n_ports: int, bridges: dict[str, int] | None = None):
        self.directory = directory
        self.bridges = bridges or {"br": n_ports}      # with how many of the ports
        self.sockets = [directory / f"vm{number + 1}" for number in range(n_ports)]
        self.pids: list[int] = []
        self.children: list[subprocess.Popen] = []
        directory.mkdir(parents=True)

    def spawn(self, *command: object, core: int | None = None) -> subprocess.Popen:
        log = open(self.directory / f"{Path(str(command[0])).name}.log", "ab")
        # Not by preexec_fn: gRPC's threads don't outlive a fork.
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        child = subprocess.Popen([*pinned, *(str(word) for word in command)], stdout=log, stderr=log)
        self.children.append(child)
        return child

    def pin(self) -> None:
        """Other programs on this machine take less of the worker's core so."""
        for pid in self.pids:
            for setting in Path(f"/proc/{pid}").glob("autogroup"):      # a session of its own, if the control plane started it
                setting.write_text("-20")
            for task in Path(f"/proc/{pid}/task").iterdir():
                if self.worker in (task / "comm").read_text():
                    os.setpriority(os.PRIO_PROCESS, int(task.name), -20)

    def pause(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)        # the time that it stood still is accounted for by then

    def stop(self) -> None:
        self.resume()
        for child in reversed(self.children):
            child.terminate()
        for child in reversed(self.children):
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def flows(self, lines: list[str], bridge: str = "br") -> None:
        """Replaces all rules."""
        path = self.directory / "flows"
        path.write_text("\n".join(lines) + "\n")
        management = f"unix:{self.management / f'{bridge}.mgmt'}"
        run("ovs-ofctl", "-O", "OpenFlow13", "del-flows", management)
        run("ovs-ofctl", "-O", "OpenFlow13", "--bundle", "add-flows", management, path)

    def flow_mods(self, sender: Path, messages: Path, bridge: str = "br") -> float:
        """Replaces all rules by those that OpenFlow 1.3 messages in a file ask for; returns the seconds. `sender`: flow_sender.c's program."""
        management = self.management / f"{bridge}.mgmt"
        run("ovs-ofctl", "-O", "OpenFlow13", "del-flows", f"unix:{management}")
        seconds, errors = run(sender, "file", messages, management).split()
        if errors != "0":
            raise RuntimeError(f"{self.name} refused {errors} of the rules")
        return float(seconds)

    def memory(self) -> int:
        """Bytes that all its processes have in memory, huge pages apart."""
        status = [Path(f"/proc/{pid}/status").read_text() for pid in {*self.pids, *(child.pid for child in self.children)}]
        return sum(int(re.search(r"VmRSS:\s*(\d+)", text)[1]) for text in status) * 1024

    def bridge_ports(self) -> list[tuple[str, int, int, Path]]:
        """Bridge, its port's number, the socket's number and path."""
        places = [(bridge, port_no) for bridge, n in self.bridges.items() for port_no in range(1, n + 1)]
        return [(*place, i, path) for i, (place, path) in enumerate(zip(places, self.sockets, strict=True), 1)]

    management = Path()         # where the bridges' sockets for ovs-ofctl are

    def keep_flows(self, on: bool) -> None:
        """Decisions that no packet asked for lately are kept, or not."""

    def begin(self) -> None:
        """Busy time counts from here."""

    def end(self) -> Busy:
        raise NotImplementedError


class Ours(Switch):
    name = "this switch"

    def __init__(self, directory: Path, n_ports: int, datapath: Path | None = None, bridges: dict[str, int] | None = None):
        super().__init__(directory, n_ports, bridges)
        config = directory / "config.yaml"
        config.write_text(self.configuration(directory))
        # One loop that looks at the rings all the time, as Open vSwitch's.
        self.spawn(SCRIPTS / "vswitchd", "--state", directory / "state", "--run", directory / "run", "--poll", "--stop-datapath",
                   "--config", config, *(["--datapath", datapath] if datapath else []), core=GUEST_CORE)
        self.management = directory / "run"
        wait_for("our switch", lambda: (directory / "run" / f"{next(iter(self.bridges))}.mgmt").exists())
        self.stats = stats_pb2_grpc.StatsServiceStub(grpc.insecure_channel(f"unix:{directory}/run/api.sock"))
        log = (directory / "vswitchd.log")
        wait_for("our datapath", lambda: "configuration applied" in log.read_text())
        self.pids = [int(re.search(r"started the datapath pid=(\d+)", log.read_text())[1])]
        for task in Path(f"/proc/{self.pids[0]}/task").iterdir():
            os.sched_setaffinity(int(task.name), {WORKER_CORE})
        self.pin()

    count = staticmethod(sum)   # by tenant, to packets

    def port(self, number: int, port_no: int | None = None) -> str:
        return (f"          vm{number}: {{kind: vhost-user, mode: client, socket: {self.sockets[number - 1]}, "
                f"port_no: {port_no or number}}}\n")

    def configuration(self, directory: Path) -> str:
        text = "tenants:\n"
        for bridge in self.bridges:     # a tenant each
            text += f"  t-{bridge}:\n    bridges:\n      {bridge}:\n        fail_mode: secure\n        ports:\n"
            text += "".join(self.port(number, port_no) for name, port_no, number, _ in self.bridge_ports() if name == bridge)
        return text

    def _look(self) -> tuple[int, dict[str, float]]:
        cycles: dict[str, float] = {}
        packets = self.decided = 0
        for worker in self.stats.GetUsage(stats_pb2.GetUsageRequest()).workers:
            for name, value in worker.system.items():
                if name != "idle":
                    cycles[name] = cycles.get(name, 0) + value
            received = [account.rx_packets for account in worker.accounts]
            packets += self.count(received)
            for account in worker.accounts:
                self.decided += account.slow
                for name, value in account.cycles.items():
                    cycles[name] = cycles.get(name, 0) + value
        return packets, cycles

    def begin(self) -> None:
        self.before = self._look()
        self.decided_before = self.decided

    def end(self) -> Busy:
        packets, cycles = self._look()
        packets -= self.before[0]
        stages = {name: (value - self.before[1].get(name, 0)) / max(packets, 1) for name, value in cycles.items()}
        return Busy(packets, sum(stages.values()), {name: value for name, value in stages.items() if value > .05},
                    self.decided - self.decided_before)


class OpenVswitch(Switch):
    name = "Open vSwitch with DPDK"
    worker = "pmd"
    settings = ()
    stopped: int | None = None  # its worker's thread, while it stands still

    def __init__(self, directory: Path, n_ports: int, bridges: dict[str, int] | None = None):
        if not OVS_DPDK.exists():
            raise MissingPeer("Open vSwitch with DPDK is not installed: apt-get install openvswitch-switch-dpdk")
        super().__init__(directory, n_ports, bridges)
        self.huge_pages = HUGE_PAGES.read_text()
        try:
            self._start(directory)
        except BaseException:
            self.stop()
            raise

    def _start(self, directory: Path) -> None:
        HUGE_PAGES.write_text("1024\n")
        database = f"unix:{directory}/db.sock"
        run("ovsdb-tool", "create", directory / "conf.db", SCHEMA)
        self.spawn("ovsdb-server", directory / "conf.db", f"--remote=p{database}", f"--unixctl={directory}/ovsdb.ctl", core=GUEST_CORE)
        wait_for("ovsdb-server", (directory / "db.sock").exists)
        self.vsctl = ("ovs-vsctl", f"--db={database}", "--no-wait")
        run(*self.vsctl, "init")
        run(*self.vsctl, "set", "Open_vSwitch", ".", "other_config:dpdk-init=true", f"other_config:pmd-cpu-mask={1 << WORKER_CORE:#x}",
            f"other_config:dpdk-lcore-mask={1 << GUEST_CORE:#x}", "other_config:dpdk-socket-mem=1536",
            "other_config:dpdk-extra=--in-memory --no-pci", *self.settings)
        self.control = directory / "vswitchd.ctl"
        os.environ["OVS_RUNDIR"] = str(directory)
        switch = self.spawn(OVS_DPDK, database, f"--unixctl={self.control}", "-vconsole:warn", f"--log-file={directory}/ovs.log")
        wait_for("Open vSwitch", self.control.exists, 60)
        for bridge in self.bridges:
            self.bridge(bridge)
        self.add_ports()
        self.management = directory
        self.pids = [switch.pid]
        self.pin()

    def bridge(self, name: str) -> None:
        run(*self.vsctl[:-1], "add-br", name, "--", "set", "bridge", name, "datapath_type=netdev", "fail_mode=secure")

    def guest_port(self, bridge: str, number: int, port_no: int | None = None) -> None:
        run(*self.vsctl[:-1], "add-port", bridge, f"vm{number}", "--", "set", "interface", f"vm{number}", "type=dpdkvhostuserclient",
            f"options:vhost-server-path={self.sockets[number - 1]}", f"ofport_request={port_no or number}")

    def add_ports(self) -> None:
        for bridge, port_no, number, _ in self.bridge_ports():
            self.guest_port(bridge, number, port_no)

    def stop(self) -> None:
        super().stop()
        HUGE_PAGES.write_text(self.huge_pages)

    def pin(self) -> None:
        """What it does besides forwarding is done on the other core."""
        super().pin()
        for task in Path(f"/proc/{self.pids[0]}/task").iterdir():
            if self.worker not in (task / "comm").read_text():
                os.sched_setaffinity(int(task.name), {GUEST_CORE})

    def pause(self) -> None:
        """Its worker alone (thread_stop.py says why); the others have next to nothing to do meanwhile."""
        if self.stopped:
            return
        threads = [task for task in Path(f"/proc/{self.pids[0]}/task").iterdir() if self.worker in (task / "comm").read_text()]
        self.stopped = int(threads[0].name)
        thread_stop.stop(self.stopped)

    def resume(self) -> None:
        if self.stopped:
            thread_stop.go_on(self.stopped)
            self.stopped = None
            time.sleep(0.05)

    def begin(self) -> None:
        run("ovs-appctl", "-t", self.control, "dpif-netdev/pmd-stats-clear")

    def end(self) -> Busy:
        text = run("ovs-appctl", "-t", self.control, "dpif-netdev/pmd-stats-show")
        text = text[text.index("pmd thread"):]
        cycles = re.search(r"avg processing cycles per packet: ([\d.]+)", text)
        packets = re.search(r"packets received: (\d+)", text)
        # "Failed" are also those that were decided and sent, but not cached for want of room (ENOSPC, lib/dpif-netdev.c).
        decided = sum(map(int, re.findall(r"miss with (?:success|failed) upcall: (\d+)", text.split("main thread")[0])))
        return Busy(int(packets[1]) if packets else 0, float(cycles[1]) if cycles else 0.0, {}, decided)

    def keep_flows(self, on: bool) -> None:
        """What it has decided stays while it stands still, and is looked at seldom."""
        settings = ("max-idle", "max-revalidator")
        if on:
            run(*self.vsctl[:-1], "set", "Open_vSwitch", ".", *(f"other_config:{name}=100000" for name in settings))
        else:
            run(*self.vsctl[:-1], "remove", "Open_vSwitch", ".", "other_config", *settings)

    def signature_cache(self, on: bool) -> None:
        run(*self.vsctl[:-1], "set", "Open_vSwitch", ".", f"other_config:smc-enable={str(on).lower()}")


# The guest at the first port is behind a tunnel of this VNI; the one at the second plays the other host.
# TEST-NET-2 (RFC 5737): a route of the host's own to the far end, as in a laboratory that has TEST-NET-1, keeps Open vSwitch from sending.
VNI, NEAR, FAR = 1001, "198.51.100.1", "198.51.100.2"
NEAR_MAC, FAR_MAC = "02:00:00:00:01:01", "02:00:00:00:01:02"


class OpenVswitchSegments(OpenVswitch):
    """With segmentation offload, which it has to be told of (Documentation/topics/userspace-tso.rst)."""
    settings = ("other_config:userspace-tso-enable=true",)


class OursTunnel(Ours):
    """Port 1 is a guest's, port 2 of the same bridge a tunnel, whose frames leave through the second guest's socket."""

    @staticmethod
    def count(received: list[int]) -> int:
        """What comes through the tunnel is received by the uplink's tenant, and again by its own."""
        return max(received, default=0)

    def configuration(self, directory: Path) -> str:
        return (f"vtep: {{local4: {NEAR}, uplink: under/vm2}}\ntenants:\n  red:\n    bridges:\n      br:\n        fail_mode: secure\n"
                f"        ports:\n{self.port(1)}          vx: {{kind: vxlan, port_no: 2, vni: {VNI}, remotes: [{FAR}]}}\n"
                "  infra:\n    bridges:\n      under:\n        ports:\n" + self.port(2).replace("port_no", f'mac: "{NEAR_MAC}", port_no'))


class OpenVswitchTunnel(OpenVswitch):
    """The same, with its own tunnels (Documentation/howto/userspace-tunneling.rst)."""

    def add_ports(self) -> None:
        self.guest_port("br", 1)
        run(*self.vsctl[:-1], "add-port", "br", "vx", "--", "set", "interface", "vx", "type=vxlan", f"options:remote_ip={FAR}",
            f"options:key={VNI}", "ofport_request=2")
        self.bridge("under")
        run(*self.vsctl[:-1], "set", "bridge", "under", "fail_mode=standalone", f'other_config:hwaddr="{NEAR_MAC}"')
        self.guest_port("under", 2)
        run("ip", "address", "replace", f"{NEAR}/24", "dev", "under")
        run("ip", "link", "set", "under", "up")
        run("ovs-appctl", "-t", self.control, "ovs/route/add", f"{FAR}/32", "under")
        run("ovs-appctl", "-t", self.control, "tnl/arp/set", "under", FAR, FAR_MAC)

    def stop(self) -> None:
        super().stop()
        subprocess.run(["ip", "link", "delete", "under"], capture_output=True)     # Open vSwitch leaves it, with its address


def take_precedence() -> None:
    """Other programs on this machine get less of the two cores while this one runs: the scheduler weighs sessions first (autogroup),
    then the threads in them."""
    if os.getpid() != os.getsid(0):
        try:
            os.setsid()
        except PermissionError:         # leads a process group already
            return
    for setting in Path("/proc/self").glob("autogroup"):
        setting.write_text("-20")


def clean(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
