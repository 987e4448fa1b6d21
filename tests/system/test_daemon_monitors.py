"""Flow monitors: what is told of rules that were there, come, change and go; to ovs-ofctl and to bare controllers."""
import os
import re
import struct
import subprocess

import pytest
from raw_controller import Controller, free_port
from running_daemon import OFCTL, Daemon, two_dummy_ports

from vswitch.openflow import messages as ofp, rule_messages as rule
from vswitch.openflow.actions import ApplyActions, Output
from vswitch.openflow.codec import encode, frame
from vswitch.openflow.constants import Multipart, Type
from vswitch.openflow.versions import NICIRA, OF10, OF14, OF15

ALL = 0b11111
INITIAL, ADDED, REMOVED, MODIFIED, ABBREV = range(5)


@pytest.fixture(scope="module")
def tcp_port():
    return free_port()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, tcp_port):
    daemon = Daemon(tmp_path_factory.mktemp("vswitchd"),
                    two_dummy_ports(fail_mode="secure", listen=(f"ptcp:{tcp_port}:127.0.0.1",)))
    yield daemon
    daemon.stop()


@pytest.fixture(params=[OF14, OF15], ids=["1.4", "1.5"])
def pair(daemon, tcp_port, request):
    watcher, other = (Controller.to(tcp_port, version=request.param) for _ in range(2))
    write(other, command=3, table_id=0xff)
    other.barrier()
    yield watcher, other
    watcher.close(), other.close()


def write(controller, **members) -> int:
    members.setdefault("instructions", [ApplyActions((Output(2),))] if members.get("command", 0) < 3 else [])
    return controller.send(Type.FLOW_MOD, rule.FLOW_MOD14(**members))


def updates(body: bytes) -> list:
    assert body[:2] == b"\0\x10"
    return rule.UPDATES.decode(body[8:], 0, len(body) - 8)[0]


def monitor(controller, **members) -> list:
    """Adds a monitor; the rules that were there."""
    request = rule.MONITOR_REQUEST.encode(rule.MONITOR_REQUEST(**{"monitor_id": 1, "flags": ALL, **members}))
    xid = controller.send(Type.MULTIPART_REQUEST, ofp.MULTIPART(type=Multipart.FLOW_MONITOR, body=request))
    answer = controller.answer(xid)
    assert answer.kind == Type.MULTIPART_REPLY, answer
    return updates(answer.body)


def told(controller) -> list:
    """The updates before the reply to a barrier."""
    xid = controller.send(Type.BARRIER_REQUEST)
    found = []
    while (message := controller.next()).xid != xid:
        assert message.kind == Type.MULTIPART_REPLY and message.xid == 0
        found += updates(message.body)
    return found


def test_what_happens_to_rules(pair):
    watcher, other = pair
    write(other, priority=4)
    other.barrier()
    (initial,) = monitor(watcher)
    assert (initial.event, initial.priority, initial.instructions) == (INITIAL, 4, [ApplyActions((Output(2),))])
    write(other, priority=5, cookie=9, idle_timeout=60, table_id=3, match={"eth_type": (0x800, None)})
    write(other, priority=5, table_id=3, command=1, instructions=[ApplyActions((Output(1),))])
    write(other, priority=5, table_id=3, command=3)
    other.barrier()
    added, modified, removed = told(watcher)
    assert (added.event, added.cookie, added.idle_timeout, added.table_id) == (ADDED, 9, 60, 3)
    assert added.match == {"eth_type": (0x800, None)} and added.instructions == [ApplyActions((Output(2),))]
    assert (modified.event, modified.instructions) == (MODIFIED, [ApplyActions((Output(1),))])
    assert (removed.event, removed.reason, removed.instructions) == (REMOVED, 2, [])


def test_own_changes_are_abbreviated(pair):
    watcher, _ = pair
    monitor(watcher)
    xid = write(watcher, priority=7)
    (abbreviated,) = told(watcher)
    assert (abbreviated.event, abbreviated.xid) == (ABBREV, xid)
    monitor(watcher, monitor_id=2, flags=ALL | 0x20)
    write(watcher, priority=8)
    (full,) = told(watcher)
    assert (full.event, full.priority) == (ADDED, 8)


def test_only_own(pair):
    watcher, other = pair
    monitor(watcher, flags=0b1111 | 0x60)
    write(other, priority=7)
    other.barrier()
    write(watcher, priority=8)
    (own,) = told(watcher)
    assert (own.event, own.priority, own.instructions) == (ADDED, 8, [])


@pytest.mark.parametrize("filter_, seen", [
    ({"table_id": 2}, [2]), ({"out_port": 1}, [3]), ({"match": bytes.fromhex("0001000a80000a0208060000 00000000")}, [4]),
    ({"flags": 0b100}, [])])
def test_filters(pair, filter_, seen):
    watcher, other = pair
    monitor(watcher, **filter_)
    write(other, priority=2, table_id=2)
    write(other, priority=3, instructions=[ApplyActions((Output(1),))])
    write(other, priority=4, match={"eth_type": (0x806, None)})
    other.barrier()
    assert [u.priority for u in told(watcher)] == seen


def test_modify_and_delete_a_monitor(pair):
    watcher, other = pair
    monitor(watcher, flags=0b10)
    monitor(watcher, command=1, flags=0b100)
    write(other, priority=3)
    other.barrier()
    assert told(watcher) == []
    monitor(watcher, command=2)
    write(other, priority=3, command=4)
    other.barrier()
    assert told(watcher) == []


def test_a_bundle_is_told(pair):
    watcher, other = pair
    monitor(watcher)
    inner = rule.FLOW_MOD14.encode(rule.FLOW_MOD14(priority=12))
    for xid in (50, 51):
        other.sock.sendall(frame(Type.BUNDLE_ADD_MESSAGE, xid, struct.pack("!I2xH", 1, 0)
                                 + frame(Type.FLOW_MOD, xid, inner, other.version), other.version))
    other.sock.sendall(frame(Type.BUNDLE_CONTROL, 52, struct.pack("!IHH", 1, 4, 0), other.version))
    assert other.answer(52).kind == Type.BUNDLE_CONTROL
    assert [(u.event, u.priority) for u in told(watcher)][-1] == (ADDED, 12)


def test_pause_and_resume(daemon, tcp_port, pair):
    """A reader that is behind is told that it missed something, and once it has read, what."""
    watcher, other = pair
    monitor(watcher)
    burst = b"".join(encode(Type.FLOW_MOD, 0, rule.FLOW_MOD14(priority=priority), other.version) for priority in range(1, 1001))
    for _ in range(20):
        other.sock.sendall(burst)
        write(other, command=3)
    write(other, priority=77)
    other.barrier()
    events = []
    while 6 not in events:
        events += [u.event for u in updates(watcher.next().body)]
    assert events.index(5) < events.index(6)
    write(other, priority=78)
    other.barrier()
    assert [u.priority for u in told(watcher)][-1:] == [78]


def test_nicira_monitor(daemon, tcp_port):
    watcher, other = Controller.to(tcp_port, version=OF10), Controller.to(tcp_port, version=OF14)
    head = struct.pack("!HHII4x", 0xffff, 0, NICIRA, 2)
    xid = watcher.send_raw(16, head + struct.pack("!IHHHB5x", 5, 0b11110, 0xffff, 0, 0xff))
    assert watcher.answer(xid).body == head
    write(other, priority=99)
    message = watcher.next()
    length, event, _, priority = struct.unpack_from("!HHHH", message.body, 16)
    assert message.xid == 0 and (event, priority, length) == (0, 99, 32)
    watcher.send_raw(Type.EXPERIMENTER, struct.pack("!III", NICIRA, 21, 5))
    xid = watcher.send_raw(Type.EXPERIMENTER, struct.pack("!III", NICIRA, 21, 5))
    assert struct.unpack_from("!HHIHH", watcher.answer(xid).body) == (0xb0c2, 0, NICIRA, 1, 519)
    write(other, priority=99, command=3)
    other.barrier()
    assert watcher.quiet()
    watcher.close(), other.close()


@pytest.mark.skipif(OFCTL is None, reason="ovs-ofctl is not installed")
@pytest.mark.parametrize("version, watch", [("OpenFlow10", "watch:"), ("OpenFlow13", "watch:"), ("OpenFlow14", "watch:!own"),
                                            ("OpenFlow15", "watch:!own")])
def test_ofctl_monitor(daemon, tmp_path, version, watch):
    """What ovs-ofctl calls "own" is OFPFMF_ONLY_OWN in 1.4 and later: it would hide what others do."""
    daemon.ofctl("del-flows")
    daemon.ofctl("add-flow", "priority=3,arp,actions=output:2")
    log = tmp_path / "log"
    with open(log, "wb") as out:
        process = subprocess.Popen([OFCTL, "-O", version, "monitor", f"unix:{daemon.management()}", watch],
                                   stdout=out, stderr=out, env={**os.environ, "OVS_RUNDIR": str(tmp_path)})
    try:
        daemon.wait_for(lambda: "arp" in log.read_text())
        daemon.ofctl("add-flow", "priority=4,ip,actions=output:1")
        daemon.ofctl("del-flows", "ip")
        daemon.wait_for(lambda: re.search(r"event=(DELETED|REMOVED) reason=delete table=0 cookie=0 ip", log.read_text()))
        assert re.search(r"event=ADDED table=0 cookie=0 ip actions=output:1", log.read_text())
    finally:
        process.terminate()
        process.wait(10)
