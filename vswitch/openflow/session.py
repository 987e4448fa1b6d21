"""One controller's conversation with one bridge: messages in, handled in order, answers out."""
from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from vswitch.errors import OpenFlowError, VswitchError
from vswitch.openflow import convert, native, rules
from vswitch.openflow.announcements import PACKET_IN_REASON_AT, Announcement, is_miss
from vswitch.openflow.async_config import Wishes, no_wishes
from vswitch.openflow.bundles import Bundles
from vswitch.openflow.codec import Frame, encode_error, frame, frame_at, message_frame
from vswitch.openflow.connection import Connection
from vswitch.openflow.constants import HEADER_LEN, BadRequest, ErrorType, FlowModFailed, PacketInReason, Type
from vswitch.openflow.error_map import openflow_error
from vswitch.openflow.flow_monitor import Monitors
from vswitch.openflow.handlers import HANDLERS
from vswitch.openflow.multipart_parts import Parts
from vswitch.openflow.roles import Role, Roles, Standing
from vswitch.openflow.rule_lane import Flows, RuleLane
from vswitch.openflow.versions import OF13, OF14

if TYPE_CHECKING:
    from vswitch.model.switch import Switch
    from vswitch.openflow.agent import Agent

log = logging.getLogger(__name__)

_PACKET_IN, _PACKET_OUT = int(Type.PACKET_IN), int(Type.PACKET_OUT)     # in every version's numbers
_INDIFFERENT = (Type.PACKET_OUT, Type.BARRIER_REQUEST, Type.ECHO_REQUEST, Type.ECHO_REPLY)   # to packets on their way


class Session:
    """`management` sessions (ovs-ofctl on the bridge's Unix socket) are told nothing until they ask for it. An auxiliary
    connection has the number `auxiliary_id` and the standing of the main one."""

    def __init__(self, switch: Switch, bridge: str, connection: Connection, roles: Roles, peer: str, agent: Agent, *,
                 management: bool = False, auxiliary_id: int = 0, standing: Standing | None = None):
        self.switch = switch
        self.bridge = bridge
        self.connection = connection
        self.roles = roles
        self.peer = peer
        self.agent = agent
        self.management = management
        self.auxiliary_id = auxiliary_id
        self.standing = standing or Standing(wishes=no_wishes() if management else Wishes())
        self.bundles = Bundles(self)
        self.monitors = Monitors(self)
        self.parts = Parts(self)
        self.lane = RuleLane(self)
        self._packets_sent = False      # packet-outs that may still be on their way through the tables
        # What Nicira's messages set
        self.packet_in_format = convert.STANDARD
        self.nicira_flows = False       # NXT_SET_FLOW_FORMAT
        self.flow_mod_table_id = False
        self.controller_id = 0

    @property
    def version(self) -> int:
        return self.connection.version

    async def run(self, opened: Callable[[], None] = lambda: None) -> str:
        """The reason for which the connection ended."""
        if not self.auxiliary_id:
            self.standing.demoted = lambda: self.agent.tell_role(self)
            self.roles.join(self.standing)
        try:
            await self.connection.run(opened, self._handle, self.lane.take, self._at_once)
        finally:
            if not self.auxiliary_id:
                self.roles.leave(self.standing)
            await self.bundles.end()
            self.parts.end()
            self.monitors.end()
        return self.connection.end_reason

    def tell(self, announcement: Announcement) -> None:
        """An asynchronous message, when this controller wants it."""
        if (self.connection.open and self.standing.wants(announcement.kind, announcement.reason)
                and (message := announcement.message(self)) is not None):
            self.connection.send_event(message)

    def packet_in(self, body: bytes, controller_id: int) -> bool:
        """A canonical packet_in to a bridge's only connection, where its form there is the same; False where it isn't."""
        version, reason = self.connection.version, body[PACKET_IN_REASON_AT]
        if (version < OF13 or reason > PacketInReason.INVALID_TTL and version < OF14 or self.packet_in_format is not convert.STANDARD
                or controller_id != self.controller_id or self.auxiliary_id or is_miss(body)):
            return False
        if self.connection.open and self.standing.wants("packet_in", reason):
            self.connection.send_event(frame(_PACKET_IN, 0, body, version))
        return True

    def reply(self, type_: Type, xid: int, body: bytes = b"") -> None:
        self.connection.send(message_frame(self.version, type_, xid, body))

    def _at_once(self, data: bytes) -> bytes:
        """Sends on what needs no waiting: flow-mods, barriers, packet-outs. Returns the rest, from the first other message on."""
        if len(data) < HEADER_LEN:
            return data
        if data[1] == _PACKET_OUT and len(data) == int.from_bytes(data[2:4], "big"):
            return b"" if self._packet_out_at_once(data) else data
        if not self._packets_sent and self.lane.exchange_now(data):
            return b""
        try:
            parts, used = self.lane.scan(data)
        except native.BadHeader:
            return data
        begun = i = 0
        while i < len(parts):
            taken = self._parts_at_once(parts, i, data)
            if not taken:
                return data[begun:]
            i += taken
            begun = parts[i - 1].end
        return data[used:]

    def _parts_at_once(self, parts: list[native.Run | native.Other], i: int, data: bytes) -> int:
        """How many of them were sent on: a barrier goes with the flow-mods in front of it."""
        part = parts[i]
        if isinstance(part, native.Run):
            if part.bundle is not None or self._packets_sent or not self.lane.has_room or not self.lane.is_plain():
                return 0
            barrier = None
            if i + 1 < len(parts) and isinstance(parts[i + 1], native.Other):
                message = frame_at(data, parts[i + 1].start)
                barrier = message if self._is_barrier(message) else None
            self.lane.send_now(Flows(part, data), barrier)
            return 1 if barrier is None else 2
        message = frame_at(data, part.start)
        if self._is_barrier(message):
            if not self.lane.has_room:
                return 0
            self.lane.barrier_now(message)
            return 1
        return int(message.type == _PACKET_OUT and self._packet_out_at_once(message.data))

    def _packet_out_at_once(self, data: bytes) -> bool:
        """Of a whole packet-out."""
        version = self.connection.version
        if data[0] != version or self.standing.role == Role.SLAVE:
            return False

        def refused(error: Exception) -> None:
            self.refuse(error, frame_at(data, 0))

        try:
            sent = self.switch.packet_out_now(self.bridge, rules.packet_out(version, data), refused)
        except Exception as e:
            if not isinstance(e, VswitchError):
                log.exception("a packet-out can't be handled", extra={"bridge": self.bridge})
            refused(e)
            return True
        self._packets_sent |= sent
        return sent

    async def _handle(self, messages: list[Frame | Flows]) -> None:
        """Flow-mods go the lane's way while they can, and barriers with them; all else waits for what the lane has under way,
        and is handled one after the other."""
        ordinary: list[Frame] = []
        for message in messages:
            if isinstance(message, Flows):
                if not self.lane.is_plain():
                    ordinary += message.frames()
                    continue
                await self._ordinary(ordinary)
                await self._carried_out()
                if message.run.bundle is not None:
                    self.bundles.add_flows(message)
                else:
                    await self.lane.send(message)
            elif not ordinary and self._is_barrier(message):
                await self.lane.barrier(message)
            else:
                ordinary.append(message)
        await self._ordinary(ordinary)

    async def _ordinary(self, frames: list[Frame]) -> None:
        """Flow-mods, and packet-outs, that follow each other go to the datapath together, and a barrier after them with
        them: the channel keeps the order."""
        if not frames:
            return
        await self.lane.settle()
        taken = frames[:]
        frames.clear()
        await self._in_order(taken)

    async def _in_order(self, frames: list[Frame]) -> None:
        at = 0
        kinds = [rules.kind_of(frame.kind, frame.data) for frame in frames]
        while at < len(frames):
            kind = kinds[at]
            last = at + 1
            if kind in (Type.FLOW_MOD, Type.PACKET_OUT):
                if kind == Type.FLOW_MOD:
                    await self._carried_out()
                while last < len(frames) and kinds[last] == kind:
                    last += 1
                if last < len(frames) and self._is_barrier(frames[last]):
                    await self._many_and_barrier(kind, frames[at:last], frames[last])
                    last += 1
                else:
                    await self._many(kind, frames[at:last])
            else:
                if kind not in _INDIFFERENT:
                    await self._carried_out()
                await self._one(frames[at])
            at = last

    async def _carried_out(self) -> None:
        """A packet-out goes through the tables as they were when it came, though a worker carries it out in its own time: what
        comes behind it waits for that."""
        if self._packets_sent:
            self._packets_sent = False
            with contextlib.suppress(VswitchError):     # then whatever comes next says so
                await self.switch.barrier(self.bridge)

    async def _one(self, message: Frame) -> None:
        try:
            self._check(message, message.kind)
            handler = HANDLERS.get(message.kind)
            if handler is None:
                raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_TYPE,
                                    f"message type {message.type} is not for a switch")
            await handler(self, message)
        except VswitchError as e:
            self.refuse(e, message)
        except (asyncio.CancelledError, OSError):
            raise
        except Exception as e:
            log.exception("a message can't be handled", extra={"bridge": self.bridge, "type": message.type})
            self.refuse(e, message)

    async def _many(self, kind: Type, messages: list[Frame]) -> None:
        good, bodies = [], []
        for message in messages:
            try:
                self._check(message, kind)
                bodies.append(self.canonical(kind, message.data))
                good.append(message)
            except OpenFlowError as e:
                self.refuse(e, message)
        if not good:
            return
        try:
            if kind == Type.FLOW_MOD:
                outcome = await self.switch.write_flows(self.bridge, bodies, origin=self,
                                                        xids=[message.xid for message in good])
            else:
                self._packets_sent = True
                outcome = await self.switch.packet_outs(self.bridge, bodies)
        except VswitchError as e:
            outcome = [e] * len(good)
        for message, error in zip(good, outcome):
            if error is not None:
                self.refuse(error, message)

    def canonical(self, kind: Type, data: bytes) -> bytes:
        """A whole flow-mod or packet-out as the datapath wants it."""
        if kind == Type.PACKET_OUT:
            return rules.packet_out(self.version, data)
        body = rules.flow_mod(self.version, data, table_id=self.flow_mod_table_id)
        if (away := self.agent.tables.disabled) and body[rules.TABLE_AT] in away and body[rules.COMMAND_AT] not in rules.DELETES:
            raise OpenFlowError(ErrorType.FLOW_MOD_FAILED, FlowModFailed.BAD_TABLE_ID,
                                f"table {body[rules.TABLE_AT]} was taken out of the pipeline", "table_id")
        return body

    def _is_barrier(self, message: Frame) -> bool:
        return len(message.data) == HEADER_LEN and message.version == self.version and message.kind == Type.BARRIER_REQUEST

    async def _many_and_barrier(self, kind: Type, messages: list[Frame], barrier: Frame) -> None:
        sent, error = await asyncio.gather(self._many(kind, messages), self.switch.barrier(self.bridge),
                                           return_exceptions=True)
        if isinstance(sent, BaseException):
            raise sent
        if isinstance(error, BaseException):
            self.refuse(error, barrier)
        else:
            self._packets_sent = False
            self.reply(Type.BARRIER_REPLY, barrier.xid)

    def _check(self, message: Frame, kind: Type | None) -> None:
        if message.version != self.version:
            raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_VERSION,
                                f"version {message.version:#x} after {self.version:#04x} was agreed on")
        self.standing.check(kind)

    def refuse(self, error: Exception, message: Frame) -> None:
        kind = rules.kind_of(message.kind, message.data)
        answer = openflow_error(error, kind if kind is not None else message.type)
        log.debug("refused a message", extra={"bridge": self.bridge, "peer": self.peer, "reason": str(error)})
        self.connection.send(encode_error(answer, message.data, message.xid, self.version))
