"""Group-mods and meter-mods of every version, and who is told of them (OpenFlow 1.4.1, 7.4.6)."""
from __future__ import annotations

from typing import TYPE_CHECKING

from vswitch.errors import OpenFlowError
from vswitch.openflow import group_messages as group, messages as ofp
from vswitch.openflow.codec import Frame
from vswitch.openflow.constants import OFPM_ALL, ErrorType, GroupModFailed, MeterModFailed

if TYPE_CHECKING:
    from vswitch.openflow.session import Session

_ADD, _MODIFY, _DELETE = 0, 1, 2
_GROUP_TYPES = 4


async def group_mod(session: Session, message: Frame) -> None:
    body = group.group_mod(session.version, message.body)
    await change_group(session, body)
    session.agent.forward_group_mod(session, message.xid, body)


async def change_group(session: Session, body: bytes) -> None:
    """The switch has room for no group yet: adding one finds none free, and deleting finds none there."""
    asked = group.GROUP_MOD15.decode(body)
    if asked.type >= _GROUP_TYPES:
        raise _group_error(GroupModFailed.BAD_TYPE, f"there is no group type {asked.type}")
    if asked.command in (_ADD, group.ADD_OR_MODIFY):
        raise _group_error(GroupModFailed.OUT_OF_GROUPS, "there is room for no group")
    if asked.command in (_MODIFY, group.INSERT_BUCKET, group.REMOVE_BUCKET):
        raise _group_error(GroupModFailed.UNKNOWN_GROUP, f"there is no group {asked.group_id}")
    if asked.command != _DELETE:
        raise _group_error(GroupModFailed.BAD_COMMAND, f"there is no command {asked.command}")


def _group_error(code: GroupModFailed, reason: str) -> OpenFlowError:
    return OpenFlowError(ErrorType.GROUP_MOD_FAILED, code, reason)


async def meter_mod(session: Session, message: Frame) -> None:
    await change_meter(session, message.body)
    session.agent.forward_meter_mod(session, message.xid, message.body)


async def change_meter(session: Session, body: bytes) -> None:
    """As for groups."""
    asked = ofp.METER_MOD.decode(body)
    if asked.command == _ADD:
        raise _meter_error(MeterModFailed.OUT_OF_METERS, "there is room for no meter")
    if asked.command == _MODIFY:
        raise _meter_error(MeterModFailed.UNKNOWN_METER, f"there is no meter {asked.meter_id}")
    if asked.command != _DELETE:
        raise _meter_error(MeterModFailed.BAD_COMMAND, f"there is no command {asked.command}")
    if asked.meter_id != OFPM_ALL:
        raise _meter_error(MeterModFailed.UNKNOWN_METER, f"there is no meter {asked.meter_id}")


def _meter_error(code: MeterModFailed, reason: str) -> OpenFlowError:
    return OpenFlowError(ErrorType.METER_MOD_FAILED, code, reason)
