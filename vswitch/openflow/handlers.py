"""One handler a message that a controller sends, flow-mods and packet-outs apart (session.py sends those on in batches).

A handler answers through the session, or raises what the answer's OFPT_ERROR is made of.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from vswitch.datapath.records import PortMod
from vswitch.errors import OpenFlowError
from vswitch.openflow import messages as ofp
from vswitch.openflow.codec import Frame, decode
from vswitch.openflow.constants import (N_TABLES, OFPM_ALL, OFPP_ANY, OFPTT_ALL, BadRequest, Capability, ErrorType,
                                        GroupModFailed, MeterModFailed, PortModFailed, QueueOpFailed,
                                        SwitchConfigFailed, TableModFailed, Type)
from vswitch.openflow.multipart import answer_multipart
from vswitch.openflow.roles import GENERATION_UNDEFINED, default_async

if TYPE_CHECKING:
    from vswitch.openflow.session import Session

Handler = Callable[["Session", Frame], Awaitable[None]]
HANDLERS: dict[int, Handler] = {}

N_BUFFERS = 256             # packets that the datapath keeps for packet-outs, a bridge
_FRAG_FLAGS = 0b11          # OFPC_FRAG_MASK; OFPC_FRAG_REASM is 2
_FRAG_REASM = 2
_PORT_CONFIG = 0x65         # OFPPC_PORT_DOWN, NO_RECV, NO_FWD, NO_PACKET_IN
_ADD, _MODIFY, _DELETE = 0, 1, 2
_GROUP_TYPES = 4


def _handles(type_: Type) -> Callable[[Callable[[Session, Frame, Any], Awaitable[None]]], Handler]:
    """The handler gets the decoded body too."""
    def register(function: Callable[[Session, Frame, Any], Awaitable[None]]) -> Handler:
        async def handler(session: Session, message: Frame) -> None:
            await function(session, message, decode(type_, message.body))
        HANDLERS[type_] = handler
        return handler
    return register


@_handles(Type.HELLO)
async def hello(session: Session, message: Frame, body: Any) -> None:
    """A second hello changes nothing."""


@_handles(Type.ERROR)
async def error(session: Session, message: Frame, body: Any) -> None:
    """A controller's complaint about an answer of ours: nothing to be done."""


@_handles(Type.ECHO_REQUEST)
async def echo_request(session: Session, message: Frame, body: Any) -> None:
    session.reply(Type.ECHO_REPLY, message.xid, body.data)


@_handles(Type.ECHO_REPLY)
async def echo_reply(session: Session, message: Frame, body: Any) -> None:
    """That it came is what counts (connection.py)."""


@_handles(Type.EXPERIMENTER)
async def experimenter(session: Session, message: Frame, body: Any) -> None:
    raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_EXPERIMENTER, f"unknown experimenter {body.experimenter:#x}")


@_handles(Type.FEATURES_REQUEST)
async def features(session: Session, message: Frame, body: Any) -> None:
    bridge = session.switch.bridge(session.bridge)
    session.reply(Type.FEATURES_REPLY, message.xid, ofp.FEATURES_REPLY.encode(ofp.FEATURES_REPLY(
        datapath_id=bridge.dpid, n_buffers=N_BUFFERS, n_tables=N_TABLES,
        capabilities=Capability.FLOW_STATS | Capability.TABLE_STATS | Capability.PORT_STATS)))


@_handles(Type.GET_CONFIG_REQUEST)
async def get_config(session: Session, message: Frame, body: Any) -> None:
    flags, miss_send_len = session.switch.config(session.bridge)
    session.reply(Type.GET_CONFIG_REPLY, message.xid, ofp.SWITCH_CONFIG.encode(
        ofp.SWITCH_CONFIG(flags=flags, miss_send_len=miss_send_len)))


@_handles(Type.SET_CONFIG)
async def set_config(session: Session, message: Frame, body: Any) -> None:
    if body.flags & ~_FRAG_FLAGS or body.flags & _FRAG_REASM:
        raise OpenFlowError(ErrorType.SWITCH_CONFIG_FAILED, SwitchConfigFailed.BAD_FLAGS, "fragments aren't reassembled")
    if session.management and session.standing.wishes.packet_in == 0 and body.miss_send_len:
        session.standing.wishes = default_async()
    await session.switch.set_config(session.bridge, body.flags, body.miss_send_len)


@_handles(Type.GROUP_MOD)
async def group_mod(session: Session, message: Frame, body: Any) -> None:
    """The switch has room for no group yet: adding one finds none free, and deleting finds none there."""
    if body.type >= _GROUP_TYPES:
        raise _group_error(GroupModFailed.BAD_TYPE, f"there is no group type {body.type}")
    if body.command == _ADD:
        raise _group_error(GroupModFailed.OUT_OF_GROUPS, "there is room for no group")
    if body.command == _MODIFY:
        raise _group_error(GroupModFailed.UNKNOWN_GROUP, f"there is no group {body.group_id}")
    if body.command != _DELETE:
        raise _group_error(GroupModFailed.BAD_COMMAND, f"there is no command {body.command}")


def _group_error(code: GroupModFailed, reason: str) -> OpenFlowError:
    return OpenFlowError(ErrorType.GROUP_MOD_FAILED, code, reason)


@_handles(Type.METER_MOD)
async def meter_mod(session: Session, message: Frame, body: Any) -> None:
    """As for groups."""
    if body.command == _ADD:
        raise _meter_error(MeterModFailed.OUT_OF_METERS, "there is room for no meter")
    if body.command == _MODIFY:
        raise _meter_error(MeterModFailed.UNKNOWN_METER, f"there is no meter {body.meter_id}")
    if body.command != _DELETE:
        raise _meter_error(MeterModFailed.BAD_COMMAND, f"there is no command {body.command}")
    if body.meter_id != OFPM_ALL:
        raise _meter_error(MeterModFailed.UNKNOWN_METER, f"there is no meter {body.meter_id}")


def _meter_error(code: MeterModFailed, reason: str) -> OpenFlowError:
    return OpenFlowError(ErrorType.METER_MOD_FAILED, code, reason)


@_handles(Type.PORT_MOD)
async def port_mod(session: Session, message: Frame, body: Any) -> None:
    if (body.config | body.mask) & ~_PORT_CONFIG:
        raise OpenFlowError(ErrorType.PORT_MOD_FAILED, PortModFailed.BAD_CONFIG,
                            f"bits other than {_PORT_CONFIG:#x} are set")
    await session.switch.modify_port(session.bridge, PortMod(body.port_no, body.config, body.mask, body.hw_addr))


@_handles(Type.TABLE_MOD)
async def table_mod(session: Session, message: Frame, body: Any) -> None:
    """A table has no configuration left in 1.3 (OFPTC_DEPRECATED_MASK); what it says is checked."""
    if body.table_id >= N_TABLES and body.table_id != OFPTT_ALL:
        raise OpenFlowError(ErrorType.TABLE_MOD_FAILED, TableModFailed.BAD_TABLE, f"there is no table {body.table_id}")
    if body.config & ~0b11:
        raise OpenFlowError(ErrorType.TABLE_MOD_FAILED, TableModFailed.BAD_CONFIG, f"unknown config {body.config:#x}")


@_handles(Type.BARRIER_REQUEST)
async def barrier(session: Session, message: Frame, body: Any) -> None:
    await session.switch.barrier(session.bridge)
    session.reply(Type.BARRIER_REPLY, message.xid)


@_handles(Type.QUEUE_GET_CONFIG_REQUEST)
async def queue_config(session: Session, message: Frame, body: Any) -> None:
    """Ports have no queues."""
    if body.port != OFPP_ANY and all(p.port_no != body.port for p in session.switch.ports(session.bridge)):
        raise OpenFlowError(ErrorType.QUEUE_OP_FAILED, QueueOpFailed.BAD_PORT, f"there is no port {body.port}")
    session.reply(Type.QUEUE_GET_CONFIG_REPLY, message.xid,
                  ofp.QUEUE_CONFIG_REPLY.encode(ofp.QUEUE_CONFIG_REPLY(port=body.port)))


@_handles(Type.ROLE_REQUEST)
async def role(session: Session, message: Frame, body: Any) -> None:
    session.roles.request(session.standing, body.role, body.generation_id)
    generation = session.roles.generation
    session.reply(Type.ROLE_REPLY, message.xid, ofp.ROLE.encode(ofp.ROLE(
        role=session.standing.role, generation_id=GENERATION_UNDEFINED if generation is None else generation)))


@_handles(Type.GET_ASYNC_REQUEST)
async def get_async(session: Session, message: Frame, body: Any) -> None:
    session.reply(Type.GET_ASYNC_REPLY, message.xid, ofp.ASYNC.encode(session.standing.wishes))


@_handles(Type.SET_ASYNC)
async def set_async(session: Session, message: Frame, body: Any) -> None:
    session.standing.wishes = body


@_handles(Type.MULTIPART_REQUEST)
async def multipart(session: Session, message: Frame, body: Any) -> None:
    await answer_multipart(session, message, body)
