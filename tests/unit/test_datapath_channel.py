"""The channel's client against a server of bare messages: records, refusals, dumps, batches, loss; and supervision."""
import asyncio
import errno
import socket
import stat

import pytest

from vswitch._datapath import ffi, lib
from vswitch.datapath import records
from vswitch.datapath.channel import Channel
from vswitch.datapath.client import Client, _batches
from vswitch.datapath.launcher import Command, DirectLauncher, find_executable
from vswitch.datapath.refusals import refusal
from vswitch.datapath.supervisor import Supervisor
from vswitch.errors import (BusyError, ExistsError, InvalidError, NotFoundError, OpenFlowError, QuotaError,
                            UnavailableError)

RECORDS = [cls for cls in vars(records).values() if isinstance(cls, type) and issubclass(cls, records.Record) and cls is not records.Record]


@pytest.mark.parametrize("cls", RECORDS, ids=lambda c: c.__name__)
def test_records_mirror_the_contract(cls):
    members = {name for name, _ in ffi.typeof(cls.struct).fields}
    assert members - {"reserved"} == set(cls.__dataclass_fields__)


def test_record_round_trip():
    port = records.PortRecord(bridge=1, port_no=2, kind=3, vni=0xffffff, mac=b"\2\0\0\0\0\1", name="p" * 63, ifname="eth0")
    assert records.unpack_all(records.PortRecord, records.pack(port) * 2) == [port, port]
    vtep = records.VtepRecord(records.address_bytes("10.0.0.1"), records.address_bytes("fe80::1"), 4789)
    assert records.unpack(records.VtepRecord, records.pack(vtep)) == vtep
    assert [records.address_text(a) for a in (vtep.local4, vtep.local6, bytes(16))] == ["10.0.0.1", "fe80::1", ""]


@pytest.mark.parametrize("change, field", [({"port_no": 2**32}, "port_no"), ({"name": "x" * 64}, "name"), ({"mac": b"12"}, "mac")])
def test_what_does_not_fit_a_record(change, field):
    with pytest.raises(InvalidError) as e:
        records.pack(records.PortRecord(**{"bridge": 1, "port_no": 1, "kind": 1, **change}))
    assert e.value.field == field


@pytest.mark.parametrize("number, of, error", [
    (errno.ENOENT, 0xffff, NotFoundError), (errno.EEXIST, 0xffff, ExistsError), (errno.EBUSY, 0xffff, BusyError),
    (errno.ENOSPC, 0xffff, QuotaError), (errno.EDQUOT, 0xffff, QuotaError), (errno.EINVAL, 0xffff, InvalidError),
    (errno.ERANGE, 0xffff, InvalidError), (errno.EIO, 0xffff, UnavailableError), (errno.EINVAL, 4, OpenFlowError)])
def test_refusals(number, of, error):
    got = refusal(records.ErrorRecord(number, of, 9, "weight", "why"))
    assert type(got) is error and got.field == "weight"
    assert got.reason == "why"


def test_batches_fit_and_name_all_their_errors():
    assert _batches([b"x" * 100] * 600, 65520) == [(0, 256), (256, 512), (512, 600)]
    assert _batches([b"x" * 30_000] * 3, 65520) == [(0, 2), (2, 3)]
    assert _batches([], 65520) == []


class Peer:
    """The datapath's end of a socket pair."""

    def __init__(self):
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(5)
        self.events, self.lost = [], []
        self.channel = Channel(theirs, lambda *event: self.events.append(event), self.lost.append)

    def send(self, type_, xid, body=b"", flags=0, object_=0):
        self.sock.send(bytes(ffi.buffer(ffi.new("struct dp_msg *", [type_, flags, xid, object_, len(body)]))) + body)

    def receive(self):
        message = self.sock.recv(65536)
        return ffi.from_buffer("struct dp_msg *", message), message[16:]


async def test_replies_parts_and_events_in_order():
    peer, order = Peer(), []
    first = peer.channel.request(lib.DP_FLOW_DUMP, 1, b"q", on_part=lambda b: order.append(b), on_reply=lambda b: order.append(b))
    second = peer.channel.request(lib.DP_BARRIER, 1)
    assert [peer.receive()[0].xid for _ in (1, 2)] == [1, 2]
    peer.send(lib.DP_FLOW_DUMP, 1, b"a", lib.DP_F_MORE)
    peer.send(lib.DP_EV_PACKET_IN, 0, b"event", object_=7)
    peer.send(lib.DP_FLOW_DUMP, 1, b"b")
    peer.send(lib.DP_BARRIER, 2)
    assert await first == b"b" and await second == b"" and order == [b"a", b"b"]
    assert peer.events == [(lib.DP_EV_PACKET_IN, 7, b"event")]
    peer.channel.close()


async def test_parts_are_put_together_and_errors_raised():
    peer = Peer()
    listed, failed = peer.channel.request(lib.DP_PORT_LIST), peer.channel.request(lib.DP_TENANT_DEL, 3)
    peer.send(lib.DP_PORT_LIST, 1, b"a", lib.DP_F_MORE)
    peer.send(lib.DP_PORT_LIST, 1, b"b")
    peer.send(lib.DP_ERROR, 2, records.pack(records.ErrorRecord(errno.EBUSY, 0xffff, 0xffff, "tenant", "owns")))
    assert await listed == b"ab"
    with pytest.raises(BusyError):
        await failed
    peer.channel.close()


async def test_write_queue_when_the_datapath_does_not_read():
    peer = Peer()
    futures = [peer.channel.request(lib.DP_PACKET_OUT, 1, bytes(60_000)) for _ in range(300)]
    for i in range(1, 301):
        head, body = await asyncio.to_thread(peer.receive)
        assert (head.xid, len(body)) == (i, 60_000)
        peer.send(lib.DP_PACKET_OUT, i)
    await asyncio.gather(*futures)
    peer.channel.close()


async def test_loss():
    peer = Peer()
    waiting = peer.channel.request(lib.DP_BARRIER)
    peer.sock.close()
    with pytest.raises(UnavailableError):
        await waiting
    assert len(peer.lost) == 1
    with pytest.raises(UnavailableError):
        await peer.channel.request(lib.DP_BARRIER)


FLOW_MOD = bytes.fromhex("040e0038 00000001") + bytes(16) + b"\0\0\0\0\0\0\0\7" + b"\xff" * 12 + bytes.fromhex("0002 0000 0001 0004 00000000")
BARRIER = bytes.fromhex("04140008 00000002")
CLEAN = bytes(ffi.buffer(ffi.new("struct dp_batch_reply *", [1, 0])))


class Exchange(Peer):
    """Flow-mods and a barrier, and what of the channel's callbacks was called."""

    async def begin(self):
        greeting = self.channel.request(lib.DP_BARRIER)
        self.receive()
        self.send(lib.DP_BARRIER, 1)
        await greeting
        self.told = []
        return self

    def run(self, data):
        callbacks = [lambda what, name=name: self.told.append((name, what)) for name in ("part", "reply", "error")]
        return self.channel.exchange(9, 4, lib.CODEC_STANDARD, data, lambda: callbacks)

    @classmethod
    async def begun(cls):
        return await cls().begin()


async def test_an_exchange_is_answered_at_once_and_gives_the_journals_records():
    peer = await Exchange.begun()
    peer.send(lib.DP_FLOW_MOD, 2, CLEAN, lib.DP_F_REPLY)
    n, records_ = peer.run(FLOW_MOD + BARRIER)
    head, body = peer.receive()
    assert (head.type, head.flags, head.object, n) == (lib.DP_FLOW_MOD, lib.DP_F_BARRIER, 9, 1)
    sent, logged = body[8:], records_[4:]
    assert records_[:4] == len(sent).to_bytes(4, "big") and body[:8] == (1).to_bytes(4, "little") + len(sent).to_bytes(4, "little")
    assert logged[:36] == sent[:36] and sent[36:38] == b"\0\2" and logged[36:38] == b"\0\0"     # checks overlap only once
    assert peer.told == [] and peer.channel.last_xid == 2
    peer.channel.close()
    assert peer.told == [] and len(peer.lost) == 1          # nobody waits for it any more


async def test_an_exchanges_late_answer_and_what_comes_before_it():
    peer = await Exchange.begun()
    peer.send(lib.DP_EV_PACKET_IN, 0, b"event", object_=9)
    assert peer.run(FLOW_MOD * 2 + BARRIER) == (0, b"")
    assert peer.events == [(lib.DP_EV_PACKET_IN, 9, b"event")] and peer.told == []
    peer.send(lib.DP_FLOW_MOD, 2, b"early", lib.DP_F_REPLY | lib.DP_F_MORE)
    behind = peer.channel.request(lib.DP_BARRIER, 9)
    peer.send(lib.DP_FLOW_MOD, 2, CLEAN, lib.DP_F_REPLY)
    peer.send(lib.DP_BARRIER, 3, b"", lib.DP_F_REPLY)
    await behind
    assert peer.told == [("part", b"early"), ("reply", CLEAN)]
    assert peer.run(FLOW_MOD + BARRIER) == (0, b"") and peer.channel.last_xid == 4      # again nothing comes
    peer.channel.close()
    assert [name for name, _ in peer.told] == ["part", "reply", "error"] and isinstance(peer.told[2][1], UnavailableError)


@pytest.mark.parametrize("n_errors, flags, kind", [(1, lib.DP_F_REPLY, "reply"), (0, lib.DP_F_REPLY | lib.DP_F_MORE, "part")])
async def test_an_exchanges_answer_that_tells_of_more_goes_to_its_callbacks(n_errors, flags, kind):
    peer, body = await Exchange.begun(), bytes(ffi.buffer(ffi.new("struct dp_batch_reply *", [0, n_errors])))
    peer.send(lib.DP_FLOW_MOD, 2, body, flags)
    assert peer.run(FLOW_MOD + BARRIER) == (0, b"") and peer.told == [(kind, body)]
    peer.channel.close()


async def test_an_exchange_that_the_datapath_refuses():
    peer = await Exchange.begun()
    peer.send(lib.DP_ERROR, 2, records.pack(records.ErrorRecord(errno.ENOENT, 0xffff, 0xffff, "bridge", "gone")), lib.DP_F_REPLY)
    assert peer.run(FLOW_MOD + BARRIER) == (0, b"")
    assert [name for name, _ in peer.told] == ["error"] and isinstance(peer.told[0][1], NotFoundError)
    peer.channel.close()


@pytest.mark.parametrize("data", [
    FLOW_MOD, BARRIER, FLOW_MOD + BARRIER + BARRIER, BARRIER + FLOW_MOD, FLOW_MOD + BARRIER[:7], FLOW_MOD[:-1] + BARRIER,
    FLOW_MOD * 17 + BARRIER, b"\5" + FLOW_MOD[1:] + BARRIER, FLOW_MOD + b"\5" + BARRIER[1:], FLOW_MOD + BARRIER[:1] + b"\x12" + BARRIER[2:],
    FLOW_MOD[:25] + b"\x63" + FLOW_MOD[26:] + BARRIER], ids=range(11))
async def test_what_is_no_exchange_is_left_alone(data):
    peer = await Exchange.begun()
    assert peer.run(data) is None and peer.channel.last_xid == 1
    peer.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.sock.recv(1)
    peer.channel.close()


async def test_no_exchange_while_a_request_is_under_way():
    peer = await Exchange.begun()
    waiting = peer.channel.request(lib.DP_BARRIER, 9)
    assert peer.run(FLOW_MOD + BARRIER) is None
    peer.send(lib.DP_BARRIER, 2)
    await waiting
    peer.channel.close()


async def test_message_too_long_is_refused_here():
    peer = Peer()
    with pytest.raises(InvalidError):
        await peer.channel.request(lib.DP_FLOW_MOD, 1, bytes(65536))
    peer.channel.close()


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


async def test_datapath_that_ends_at_once_is_started_again_with_back_off(tmp_path):
    starts = tmp_path / "starts"
    command = Command(script(tmp_path / "dp", f"echo $* >> {starts}; exit 1"), str(tmp_path / "sock"), str(tmp_path / "log"),
                      workers=2, poll=True)

    async def up(client):
        raise AssertionError

    supervisor = Supervisor(command.socket, DirectLauncher(command), on_event=print, on_up=up, on_down=print)
    supervisor.start()
    await asyncio.sleep(1.2)
    await supervisor.stop()
    lines = starts.read_text().splitlines()
    assert 3 <= len(lines) <= 6 and lines[0] == f"--socket {tmp_path}/sock --workers 2 --poll"
    assert "ended as soon as it was started" in supervisor.last_error


def test_executable(tmp_path, monkeypatch):
    path = script(tmp_path / "vswitch-datapath", "")
    assert find_executable(path) == path
    monkeypatch.setenv("VSWITCH_DATAPATH", path)
    assert find_executable() == path
    with pytest.raises(NotFoundError):
        find_executable(str(tmp_path / "none"))


async def test_attach_to_another_version(tmp_path):
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.bind(str(tmp_path / "s"))
    server.listen()

    def answer():
        sock, _ = server.accept()
        sock.recv(65536)
        body = records.pack(records.HelloReply(99, 1, 1, 0, 1, 1, 0))
        sock.send(bytes(ffi.buffer(ffi.new("struct dp_msg *", [lib.DP_HELLO, 1, 1, 0, len(body)]))) + body)
        sock.recv(1)
        sock.close()
    task = asyncio.create_task(asyncio.to_thread(answer))
    with pytest.raises(UnavailableError, match="version 99"):
        await Client.attach(str(tmp_path / "s"))
    await task
    server.close()


async def test_one_request_is_under_way_while_short_ones_about_another_bridge_come():
    peer = Peer()
    alone = [peer.channel.request(lib.DP_BARRIER, 1) for _ in range(3)]
    assert [peer.receive()[0].xid for _ in alone] == [1, 2, 3]      # several at once, where nobody waits behind them
    other = peer.channel.request(lib.DP_BARRIER, 2)
    beside = peer.channel.request(lib.DP_BARRIER, 1)
    assert peer.receive()[0].object == 2
    peer.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.receive()
    for xid in (1, 2, 3):
        peer.send(lib.DP_BARRIER, xid)
    await asyncio.gather(*alone)
    head, _ = peer.receive()
    assert (head.xid, head.object) == (5, 1)
    for xid in (4, 5):
        peer.send(lib.DP_BARRIER, xid)
    await asyncio.gather(other, beside)
    peer.channel.close()


async def test_those_that_send_much_do_not_shorten_each_others_queues():
    peer = Peer()
    futures = [peer.channel.request(lib.DP_FLOW_MOD, 1 + n % 2, bytes(4000)) for n in range(6)]
    assert [peer.receive()[0].xid for _ in futures] == [1, 2, 3, 4, 5, 6]
    for xid in range(1, 7):
        peer.send(lib.DP_FLOW_MOD, xid)
    await asyncio.gather(*futures)
    peer.channel.close()
