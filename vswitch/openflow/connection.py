"""One OpenFlow connection's bytes: framing, hello, keepalive, and a write queue that a slow reader can't make grow.

What to do with a message is the session's (session.py).
"""
from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

from vswitch.errors import OpenFlowError
from vswitch.neighbours import Neighbours
from vswitch.openflow.codec import Frame, encode_error, encode_hello, message_frame, negotiate, take_frames
from vswitch.openflow.constants import ErrorType, HelloFailed, Type
from vswitch.openflow.streams import Reader
from vswitch.openflow.versions import TEXTS, Version

log = logging.getLogger(__name__)

PROBE = 5.0                 # seconds without a message after which an echo is sent, and again the connection given up
_HELLO_TIMEOUT = 10.0
_READ = 16 << 10            # bytes handled in one step of the event loop,
_READ_BESIDE = 4 << 10      # and while somebody waits for answers to short messages
_SHORT = 2 << 10            # bytes that may be handled in the callback which they come with
_UNSENT = 128 << 10         # bytes that the kernel takes beyond what the peer's window lets it send
_EVENTS_WAITING = 256 << 10 # bytes unread by the peer beyond which events to it are dropped
_CLOSE_TIMEOUT = 2.0


class Connection:
    """`handle(frames)` is awaited with the messages that were readable at once; reading goes on when it is done and what
    it answered has been taken by the peer to the transport's low-water mark. `versions` are the OpenFlow versions that are
    offered; `version` is the one agreed on, 0 until then."""

    _neighbours = Neighbours()

    def __init__(self, reader: Reader, writer: asyncio.StreamWriter, *, probe: bool = True,
                 versions: Sequence[int] = tuple(Version)):
        self._reader = reader
        self._writer = writer
        self._transport = writer.transport
        self._probe = probe
        self._versions = versions
        self.version = 0
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._buffer = bytearray()
        self.open = False           # hello is done
        self.events_dropped = 0
        self.end_reason = ""
        sock = writer.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            # Else megabytes would lie there before `unread` tells of a peer that doesn't read.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)

    def send(self, data: bytes) -> None:
        """A reply. The caller drains before it makes many."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def send_event(self, data: bytes) -> None:
        """Something nobody asked for: dropped and counted when the peer does not read."""
        transport = self._transport
        if transport.get_write_buffer_size() > _EVENTS_WAITING:
            self.events_dropped += 1
        elif not transport.is_closing():
            transport.write(data)

    @property
    def unread(self) -> int:
        """Bytes that the peer has not taken yet."""
        return self._transport.get_write_buffer_size()

    async def drain(self) -> None:
        await self._writer.drain()

    def abort(self, reason: str) -> None:
        self.end_reason = self.end_reason or reason
        self._transport.abort()

    async def run(self, opened: Callable[[], None], handle: Callable[[list], Awaitable[None]],
                  take: Callable[[bytearray], list] = take_frames, at_once: Callable[[bytes], bytes] = lambda data: data) -> None:
        """Until the connection ends; `end_reason` says why. `opened` is called when hello is done. `take` makes what `handle`
        gets of the bytes that have come since, and takes them off the buffer. What comes while nothing is being handled is
        shown to `at_once`, which gives back what it leaves to `handle`."""

        def heard(data: bytes) -> bytes:
            self._note(len(data))
            return data if len(data) > _SHORT or self._transport.get_write_buffer_size() else at_once(data)

        keeper: asyncio.Task | None = None
        try:
            self.send(encode_hello(0, self._versions))
            async with asyncio.timeout(_HELLO_TIMEOUT):
                frames = await self._negotiate()
            self.open = True
            opened()
            if self._probe:
                keeper = asyncio.create_task(self._keep_alive())
            while True:
                if frames:
                    await handle(frames)
                    await self.drain()
                    await asyncio.sleep(0)      # there may be more here already: others' turn first
                self._reader.at_once = None if self._buffer else heard
                frames = await self._read(take)
                self._reader.at_once = None
        except EOFError:
            self.end_reason = self.end_reason or "closed by the peer"
        except TimeoutError:
            self.end_reason = self.end_reason or "no hello came"
        except OpenFlowError as e:
            self.end_reason = e.reason
        except OSError as e:
            self.end_reason = self.end_reason or e.strerror or str(e)
        finally:
            self.open = False
            if keeper is not None:
                keeper.cancel()
            await self._close()

    async def _close(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._transport.abort()

    async def _read(self, take: Callable[[bytearray], list] = take_frames) -> list:
        # Of those that send much, all are served sooner by longer steps.
        data = await self._reader.read(_READ_BESIDE if self._neighbours.has(self) else _READ)
        if not data:
            raise EOFError
        self._note(len(data))
        self._buffer += data
        return take(self._buffer)

    def _note(self, length: int) -> None:
        self._heard = self._loop.time()
        if length <= _SHORT:
            self._neighbours.note(self)

    async def _negotiate(self) -> list[Frame]:
        """Waits for hello; the messages that came with it are the result."""
        while not (frames := await self._read()):
            pass
        first = frames[0]
        reason = ""
        try:
            if first.type == Type.ERROR:
                raise EOFError
            if first.type != Type.HELLO:
                reason = "the first message is not a hello"
            elif version := negotiate(first, self._versions):
                self.version = version
            else:
                reason = f"no common version: OpenFlow {', '.join(TEXTS[v] for v in self._versions)} is spoken here"
        except OpenFlowError as e:
            reason = e.reason
        if reason:
            error = OpenFlowError(ErrorType.HELLO_FAILED, HelloFailed.INCOMPATIBLE, reason)
            readable = min(max(self._versions), max(first.version, min(Version)))
            self.send(encode_error(error, reason.encode(), first.xid, readable))
            raise error
        return frames[1:]

    async def _keep_alive(self) -> None:
        while True:
            idle = self._loop.time() - self._heard
            if idle >= 2 * PROBE:
                self.abort(f"nothing was heard for {idle:.0f} s")
                return
            if idle >= PROBE:
                self.send_event(message_frame(self.version, Type.ECHO_REQUEST, 0))
                await asyncio.sleep(2 * PROBE - idle)
            else:
                await asyncio.sleep(PROBE - idle)
