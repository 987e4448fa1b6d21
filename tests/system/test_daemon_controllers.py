"""Controllers of a bridge: what they are told, their roles, what happens when they are away, and what they are refused."""
import asyncio
import struct
import time

import pytest
from raw_controller import Controller, free_port, listening
from running_daemon import Daemon, two_dummy_ports

from vswitch.openflow import messages as ofp
from vswitch.openflow.actions import ApplyActions, Output
from vswitch.openflow.codec import decode_multipart_entries, encode, encode_hello
from vswitch.openflow.constants import OFPP_CONTROLLER, FlowFlag, FlowModCommand, Multipart, Role, Type

FRAME = bytes.fromhex("020000000002" "020000000001" "0800" "4500002e00000000401100000a0000010a000002"
                      "00010007001a0000") + bytes(18)


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, port):
    daemon = Daemon(tmp_path_factory.mktemp("vswitchd"), two_dummy_ports(fail_mode="secure", listen=(f"ptcp:{port}:127.0.0.1",)))
    yield daemon
    daemon.stop()


@pytest.fixture
def controller(daemon, port):
    controller = Controller.to(port)
    controller.send(Type.FLOW_MOD, ofp.FLOW_MOD(command=FlowModCommand.DELETE, table_id=0xff))
    controller.barrier()
    yield controller
    controller.close()


def inject(daemon, n=1, in_port=1):
    async def run(client):
        for _ in range(n):
            await client.inject(1, in_port, FRAME)
    daemon.ask(run)


def collected(daemon, out_port=2) -> int:
    async def run(client):
        for _ in range(100):
            if frames := await client.collect(1, out_port):
                return len(frames)
            await asyncio.sleep(0.002)
        return 0
    return daemon.ask(run)


def to_controller(controller, **how):
    controller.send(Type.FLOW_MOD, ofp.FLOW_MOD(priority=1, instructions=[ApplyActions((Output(OFPP_CONTROLLER),))], **how))
    controller.barrier()


def test_packet_in_and_out(daemon, controller):
    to_controller(controller, cookie=7)
    inject(daemon)
    packet_in = controller.wait(Type.PACKET_IN)
    assert (packet_in.data, packet_in.cookie, packet_in.match) == (FRAME, 7, {"in_port": (1, None)})
    controller.send(Type.PACKET_OUT, ofp.PACKET_OUT(in_port=1, actions=[Output(2)], data=packet_in.data))
    assert collected(daemon) == 1


def test_flow_removed(controller):
    controller.send(Type.FLOW_MOD, ofp.FLOW_MOD(cookie=5, priority=9, hard_timeout=1, flags=FlowFlag.SEND_FLOW_REM,
                                                match={"eth_type": (0x800, None)}))
    removed = controller.wait(Type.FLOW_REMOVED)
    assert (removed.cookie, removed.priority, removed.reason, removed.match) == (5, 9, 1, {"eth_type": (0x800, None)})


def test_port_status(daemon, controller):
    desc = controller.ask(Type.MULTIPART_REQUEST, ofp.MULTIPART(type=Multipart.PORT_DESC), Type.MULTIPART_REPLY)
    p1 = next(p for p in decode_multipart_entries(Multipart.PORT_DESC, desc.body) if p.name == "p1")
    controller.send(Type.PORT_MOD, ofp.PORT_MOD(port_no=1, hw_addr=p1.hw_addr, config=0x20, mask=0x20))
    status = controller.wait(Type.PORT_STATUS)
    assert (status.reason, status.ports[0].name, status.ports[0].config) == (2, "p1", 0x20)
    controller.send(Type.PORT_MOD, ofp.PORT_MOD(port_no=1, hw_addr=p1.hw_addr, config=0, mask=0x20))
    assert controller.wait(Type.PORT_STATUS).ports[0].config == 0


def test_roles(daemon, controller, port):
    other = Controller.to(port)
    assert controller.ask(Type.ROLE_REQUEST, ofp.ROLE(), Type.ROLE_REPLY).role == Role.EQUAL
    controller.ask(Type.ROLE_REQUEST, ofp.ROLE(role=Role.MASTER, generation_id=10), Type.ROLE_REPLY)
    other.ask(Type.ROLE_REQUEST, ofp.ROLE(role=Role.MASTER, generation_id=11), Type.ROLE_REPLY)
    assert controller.ask(Type.ROLE_REQUEST, ofp.ROLE(), Type.ROLE_REPLY).role == Role.SLAVE
    assert controller.refused(Type.FLOW_MOD, ofp.FLOW_MOD.encode(ofp.FLOW_MOD())) == (1, 10)
    assert controller.refused(Type.PACKET_OUT, ofp.PACKET_OUT.encode(ofp.PACKET_OUT())) == (1, 10)
    assert controller.refused(Type.ROLE_REQUEST, ofp.ROLE.encode(ofp.ROLE(role=Role.MASTER, generation_id=9))) == (11, 0)
    assert controller.refused(Type.ROLE_REQUEST, ofp.ROLE.encode(ofp.ROLE(role=9))) == (11, 2)
    to_controller(other)
    inject(daemon)
    assert other.wait(Type.PACKET_IN).data == FRAME
    assert controller.quiet()
    controller.send(Type.SET_ASYNC, ofp.ASYNC(packet_in_slave=0b11))
    assert controller.ask(Type.GET_ASYNC_REQUEST, None, Type.GET_ASYNC_REPLY).packet_in_slave == 0b11
    inject(daemon)
    assert controller.wait(Type.PACKET_IN).data == FRAME
    other.close()


def test_a_controller_that_does_not_read_holds_up_nobody(daemon, controller, port):
    deaf = Controller.to(port)
    deaf.barrier()
    to_controller(controller)
    for _ in range(60):
        inject(daemon, 100)
        began = time.monotonic()
        controller.ask(Type.ECHO_REQUEST, ofp.ECHO(data=b"x"), Type.ECHO_REPLY)
        assert time.monotonic() - began < 1
    deaf.close()


@pytest.mark.parametrize("type_, body, error", [
    (Type.FEATURES_REQUEST, b"x", (1, 6)), (Type.BARRIER_REQUEST, bytes(8), (1, 6)), (Type.SET_CONFIG, b"", (1, 6)),
    (Type.FLOW_MOD, bytes(47), (1, 6)), (Type.PACKET_OUT, bytes(15), (1, 6)), (Type.ROLE_REQUEST, bytes(15), (1, 6)),
    (Type.MULTIPART_REQUEST, bytes(7), (1, 6)), (Type.MULTIPART_REQUEST, struct.pack("!HH4xI", 0, 0, 0), (1, 6)),
    (Type.MULTIPART_REQUEST, struct.pack("!HH4x", 1, 0), (1, 6)), (Type.ECHO_REQUEST + 97, b"", (1, 1)),
    (Type.FEATURES_REPLY, bytes(24), (1, 1)), (Type.MULTIPART_REQUEST, struct.pack("!HH4x", 77, 0), (1, 2)),
    (Type.EXPERIMENTER, bytes(8), (1, 3)),
    (Type.MULTIPART_REQUEST, struct.pack("!HH4xII", 0xffff, 0, 1, 1), (1, 3)),
    (Type.MULTIPART_REQUEST, struct.pack("!HH4xI4x", 4, 0, 99), (1, 11)),
    (Type.MULTIPART_REQUEST, struct.pack("!HH4xII", 5, 0, 99, 0xffffffff), (9, 0)),
    (Type.MULTIPART_REQUEST, struct.pack("!HH4xII", 5, 0, 1, 3), (9, 1)),
    (Type.MULTIPART_REQUEST, struct.pack("!HH4xI4x", 9, 0, 3), (12, 3)),
    (Type.QUEUE_GET_CONFIG_REQUEST, struct.pack("!I4x", 99), (9, 0)),
    (Type.SET_CONFIG, struct.pack("!HH", 8, 128), (10, 0)), (Type.TABLE_MOD, struct.pack("!B3xI", 254, 0), (8, 0)),
    (Type.TABLE_MOD, struct.pack("!B3xI", 0, 4), (8, 1)),
    (Type.PORT_MOD, struct.pack("!I4x6s2xIII4x", 99, bytes(6), 0, 0, 0), (7, 0)),
    (Type.PORT_MOD, struct.pack("!I4x6s2xIII4x", 1, b"\2\3\4\5\6\7", 0, 1, 0), (7, 1)),
    (Type.PORT_MOD, struct.pack("!I4x6s2xIII4x", 1, bytes(6), 2, 2, 0), (7, 2)),
    (Type.GROUP_MOD, struct.pack("!HBxI", 0, 0, 0xffffff01), (6, 1)), (Type.GROUP_MOD, struct.pack("!HBxI", 1, 0, 1), (6, 8)),
    (Type.GROUP_MOD, struct.pack("!HBxI", 7, 0, 1), (6, 11)), (Type.GROUP_MOD, struct.pack("!HBxI", 0, 9, 1), (6, 10)),
    (Type.METER_MOD, struct.pack("!HHI", 0, 1, 0), (12, 2)), (Type.METER_MOD, struct.pack("!HHI", 9, 1, 1), (12, 4)),
    (Type.PACKET_OUT, struct.pack("!IIH6x", 0xffffffff, 0, 0), (1, 11)),
    (Type.PACKET_OUT, struct.pack("!IIH6x", 0xffffffff, 0xffffff01, 0), (1, 11)),
    (Type.PACKET_OUT, struct.pack("!IIH6x", 0xffffffff, 1, 0), (1, 12)),
    (Type.FLOW_MOD, ofp.FLOW_MOD.encode(ofp.FLOW_MOD(table_id=0xff)), (5, 2)),
    (Type.FLOW_MOD, ofp.FLOW_MOD.encode(ofp.FLOW_MOD(command=9)), (5, 6)),
    (Type.FLOW_MOD, ofp.FLOW_MOD.encode(ofp.FLOW_MOD(match={"tcp_dst": (1, None)})), (4, 9)),
    (Type.FLOW_MOD, ofp.FLOW_MOD.encode(ofp.FLOW_MOD(buffer_id=3)), (1, 8)),
])
def test_refused(controller, type_, body, error):
    assert controller.refused(type_, body) == error
    controller.barrier()


def test_another_version_after_hello(controller):
    assert controller.refused(Type.ECHO_REQUEST, b"", version=1) == (1, 0)


def bitmap(*versions, header=6) -> bytes:
    return bytes((header,)) + bytes.fromhex("00001000000001" "00010008") + sum(1 << v for v in versions).to_bytes(4, "big")


@pytest.mark.parametrize("hello", [
    bytes.fromhex("0000000800000001"), bitmap(0, 7, 9),
    bytes.fromhex("0402000800000001")], ids=["version 0", "bitmap without ours", "no hello"])
def test_hello_refused(daemon, port, hello):
    controller = Controller.to(port, hello=False)
    controller.sock.sendall(hello)
    error = controller.wait(Type.ERROR)
    assert (error.type, error.code) == (0, 0)
    with pytest.raises(EOFError):
        controller.next()


@pytest.mark.parametrize("hello, version", [
    (bytes.fromhex("0100000800000001"), 1), (bytes.fromhex("0400000800000001"), 4), (bytes.fromhex("0600000800000001"), 6),
    (bytes.fromhex("0900000800000001"), 6), (bitmap(1, 4, 5, header=5), 5), (bitmap(1, 3, header=3), 3),
    (bitmap(2, 7, header=7), 2), (encode_hello(3), 4)])
def test_hello_agreed(daemon, port, hello, version):
    controller = Controller.to(port, hello=False, version=version)
    controller.sock.sendall(hello)
    assert controller.next().type == Type.HELLO
    controller.barrier()
    controller.close()


def test_order_of_what_comes_together(daemon, controller):
    """Flow-mods, packet-outs through the tables and barriers in one write are carried out one after the other."""
    burst = b""
    for out in (1, 2) * 20:
        burst += encode(Type.FLOW_MOD, 1, ofp.FLOW_MOD(priority=5, instructions=[ApplyActions((Output(out),))]))
        burst += encode(Type.BARRIER_REQUEST, 2)
        burst += encode(Type.PACKET_OUT, 3, ofp.PACKET_OUT(actions=[Output(0xfffffff9)], data=FRAME))
    collected(daemon, 1), collected(daemon, 2)
    controller.sock.sendall(burst)
    controller.barrier()

    async def both(client):
        totals = [0, 0]
        for _ in range(100):
            for i in (0, 1):
                totals[i] += len(await client.collect(1, i + 1))
            if sum(totals) == 40:
                break
            await asyncio.sleep(0.005)
        return totals
    assert daemon.ask(both) == [20, 20]


def test_large_dump_comes_in_parts(controller):
    for i in range(1, 3001):
        controller.send(Type.FLOW_MOD, ofp.FLOW_MOD(priority=i, instructions=[ApplyActions((Output(2),))]))
    controller.barrier()
    xid = controller.send(Type.MULTIPART_REQUEST, ofp.MULTIPART(type=Multipart.FLOW, body=ofp.FLOW_REQUEST.encode(ofp.FLOW_REQUEST())))
    entries, parts, more = [], 0, True
    while more:
        reply = controller.next()
        assert reply.xid == xid and reply.type == Type.MULTIPART_REPLY
        body = ofp.MULTIPART.decode(reply.body)
        entries += decode_multipart_entries(Multipart.FLOW, body.body)
        more, parts = body.flags & 1, parts + 1
    assert sorted(e.priority for e in entries) == list(range(1, 3001)) and parts >= 3


def test_standalone_without_its_controller(tmp_path):
    port = free_port()
    daemon = Daemon(tmp_path, two_dummy_ports(controllers=(f"tcp:127.0.0.1:{port}",)))
    try:
        def forwards() -> bool:
            inject(daemon)
            return collected(daemon) > 0
        daemon.wait_for(forwards)               # refused three times: the bridge forwards by itself
        server = listening(port)
        controller = Controller(server.accept()[0])
        daemon.wait_for(lambda: not forwards())  # a controller is there: no rule, no forwarding
        controller.close()
        server.close()
        daemon.wait_for(forwards)
    finally:
        daemon.stop()
