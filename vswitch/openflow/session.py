"""One controller's conversation with one bridge: messages in, handled in order, answers out."""
from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from vswitch.errors import OpenFlowError, VswitchError
from vswitch.openflow.codec import Frame, encode_error, frame
from vswitch.openflow.connection import Connection
from vswitch.openflow.constants import HEADER_LEN, VERSION, BadRequest, ErrorType, Type
from vswitch.openflow.error_map import openflow_error
from vswitch.openflow.handlers import HANDLERS
from vswitch.openflow.layout import bad_length
from vswitch.openflow.roles import Roles, Standing, default_async, no_async

if TYPE_CHECKING:
    from vswitch.model.switch import Switch

log = logging.getLogger(__name__)

_FLOW_MOD_MIN = 56          # bytes of the shortest ofp_flow_mod, its match empty
_PACKET_OUT_MIN = 24


class Session:
    """`management` sessions (ovs-ofctl on the bridge's Unix socket) are told nothing until they ask for it."""

    def __init__(self, switch: Switch, bridge: str, connection: Connection, roles: Roles, peer: str, *,
                 management: bool = False):
        self.switch = switch
        self.bridge = bridge
        self.connection = connection
        self.roles = roles
        self.peer = peer
        self.management = management
        self.standing = Standing(wishes=no_async() if management else default_async())

    async def run(self, opened=lambda: None) -> str:
        """The reason for which the connection ended."""
        self.roles.join(self.standing)
        try:
            await self.connection.run(opened, self._handle)
        finally:
            self.roles.leave(self.standing)
        return self.connection.end_reason

    def tell(self, kind: str, reason: int, message: bytes) -> None:
        """An asynchronous message, when this controller wants it."""
        if self.connection.open and self.standing.wants(kind, reason):
            self.connection.send_event(message)

    def reply(self, type_: Type, xid: int, body: bytes = b"") -> None:
        self.connection.send(frame(type_, xid, body))

    async def _handle(self, frames: list[Frame]) -> None:
        """Flow-mods, and packet-outs, that follow each other go to the datapath together, and a barrier after them with
        them: the channel keeps the order."""
        at = 0
        while at < len(frames):
            type_ = frames[at].type
            last = at + 1
            if type_ in (Type.FLOW_MOD, Type.PACKET_OUT):
                while last < len(frames) and frames[last].type == type_:
                    last += 1
                if last < len(frames) and self._is_barrier(frames[last]):
                    await self._many_and_barrier(frames[at:last], frames[last])
                    last += 1
                else:
                    await self._many(frames[at:last])
            else:
                await self._one(frames[at])
            at = last

    async def _one(self, message: Frame) -> None:
        try:
            self._check(message)
            handler = HANDLERS.get(message.type)
            if handler is None:
                raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_TYPE,
                                    f"message type {message.type} is not for a switch")
            await handler(self, message)
        except VswitchError as e:
            self._refuse(e, message)
        except (asyncio.CancelledError, OSError):
            raise
        except Exception as e:
            log.exception("a message can't be handled", extra={"bridge": self.bridge, "type": message.type})
            self._refuse(e, message)

    async def _many(self, messages: list[Frame]) -> None:
        type_ = messages[0].type
        minimum = _FLOW_MOD_MIN if type_ == Type.FLOW_MOD else _PACKET_OUT_MIN
        good = []
        for message in messages:
            try:
                self._check(message)
                if len(message.data) < minimum:
                    raise bad_length("the message")
                good.append(message)
            except OpenFlowError as e:
                self._refuse(e, message)
        if not good:
            return
        send = self.switch.write_flows if type_ == Type.FLOW_MOD else self.switch.packet_outs
        try:
            outcome = await send(self.bridge, [message.data[HEADER_LEN:] for message in good])
        except VswitchError as e:
            outcome = [e] * len(good)
        for message, error in zip(good, outcome):
            if error is not None:
                self._refuse(error, message)

    @staticmethod
    def _is_barrier(message: Frame) -> bool:
        return (message.type, message.version, len(message.data)) == (Type.BARRIER_REQUEST, VERSION, HEADER_LEN)

    async def _many_and_barrier(self, messages: list[Frame], barrier: Frame) -> None:
        sent, error = await asyncio.gather(self._many(messages), self.switch.barrier(self.bridge), return_exceptions=True)
        if isinstance(sent, BaseException):
            raise sent
        if isinstance(error, BaseException):
            self._refuse(error, barrier)
        else:
            self.reply(Type.BARRIER_REPLY, barrier.xid)

    def _check(self, message: Frame) -> None:
        if message.version != VERSION:
            raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_VERSION,
                                f"version {message.version:#x} after 0x04 was agreed on")
        self.standing.check(message.type)

    def _refuse(self, error: Exception, message: Frame) -> None:
        answer = openflow_error(error, message.type)
        log.debug("refused a message", extra={"bridge": self.bridge, "peer": self.peer, "reason": str(error)})
        self.connection.send(encode_error(answer, message.data, message.xid))
