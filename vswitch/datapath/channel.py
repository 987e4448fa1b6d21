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
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from vswitch._datapath import ffi, lib
from vswitch.datapath.records import ErrorRecord, unpack
from vswitch.datapath.refusals import refusal
from vswitch.errors import InvalidError, UnavailableError

log = logging.getLogger(__name__)

HEADER_LEN = ffi.sizeof("struct dp_msg")
BODY_MAX = lib.DP_MSG_MAX - HEADER_LEN
_READS_PER_TURN = 64        # messages taken before other tasks of the loop get their turn
_WINDOW = 8                 # requests about one bridge under way in the datapath
_SOCKET_BUFFER = 4 << 20    # bytes asked for; the kernel grants what it allows


@dataclass(slots=True)
class _Pending:
    type: int
    future: asyncio.Future
    on_part: Callable[[bytes], None] | None
    on_reply: Callable[[bytes], None] | None
    object: int
    parts: list[bytes] = field(default_factory=list)


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
        self._under_way: Counter[int] = Counter()           # requests that were sent and not answered, by object
        self._waiting: dict[int, deque[bytes]] = {}         # those that wait for these
        self._xid = 0
        self._closed = ""
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
        if self._closed:
            future.set_exception(UnavailableError(f"the datapath is away: {self._closed}"))
            return future
        if len(body) > BODY_MAX:
            future.set_exception(InvalidError(f"{len(body)} bytes don't fit into one message"))
            return future
        self._xid = self._xid % 0xffffffff + 1
        self._pending[self._xid] = _Pending(type_, future, on_part, on_reply, object_)
        header = ffi.new("struct dp_msg *", {"type": type_, "xid": self._xid, "object": object_, "len": len(body)})
        self._send_in_turn(object_, bytes(ffi.buffer(header)) + body)
        return future

    def _send_in_turn(self, object_: int, message: bytes) -> None:
        """So few requests about one bridge are under way that another's never wait behind many of them in the socket. Those of
        one bridge keep their order."""
        waiting = self._waiting.get(object_)
        if object_ and (waiting or self._under_way[object_] >= _WINDOW):
            self._waiting.setdefault(object_, deque()).append(message)
            return
        self._under_way[object_] += 1
        self._send(message)

    def _answered(self, object_: int) -> None:
        self._under_way[object_] -= 1
        if waiting := self._waiting.get(object_):
            self._under_way[object_] += 1
            self._send(waiting.popleft())
            if not waiting:
                del self._waiting[object_]
        elif not self._under_way[object_]:
            del self._under_way[object_]

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
            if not entry.future.done():
                entry.future.set_exception(UnavailableError(f"the datapath is away: {reason}"))
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
        for _ in range(_READS_PER_TURN):
            try:
                message, fds, _, _ = socket.recv_fds(self._sock, lib.DP_MSG_MAX, 4)
            except BlockingIOError:
                return
            except OSError as e:
                self.close(str(e))
                return
            self.received_fds += fds
            if not message:
                self.close("the datapath closed the channel")
                return
            self._take(message)
            if self._closed:
                return

    def _take(self, message: bytes) -> None:
        if len(message) < HEADER_LEN:
            self.close("a message without a header came")
            return
        header = ffi.from_buffer("struct dp_msg *", message, require_writable=False)
        body = message[HEADER_LEN:]
        if len(body) != header.len:
            self.close(f"a message of {len(message)} bytes says that its body has {header.len}")
        elif header.xid == 0:
            self._on_event(header.type, header.object, body)
        elif header.flags & lib.DP_F_MORE:
            self._part(header.xid, body)
        else:
            self._last(header.xid, header.type, body)

    def _part(self, xid: int, body: bytes) -> None:
        entry = self._pending.get(xid)
        if entry is None:
            log.warning("a reply came that nobody waits for", extra={"xid": xid})
        elif entry.on_part is not None:
            entry.on_part(body)
        else:
            entry.parts.append(body)

    def _last(self, xid: int, type_: int, body: bytes) -> None:
        entry = self._pending.pop(xid, None)
        if entry is None:
            log.warning("a reply came that nobody waits for", extra={"xid": xid})
            return
        self._answered(entry.object)
        if type_ == lib.DP_ERROR:
            if not entry.future.done():
                entry.future.set_exception(refusal(unpack(ErrorRecord, body)))
            return
        if type_ != entry.type:
            self.close(f"a reply of type {type_} answers a request of type {entry.type}")
            return
        if entry.parts:
            body = b"".join((*entry.parts, body))
        if entry.on_reply is not None:
            entry.on_reply(body)
        if not entry.future.done():
            entry.future.set_result(body)
