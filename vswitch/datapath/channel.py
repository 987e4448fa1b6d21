"""The transport under the datapath's client: messages, replies by xid, events, over one SEQPACKET socket in one asyncio
loop. Everything is called in that loop's thread.

Replies and events are handed out in the order in which they came: a request's `on_part` and `on_reply` callbacks run
before anything later is looked at, which is what lets the flow journal keep the datapath's own order.
"""
from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from vswitch._datapath import ffi, lib
from vswitch.datapath.records import ErrorRecord, unpack
from vswitch.datapath.refusals import refusal
from vswitch.errors import InvalidError, UnavailableError
from vswitch.neighbours import Neighbours

log = logging.getLogger(__name__)

_HEADER = struct.Struct("=HHIII")       # struct dp_msg: type, flags, xid, object, len
HEADER_LEN = _HEADER.size
assert ffi.sizeof("struct dp_msg") == HEADER_LEN
BODY_MAX = lib.DP_MSG_MAX - HEADER_LEN
_QUIET = lib.DP_F_QUIET
_READS_PER_TURN = 64        # messages taken before other tasks of the loop get their turn
_SECONDS_PER_TURN = 0.0001  # likewise
_SOON = 0.0002              # after a message: there are likely more behind it
_WINDOW = 8                 # requests about one bridge under way in the datapath,
_WINDOW_BESIDE = 1          # and while short ones about another come, which wait behind them there; of those that send much, all are
                            # served sooner by a longer queue
_BRIEF = 512                # bytes of these
_UNANSWERED = 8             # posts about one bridge in a row that are answered only if they are refused
_IN_ORDER = {lib.DP_FLOW_MOD, lib.DP_PACKET_OUT, lib.DP_BARRIER}    # whose answer tells that earlier posts were carried out
_MICROSECONDS = 100         # that an exchange waits for its answer: several times what the datapath takes
_SOCKET_BUFFER = 4 << 20    # bytes asked for; the kernel grants what it allows


# of a request: on_part, on_reply, on_error
Answers = tuple[Callable[[bytes], None], Callable[[bytes], None], Callable[[Exception], None]]


@dataclass(slots=True)
class _Pending:
    type: int
    future: asyncio.Future | None       # None: posted
    on_part: Callable[[bytes], None] | None
    on_reply: Callable[[bytes], None] | None
    object: int
    on_error: Callable[[Exception], None] | None = None
    answered: bool = True               # also when it succeeds
    covers: list[int] | None = None     # posts that are known to be carried out when this one is answered
    parts: list[bytes] | None = None

    def fail(self, error: Exception) -> None:
        if self.on_error is not None:
            self.on_error(error)
        elif self.future is not None and not self.future.done():
            self.future.set_exception(error)


class Channel:
    """One connection. `on_event(type, object, body)` and `on_lost(reason)` are plain functions; on_lost is called once."""

    def __init__(self, sock: socket.socket, on_event: Callable[[int, int, bytes], None],
                 on_lost: Callable[[str], None]):
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._on_lost = on_lost
        self._pending: dict[int, _Pending] = {}
        self._outbox: deque[bytes] = deque()
        self._under_way: dict[int, int] = {}                # requests that were sent and not answered, by object
        self._waiting: dict[int, deque[bytes]] = {}         # those that wait for these
        self._unanswered: dict[int, list[int]] = {}         # posts that may be under way still, by object
        self._neighbours = Neighbours()                     # objects that short ones are about
        self._xid = 0
        self._closed = ""
        self._room = memoryview(bytearray(lib.DP_MSG_MAX))
        self._exchange = ffi.new("struct exchange *", {"fd": sock.fileno(), "microseconds": _MICROSECONDS})
        self._exchange_sent, self._exchange_got = (memoryview(ffi.buffer(a)) for a in (self._exchange.sent, self._exchange.got))
        self._read_last = 0.0
        self._greeted = False                               # the first reply has come: no file descriptors come any more
        self.received_fds: list[int] = []
        sock.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)
        self._loop.add_reader(sock, self._readable)

    @classmethod
    async def connect(cls, path: str, on_event: Callable[[int, int, bytes], None],
                      on_lost: Callable[[str], None]) -> Channel:
        """OSError when nobody listens at `path`."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, path)
            return cls(sock, on_event, on_lost)
        except BaseException:
            sock.close()
            raise

    @property
    def closed(self) -> bool:
        return bool(self._closed)

    @property
    def last_xid(self) -> int:
        """Of the request that was sent last; events name the request that they stem from by it."""
        return self._xid

    def request(self, type_: int, object_: int = 0, body: bytes = b"", *,
                on_part: Callable[[bytes], None] | None = None,
                on_reply: Callable[[bytes], None] | None = None) -> asyncio.Future:
        """Sends a request; the future gives the last reply's body or raises what the datapath refused with.

        Without `on_part` the parts of a dump are put together in the result; with it each part is handed over and the
        result is the last one. `on_reply` is called with the last reply when it succeeded, before anything later is read.
        """
        future = self._loop.create_future()
        if why := self._unsendable(body):
            future.set_exception(why)
            return future
        self._start(type_, 0, body, _Pending(type_, future, on_part, on_reply, object_))
        return future

    def call(self, type_: int, object_: int, body: bytes, on_reply: Callable[[bytes], None],
             on_error: Callable[[Exception], None], *, on_part: Callable[[bytes], None] | None = None, flags: int = 0) -> None:
        """The same without a future: one of `on_reply` and `on_error` is called, perhaps at once. `flags` are DP_F_*."""
        if why := self._unsendable(body):
            on_error(why)
        else:
            self._start(type_, flags, body, _Pending(type_, None, on_part, on_reply, object_, on_error))

    def exchange(self, object_: int, version: int, form: int, data: bytes,
                 slower: Callable[[], Answers]) -> tuple[int, bytes] | None:
        """A controller's flow-mods and the barrier behind them that are all of `data` (channel/exchange.h), where nothing else is
        under way: how many are in force, and the journal's records of them. (0, b"") when the answer takes longer, or isn't that:
        it goes to the callbacks that `slower` gives, perhaps before this returns. None: nothing was sent."""
        if self._pending or self._outbox or self._closed or not self._greeted:
            return None
        self._note(object_, len(data))
        x = self._exchange
        xid = x.xid = self._xid % 0xffffffff + 1
        x.object, x.version, x.form = object_, version, form
        outcome = lib.exchange_rules(x, ffi.from_buffer(data), len(data))
        if outcome == lib.EXCHANGE_NOT:
            return None
        self._xid = xid
        if outcome == lib.EXCHANGE_DONE:
            return x.n, bytes(self._exchange_sent[x.at:x.at + x.len])
        on_part, on_reply, on_error = slower()
        self._pending[xid] = _Pending(lib.DP_FLOW_MOD, None, on_part, on_reply, object_, on_error)
        self._under_way[object_] = 1
        if x.got_len:
            self._take(self._exchange_got[:x.got_len])
        return 0, b""

    def _unsendable(self, body: bytes) -> Exception | None:
        if self._closed:
            return UnavailableError(f"the datapath is away: {self._closed}")
        return InvalidError(f"{len(body)} bytes don't fit into one message") if len(body) > BODY_MAX else None

    def post(self, type_: int, object_: int, body: bytes, refused: Callable[[Exception], None]) -> bool:
        """Sends a request of one of the kinds that are carried out in order, but (False) where others about the same object wait
        to be sent. `refused` is called if it can't be carried out. The datapath answers most of them only then: an answer wakes
        a process."""
        self._note(object_, len(body))
        if self._is_behind(object_):
            return False
        if why := self._unsendable(body):
            refused(why)
            return True
        before = self._unanswered.setdefault(object_, [])
        if len(before) >= _UNANSWERED:
            self._start(type_, 0, body, _Pending(type_, None, None, None, object_, refused))
        else:
            self._xid = xid = self._xid % 0xffffffff + 1
            self._pending[xid] = _Pending(type_, None, None, None, object_, refused, False)
            before.append(xid)
            self._send(_HEADER.pack(type_, _QUIET, xid, object_, len(body)) + body)
        return True

    def _is_behind(self, object_: int) -> bool:
        if object_ in self._waiting:
            return True
        ahead = self._under_way.get(object_, 0)
        return ahead >= _WINDOW or ahead >= _WINDOW_BESIDE and self._neighbours.has(object_)

    def _note(self, object_: int, length: int) -> None:
        if length <= _BRIEF:
            self._neighbours.note(object_)

    def _start(self, type_: int, flags: int, body: bytes, entry: _Pending) -> None:
        self._xid = xid = self._xid % 0xffffffff + 1
        self._pending[xid] = entry
        if self._unanswered and type_ in _IN_ORDER:
            entry.covers = self._unanswered.pop(entry.object, None)
        self._send_in_turn(entry.object, _HEADER.pack(type_, flags, xid, entry.object, len(body)) + body)

    def _send_in_turn(self, object_: int, message: bytes) -> None:
        """So few requests about one bridge are under way that another's never wait behind many of them in the socket. Those of
        one bridge keep their order."""
        if object_:
            self._note(object_, len(message))
            if self._is_behind(object_):
                self._waiting.setdefault(object_, deque()).append(message)
                return
        self._under_way[object_] = self._under_way.get(object_, 0) + 1
        self._send(message)

    def _answered(self, object_: int) -> None:
        left = self._under_way.pop(object_) - 1
        if waiting := self._waiting.get(object_):
            left += 1
            self._send(waiting.popleft())
            if not waiting:
                del self._waiting[object_]
        if left:
            self._under_way[object_] = left

    def close(self, reason: str = "closed") -> None:
        """Ends the connection; requests under way fail with UnavailableError."""
        if self._closed:
            return
        self._closed = reason
        self._loop.remove_reader(self._sock)
        if self._outbox:
            self._loop.remove_writer(self._sock)
            self._outbox.clear()
        self._sock.close()
        for fd in self.received_fds:
            os.close(fd)
        self.received_fds.clear()
        self._waiting.clear()
        pending, self._pending = self._pending, {}
        for entry in pending.values():
            entry.fail(UnavailableError(f"the datapath is away: {reason}"))
        self._on_lost(reason)

    def _send(self, message: bytes) -> None:
        if not self._outbox:
            try:
                self._sock.send(message)
                return
            except BlockingIOError:
                self._loop.add_writer(self._sock, self._writable)
            except OSError as e:
                self._loop.call_soon(self.close, str(e))
                return
        self._outbox.append(message)

    def _writable(self) -> None:
        try:
            while self._outbox:
                self._sock.send(self._outbox[0])
                self._outbox.popleft()
        except BlockingIOError:
            return
        except OSError as e:
            self.close(str(e))
            return
        self._loop.remove_writer(self._sock)

    def _readable(self) -> None:
        """A look that finds nothing costs as much as one that finds a message, so a message that comes alone is read alone."""
        began = now = monotonic()       # the loop's clock counts milliseconds
        alone = not self._under_way and began - self._read_last > _SOON
        until = began + _SECONDS_PER_TURN
        for _ in range(1 if alone else _READS_PER_TURN):
            if now >= until:
                return
            try:
                n = self._sock.recv_into(self._room) if self._greeted else self._receive_fds()
            except BlockingIOError:
                return
            except OSError as e:
                self.close(str(e))
                return
            if not n:
                self.close("the datapath closed the channel")
                return
            self._take(self._room[:n])
            if self._closed:
                return
            self._read_last = now = monotonic()

    def _receive_fds(self) -> int:
        message, fds, _, _ = socket.recv_fds(self._sock, lib.DP_MSG_MAX, 4)
        self.received_fds += fds
        self._room[:len(message)] = message
        return len(message)

    def _take(self, message: memoryview) -> None:
        if len(message) < HEADER_LEN:
            self.close("a message without a header came")
            return
        type_, flags, xid, object_, length = _HEADER.unpack_from(message)
        body = bytes(message[HEADER_LEN:])
        if len(body) != length:
            self.close(f"a message of {len(message)} bytes says that its body has {length}")
        elif xid == 0:
            self._on_event(type_, object_, body)
        elif flags & lib.DP_F_MORE:
            self._part(xid, body)
        else:
            self._greeted = True
            self._last(xid, type_, body)

    def _part(self, xid: int, body: bytes) -> None:
        entry = self._pending.get(xid)
        if entry is None:
            log.warning("a reply came that nobody waits for", extra={"xid": xid})
        elif entry.on_part is not None:
            entry.on_part(body)
        else:
            entry.parts = entry.parts or []
            entry.parts.append(body)

    def _last(self, xid: int, type_: int, body: bytes) -> None:
        entry = self._pending.pop(xid, None)
        if entry is None:
            log.warning("a reply came that nobody waits for", extra={"xid": xid})
            return
        if entry.answered:
            self._answered(entry.object)
        elif (before := self._unanswered.get(entry.object)) and xid in before:
            before.remove(xid)
        for earlier in entry.covers or ():
            self._pending.pop(earlier, None)
        if type_ == lib.DP_ERROR:
            entry.fail(refusal(unpack(ErrorRecord, body)))
            return
        if type_ != entry.type:
            self.close(f"a reply of type {type_} answers a request of type {entry.type}")
            return
        if entry.parts:
            body = b"".join((*entry.parts, body))
        if entry.on_reply is not None:
            entry.on_reply(body)
        if entry.future is not None and not entry.future.done():
            entry.future.set_result(body)
