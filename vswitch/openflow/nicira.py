"""Nicira's messages, of experimenter 0x00002320 (Open vSwitch's include/openflow/nicira-ext.h). NXT_FLOW_MOD is rules.py's,
monitors are flow_monitor.py's."""
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from vswitch.errors import OpenFlowError
from vswitch.openflow import convert, group_messages as group, messages as ofp
from vswitch.openflow.async_config import decode_nx_async, decode_nx_async2
from vswitch.openflow.codec import Frame
from vswitch.openflow.constants import BadRequest, ErrorType, Role, RoleRequestFailed
from vswitch.openflow.experimenter import answers, experimenter_frame, handles
from vswitch.openflow.group_handlers import change_group, group_features
from vswitch.openflow.layout import Layout
from vswitch.openflow.multipart_rules import aggregate, flows
from vswitch.openflow.versions import NICIRA, OF10, OF11, OF13

if TYPE_CHECKING:
    from vswitch.openflow.session import Session

(NXT_ROLE_REQUEST, NXT_ROLE_REPLY, NXT_SET_FLOW_FORMAT) = (10, 11, 12)
(NXT_FLOW_MOD_TABLE_ID, NXT_SET_PACKET_IN_FORMAT, NXT_FLOW_AGE, NXT_SET_ASYNC_CONFIG, NXT_SET_CONTROLLER_ID,
 NXT_SET_ASYNC_CONFIG2, NXT_GROUP_MOD) = (15, 16, 18, 19, 20, 27, 31)
NXST_FLOW, NXST_AGGREGATE, NXST_GROUP, NXST_GROUP_DESC, NXST_GROUP_FEATURES = 0, 1, 7, 8, 9

NUMBER = Layout("NiciraNumber", "I number")
FLOW_MOD_TABLE_ID = Layout("FlowModTableId", "B on, 7x")
CONTROLLER_ID = Layout("ControllerId", "6x, H controller_id")
_NXFF_OPENFLOW10, _NXFF_NXM = 0, 2
_PACKET_IN_FORMATS = (convert.STANDARD, convert.NICIRA, convert.NICIRA2)
_ROLES = (Role.EQUAL, Role.MASTER, Role.SLAVE)      # NX_ROLE_OTHER, PRIMARY, SECONDARY


@handles(NICIRA, NXT_ROLE_REQUEST)
async def role_request(session: Session, message: Frame, body: bytes) -> None:
    asked = NUMBER.decode(body).number
    if asked >= len(_ROLES):
        raise OpenFlowError(ErrorType.ROLE_REQUEST_FAILED, RoleRequestFailed.BAD_ROLE, f"there is no role {asked}")
    session.agent.request_role(session, _ROLES[asked], None)
    session.connection.send(experimenter_frame(session.version, NICIRA, NXT_ROLE_REPLY, message.xid, body))


@handles(NICIRA, NXT_SET_FLOW_FORMAT, OF10, OF10)
async def set_flow_format(session: Session, message: Frame, body: bytes) -> None:
    asked = NUMBER.decode(body).number
    if asked not in (_NXFF_OPENFLOW10, _NXFF_NXM):
        raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.EPERM, f"there is no flow format {asked}")
    session.nicira_flows = asked == _NXFF_NXM


@handles(NICIRA, NXT_FLOW_MOD_TABLE_ID)
async def flow_mod_table_id(session: Session, message: Frame, body: bytes) -> None:
    session.flow_mod_table_id = FLOW_MOD_TABLE_ID.decode(body).on != 0


@handles(NICIRA, NXT_SET_PACKET_IN_FORMAT)
async def set_packet_in_format(session: Session, message: Frame, body: bytes) -> None:
    asked = NUMBER.decode(body).number
    if asked >= len(_PACKET_IN_FORMATS):
        raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.EPERM, f"there is no packet-in format {asked}")
    session.packet_in_format = _PACKET_IN_FORMATS[asked]


@handles(NICIRA, NXT_FLOW_AGE)
async def flow_age(session: Session, message: Frame, body: bytes) -> None:
    """Asks that NXST_FLOW tells ages, which it may leave out."""
    ofp.EMPTY.decode(body)


@handles(NICIRA, NXT_SET_ASYNC_CONFIG)
async def set_async(session: Session, message: Frame, body: bytes) -> None:
    session.standing.wishes = decode_nx_async(body, session.standing.wishes)


@handles(NICIRA, NXT_SET_ASYNC_CONFIG2, OF10, OF13)
async def set_async2(session: Session, message: Frame, body: bytes) -> None:
    session.standing.wishes = decode_nx_async2(body, session.standing.wishes)


@handles(NICIRA, NXT_SET_CONTROLLER_ID)
async def set_controller_id(session: Session, message: Frame, body: bytes) -> None:
    session.controller_id = CONTROLLER_ID.decode(body).controller_id


@handles(NICIRA, NXT_GROUP_MOD, OF10, OF10)
async def group_mod(session: Session, message: Frame, body: bytes) -> None:
    session.standing.check_change()
    canonical = group.nx_group_mod(body)
    await change_group(session, canonical)
    session.agent.forward_group_mod(session, message.xid, canonical)


@answers(NICIRA, NXST_FLOW, OF10, OF10)
def flow_stats(session: Session, body: bytes) -> AsyncIterator[list[bytes]]:
    return flows(session, body, convert.NICIRA)


@answers(NICIRA, NXST_AGGREGATE, OF10, OF10)
def aggregate_stats(session: Session, body: bytes) -> AsyncIterator[list[bytes]]:
    return aggregate(session, body, convert.NICIRA)


@answers(NICIRA, NXST_GROUP, OF10, OF10)
async def group_stats(session: Session, body: bytes) -> AsyncIterator[list[bytes]]:
    yield await session.switch.group_stats(session.bridge, ofp.GROUP_REQUEST.decode(body).group_id)


@answers(NICIRA, NXST_GROUP_DESC, OF10, OF10)
async def group_desc(session: Session, body: bytes) -> AsyncIterator[list[bytes]]:
    asked = ofp.GROUP_REQUEST.decode(body).group_id
    yield [group.nx_group_desc(entry) for entry in await session.switch.groups(session.bridge, asked)]


@answers(NICIRA, NXST_GROUP_FEATURES, OF10, OF11)
async def features(session: Session, body: bytes) -> AsyncIterator[list[bytes]]:
    ofp.EMPTY.decode(body)
    yield [group_features()]
