"""Tables and bundles from the command line and the API, at a real vswitchd: what `vswitch table` and `flow --bundle` say."""
import json

import pytest
from running_daemon import Daemon, two_dummy_ports


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("vswitchd"), two_dummy_ports(fail_mode="secure"))
    yield daemon
    daemon.stop()


@pytest.fixture
def vswitch(daemon):
    yield daemon.vswitch
    daemon.vswitch("flow", "del", "br", "--all")
    daemon.vswitch("table", "set", "br", "all", "--max-entries", "1000000", "--no-eviction", "--no-vacancy", "--miss", "default")


def tables(vswitch) -> dict[int, dict]:
    return {table["table_id"]: table for table in json.loads(vswitch("--json", "table", "list", "br"))}


def test_a_full_table(vswitch):
    vswitch("table", "set", "br", "5", "--max-entries", "2")
    vswitch("flow", "add", "br", "table=5,priority=1,actions=drop", "table=5,priority=2,actions=drop")
    assert "table 5 has its 2 rules" in vswitch("flow", "add", "br", "table=5,priority=3,actions=drop", code=1)
    vswitch("table", "set", "br", "5", "--eviction")
    vswitch("flow", "add", "br", "table=5,priority=3,actions=drop")
    found = tables(vswitch)[5]
    assert (found["rules"], found["max_entries"], found["eviction"], found["vacancy"]) == (2, 2, True, 0)


def test_openflow_sees_the_same(daemon, vswitch):
    vswitch("table", "set", "br", "all", "--vacancy", "20", "80")
    assert "vacancy=on vacancy_down=20% vacancy_up=80%" in daemon.ofctl("dump-table-desc", version="OpenFlow14")
    daemon.ofctl("mod-table", "7", "evict", version="OpenFlow14")
    assert tables(vswitch)[7]["eviction"] and not tables(vswitch)[8]["eviction"]


def test_what_a_miss_does(vswitch):
    vswitch("table", "set", "br", "0", "--miss", "continue")
    vswitch("flow", "add", "br", "table=1,actions=output:p2")
    frame = "ffffffffffff0200000000010800" + "00" * 46
    shown = vswitch("trace", "br", "p1", frame)
    assert "0. no rule: the packet goes on" in shown and "1. priority" in shown
    vswitch("table", "set", "br", "0", "--miss", "drop")
    assert "drop" in vswitch("trace", "br", "p1", frame)


@pytest.mark.parametrize("arguments, reason", [
    (("254", "--eviction"), "table_id: 254 is not in 0..253"),
    (("1", "--vacancy", "50", "20"), "vacancy_down: vacancy_down 50 <= vacancy_up 20"),
])
def test_refusals(vswitch, arguments, reason):
    assert reason in vswitch("table", "set", "br", *arguments, code=1)


def test_a_bundle_is_all_or_nothing(vswitch):
    good, bad = ["priority=1,actions=drop", "priority=2,actions=output:2"], "priority=3,actions=group:9"
    error = vswitch("flow", "add", "br", "--bundle", *good, bad, code=1)
    assert bad in error and "group 9 does not exist" in error
    assert "flow_count=0" in vswitch("flow", "dump", "br", "--aggregate")
    vswitch("flow", "add", "br", "--bundle", *good)
    assert "flow_count=2" in vswitch("flow", "dump", "br", "--aggregate")
