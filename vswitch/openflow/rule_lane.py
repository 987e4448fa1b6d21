"""The way of flow-mods from a connection's bytes to the datapath: runs of them, made canonical by the C scanner, in one message
each, without a look at each in Python. A barrier behind them goes along: the channel keeps the order.

What has to be looked at one by one goes the session's ordinary way: a slave's flow-mods, and those of a bridge whose tables
were taken out of the pipeline or whose rules somebody watches."""
from __future__ import annotations

import asyncio
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
    from vswitch.model.bridge_rules import SlowRun
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
        self._under_way = 0
        self._waiter: asyncio.Future | None = None      # for no more to be under way than _until
        self._until = 0

    def scan(self, data: bytes) -> tuple[list[native.Run | native.Other], int]:
        """What is at the start of `data`, and how many bytes that is (native.Scanner.scan)."""
        return scanner().scan(self._session.version, self._form(), data)

    def _form(self) -> int:
        session = self._session
        return native.STANDARD_TABLE if session.version == OF10 and session.flow_mod_table_id else native.STANDARD

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
        return self._under_way < _AHEAD

    def is_plain(self) -> bool:
        """Whether flow-mods need no look at each."""
        session = self._session
        return (session.standing.role != Role.SLAVE and not session.agent.tables.disabled
                and not session.switch.rules_watched(session.bridge))

    async def send(self, flows: Flows) -> None:
        self.send_now(flows)
        await self._wait(_AHEAD)

    async def barrier(self, message: Frame) -> None:
        self.barrier_now(message)
        await self._wait(_AHEAD)

    async def settle(self) -> None:
        """Waits for all that is under way: what comes next is not the lane's."""
        await self._wait(0)

    def send_now(self, flows: Flows, barrier: Frame | None = None) -> None:
        """On their way, and the barrier behind them; what is refused is answered when the datapath says so."""
        session, (n, batch, *answers) = self._session, self._begin(flows, barrier)
        try:
            session.switch.write_run(session.bridge, n, batch, *answers)
        except VswitchError as e:
            answers[1](e)

    def exchange_now(self, data: bytes) -> bool:
        """Flow-mods and a barrier that are all of `data`, where nothing is under way: answered before this returns, if the datapath
        is as quick as it mostly is. False: nothing was done."""
        session = self._session
        if self._under_way or not self.is_plain():
            return False

        def slower() -> SlowRun:
            (run, barrier), _ = self.scan(data)
            return self._begin(Flows(run, data), frame_at(data, barrier.start))

        try:
            in_force = session.switch.exchange(session.bridge, session.version, self._form(), data, slower)
        except VswitchError:
            return False
        if in_force:
            session.reply(Type.BARRIER_REPLY, int.from_bytes(data[-4:], "big"))
        return in_force is not None

    def _begin(self, flows: Flows, barrier: Frame | None) -> SlowRun:
        """What Switch.write_run is to be given."""
        session = self._session

        def answered(errors: dict[int, Exception]) -> None:
            for i, error in sorted(errors.items()):
                session.refuse(error, flows.frame(i))
            if barrier is None:
                self._done()

        def passed() -> None:
            session.reply(Type.BARRIER_REPLY, barrier.xid)
            self._done()

        def lost(error: Exception) -> None:
            for i in range(flows.run.n):
                session.refuse(error, flows.frame(i))
            if barrier is not None:
                session.refuse(error, barrier)
            self._done()

        self._under_way += 1
        return flows.run.n, flows.run.batch, answered, lost, None if barrier is None else passed

    def barrier_now(self, message: Frame) -> None:
        session = self._session

        def passed() -> None:
            session.reply(Type.BARRIER_REPLY, message.xid)
            self._done()

        def lost(error: Exception) -> None:
            session.refuse(error, message)
            self._done()

        self._under_way += 1
        try:
            session.switch.barrier_now(session.bridge, passed, lost)
        except VswitchError as e:
            lost(e)

    def _done(self) -> None:
        self._under_way -= 1
        if self._waiter is not None and self._under_way <= self._until and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, until: int) -> None:
        if self._under_way <= until:
            return
        self._until = until
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
