"""Flow monitors: controllers that want to be told how rules change (OpenFlow 1.4.1, 7.3.5.17; Nicira's NXST_FLOW_MONITOR in
1.0 to 1.2, ONF's extension to 1.3). How an update is written in each is in monitor_forms.py."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vswitch.datapath.records import UPDATE_ADDED, UPDATE_MODIFIED, UPDATE_REMOVED
from vswitch.errors import OpenFlowError
from vswitch.openflow.codec import Frame
from vswitch.openflow.constants import N_TABLES, OFPTT_ALL, ErrorType, FlowMonitorFailed
from vswitch.openflow.experimenter import answers, handles
from vswitch.openflow.layout import Layout
from vswitch.openflow.monitor_forms import FORMS, INITIAL, ONFST_FLOW_MONITOR, NXST_FLOW_MONITOR, Request, Writer
from vswitch.openflow.rule_filter import Filter, match_end
from vswitch.openflow.versions import NICIRA, OF10, OF12, OF13, ONF

if TYPE_CHECKING:
    from vswitch.model.objects import RuleUpdate
    from vswitch.openflow.session import Session

ADD, MODIFY, DELETE = 0, 1, 2
WANT_INITIAL, WANT_ADD, WANT_REMOVED, WANT_MODIFY, WANT_INSTRUCTIONS, NO_ABBREV, ONLY_OWN = (1 << i for i in range(7))
_WANTS = {UPDATE_ADDED: WANT_ADD, UPDATE_REMOVED: WANT_REMOVED, UPDATE_MODIFIED: WANT_MODIFY}
_EVENTS = WANT_ADD | WANT_REMOVED | WANT_MODIFY

MONITORS_MAX = 1024         # of a connection
PAUSE_AT = 128 << 10        # bytes unread at which updates pause
_LOOK = 0.05                # seconds between looks whether they may go on
_NXT_CANCEL, _ONFT_CANCEL = 21, 1870
CANCEL = Layout("MonitorCancel", "I monitor_id")


@dataclass(frozen=True)
class Monitor:
    id: int
    flags: int
    filter: Filter


@dataclass
class _Missed:
    """What happened to a rule while updates were paused."""
    what: int
    entry: bytes


def _failed(code: FlowMonitorFailed, reason: str) -> OpenFlowError:
    return OpenFlowError(ErrorType.FLOW_MONITOR_FAILED, code, reason, "flow_monitor")


class Monitors:
    """One connection's monitors."""

    def __init__(self, session: Session):
        self._session = session
        self._held: dict[int, Monitor] = {}
        self._writer: Writer | None = None
        self._abbreviated: int | None = None    # xid that the updates being gathered end with, abbreviated
        self._flushing = False
        self._missed: dict[bytes, _Missed] | None = None     # by rule; not None while updates are paused
        self._resumer: asyncio.Task | None = None

    def __bool__(self) -> bool:
        return bool(self._held)

    def end(self) -> None:
        self._held.clear()
        if self._resumer is not None:
            self._resumer.cancel()
        self._session.agent.watch_rules()

    # -- requests
    def change(self, requests: list[Request], form: str) -> list[Monitor]:
        """Carries out all of a message's requests or none; the monitors that are to be answered with their rules."""
        held, wanted = dict(self._held), []
        for asked in requests:
            if asked.command not in (ADD, MODIFY, DELETE):
                raise _failed(FlowMonitorFailed.BAD_COMMAND, f"there is no command {asked.command}")
            if asked.command == ADD and asked.id in held:
                raise _failed(FlowMonitorFailed.MONITOR_EXISTS, f"there is a monitor {asked.id}")
            if asked.command != ADD and asked.id not in held:
                raise _failed(FlowMonitorFailed.UNKNOWN_MONITOR, f"there is no monitor {asked.id}")
            if asked.command == DELETE:
                del held[asked.id]
                continue
            if asked.flags & ~FORMS[form].flags or not asked.flags & (_EVENTS | WANT_INITIAL):
                raise _failed(FlowMonitorFailed.BAD_FLAGS, f"flags {asked.flags:#x}")
            if asked.filter.table_id >= N_TABLES and asked.filter.table_id != OFPTT_ALL:
                raise _failed(FlowMonitorFailed.BAD_TABLE_ID, f"there is no table {asked.filter.table_id}")
            if len(held) >= MONITORS_MAX:
                raise _failed(FlowMonitorFailed.UNKNOWN, f"a connection has at most {MONITORS_MAX} monitors")
            held[asked.id] = Monitor(asked.id, asked.flags, asked.filter)
            if asked.flags & WANT_INITIAL:
                wanted.append(held[asked.id])
        self._held = held
        self._writer = Writer(self._session, form)
        return wanted

    async def initial(self, wanted: list[Monitor]) -> AsyncIterator[list[bytes]]:
        """The rules that are there, none of them twice."""
        await self._session.agent.watch_rules_now()
        seen: set[bytes] = set()
        for monitor in wanted:
            async for entries in self._session.switch.dump_flows(self._session.bridge, monitor.filter.request()):
                batch = []
                for entry in entries:
                    if len(wanted) > 1 and (key := _key(entry)) in seen:
                        continue
                    if len(wanted) > 1:
                        seen.add(key)
                    with_instructions = any(m.flags & WANT_INSTRUCTIONS for m in wanted if m.filter.passes(entry)) \
                        if len(wanted) > 1 else bool(monitor.flags & WANT_INSTRUCTIONS)
                    batch.append(self._writer.full(INITIAL, entry, 0, with_instructions))
                yield batch

    # -- updates
    def changed(self, update: RuleUpdate) -> None:
        flags = 0
        own = update.origin is self._session
        for monitor in self._held.values():
            if (monitor.flags & _WANTS[update.what] and (own or not monitor.flags & ONLY_OWN)
                    and monitor.filter.passes(update.entry)):
                flags |= monitor.flags
        if not flags or not self._session.connection.open:
            return
        if self._missed is not None:
            self._note_missed(update)
        elif own and not flags & NO_ABBREV:
            if self._abbreviated != update.xid:
                self._abbreviated = update.xid
                self._put(self._writer.abbreviated(update.xid))
        else:
            self._abbreviated = None
            self._put(self._full(update.what, update.entry, update.reason, flags))

    def _full(self, what: int, entry: bytes, reason: int, flags: int) -> bytes:
        return self._writer.full(what, entry, reason, bool(flags & WANT_INSTRUCTIONS) and what != UPDATE_REMOVED)

    def _put(self, update: bytes) -> None:
        self._writer.put(update)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)   # before what waits for the datapath's answer goes on

    def _flush(self) -> None:
        self._flushing = False
        self._abbreviated = None
        for message in self._writer.messages():
            self._session.connection.send(message)
        if self._missed is None and self._session.connection.unread > PAUSE_AT:
            self._missed = {}
            self._session.connection.send(self._writer.paused())
            self._resumer = asyncio.create_task(self._resume())

    def _note_missed(self, update: RuleUpdate) -> None:
        """Of a rule that was there before, only that it went is told now (bounded by the number of rules)."""
        key = _key(update.entry)
        before = self._missed.get(key)
        if update.what == UPDATE_REMOVED:
            self._missed.pop(key, None)
            if before is None or before.what != UPDATE_ADDED:
                self._put(self._full(UPDATE_REMOVED, update.entry, update.reason, 0))
        else:
            what = UPDATE_ADDED if before is not None and before.what == UPDATE_ADDED else update.what
            self._missed[key] = _Missed(what, update.entry)

    async def _resume(self) -> None:
        while self._session.connection.unread:
            await asyncio.sleep(_LOOK)
        missed, self._missed = self._missed, None
        for rule in missed.values():
            flags = 0
            for monitor in self._held.values():
                if monitor.flags & _WANTS[rule.what] and monitor.filter.passes(rule.entry):
                    flags |= monitor.flags
            if flags:
                self._writer.put(self._full(rule.what, rule.entry, 0, flags))
        for message in self._writer.messages():
            self._session.connection.send(message)
            try:
                await self._session.connection.drain()
            except OSError:
                return
        self._session.connection.send(self._writer.resumed())


def _key(entry: bytes) -> bytes:
    """What a rule is told apart by: table, priority, match."""
    return entry[2:3] + entry[12:14] + entry[48:match_end(entry)]


def _answer(session: Session, body: bytes, form: str) -> AsyncIterator[list[bytes]]:
    return session.monitors.initial(session.monitors.change(FORMS[form].requests(session, body), form))


async def answer_monitors(session: Session, body: bytes) -> AsyncIterator[list[bytes]]:
    """1.4's and 1.5's."""
    async for batch in _answer(session, body, "standard"):
        yield batch


@answers(NICIRA, NXST_FLOW_MONITOR, OF10, OF12)
def nicira_monitors(session: Session, body: bytes) -> AsyncIterator[list[bytes]]:
    return _answer(session, body, "nicira")


@answers(ONF, ONFST_FLOW_MONITOR, OF13, OF13)
def onf_monitors(session: Session, body: bytes) -> AsyncIterator[list[bytes]]:
    return _answer(session, body, "onf")


async def _cancel(session: Session, message: Frame, body: bytes) -> None:
    asked = CANCEL.decode(body).monitor_id
    session.monitors.change([Request(DELETE, asked, 0, None)], "onf" if session.version == OF13 else "nicira")
    session.agent.watch_rules()


handles(NICIRA, _NXT_CANCEL, OF10, OF12)(_cancel)
handles(ONF, _ONFT_CANCEL, OF13, OF13)(_cancel)
