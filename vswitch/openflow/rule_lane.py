"""The way of flow-mods from a connection's bytes to the datapath: runs of them, made canonical by the C scanner, in one message
each, without a look at each in Python. A barrier behind them goes along: the channel keeps the order.

What has to be looked at one by one goes the session's ordinary way: a slave's flow-mods, and those of a bridge whose tables
were taken out of the pipeline or whose rules somebody watches."""
from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from vswitch.datapath.channel import BODY_MAX
from vswitch.errors import VswitchError
from vswitch.openflow import native
from vswitch.openflow.codec import Frame, frame_at
from vswitch.openflow.constants import HEADER_LEN, Type
from vswitch.openflow.layout import bad_length
from vswitch.openflow.roles import Role
from vswitch.openflow.versions import OF10

if TYPE_CHECKING:
    from vswitch.openflow.session import Session

_BATCH = BODY_MAX - 16
_AHEAD = 64                 # requests under way before the oldest is waited for
_scanner: native.Scanner | None = None


def scanner() -> native.Scanner:
    """One for all: its buffers are copied from before anything else is scanned."""
    global _scanner
    if _scanner is None:
        _scanner = native.Scanner(_BATCH)
    return _scanner


class Flows:
    """Flow-mods that follow each other, and the bytes that they came in."""

    def __init__(self, run: native.Run, data: bytes):
        self.run = run
        self.data = data

    def frame(self, i: int) -> Frame:
        return frame_at(self.data, self.run.starts[i])

    def frames(self) -> list[Frame]:
        return [self.frame(i) for i in range(self.run.n)]


class RuleLane:
    def __init__(self, session: Session):
        self._session = session
        self._under_way: deque[asyncio.Future] = deque()

    def scan(self, data: bytes) -> tuple[list[native.Run | native.Other], int]:
        """What is at the start of `data`, and how many bytes that is (native.Scanner.scan)."""
        session = self._session
        form = native.STANDARD_TABLE if session.version == OF10 and session.flow_mod_table_id else native.STANDARD
        return scanner().scan(session.version, form, data)

    def take(self, buffer: bytearray) -> list[Frame | Flows]:
        """The whole messages at the start of the buffer, which are taken off it."""
        found: list[Frame | Flows] = []
        while len(buffer) >= HEADER_LEN:
            data = bytes(buffer)
            try:
                parts, used = self.scan(data)
            except native.BadHeader:
                if not found:
                    raise bad_length("a message") from None
                return found
            if not used:
                break
            for part in parts:
                if isinstance(part, native.Other):
                    found.append(frame_at(data, part.start))
                else:
                    found.append(Flows(part, data))
            del buffer[:used]
        return found

    @property
    def has_room(self) -> bool:
        """Whether something can be sent without waiting for what is under way."""
        self._forget_done()
        return len(self._under_way) < _AHEAD

    def is_plain(self) -> bool:
        """Whether flow-mods need no look at each."""
        session = self._session
        return (session.standing.role != Role.SLAVE and not session.agent.tables.disabled
                and not session.switch.rules_watched(session.bridge))

    async def send(self, flows: Flows) -> None:
        self.send_now(flows)
        await self._wait_for_room()

    async def barrier(self, message: Frame) -> None:
        self.barrier_now(message)
        await self._wait_for_room()

    def send_now(self, flows: Flows) -> None:
        """On their way; what is refused is answered when the datapath says so."""
        session = self._session

        def refused(errors: dict[int, Exception]) -> None:
            for i, error in sorted(errors.items()):
                session.refuse(error, flows.frame(i))

        try:
            sent = session.switch.write_run(session.bridge, flows.run.n, flows.run.batch, refused)
        except VswitchError as e:
            refused({i: e for i in range(flows.run.n)})
            return

        def lost(future: asyncio.Future) -> None:
            if not future.cancelled() and (error := future.exception()) is not None:
                refused({i: error for i in range(flows.run.n)})

        sent.add_done_callback(lost)
        self._under_way.append(sent)

    def barrier_now(self, message: Frame) -> None:
        session = self._session
        try:
            passed = session.switch.barrier_now(session.bridge, lambda: session.reply(Type.BARRIER_REPLY, message.xid))
        except VswitchError as e:
            session.refuse(e, message)
            return

        def lost(future: asyncio.Future) -> None:
            if not future.cancelled() and (error := future.exception()) is not None:
                session.refuse(error, message)

        passed.add_done_callback(lost)
        self._under_way.append(passed)

    def _forget_done(self) -> None:
        while self._under_way and self._under_way[0].done():
            self._under_way.popleft()

    async def _wait_for_room(self) -> None:
        self._forget_done()
        if len(self._under_way) > _AHEAD:
            await asyncio.wait([self._under_way.popleft()])

    async def settle(self) -> None:
        """Waits for all that is under way: what comes next is not the lane's."""
        while self._under_way:
            future = self._under_way.popleft()
            if not future.done():
                await asyncio.wait([future])
