"""Group-mods and meter-mods of every version, and who is told of them (OpenFlow 1.4.1, 7.4.6)."""
from __future__ import annotations

from typing import TYPE_CHECKING

from vswitch.openflow import group_messages as group
from vswitch.openflow.codec import Frame

if TYPE_CHECKING:
    from vswitch.openflow.session import Session


async def group_mod(session: Session, message: Frame) -> None:
    body = group.group_mod(session.version, message.body)
    await change_group(session, body)
    session.agent.forward_group_mod(session, message.xid, body)


async def change_group(session: Session, body: bytes) -> None:
    await session.switch.group_mod(session.bridge, body)


async def meter_mod(session: Session, message: Frame) -> None:
    await change_meter(session, message.body)
    session.agent.forward_meter_mod(session, message.xid, message.body)


async def change_meter(session: Session, body: bytes) -> None:
    await session.switch.meter_mod(session.bridge, body)
