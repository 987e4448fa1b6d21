"""vswitchd and vswitch-datapath, as ovs-ofctl sees them over the bridge's management socket. Dummy ports: no root needed."""
import pytest
from running_daemon import OFCTL, Daemon, two_dummy_ports

pytestmark = pytest.mark.skipif(OFCTL is None, reason="ovs-ofctl is not installed")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("vswitchd"), two_dummy_ports(fail_mode="secure"))
    yield daemon
    daemon.stop()


@pytest.fixture(autouse=True)
def no_flows(daemon):
    daemon.ofctl("del-flows")


def test_show(daemon):
    shown = daemon.ofctl("show")
    assert "dpid:0000000000001234" in shown and "n_tables:254" in shown and "1(p1)" in shown and "2(p2)" in shown


def test_flows(daemon):
    daemon.ofctl("add-flow", "table=0,priority=7,ip,nw_dst=10.0.0.0/8,actions=set_field:02:00:00:00:00:09->eth_dst,output:2")
    assert "priority=7,ip,nw_dst=10.0.0.0/8 actions=set_field:02:00:00:00:00:09->eth_dst,output:2" in daemon.ofctl("dump-flows")
    daemon.ofctl("mod-flows", "ip,nw_dst=10.0.0.0/8,actions=output:1")
    assert "actions=output:1" in daemon.ofctl("dump-flows")
    assert "flow_count=1" in daemon.ofctl("dump-aggregate")
    daemon.ofctl("del-flows", "ip")
    assert "flow_count=0" in daemon.ofctl("dump-aggregate")


def test_many_flows(daemon, tmp_path):
    n = 5_000
    rules = tmp_path / "rules"
    rules.write_text("".join(f"priority={i},udp,tp_dst={i},actions=output:2\n" for i in range(1, n + 1)))
    daemon.ofctl("add-flows", str(rules))
    assert f"flow_count={n}" in daemon.ofctl("dump-aggregate")
    assert daemon.ofctl("dump-flows").count("actions=output:2") == n


@pytest.mark.parametrize("command, expect", [
    ("dump-desc", "vswitch"), ("dump-ports", "port  1: rx pkts=0"), ("dump-ports-desc", "2(p2): addr:"),
    ("dump-tables", "table 0"), ("dump-table-features", "table 253"), ("queue-stats", "0 queues"),
    ("dump-groups", ""), ("dump-meters", ""), ("dump-group-features", ""), ("meter-features", "max_meter:65536")])
def test_reads(daemon, command, expect):
    assert expect in daemon.ofctl(command)


def test_port_mod(daemon):
    daemon.ofctl("mod-port", "p1", "no-forward")
    assert "NO_FWD" in daemon.ofctl("show").split("1(p1)")[1].split("2(p2)")[0]
    daemon.ofctl("mod-port", "p1", "forward")
    assert "NO_FWD" not in daemon.ofctl("show")


def test_packet_out(daemon):
    async def collect(client):
        return await client.collect(1, 2)
    daemon.ask(collect)
    frame = "ffffffffffff020000000001" + "0800" + "00" * 46
    daemon.ofctl("packet-out", f"in_port=1 packet={frame} actions=output:2")
    assert daemon.ask(collect) == [bytes.fromhex(frame)]


@pytest.mark.parametrize("command, arguments, error", [
    ("mod-group", ("group_id=1,type=all,bucket=output:1",), "OFPGMFC_UNKNOWN_GROUP"),
    ("mod-meter", ("meter=1,kbps,band=type=drop,rate=1",), "OFPMMFC_UNKNOWN_METER"),
    ("add-flow", ("actions=group:7",), "OFPBAC_BAD_OUT_GROUP")])
def test_refusals(daemon, command, arguments, error):
    with pytest.raises(AssertionError, match=error):
        assert error not in daemon.ofctl(command, *arguments)
