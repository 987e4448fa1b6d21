"""One connection: hello, keepalive, and events to a peer that does not read. Roles and what they hide."""
import asyncio

import pytest

from vswitch import neighbours
from vswitch.errors import OpenFlowError
from vswitch.openflow import connection as module
from vswitch.openflow.codec import encode_hello, frame, take_frames
from vswitch.openflow.connection import Connection
from vswitch.openflow.constants import Role, Type
from vswitch.openflow.roles import Roles, Standing


class Served:
    """A Connection on a Unix socket, and its peer's streams."""

    async def start(self, path):
        self.handled, self.connection = [], None
        made = asyncio.Event()

        async def serve(reader, writer):
            self.connection = Connection(reader, writer)
            made.set()
            await self.connection.run(lambda: None, self._handle)

        self.server = await asyncio.start_unix_server(serve, path)
        self.reader, self.writer = await asyncio.open_unix_connection(path)
        await made.wait()
        return self

    async def _handle(self, frames):
        await self.handle(frames)

    async def handle(self, frames):
        self.handled += frames

    async def next(self):
        head = await asyncio.wait_for(self.reader.readexactly(8), 5)
        (got,) = take_frames(bytearray(head + await self.reader.readexactly(int.from_bytes(head[2:4], "big") - 8)))
        return got

    async def stop(self):
        self.writer.close()
        self.server.close()


@pytest.fixture
async def served(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PROBE", 0.1)
    served = await Served().start(tmp_path / "s")
    assert (await served.next()).type == Type.HELLO
    yield served
    await served.stop()


async def test_idle_peer_is_probed_and_given_up(served):
    served.writer.write(encode_hello(1))
    assert (await served.next()).type == Type.ECHO_REQUEST
    assert await asyncio.wait_for(served.reader.read(), 5) == b""
    assert "nothing was heard" in served.connection.end_reason


async def test_peer_that_answers_is_kept(served):
    served.writer.write(encode_hello(1))
    for _ in range(4):
        assert (await served.next()).type == Type.ECHO_REQUEST
        served.writer.write(frame(Type.ECHO_REPLY, 0))
    assert served.connection.open and {f.type for f in served.handled} == {Type.ECHO_REPLY}


async def test_events_to_a_peer_that_does_not_read_are_dropped_and_counted(served):
    served.writer.write(encode_hello(1))
    while not served.connection.open:
        await asyncio.sleep(0.01)
    for _ in range(100):
        served.connection.send_event(frame(Type.PACKET_IN, 0, bytes(10_000)))
    assert 0 < served.connection.events_dropped < 100


@pytest.mark.parametrize("said", [0, 8, 16384])
async def test_steps_are_shorter_while_somebody_else_says_little(served, tmp_path, monkeypatch, said):
    """A flood that is there already is handled in pieces, and in smaller ones while somebody else waits for answers to short messages."""
    monkeypatch.setattr(neighbours, "_IN_USE", 60)     # however slow the machine is
    other, steps, done = await Served().start(tmp_path / "other"), [], asyncio.Event()
    other.writer.write(encode_hello(0))
    assert (await other.next()).type == Type.HELLO
    served.writer.write(encode_hello(0))
    while not (served.connection.open and other.connection.open):
        await asyncio.sleep(0.01)
    monkeypatch.setattr(module.Connection, "_neighbours", neighbours.Neighbours())

    async def handle(frames):
        steps.append(len(frames))
        if said:
            other.connection._note(said)
        if sum(steps) == 4096:
            done.set()

    served.handle = handle
    served.writer.write(frame(Type.BARRIER_REQUEST, 1) * 4096)
    await asyncio.wait_for(done.wait(), 5)
    await other.stop()
    most = max(steps[1:]) * 8
    assert most <= module._READ_BESIDE if said == 8 else module._READ_BESIDE < most <= module._READ


async def test_message_shorter_than_its_header_ends_the_connection(served):
    served.writer.write(encode_hello(1) + b"\4\0\0\3\0\0\0\0")
    await asyncio.wait_for(served.reader.read(), 5)
    assert not served.connection.open


def test_one_master():
    roles, first, second = Roles(), Standing(), Standing()
    roles.join(first)
    roles.join(second)
    roles.request(first, Role.MASTER, 2**64 - 1)
    roles.request(second, Role.MASTER, 0)           # generations wrap: 0 follows 2^64 - 1
    assert (first.role, second.role) == (Role.SLAVE, Role.MASTER)
    with pytest.raises(OpenFlowError):
        roles.request(first, Role.SLAVE, 2**64 - 1)
    roles.request(first, Role.EQUAL, 0)
    assert first.role == Role.EQUAL and second.role == Role.MASTER


@pytest.mark.parametrize("role, kind, reason, wanted", [
    (Role.EQUAL, "packet_in", 0, True), (Role.MASTER, "packet_in", 1, True), (Role.MASTER, "packet_in", 2, False),
    (Role.SLAVE, "packet_in", 0, False), (Role.SLAVE, "flow_removed", 0, False), (Role.EQUAL, "flow_removed", 1, True),
    (Role.SLAVE, "port_status", 2, True)])
def test_what_is_told_by_default(role, kind, reason, wanted):
    assert Standing(role=role).wants(kind, reason) is wanted


@pytest.mark.parametrize("type_", [Type.FLOW_MOD, Type.PACKET_OUT, Type.PORT_MOD, Type.GROUP_MOD, Type.METER_MOD, Type.TABLE_MOD])
def test_slaves_may_not(type_):
    with pytest.raises(OpenFlowError) as e:
        Standing(role=Role.SLAVE).check(type_)
    assert (e.value.of_type, e.value.of_code) == (1, 10)
    Standing(role=Role.SLAVE).check(Type.BARRIER_REQUEST)
