"""Bundles: messages kept until a commit carries all of them out, or none (OpenFlow 1.4.1, 7.3.9; scheduled ones 1.5.1,
7.3.9.5; 1.3 by ONF's extension 230). Every bundle is carried out atomically and in order, whether asked for or not."""
from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vswitch.datapath.client import unpack_items
from vswitch.errors import BundleRefused, OpenFlowError, VswitchError
from vswitch.openflow import port_messages as port, rules, session_messages as said
from vswitch.openflow.codec import Frame, frame_at
from vswitch.openflow.constants import (HEADER_LEN, BadProperty, BadRequest, BundleFailed, ErrorType, Type)
from vswitch.openflow.experimenter import experimenter_frame
from vswitch.openflow.group_messages import group_mod
from vswitch.openflow.layout import bad_length, bad_property
from vswitch.openflow.rule_lane import Flows
from vswitch.openflow.versions import OF13, OF15, ONF, TYPES

if TYPE_CHECKING:
    from vswitch.openflow.session import Session

ONF_CONTROL, ONF_ADD = 2300, 2301
OPEN, OPEN_REPLY, CLOSE, CLOSE_REPLY, COMMIT, COMMIT_REPLY, DISCARD, DISCARD_REPLY = range(8)
ATOMIC, ORDERED, TIME = 1, 2, 4
_ADD_FIXED = 8              # ofp_bundle_add_msg without its header

# Where the message inside an add begins, by version and type on the wire: OFPT_BUNDLE_ADD_MESSAGE, ONF's experimenter message.
_ADD_HEAD = {(0x05, 34): 16, (0x06, 34): 16, (0x04, 4): 24}

BUNDLES_MAX = 64            # of a connection
ROOM = 256 << 20            # bytes that a connection's bundles may take
IDLE = 10.0                 # seconds after which a bundle that nothing is done with is given up
_ACCURACY_NSEC = 10_000_000
_NSEC = 1_000_000_000


@dataclass
class Tolerance:
    """How far a scheduled commit may lie from now, in nanoseconds; controllers set it with bundle features requests."""
    future: int = 3600 * _NSEC
    past: int = _NSEC
    MAX = 24 * 3600 * _NSEC


@dataclass(eq=False)
class Bundle:
    id: int
    flags: int
    opened_by: Frame
    closed: bool = False
    items: list[tuple[Type, Any]] = field(default_factory=list)     # flow-mods, packet-outs and group-mods canonical
    frames: list[Frame] = field(default_factory=list)               # what they came as
    size: int = 0
    used: float = 0.0
    scheduled: asyncio.Task | None = None


def failed(code: BundleFailed, reason: str) -> OpenFlowError:
    return OpenFlowError(ErrorType.BUNDLE_FAILED, code, reason, "bundle")


class Bundles:
    """One connection's bundles."""

    def __init__(self, session: Session):
        self._session = session
        self._open: dict[int, Bundle] = {}
        self._keeper: asyncio.Task | None = None

    def open(self, bundle_id: int, flags: int, message: Frame) -> Bundle:
        if flags & ~(ATOMIC | ORDERED | (TIME if self._session.version == OF15 else 0)):
            raise failed(BundleFailed.BAD_FLAGS, f"unknown flags {flags:#x}")
        if bundle_id in self._open:
            self.discard(bundle_id)
            raise failed(BundleFailed.BUNDLE_EXIST, f"bundle {bundle_id} was open, and is now discarded")
        if len(self._open) >= BUNDLES_MAX:
            raise failed(BundleFailed.OUT_OF_BUNDLES, f"a connection has at most {BUNDLES_MAX} bundles")
        bundle = self._open[bundle_id] = Bundle(bundle_id, flags & ~TIME, message)
        self._use(bundle)
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._give_up_idle())
        return bundle

    def _found(self, bundle_id: int) -> Bundle:
        if bundle_id not in self._open:
            raise failed(BundleFailed.BAD_ID, f"there is no bundle {bundle_id}")
        return self._open[bundle_id]

    def _check_flags(self, bundle: Bundle, flags: int) -> None:
        if flags & ~TIME != bundle.flags:
            self.discard(bundle.id)
            raise failed(BundleFailed.BAD_FLAGS, f"flags {flags:#x}, it was opened with {bundle.flags:#x}")

    def _use(self, bundle: Bundle) -> None:
        bundle.used = asyncio.get_running_loop().time()

    def close(self, bundle_id: int, flags: int) -> None:
        bundle = self._found(bundle_id)
        if bundle.closed:
            self.discard(bundle_id)
            raise failed(BundleFailed.BUNDLE_CLOSED, f"bundle {bundle_id} was closed already")
        self._check_flags(bundle, flags)
        bundle.closed = True
        self._use(bundle)

    def discard(self, bundle_id: int) -> None:
        bundle = self._found(bundle_id)
        del self._open[bundle_id]
        if bundle.scheduled is not None:
            bundle.scheduled.cancel()

    def add(self, bundle_id: int, flags: int, outer: Frame, inner: bytes) -> None:
        """A message into its bundle, which it opens where it is the first (1.4.1, 7.3.9.6)."""
        session = self._session
        kind, item, frame = _checked(session, outer, inner)
        bundle = self._open.get(bundle_id) or self.open(bundle_id, flags, outer)
        if bundle.closed:
            self.discard(bundle_id)
            raise failed(BundleFailed.BUNDLE_CLOSED, f"bundle {bundle_id} is closed")
        self._check_flags(bundle, flags)
        if sum(other.size for other in self._open.values()) + len(inner) > ROOM:
            raise failed(BundleFailed.MSG_TOO_MANY, f"a connection's bundles may take {ROOM} bytes")
        bundle.items.append((kind, item))
        bundle.frames.append(frame)
        bundle.size += len(inner)
        self._use(bundle)

    def add_flows(self, flows: Flows) -> None:
        """Flow-mods that follow each other into one bundle, which the lane has made canonical."""
        session, run = self._session, flows.run
        try:
            session.standing.check(Type.BUNDLE_ADD_MESSAGE)
            bundle = self._open.get(run.bundle) or self.open(run.bundle, run.flags, flows.frame(0))
            if bundle.closed:
                self.discard(run.bundle)
                raise failed(BundleFailed.BUNDLE_CLOSED, f"bundle {run.bundle} is closed")
            self._check_flags(bundle, run.flags)
            if sum(other.size for other in self._open.values()) + len(run.batch) > ROOM:
                raise failed(BundleFailed.MSG_TOO_MANY, f"a connection's bundles may take {ROOM} bytes")
        except OpenFlowError as e:
            session.refuse(e, flows.frame(0))
            return
        bundle.items.append((Type.FLOW_MOD, flows))
        bundle.frames.append(flows.frame(0))
        bundle.size += len(run.batch)
        self._use(bundle)

    async def commit(self, bundle_id: int, flags: int) -> None:
        bundle = self._found(bundle_id)
        self._check_flags(bundle, flags)
        del self._open[bundle_id]
        await self._carry_out(bundle)

    async def _carry_out(self, bundle: Bundle) -> None:
        session = self._session
        try:
            if all(isinstance(item, Flows) for _, item in bundle.items):
                await session.switch.commit_runs(session.bridge, [(f.run.n, f.run.batch) for _, f in bundle.items])
            else:
                items = list(_single(bundle))
                await session.switch.commit_bundle(session.bridge, [item for item, _ in items], origin=session,
                                                   xids=[frame.xid for _, frame in items])
        except BundleRefused as e:
            frame = next(itertools.islice(_single(bundle), e.index, None))[1]
            session.refuse(e.error, _inside(frame))
            raise failed(BundleFailed.MSG_FAILED, f"message {e.index} of the bundle: {e.error}") from None
        for (kind, item), frame in zip(bundle.items, bundle.frames):
            if kind == Type.GROUP_MOD:
                session.agent.forward_group_mod(session, frame.xid, item)

    def schedule(self, bundle_id: int, flags: int, when: int, reply) -> None:
        """Commits at `when`, in nanoseconds since 1970; `reply(error or None)` is called then."""
        bundle = self._found(bundle_id)
        self._check_flags(bundle, flags)
        if bundle.scheduled is not None:
            raise failed(BundleFailed.BUNDLE_IN_PROGRESS, f"bundle {bundle_id} has its commit scheduled already")
        tolerance, now = self._session.agent.tolerance, time.time_ns()
        if when > now + tolerance.future:
            raise failed(BundleFailed.SCHED_FUTURE, f"{(when - now) / _NSEC:g} s from now is too far in the future")
        if when < now - tolerance.past:
            raise failed(BundleFailed.SCHED_PAST, f"{(now - when) / _NSEC:g} s ago is too far in the past")
        bundle.closed = True

        async def commit() -> None:
            await asyncio.sleep(max(0, when - time.time_ns()) / _NSEC)
            self._open.pop(bundle_id, None)
            try:
                await self._carry_out(bundle)
            except VswitchError as e:
                reply(e)
            else:
                reply(None)

        bundle.scheduled = asyncio.create_task(commit())

    async def _give_up_idle(self) -> None:
        while True:
            await asyncio.sleep(IDLE / 4)
            oldest = asyncio.get_running_loop().time() - IDLE
            for bundle in list(self._open.values()):
                if bundle.used < oldest and bundle.scheduled is None:
                    self.discard(bundle.id)
                    self._session.refuse(failed(BundleFailed.TIMEOUT, f"bundle {bundle.id}: nothing was done with it"),
                                         bundle.opened_by)

    async def end(self) -> None:
        tasks = [bundle.scheduled for bundle in self._open.values() if bundle.scheduled is not None]
        if self._keeper is not None:
            tasks.append(self._keeper)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._open.clear()


def _single(bundle: Bundle) -> Iterator[tuple[tuple[Type, Any], Frame]]:
    """Items one by one, with the frame that each came as."""
    for (kind, item), frame in zip(bundle.items, bundle.frames):
        if isinstance(item, Flows):
            for body, one in zip(unpack_items(item.run.batch, item.run.n), item.frames()):
                yield (kind, body), one
        else:
            yield (kind, item), frame


def _inside(frame: Frame) -> Frame:
    """The message inside an add; another message itself."""
    start = _ADD_HEAD.get((frame.version, frame.type))
    return frame_at(frame.data, start) if start is not None else frame


def _checked(session: Session, outer: Frame, inner: bytes) -> tuple[Type, Any, Frame]:
    """The message inside an add: its kind, its body as it is to be carried out, and its frame. What is wrong with the message
    itself is told now."""
    if len(inner) < HEADER_LEN:
        raise failed(BundleFailed.MSG_BAD_LEN, "the message is shorter than its header")
    version, wire_type, length = inner[0], inner[1], int.from_bytes(inner[2:4], "big")
    if length < HEADER_LEN or length > len(inner):
        raise failed(BundleFailed.MSG_BAD_LEN, f"the message claims {length} bytes of {len(inner)}")
    if version != session.version:
        raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_VERSION, f"a message of version {version:#x} in the bundle")
    xid = int.from_bytes(inner[4:8], "big")
    if xid != outer.xid:
        raise failed(BundleFailed.MSG_BAD_XID, f"xid {xid}, that of the add is {outer.xid}")
    _check_tail(inner[length:])
    data = inner[:length]
    kind = rules.kind_of(TYPES[version].get(wire_type), data)
    frame = Frame(version, wire_type, xid, data)
    if kind in (Type.FLOW_MOD, Type.PACKET_OUT):
        return kind, session.canonical(kind, data), frame
    if kind == Type.GROUP_MOD:
        return kind, group_mod(version, data[HEADER_LEN:]), frame
    if kind == Type.PORT_MOD:
        return kind, port.port_mod(version, data[HEADER_LEN:]), frame
    raise failed(BundleFailed.MSG_UNSUP, f"a message of type {wire_type} can't be in a bundle")


def _check_tail(tail: bytes) -> None:
    """After the message: nothing, or padding to 8 bytes and properties, of which none are known."""
    while tail[:1] == b"\0" and len(tail) % 8:
        tail = tail[1:]
    if len(tail) >= 8:
        kind = int.from_bytes(tail[:2], "big")
        raise bad_property(BadProperty.BAD_EXPERIMENTER if kind == 0xffff else BadProperty.BAD_TYPE,
                           f"unknown property type {kind:#x}")
    if tail.strip(b"\0"):
        raise failed(BundleFailed.MSG_BAD_LEN, "bytes follow the message")


async def control(session: Session, message: Frame) -> None:
    await control_body(session, message, message.body)


async def control_body(session: Session, message: Frame, body: bytes) -> None:
    asked = said.BUNDLE_CONTROL[session.version].decode(body)
    bundles = session.bundles

    def reply(error: Exception | None = None) -> None:
        if error is not None:
            session.refuse(error, message)
            return
        answer = said.BUNDLE_CONTROL14.encode(said.BUNDLE_CONTROL14(bundle_id=asked.bundle_id, type=asked.type + 1,
                                                                    flags=asked.flags))
        if session.version == OF13:
            session.connection.send(experimenter_frame(session.version, ONF, ONF_CONTROL, message.xid, answer))
        else:
            session.reply(Type.BUNDLE_CONTROL, message.xid, answer)

    if asked.type == OPEN:
        bundles.open(asked.bundle_id, asked.flags, message)
    elif asked.type == CLOSE:
        bundles.close(asked.bundle_id, asked.flags)
    elif asked.type == COMMIT:
        if session.version == OF15 and asked.flags & TIME:
            if not asked.properties:
                raise failed(BundleFailed.BAD_FLAGS, "a scheduled commit says when")
            at = asked.properties[0]
            bundles.schedule(asked.bundle_id, asked.flags, at.seconds * _NSEC + at.nanoseconds, reply)
            return
        await bundles.commit(asked.bundle_id, asked.flags)
    elif asked.type == DISCARD:
        bundles.discard(asked.bundle_id)
    else:
        raise failed(BundleFailed.BAD_TYPE, f"bundle-control type {asked.type} is not for a switch")
    reply()


async def add_message(session: Session, message: Frame) -> None:
    add_body(session, message, message.body)


def add_body(session: Session, message: Frame, body: bytes) -> None:
    if len(body) < _ADD_FIXED:
        raise bad_length("the message")
    asked = said.BUNDLE_ADD.decode(body)
    session.bundles.add(asked.bundle_id, asked.flags, message, asked.message)


SET_TIMESTAMP, SET_SCHEDULE = 1, 2      # OFPBF_TIMESTAMP, OFPBF_TIME_SET_SCHED


def bundle_features(session: Session, asked: Any) -> bytes:
    """The answer to an OFPMP_BUNDLE_FEATURES request, which may set the tolerance first (1.5.1, 7.3.5.21)."""
    if asked.feature_request_flags & ~(SET_TIMESTAMP | SET_SCHEDULE) or asked.feature_request_flags and not asked.properties:
        raise _bad_schedule(f"flags {asked.feature_request_flags:#x}, {len(asked.properties)} properties")
    tolerance = session.agent.tolerance
    if asked.feature_request_flags & SET_SCHEDULE:
        wish = asked.properties[0]
        future, past = wish.future_sec * _NSEC + wish.future_nsec, wish.past_sec * _NSEC + wish.past_nsec
        if future > Tolerance.MAX or past > Tolerance.MAX:
            raise _bad_schedule(f"commits may lie at most {Tolerance.MAX // _NSEC} s from now")
        tolerance.future, tolerance.past = future, past
    now = time.time_ns()
    parts = {"accuracy": _ACCURACY_NSEC, "future": tolerance.future, "past": tolerance.past, "timestamp": now}
    numbers = {f"{name}_{unit}": number for name, value in parts.items()
               for unit, number in zip(("sec", "nsec"), divmod(value, _NSEC))}
    return said.BUNDLE_FEATURES.encode(said.BUNDLE_FEATURES(capabilities=ATOMIC | ORDERED | TIME,
                                                            properties=[said.BUNDLE_FEATURES_TIME(**numbers)]))


def _bad_schedule(reason: str) -> OpenFlowError:
    return OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.MULTIPART_BAD_SCHED, reason, "bundle_features")
