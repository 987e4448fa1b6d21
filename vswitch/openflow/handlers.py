"""One handler a message that a controller sends, flow-mods and packet-outs apart (session.py sends those on in batches).

A handler answers through the session, or raises what the answer's OFPT_ERROR is made of.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vswitch.errors import OpenFlowError
from vswitch.openflow import messages as ofp, nicira, onf, port_messages as port, session_messages as said
from vswitch.openflow.async_config import Wishes, decode_async, encode_async
from vswitch.openflow.bundles import add_message, control
from vswitch.openflow.codec import Frame, decode
from vswitch.openflow.constants import (N_TABLES, Capability, ErrorType, PacketInReason, Role, SwitchConfigFailed, Type)
from vswitch.openflow.experimenter import handle_experimenter
from vswitch.openflow.group_handlers import group_mod, meter_mod
from vswitch.openflow.multipart import answer_multipart
from vswitch.openflow.queue_handlers import queue_config
from vswitch.openflow.roles import GENERATION_UNDEFINED
from vswitch.openflow.table_handlers import table_mod
from vswitch.openflow.versions import OF10, OF12, OF13, OF14, OF15

if TYPE_CHECKING:
    from vswitch.openflow.session import Session

Handler = Callable[["Session", Frame], Awaitable[None]]
EXTENSIONS = (nicira, onf)  # they name their handlers themselves (experimenter.py)

N_BUFFERS = 256             # packets that the datapath keeps for packet-outs, a bridge
_FRAG_FLAGS = 0b11          # OFPC_FRAG_MASK; OFPC_FRAG_REASM is 2
_FRAG_REASM = 2
_INVALID_TTL = 4            # OFPC_INVALID_TTL_TO_CONTROLLER, until 1.2
_PORTS_MAX = 60_000         # bytes of ports in a features reply
_CAPABILITIES = Capability.FLOW_STATS | Capability.TABLE_STATS | Capability.PORT_STATS | Capability.QUEUE_STATS
_ARP_MATCH_IP = 128         # OFPC_ARP_MATCH_IP, 1.0 and 1.1

HANDLERS: dict[Type, Handler] = {Type.EXPERIMENTER: handle_experimenter, Type.BUNDLE_CONTROL: control,
                                 Type.BUNDLE_ADD_MESSAGE: add_message, Type.MULTIPART_REQUEST: answer_multipart,
                                 Type.GROUP_MOD: group_mod, Type.METER_MOD: meter_mod, Type.TABLE_MOD: table_mod}


def _handles(type_: Type) -> Callable[[Callable[[Session, Frame, Any], Awaitable[None]]], Handler]:
    """The handler gets the decoded body too."""
    def register(function: Callable[[Session, Frame, Any], Awaitable[None]]) -> Handler:
        async def handler(session: Session, message: Frame) -> None:
            await function(session, message, decode(type_, message.body, session.version))
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


@_handles(Type.FEATURES_REQUEST)
async def features(session: Session, message: Frame, body: Any) -> None:
    version = session.version
    bridge = session.switch.bridge(session.bridge)
    common = {"datapath_id": bridge.dpid, "n_buffers": N_BUFFERS, "n_tables": N_TABLES}
    capabilities = _CAPABILITIES
    if version != OF10:
        capabilities |= Capability.GROUP_STATS
    if version >= OF14:
        capabilities |= Capability.BUNDLES | Capability.FLOW_MONITORING
    if version >= OF13:
        reply = ofp.FEATURES_REPLY(capabilities=capabilities, auxiliary_id=session.auxiliary_id, **common)
    else:
        layout = said.FEATURES_REPLY[version]
        size = port.PORT[version].fixed_size
        ports = [port.port_desc(version, record) for record in await session.switch.port_records(session.bridge)
                 if port.speakable(version, record.port_no)]
        reply = layout(capabilities=capabilities, ports=ports[:_PORTS_MAX // size], **common)
        if version == OF10:
            reply.actions = said.ACTIONS10
            reply.capabilities = capabilities & ~Capability.GROUP_STATS | _ARP_MATCH_IP     # the bit is OFPC_STP there
    session.reply(Type.FEATURES_REPLY, message.xid, reply.layout.encode(reply))


@_handles(Type.GET_CONFIG_REQUEST)
async def get_config(session: Session, message: Frame, body: Any) -> None:
    flags, miss_send_len = session.switch.config(session.bridge)
    if session.version <= OF12 and session.standing.wishes.wants("packet_in", PacketInReason.INVALID_TTL, slave=False):
        flags |= _INVALID_TTL
    session.reply(Type.GET_CONFIG_REPLY, message.xid, ofp.SWITCH_CONFIG.encode(
        ofp.SWITCH_CONFIG(flags=flags, miss_send_len=miss_send_len)))


@_handles(Type.SET_CONFIG)
async def set_config(session: Session, message: Frame, body: Any) -> None:
    """The bridge's, for all controllers; a slave's is not heard (1.3.5, 6.3.5)."""
    known = _FRAG_FLAGS | (_INVALID_TTL if session.version <= OF12 else 0)
    if body.flags & ~known or body.flags & _FRAG_REASM:
        raise OpenFlowError(ErrorType.SWITCH_CONFIG_FAILED, SwitchConfigFailed.BAD_FLAGS, "fragments aren't reassembled")
    standing = session.standing
    if session.management and standing.wishes.silent and body.miss_send_len:
        standing.wishes = Wishes()
    if session.version <= OF12:
        bit = 1 << PacketInReason.INVALID_TTL
        wanted, slave = standing.wishes.masks["packet_in"]
        wanted = wanted | bit if body.flags & _INVALID_TTL else wanted & ~bit
        standing.wishes = replace(standing.wishes, masks={**standing.wishes.masks, "packet_in": (wanted, slave)})
    if standing.role != Role.SLAVE:
        await session.switch.set_config(session.bridge, body.flags & _FRAG_FLAGS, body.miss_send_len)


async def _port_mod(session: Session, message: Frame) -> None:
    await session.switch.modify_port(session.bridge, port.port_mod(session.version, message.body))


HANDLERS[Type.PORT_MOD] = _port_mod


@_handles(Type.BARRIER_REQUEST)
async def barrier(session: Session, message: Frame, body: Any) -> None:
    await session.switch.barrier(session.bridge)
    session.reply(Type.BARRIER_REPLY, message.xid)


HANDLERS[Type.QUEUE_GET_CONFIG_REQUEST] = queue_config


@_handles(Type.ROLE_REQUEST)
async def role(session: Session, message: Frame, body: Any) -> None:
    standing = session.standing
    short_id = body.short_id if session.version == OF15 else said.SHORT_ID_UNDEFINED
    session.agent.request_role(session, body.role, body.generation_id, short_id)
    generation = session.roles.generation
    reply = said.ROLE[session.version](role=standing.role,
                                       generation_id=GENERATION_UNDEFINED if generation is None else generation)
    if session.version == OF15:
        reply.short_id = standing.short_id
    session.reply(Type.ROLE_REPLY, message.xid, reply.layout.encode(reply))


@_handles(Type.GET_ASYNC_REQUEST)
async def get_async(session: Session, message: Frame, body: Any) -> None:
    session.reply(Type.GET_ASYNC_REPLY, message.xid, encode_async(session.version, session.standing.wishes))


async def _set_async(session: Session, message: Frame) -> None:
    session.standing.wishes = decode_async(session.version, message.body, session.standing.wishes)


HANDLERS[Type.SET_ASYNC] = _set_async
