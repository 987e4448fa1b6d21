"""An idle switch with ports costs under 1 % of a core."""
import os
import time

import pytest
from hosts import Lab, Switch

CONFIG = """
tenants:
  red:
    bridges:
      br:
        ports:
          c1: {kind: tap}
          c2: {kind: tap}
          vx: {kind: vxlan, vni: 5}
"""
SECONDS = 10


@pytest.fixture
def switch(tmp_path):
    lab = Lab(f"vsid{os.getpid()}-", tmp_path)
    try:
        config = tmp_path / "config.yaml"
        config.write_text(CONFIG)
        switch = Switch(lab.namespace("host"), "switch", "--workers", "2")
        switch.apply(config)
        yield switch
    finally:
        lab.close()


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_idle_switch(switch):
    pids = [switch.process.pid, switch.client.call("SwitchService.GetInfo").pid]
    time.sleep(5)          # the new taps' router solicitations
    before = [cpu_seconds(pid) for pid in pids]
    time.sleep(SECONDS)
    spent = [after - b for after, b in zip((cpu_seconds(pid) for pid in pids), before)]
    print(f"vswitchd {spent[0] / SECONDS:.2%}, datapath {spent[1] / SECONDS:.2%} of a core")
    assert sum(spent) < 0.01 * SECONDS
