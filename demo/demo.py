"""Two hosts, each with the whole switch, and two tenants with the same addresses on them. Exits 0 only if every check held.

                 host 1 (192.0.2.1)                      host 2 (192.0.2.2)
  red container 10.0.0.1 ── br-red  ──┐            ┌── br-red  ── red container 10.0.0.2     VNI 1001, learning_switch
                                      ├── VXLAN ───┤
  blue container 10.0.0.1 ─ br-blue ──┘            └── br-blue ── blue container 10.0.0.2    VNI 1002, rules over gRPC
"""
from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import grpc

from hosts import Failure, Lab, Namespace, Switch, ping, tcp_server, tcp_throughput, wait_for
from vswitch.rpc.v1 import flow_pb2, flow_pb2_grpc

HERE = Path(__file__).resolve().parent
PREFIX = "vsdemo-"
LOCK = "/run/vswitch-demo.lock"
TENANTS = ("red", "blue")
BLUE_ONLY = "10.0.0.99"
ASK = "import socket, sys; print(socket.create_connection((sys.argv[1], 7000), 5).recv(100).decode())"


class Demo:
    def __init__(self, lab: Lab, controller: list[str]):
        self.lab = lab
        self.controller_words = controller
        self.controller: subprocess.Popen | None = None
        self.hosts: dict[int, Namespace] = {}
        self.switches: dict[int, Switch] = {}
        self.containers: dict[tuple[str, int], Namespace] = {}
        self.failed = 0

    def check(self, what: str, held: bool, figure: str) -> None:
        self.failed += not held
        print(f"  {'ok    ' if held else 'FAILED'}  {what}: {figure}", flush=True)

    def each_tenant(self, what: str, measure) -> None:
        """measure(tenant) gives whether it held and a figure."""
        for tenant in TENANTS:
            try:
                held, figure = measure(tenant)
            except (Failure, subprocess.TimeoutExpired) as failure:
                held, figure = False, str(failure).splitlines()[-1]
            self.check(f"{tenant}: {what}", held, figure)

    def build(self) -> None:
        for number in (1, 2):
            self.hosts[number] = self.lab.namespace(f"host{number}")
        # 1,500 bytes and VXLAN's headers fit into the underlay.
        self.lab.link(self.hosts[1], "underlay", self.hosts[2], "underlay", mtu=1600)
        for number, host in self.hosts.items():
            host.ip("address", "add", f"192.0.2.{number}/24", "dev", "underlay")
        self.controller = self.hosts[1].start("controller", sys.executable, "-P", "-m", "vswitch.controllers.runner",
                                              "--host", "0.0.0.0", *self.controller_words)
        for number, host in self.hosts.items():
            self.switches[number] = Switch(host, f"switch{number}")
            changes = self.switches[number].apply(HERE / f"host{number}.yaml")
            print(f"  host {number}: configuration applied, {len(changes.splitlines())} objects")
            self._write_blue_rules(number)
            for tenant in TENANTS:
                self._attach_container(tenant, number)

    def _write_blue_rules(self, number: int) -> None:
        remote = f"192.0.2.{3 - number}"
        rules = (f"priority=100,in_port=blue0,actions=set_field:{remote}->tun_dst,output:vx-blue",
                 "priority=100,in_port=vx-blue,tun_id=1002,actions=output:blue0")
        with grpc.insecure_channel(self.switches[number].server) as channel:
            flows = flow_pb2_grpc.FlowServiceStub(channel)
            reply = flows.WriteFlows(flow_pb2.WriteFlowsRequest(bridge="br-blue", mods=[
                flow_pb2.FlowMod(command=flow_pb2.FLOW_COMMAND_ADD, text=rule) for rule in rules]))
            flows.Barrier(flow_pb2.BarrierRequest(bridge="br-blue"))
        if reply.applied != len(rules):
            raise Failure(f"blue's rules: {[result.message for result in reply.results if result.code]}")

    def _attach_container(self, tenant: str, number: int) -> None:
        container = self.containers[tenant, number] = self.lab.namespace(f"{tenant}{number}")
        container.without_ipv6()
        container.adopt(self.hosts[number], f"{tenant}0", f"10.0.0.{number}/24")
        if number == 2:
            container.start(f"greeter-{tenant}", sys.executable, "-P", HERE / "greeter.py", f"{tenant} on host 2")
            tcp_server(container, f"iperf3-{tenant}")

    def run_checks(self) -> None:
        self._controllers()
        self.each_tenant("ping from host 1 to host 2", self._ping)
        self.each_tenant("TCP from host 1 to host 2", self._tcp)
        self._rules()
        self.each_tenant("10.0.0.2 is the tenant's own", self._greeting)
        self._isolation()
        self._top()

    def _controllers(self) -> None:
        def connected(switch: Switch) -> bool:
            if self.controller.poll() is not None:
                raise Failure(f"the controller has ended: {self.hosts[1].log('controller')}")
            sessions = switch.client.call("BridgeService.ListControllers", bridge="br-red").controllers
            return bool(sessions) and all(session.connected for session in sessions)

        start = time.monotonic()
        for number, switch in self.switches.items():
            try:
                wait_for("controller", lambda: connected(switch), 15)
                self.check(f"host {number}: red's bridge has its controller", True, f"after {time.monotonic() - start:.1f} s")
            except Failure as failure:
                self.check(f"host {number}: red's bridge has its controller", False, str(failure))

    def _ping(self, tenant: str) -> tuple[bool, str]:
        times = sorted(ping(self.containers[tenant, 1], "10.0.0.2", count=30))
        median = f", median {times[len(times) // 2]:.3f} ms" if times else ""
        return len(times) == 30, f"{len(times)} of 30 answered{median}"

    def _tcp(self, tenant: str) -> tuple[bool, str]:
        rate, amount = tcp_throughput(self.containers[tenant, 1], "10.0.0.2", 2)
        return rate > 0.05, f"{rate:.2f} Gbit/s, {amount / 1e6:.0f} MB in 2 s"

    def _rules(self) -> None:
        for number, switch in self.switches.items():
            learned = [rule for rule in switch.cli("flow", "dump", "br-red").splitlines() if "dl_dst" in rule]
            self.check(f"host {number}: the controller's app has programmed red's bridge", len(learned) >= 2,
                       f"{len(learned)} learned rules")

    def _greeting(self, tenant: str) -> tuple[bool, str]:
        answer = self.containers[tenant, 1].run(sys.executable, "-P", "-c", ASK, "10.0.0.2").strip()
        return answer == f"{tenant} on host 2", f'it answers "{answer}"'

    def _isolation(self) -> None:
        """An address that only blue has: blue reaches it; of red's attempts, broadcasts too, nothing arrives at blue."""
        red, blue, blue2 = (self.containers[key] for key in (("red", 1), ("blue", 1), ("blue", 2)))
        blue2.ip("address", "add", f"{BLUE_ONLY}/24", "dev", "eth0")
        answered = len(ping(blue, BLUE_ONLY, count=5))
        self.check(f"blue reaches {BLUE_ONLY}, which only blue has", answered == 5, f"{answered} of 5 pings answered")
        before = [self._received("blue", 1), self._received("blue", 2)]
        red.ip("neighbour", "replace", BLUE_ONLY, "lladdr", "02:00:00:00:00:02", "dev", "eth0")
        answered = len(ping(red, BLUE_ONLY, count=5, wait=0.2))
        red.ip("neighbour", "del", BLUE_ONLY, "dev", "eth0")
        answered += len(ping(red, BLUE_ONLY, count=5, wait=0.2))
        self.check(f"red does not reach {BLUE_ONLY}", answered == 0, f"{answered} of 10 pings answered")
        leaked = [self._received("blue", 1) - before[0], self._received("blue", 2) - before[1]]
        self.check("nothing of red's arrived in blue's containers", leaked == [0, 0], f"{leaked[0]} and {leaked[1]} packets")

    def _received(self, tenant: str, number: int) -> int:
        return int(self.containers[tenant, number].run("cat", "/sys/class/net/eth0/statistics/rx_packets"))

    def _top(self) -> None:
        """`vswitch top` while both tenants send."""
        senders = [threading.Thread(target=self._quiet_tcp, args=(tenant,)) for tenant in TENANTS]
        for sender in senders:
            sender.start()
        time.sleep(0.5)
        shown = self.switches[1].cli("top", "--once")
        for sender in senders:
            sender.join()
        rows = {words[0]: words for words in map(str.split, shown.splitlines()) if words}
        shares = {tenant: float(rows[tenant][1]) for tenant in TENANTS if tenant in rows}
        self.check("top shows both tenants at work", len(shares) == 2 and min(shares.values()) > 0,
                   ", ".join(f"{tenant} {share:g} % of the CPU time" for tenant, share in shares.items()))
        print("\nvswitch top --once, on host 1, both tenants sending:\n" + shown)

    def _quiet_tcp(self, tenant: str) -> None:
        try:
            tcp_throughput(self.containers[tenant, 1], "10.0.0.2", 3)
        except Failure as failure:
            self.check(f"{tenant}: TCP beside the other tenant", False, str(failure))


def only_one_at_a_time():
    """The lock's file, to be kept open: namespaces that are there belong to a run that was killed, not to one that runs."""
    lock = open(LOCK, "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("demo: another demo runs on this machine")
    return lock


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--app", default="learning_switch", help="red's controller, as vswitch-controller takes it "
                        "(default %(default)s; Ryu's own: ryu.app.simple_switch_13)")
    parser.add_argument("--on", default="os-ken", choices=("os-ken", "ryu"), help="its platform (default %(default)s)")
    options = parser.parse_args()
    if os.geteuid():
        sys.exit("demo: needs root, for network namespaces and taps")
    lock = only_one_at_a_time()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = Path(tempfile.mkdtemp(prefix="vswitch-demo-"))
    start = time.monotonic()
    lab = Lab(PREFIX, directory)
    demo = Demo(lab, ["--on", options.on, options.app])
    verdict = "failed"
    try:
        lab.remove_leftovers()
        print("two hosts, two tenants with the same addresses:", flush=True)
        demo.build()
        demo.run_checks()
        if not demo.failed:
            verdict = "every check held"
    except Failure as failure:
        print(f"  FAILED  {failure}", flush=True)
    except KeyboardInterrupt:
        verdict = "interrupted"
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)       # a second Ctrl-C doesn't leave half of it behind
        lab.close()
        lock.close()
        if verdict != "failed":
            shutil.rmtree(directory)
    print(f"demo: {verdict} ({time.monotonic() - start:.0f} s){f'; logs are in {directory}' if verdict == 'failed' else ''}")
    return 0 if verdict == "every check held" else 1


if __name__ == "__main__":
    sys.exit(main())
