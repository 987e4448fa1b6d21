"""Bundles: all or nothing, their states and errors, commits at a given time, 1.3's extension (OpenFlow 1.4.1, 7.3.9)."""
import struct
import time

import pytest
from raw_controller import Controller, free_port
from running_daemon import Daemon, two_dummy_ports

from vswitch.openflow import bundles, messages as ofp, port_messages as port, rule_messages as rule, session_messages as said
from vswitch.openflow.actions import ApplyActions, Output
from vswitch.openflow.codec import decode_multipart_entries, frame
from vswitch.openflow.constants import Multipart, Type
from vswitch.openflow.versions import OF13, OF14, OF15, ONF

OPEN, CLOSE, COMMIT, DISCARD = 0, 2, 4, 6


@pytest.fixture(scope="module")
def tcp_port():
    return free_port()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, tcp_port):
    daemon = Daemon(tmp_path_factory.mktemp("vswitchd"),
                    two_dummy_ports(fail_mode="secure", listen=(f"ptcp:{tcp_port}:127.0.0.1",)))
    yield daemon
    daemon.stop()


@pytest.fixture
def controller(daemon, tcp_port):
    controller = Controller.to(tcp_port, version=OF14)
    controller.send(Type.FLOW_MOD, rule.FLOW_MOD14(command=3, table_id=0xff))
    controller.barrier()
    yield controller
    controller.close()


def control(controller, type_, bundle_id=1, flags=0, **how):
    message = said.BUNDLE_CONTROL[controller.version](bundle_id=bundle_id, type=type_, flags=flags, **how)
    return controller.ask(Type.BUNDLE_CONTROL, message)


def add(controller, inner: bytes, bundle_id=1, flags=0) -> int:
    xid = int.from_bytes(inner[4:8], "big")
    controller.sock.sendall(frame(Type.BUNDLE_ADD_MESSAGE, xid, struct.pack("!I2xH", bundle_id, flags) + inner,
                                  controller.version))
    return xid


def flow_mod(controller, **members) -> bytes:
    members.setdefault("instructions", [ApplyActions((Output(2),))])
    return frame(Type.FLOW_MOD, next(controller.xids), rule.FLOW_MOD14.encode(rule.FLOW_MOD14(**members)), controller.version)


def priorities(controller) -> list[int]:
    request = ofp.MULTIPART(type=Multipart.FLOW, body=ofp.FLOW_REQUEST.encode(ofp.FLOW_REQUEST()))
    reply = controller.ask(Type.MULTIPART_REQUEST, request, Type.MULTIPART_REPLY)
    return sorted(e.priority for e in decode_multipart_entries(Multipart.FLOW, reply.body, controller.version))


def test_commit(controller):
    assert control(controller, OPEN).type == OPEN + 1
    for priority in (5, 6, 7):
        add(controller, flow_mod(controller, priority=priority))
    controller.barrier()
    assert priorities(controller) == []
    assert control(controller, CLOSE).type == CLOSE + 1
    assert control(controller, COMMIT).type == COMMIT + 1
    assert priorities(controller) == [5, 6, 7]
    assert control(controller, COMMIT).code == 2                # BAD_ID: it is no more


def test_nothing_of_a_bundle_with_a_bad_message(controller):
    """The refused message's own error, and MSG_FAILED for the commit."""
    control(controller, OPEN)
    add(controller, flow_mod(controller, priority=5))
    add(controller, frame(Type.PORT_MOD, 900, port.PORT_MOD14.encode(port.PORT_MOD14(port_no=1, config=0x20, mask=0x20)), OF14))
    bad = add(controller, flow_mod(controller, priority=6, table_id=0xff))
    xid = controller.send(Type.BUNDLE_CONTROL, said.BUNDLE_CONTROL14(bundle_id=1, type=COMMIT))
    first, second = ofp.ERROR.decode(controller.answer(bad).body), ofp.ERROR.decode(controller.answer(xid).body)
    assert (first.type, first.code) == (5, 2) and (second.type, second.code) == (17, 13)
    assert priorities(controller) == []
    desc = controller.ask(Type.MULTIPART_REQUEST, ofp.MULTIPART(type=Multipart.PORT_DESC), Type.MULTIPART_REPLY)
    assert {p.config for p in decode_multipart_entries(Multipart.PORT_DESC, desc.body, OF14)} == {0}


def test_packet_outs_and_ports_in_a_bundle(daemon, controller):
    packet = bytes.fromhex("ffffffffffff020000000001" + "0800" + "00" * 46)

    async def collect(client):
        return await client.collect(1, 2)
    daemon.ask(collect)
    control(controller, OPEN)
    add(controller, flow_mod(controller, priority=5))
    out = ofp.PACKET_OUT(in_port=1, actions=[Output(0xfffffff9)], data=packet)
    add(controller, frame(Type.PACKET_OUT, 901, ofp.PACKET_OUT.encode(out), OF14))
    assert control(controller, COMMIT).type == COMMIT + 1
    daemon.wait_for(lambda: daemon.ask(collect) == [packet])


def test_discard(controller):
    control(controller, OPEN)
    add(controller, flow_mod(controller))
    assert control(controller, DISCARD).type == DISCARD + 1
    assert priorities(controller) == [] and control(controller, DISCARD).code == 2


def test_states(controller):
    control(controller, OPEN)
    assert control(controller, OPEN).code == 3                  # BUNDLE_EXIST, and it is discarded
    assert control(controller, CLOSE).code == 2
    control(controller, OPEN)
    control(controller, CLOSE)
    assert control(controller, CLOSE).code == 4                 # BUNDLE_CLOSED
    control(controller, OPEN)
    control(controller, CLOSE)
    error = ofp.ERROR.decode(controller.answer(add(controller, flow_mod(controller))).body)
    assert (error.type, error.code) == (17, 4)
    control(controller, OPEN, flags=1)
    assert control(controller, COMMIT, flags=2).code == 7       # BAD_FLAGS
    for bundle_id in range(64):
        assert control(controller, OPEN, bundle_id).type == OPEN + 1
    assert control(controller, OPEN, 64).code == 5              # OUT_OF_BUNDLES


def test_an_add_opens_its_bundle(controller):
    add(controller, flow_mod(controller, priority=9), bundle_id=7, flags=3)
    assert control(controller, COMMIT, 7, flags=3).type == COMMIT + 1
    assert priorities(controller) == [9]


@pytest.mark.parametrize("make, error", [
    (lambda c: frame(Type.ECHO_REQUEST, 50, b"", OF14), (17, 10)), (lambda c: frame(Type.BARRIER_REQUEST, 50, b"", OF14), (17, 10)),
    (lambda c: frame(Type.BUNDLE_CONTROL, 50, bytes(8), OF14), (17, 10)),
    (lambda c: frame(Type.FLOW_MOD, 50, bytes(48), OF13), (1, 0)), (lambda c: frame(Type.FLOW_MOD, 50, bytes(40), OF14), (1, 6)),
    (lambda c: frame(Type.FLOW_MOD, 50, bytes(48), OF14)[:-8], (17, 8)),
    (lambda c: frame(Type.FLOW_MOD, 50, rule.FLOW_MOD14.encode(rule.FLOW_MOD14()), OF14) + struct.pack("!HHI", 5, 8, 0), (14, 0))])
def test_messages_that_can_not_be_added(controller, make, error):
    control(controller, OPEN)
    got = ofp.ERROR.decode(controller.answer(add(controller, make(controller))).body)
    assert (got.type, got.code) == error


def test_another_xid(controller):
    inner = flow_mod(controller)
    assert controller.refused(Type.BUNDLE_ADD_MESSAGE, struct.pack("!I2xH", 1, 0) + inner) == (17, 9)


def test_idle_bundles_are_given_up(controller):
    control(controller, OPEN)
    error = controller.wait(Type.ERROR, timeout=bundles.IDLE + 8)
    assert (error.type, error.code) == (17, 14)


def at(seconds: float) -> dict:
    sec, nsec = divmod(time.time_ns() + int(seconds * 1e9), 10**9)
    return {"flags": 4, "properties": [said.BUNDLE_TIME(seconds=sec, nanoseconds=nsec)]}


def test_scheduled(daemon, tcp_port, controller):
    later = Controller.to(tcp_port, version=OF15)
    control(later, OPEN)
    add(later, flow_mod(later, priority=3))
    began = time.monotonic()
    xid = later.send(Type.BUNDLE_CONTROL, said.BUNDLE_CONTROL15(bundle_id=1, type=COMMIT, **at(0.4)))
    assert priorities(later) == []
    assert later.answer(xid).kind == Type.BUNDLE_CONTROL and 0.35 < time.monotonic() - began < 1
    assert priorities(later) == [3]
    for when, code in ((100_000, 17), (-100, 18)):
        control(later, OPEN)
        assert control(later, COMMIT, **at(when)).code == code
        control(later, DISCARD)
    control(later, OPEN)
    assert control(later, COMMIT, flags=4).code == 7
    later.close()


def test_features(daemon, tcp_port):
    controller = Controller.to(tcp_port, version=OF15)

    def features(flags=0, *properties):
        request = said.BUNDLE_FEATURES_REQUEST(feature_request_flags=flags, properties=list(properties))
        asked = ofp.MULTIPART(type=Multipart.BUNDLE_FEATURES, body=said.BUNDLE_FEATURES_REQUEST.encode(request))
        reply = controller.ask(Type.MULTIPART_REQUEST, asked, Type.MULTIPART_REPLY)
        return decode_multipart_entries(Multipart.BUNDLE_FEATURES, reply.body, OF15)[0]

    told = features()
    assert told.capabilities == 7 and abs(told.properties[0].timestamp_sec - time.time()) < 5
    told = features(2, said.BUNDLE_FEATURES_TIME(future_sec=50, past_sec=3, past_nsec=4))
    assert (told.properties[0].future_sec, told.properties[0].past_sec, told.properties[0].past_nsec) == (50, 3, 4)
    controller.close()


def test_onf_extension(daemon, tcp_port):
    controller = Controller.to(tcp_port, version=OF13)

    def extension(exp_type, body, xid=None):
        xid = xid or next(controller.xids)
        controller.sock.sendall(frame(Type.EXPERIMENTER, xid, struct.pack("!II", ONF, exp_type) + body, OF13))
        return xid

    assert controller.answer(extension(2300, struct.pack("!IHH", 1, OPEN, 3))).body[8:] == struct.pack("!IHH", 1, OPEN + 1, 3)
    inner = frame(Type.FLOW_MOD, next(controller.xids), ofp.FLOW_MOD.encode(ofp.FLOW_MOD(priority=44)), OF13)
    extension(2301, struct.pack("!I2xH", 1, 3) + inner, int.from_bytes(inner[4:8], "big"))
    assert controller.answer(extension(2300, struct.pack("!IHH", 1, COMMIT, 3))).body[8:] == struct.pack("!IHH", 1, COMMIT + 1, 3)
    assert 44 in priorities(controller)
    controller.close()


def test_slaves_have_no_bundles(daemon, tcp_port):
    controller = Controller.to(tcp_port, version=OF14)
    controller.ask(Type.ROLE_REQUEST, ofp.ROLE(role=3), Type.ROLE_REPLY)
    assert control(controller, OPEN).code == 10
    controller.close()


