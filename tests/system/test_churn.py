"""Everything changes while packets flow: rules, ports, bridges, patch pairs, the tunnel end point. Nothing may crash, and what
is not touched goes on. `make test` runs this with the datapath under the sanitizers."""
import os
import random
import subprocess
import time

import pytest
from containers import two_containers
from hosts import ping, tcp_server

SECONDS = float(os.environ.get("VSWITCH_CHURN_SECONDS", "15"))
CONFIG = """
vtep: {local4: 0.0.0.0}
tenants:
  red:
    bridges:
      br:
        ports:
          c1: {kind: tap, queues: 2}
          c2: {kind: tap, queues: 2}
  blue:
    bridges:
      other:
        ports:
          d1: {kind: dummy, port_no: 1}
"""


@pytest.fixture
def lab(tmp_path):
    with two_containers(tmp_path, "vsch", CONFIG, "--workers", "2") as lab:
        yield lab


def change(cli, r: random.Random, rules) -> None:
    """One change, and its undoing."""
    kind = r.randrange(5)
    if kind == 0:
        rules.write_text("".join(f"priority={r.randrange(1, 100)},tcp,tp_dst={r.randrange(1, 9)},actions=normal\n"
                                 for _ in range(200)))
        cli("flow", "add", "br", "-f", rules)
        cli("flow", "del", "br", "tcp")
    elif kind == 1:
        cli("port", "add", "br", "x", "--kind", "dummy")
        cli("port", "del", "br", "x")
    elif kind == 2:
        cli("bridge", "add", "b2", "--tenant", "red")
        cli("port", "add", "br", "p1", "--kind", "patch", "--peer", "b2/p2")
        cli("port", "add", "b2", "p2", "--kind", "patch", "--peer", "br/p1")
        cli("port", "del", "br", "p1")
        cli("bridge", "del", "b2")
    elif kind == 3:
        cli("port", "add", "br", "v", "--kind", "vxlan", "--vni", 7, "--remote", "127.0.0.1")
        cli("vtep", "set", "--local4", r.choice(("0.0.0.0", "127.0.0.1")))
        cli("port", "del", "br", "v")
    else:
        cli("tenant", "add", "t", "--weight", 7)
        cli("tenant", "del", "t")


def test_changes_under_traffic(lab, tmp_path):
    tcp_server(lab.two, "iperf3")
    stream = subprocess.Popen(["ip", "netns", "exec", lab.one.name, "iperf3", "-c", "10.0.0.2", "-t", str(SECONDS + 5)],
                              stdout=subprocess.DEVNULL)
    pid = lab.switch.client.call("SwitchService.GetInfo").pid
    r, changes, end = random.Random(1), 0, time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            change(lab.switch.cli, r, tmp_path / "rules")
            changes += 1
    finally:
        stream.terminate()
        stream.wait()
    assert lab.switch.client.call("SwitchService.GetInfo").pid == pid, "the datapath has crashed"
    assert len(ping(lab.one, "10.0.0.2", 5)) == 5
    print(f"{changes} changes")
