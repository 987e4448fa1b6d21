"""Queues of ports at a real vswitchd: set on the command line, in the API's and OpenFlow's answers, kept over restarts."""
import json
import subprocess

import pytest
from running_daemon import OFCTL, Daemon, two_dummy_ports

from vswitch.errors import VswitchError

FRAME = bytes.fromhex("ffffffffffff020000000001" + "0800" + "00" * 986)


@pytest.fixture
def daemon(tmp_path):
    daemon = Daemon(tmp_path, two_dummy_ports(fail_mode="secure"))
    yield daemon
    daemon.stop()


@pytest.fixture
def vswitch(daemon):
    return daemon.vswitch


def queues(vswitch) -> dict[int, dict]:
    return {queue["id"]: queue for queue in json.loads(vswitch("--json", "port", "queues", "br", "p2"))}


@pytest.mark.skipif(OFCTL is None, reason="ovs-ofctl is not installed")
def test_queues(daemon, vswitch):
    vswitch("port", "set", "br", "p2", "--max-rate", "100000", "--queue", "0:0:0", "--queue", "7:10000:50000")
    daemon.ofctl("add-flow", "actions=set_queue:7,output:2")

    async def inject(client):
        for _ in range(50):
            await client.inject(1, 1, FRAME)
        await client.barrier(1)
    daemon.ask(inject)
    found = queues(vswitch)
    assert (found[7]["min_rate"], found[7]["max_rate"]) == (10000, 50000)
    assert found[7]["tx_packets"] + found[7]["tx_drops"] == 50 and found[0]["tx_packets"] == 0
    for version in ("OpenFlow10", "OpenFlow13", "OpenFlow15"):
        assert f"queue 7: bytes={found[7]['tx_bytes']}, pkts={found[7]['tx_packets']}" in daemon.ofctl("queue-stats", version=version)
    shown = daemon.ofctl("queue-get-config", version="OpenFlow14")
    assert "queue 7: min_rate:10.0% max_rate:50.0%" in shown, shown
    assert "QUEUE_STATS" in daemon.ofctl("show")
    config = vswitch("config", "show")
    assert "max_rate: 100000" in config and "7:10000:50000" in config


def test_they_are_there_again_after_a_crash(daemon, vswitch):
    vswitch("port", "set", "br", "p2", "--queue", "3:1:2")
    before = daemon.datapath_pid()
    subprocess.run(["kill", "-9", str(before)], check=True)

    def back():
        try:
            return daemon.datapath_pid() != before
        except (OSError, VswitchError):     # it is ending, or not there yet
            return False
    daemon.wait_for(back)
    daemon.wait_for(lambda: daemon.log.read_text().count("the datapath is up") == 2)
    assert list(queues(vswitch)) == [3]
    daemon.kill()
    daemon.start()
    daemon.wait_for(lambda: daemon.log.read_text().count("vswitchd runs") == 2)
    assert list(queues(vswitch)) == [3]


@pytest.mark.parametrize("arguments, reason", [
    (("--queue", "1:2"), "'1:2' is not ID:MIN:MAX"), (("--queue", "1:5:4"), "port.egress_queues: '1:5:4': min is above max"),
    (("--queue", "1:0:0", "--queue", "1:0:1"), "queue 1 is there twice")])
def test_refusals(vswitch, arguments, reason):
    assert reason in vswitch("port", "set", "br", "p2", *arguments, code=1)
    assert queues(vswitch) == {}
