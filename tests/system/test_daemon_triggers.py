"""Statistics triggers (OpenFlow 1.5.1, 7.2.5): told to controllers of 1.5 and to who watches events; kept in texts and the API."""
import json
import struct
import subprocess
import time

import pytest
from raw_controller import Controller, free_port
from running_daemon import SCRIPTS, Daemon, two_dummy_ports

from vswitch.openflow.codec import frame
from vswitch.openflow.constants import Type

FRAME = "ffffffffffff0200000000010800" + "00" * 46
EMPTY_MATCH = struct.pack("!HH4x", 1, 4)


@pytest.fixture(scope="module")
def listen():
    return free_port()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, listen):
    daemon = Daemon(tmp_path_factory.mktemp("vswitchd"), two_dummy_ports(fail_mode="secure", listen=[f"ptcp:{listen}:127.0.0.1"]))
    yield daemon
    daemon.stop()


@pytest.fixture
def controller(daemon, listen):
    controller = Controller.to(listen, version=6)
    yield controller
    controller.sock.close()
    daemon.vswitch("flow", "del", "br", "--all")


def oxs(field: int, value: bytes) -> bytes:
    return struct.pack("!HBB", 0x8002, field << 1, len(value)) + value


def packets(n: int) -> bytes:
    return oxs(4, n.to_bytes(8, "big"))


def trigger(flags: int, thresholds: bytes) -> bytes:
    length = 12 + len(thresholds) + 7 & ~7
    return struct.pack("!HHIHH", 7, length, flags, 0, 4 + len(thresholds)) + thresholds + bytes(length - 12 - len(thresholds))


def flow_mod(instructions: bytes, priority: int = 5) -> bytes:
    return struct.pack("!QQBBHHHIIIHH", 0xabc, 0, 0, 0, 0, 0, priority, 0xffffffff, 0xffffffff, 0xffffffff, 0, 0) + EMPTY_MATCH + instructions


def add(controller, instructions: bytes) -> None:
    controller.sock.sendall(frame(Type.FLOW_MOD, 7, flow_mod(instructions), 6) + frame(20, 8, b"", 6))
    assert controller.answer(8).type == 21


def send(daemon, n: int) -> None:
    for _ in range(n):
        daemon.vswitch("packet-out", "br", "table", FRAME, "--in-port", "p1")


def triggered(controller, timeout: float = 3) -> int:
    """Packets of the rule, as the statistics say that come unasked."""
    message = controller.next(timeout)
    assert (message.type, message.xid) == (19, 0)
    kind, flags = struct.unpack_from("!HH4x", message.body)
    assert (kind, flags) == (17, 0)
    entry = message.body[8:]
    length, table, reason, priority = struct.unpack_from("!H2xBBH", entry)
    assert (length, table, reason, priority) == (len(entry), 0, 1, 5)
    at = entry.index(packets(0)[:4])
    return int.from_bytes(entry[at + 4:at + 12], "big")


def test_a_threshold_is_told_once(daemon, controller):
    add(controller, trigger(0, packets(3)))
    send(daemon, 2)
    assert controller.quiet(0.8)
    send(daemon, 1)
    assert triggered(controller) == 3
    send(daemon, 4)
    assert controller.quiet(0.8)


def test_multiples_are_told(daemon, controller):
    add(controller, trigger(1, packets(2)))
    send(daemon, 2)
    assert triggered(controller) == 2
    send(daemon, 1)
    assert controller.quiet(0.8)
    send(daemon, 1)
    assert triggered(controller) == 4


def test_only_the_first_of_several(daemon, controller):
    add(controller, trigger(2, packets(2) + oxs(5, (250).to_bytes(8, "big"))))
    send(daemon, 2)
    assert triggered(controller) == 2
    send(daemon, 4)
    assert controller.quiet(0.8)


def test_time_since_the_rule_was_added(daemon, controller):
    add(controller, trigger(0, oxs(0, struct.pack("!II", 1, 0))))
    assert controller.quiet(0.5)
    assert triggered(controller) == 0


def test_idle_time_begins_anew(daemon, controller):
    add(controller, trigger(0, oxs(1, struct.pack("!II", 1, 0))))
    assert triggered(controller) == 0
    send(daemon, 1)
    assert triggered(controller) == 1


@pytest.mark.parametrize("instruction, code", [
    (trigger(4, packets(1)), 1),                                # a flag that there is not
    (trigger(0, packets(1) + packets(2)), 1),                   # twice
    (trigger(0, oxs(9, bytes(8))), 1),                          # no such statistic
    (trigger(0, oxs(4, bytes(4))), 7),                          # of another length
    (struct.pack("!HHIHH4x", 7, 16, 0, 0, 40), 7),              # more thresholds than there is room
    (struct.pack("!HHI", 7, 8, 0), 7),
])
def test_refusals(controller, instruction, code):
    controller.sock.sendall(frame(Type.FLOW_MOD, 9, flow_mod(instruction), 6))
    message = controller.answer(9)
    assert (message.type, struct.unpack_from("!HH", message.body)) == (Type.ERROR, (3, code))


def test_before_15_there_is_no_such_instruction(daemon, listen):
    controller = Controller.to(listen, version=4)
    controller.sock.sendall(frame(Type.FLOW_MOD, 9, flow_mod(trigger(0, packets(1)))))
    assert struct.unpack_from("!HH", controller.answer(9).body) == (3, 0)
    controller.sock.close()


def test_texts_and_events(daemon, controller):
    text = "stat_trigger(duration=1.5,packets=2,periodic),goto_table:1"
    command = [SCRIPTS / "vswitch", "--server", f"unix:{daemon.run}/api.sock", "--json", "event", "watch", "--kind", "flow_stats",
               "--count", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        time.sleep(1)
        daemon.vswitch("flow", "add", "br", f"priority=5,actions={text}")
        assert text in daemon.vswitch("flow", "dump", "br")
        assert "stat_trigger" not in daemon.ofctl("dump-flows", version="OpenFlow13")
        event = json.loads(watch.communicate(timeout=10)[0])
    assert (event["kind"], event["flow_stats"]["flow"]["priority"]) == ("flow_stats", 5)


@pytest.mark.parametrize("text, reason", [
    ("stat_trigger(packets=x)", "packets"),
    ("stat_trigger(duration=-1)", "duration: -1 is not in"),
    ("stat_trigger(packets=1,packets=2)", "packets is there twice"),
    ("stat_trigger(colour=1)", "unknown argument 'colour'"),
])
def test_texts_that_are_wrong(daemon, text, reason):
    assert reason in daemon.vswitch("flow", "add", "br", f"priority=5,actions={text}", code=1)
