"""Either process is killed: forwarding goes on or is soon back, with every rule."""
import os
import signal
import time

import pytest
from running_daemon import OFCTL, Daemon, two_dummy_ports

pytestmark = pytest.mark.skipif(OFCTL is None, reason="ovs-ofctl is not installed")

N = 5_000
FRAME = bytes.fromhex("020000000002" "020000000001" "0800" "4500002e00000000401100000a0000010a000002"
                      "00010007001a0000") + bytes(18)


@pytest.fixture
def daemon(tmp_path):
    rules = tmp_path / "rules"
    rules.write_text("".join(f"priority={i},udp,tp_dst={i},actions=output:2\n" for i in range(1, N + 1)))
    daemon = Daemon(tmp_path, two_dummy_ports(fail_mode="secure"))
    daemon.ofctl("add-flows", str(rules))
    yield daemon
    daemon.stop()


def n_rules(daemon) -> int:
    async def count(client):
        return sum(b.n_rules for b in await client.bridges())
    return daemon.ask(count)


def forwards(daemon) -> bool:
    async def try_it(client):
        await client.inject(1, 1, FRAME)
        for _ in range(50):
            if await client.collect(1, 2):
                return True
            time.sleep(0.001)
        return False
    return daemon.ask(try_it)


def test_datapath_killed(daemon):
    daemon.ofctl("del-flows", "--strict", "priority=9,udp,tp_dst=9")
    daemon.ofctl("add-flow", "priority=10000,check_overlap,arp,actions=output:1")
    old = daemon.datapath_pid()
    os.kill(old, signal.SIGKILL)
    began = time.monotonic()

    def back() -> bool:
        try:
            return daemon.datapath_pid() != old and n_rules(daemon) == N and forwards(daemon)
        except Exception:
            return False
    daemon.wait_for(back)
    assert time.monotonic() - began < 2.0
    assert f"flow_count={N}" in daemon.ofctl("dump-aggregate")
    assert "tp_dst=9 " not in daemon.ofctl("dump-flows")


def test_vswitchd_killed(daemon):
    pid = daemon.datapath_pid()
    daemon.kill()
    assert forwards(daemon)
    daemon.start()
    daemon.wait_for(lambda: daemon.log.read_text().count("the datapath is up") == 2)
    assert daemon.datapath_pid() == pid and n_rules(daemon) == N
    text = daemon.log.read_text()
    assert "removing" not in text and "rules_replayed=0" in text
    # the journal was made anew from what the datapath held
    os.kill(pid, signal.SIGKILL)
    daemon.wait_for(lambda: daemon.log.read_text().count("the datapath is up") == 3)
    assert n_rules(daemon) == N and forwards(daemon)


def test_both_killed(daemon):
    pid = daemon.datapath_pid()
    daemon.kill()
    os.kill(pid, signal.SIGKILL)
    daemon.start()
    daemon.wait_for(lambda: daemon.log.read_text().count("the datapath is up") == 2)
    assert n_rules(daemon) == N and forwards(daemon)


def test_desired_state_differs_from_what_the_datapath_holds(daemon):
    """What was changed while vswitchd was away: a port too many, a port missing, a tenant's weight, a bridge unknown."""
    from vswitch.datapath.records import BridgeRecord, PORT_KINDS, PortRecord, TenantRecord
    daemon.kill()

    async def change(client):
        await client.add_port(PortRecord(1, 9, PORT_KINDS["dummy"], name="extra"))
        await client.delete_port(1, 2)
        await client.set_tenant(TenantRecord(1, 7, 0, 0, 0, 0, 0, "t"))
        await client.set_bridge(BridgeRecord(5, 1, 99, 0, 300, 8192, 0, 128, 0, 0, "stray"))
    daemon.ask(change)
    daemon.start()
    daemon.wait_for(lambda: daemon.log.read_text().count("the datapath is up") == 2)

    async def look(client):
        return ([p.name for p in await client.ports()], [t.weight for t in await client.tenants()],
                [b.name for b in await client.bridges()])
    ports, weights, bridges = daemon.ask(look)
    assert (sorted(ports), weights, bridges) == (["p1", "p2"], [100], ["br"])
    assert n_rules(daemon) == N and forwards(daemon)


def test_stop_datapath(tmp_path):
    daemon = Daemon(tmp_path, two_dummy_ports(), "--stop-datapath")
    pid = daemon.datapath_pid()
    daemon.process.terminate()
    assert daemon.process.wait(10) == 0
    with pytest.raises(ProcessLookupError):
        for _ in range(200):
            os.kill(pid, 0)
            time.sleep(0.01)


def test_tables_keep_their_settings(daemon):
    """Over a crash of the datapath, and of vswitchd, which makes its log anew, and the datapath after it."""
    daemon.vswitch("table", "set", "br", "5", "--max-entries", "2", "--eviction")
    daemon.vswitch("table", "set", "br", "7", "--vacancy", "20", "80", "--miss", "continue")
    before = daemon.vswitch("table", "list", "br")
    def killed(times: int) -> None:
        os.kill(daemon.datapath_pid(), signal.SIGKILL)
        daemon.wait_for(lambda: daemon.log.read_text().count("the datapath is up") == times)
        assert daemon.vswitch("table", "list", "br") == before

    killed(2)
    daemon.kill()
    daemon.start()
    daemon.wait_for(lambda: daemon.log.read_text().count("the datapath is up") == 3)
    killed(4)
