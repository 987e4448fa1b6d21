"""Either process is killed while containers talk through taps that were moved into their namespaces."""
import json
import os
import signal
import subprocess
import time

import pytest
from containers import two_containers
from hosts import Switch, ping, tcp_server, wait_for

CONFIG = """
tenants:
  red:
    bridges:
      br:
        fail_mode: secure
        ports:
          c1: {kind: tap, port_no: 1}
          c2: {kind: tap, port_no: 2}
        flows:
          - priority=1,in_port=1,actions=output:2
          - priority=1,in_port=2,actions=output:1
"""
RULES = 5000


@pytest.fixture
def lab(tmp_path):
    with two_containers(tmp_path, "vscr", CONFIG) as lab:
        rules = tmp_path / "rules"
        rules.write_text("".join(f"priority=9,udp,tp_dst={i},actions=drop\n" for i in range(1, RULES + 1)))
        lab.switch.cli("flow", "add", "br", "-f", rules)
        assert len(ping(lab.one, "10.0.0.2", 3)) == 3
        yield lab


def info(switch) -> dict:
    return json.loads(switch.cli("--json", "info"))


def n_rules(switch) -> int:
    return len(switch.cli("flow", "dump", "br").splitlines())


def passed(switch) -> tuple[int, int]:
    """Packets that came from the first container, and that went to the second, read while none is on its way: the two counters are
    read one after the other."""
    def read() -> tuple[int, int]:
        return switch.counters("br", "c1")["rx_packets"], switch.counters("br", "c2")["tx_packets"]

    def at_rest():
        first = read()
        time.sleep(0.1)
        return first if read() == first else None
    return wait_for("no packet is on its way", at_rest)


def dropped_by_tap(container) -> int:
    [link] = json.loads(container.run("ip", "-j", "-s", "link", "show", "eth0"))
    return link["stats64"]["tx"]["dropped"]


def refused_by_sockets(container) -> int:
    """Datagrams that arrived while the receiver's socket was full, because the machine gave the receiver no time."""
    names, values = (line.split() for line in container.run("cat", "/proc/net/snmp").splitlines() if line.startswith("Udp:"))
    return int(values[names.index("RcvbufErrors")])


def test_vswitchd_killed_loses_no_packet(lab):
    tcp_server(lab.two, "iperf3")
    pid = info(lab.switch)["pid"]
    before = passed(lab.switch)
    stream = subprocess.Popen(["ip", "netns", "exec", lab.one.name, "iperf3", "-J", "-u", "-b", "20M", "-l", "500", "-t", "7",
                               "-c", "10.0.0.2"], stdout=subprocess.PIPE, text=True)
    time.sleep(2)
    lab.switch.process.kill()
    lab.switch.process.wait()
    time.sleep(2)
    again = Switch(lab.switch.host, "switch")
    report = json.loads(stream.communicate(timeout=30)[0])["end"]["sum"]
    assert report["packets"] > 30_000
    came, left = passed(again)
    assert came - before[0] == left - before[1] > 30_000
    assert dropped_by_tap(lab.one) == 0, "the switch did not take what the container sent"
    assert report["lost_packets"] <= refused_by_sockets(lab.two), "lost between the tap and the socket"
    assert info(again)["pid"] == pid, "the datapath was started anew"
    assert n_rules(again) == RULES + 2


def test_vswitchd_killed_under_tcp(lab):
    tcp_server(lab.two, "iperf3")
    stream = subprocess.Popen(["ip", "netns", "exec", lab.one.name, "iperf3", "-J", "-i", "0.5", "-t", "4", "-c", "10.0.0.2"],
                              stdout=subprocess.PIPE, text=True)
    time.sleep(1.5)
    lab.switch.process.kill()
    lab.switch.process.wait()
    report = json.loads(stream.communicate(timeout=30)[0])
    assert all(i["sum"]["bytes"] > 0 for i in report["intervals"])


def test_datapath_killed_is_back_with_every_rule(lab):
    """The taps live in the containers' namespaces, under other names: they are found there and taken over."""
    before = lab.switch.cli("flow", "dump", "br")
    old = info(lab.switch)["pid"]
    os.kill(old, signal.SIGKILL)
    began = time.monotonic()
    wait_for("a ping is answered", lambda: ping(lab.one, "10.0.0.2", 1, wait=0.05), 10)
    outage = time.monotonic() - began
    assert info(lab.switch)["pid"] != old
    assert n_rules(lab.switch) == RULES + 2 == len(before.splitlines())
    assert outage < 2.0
    print(f"forwarding again after {outage:.2f} s")
