"""Group-mods and meter-mods of every version, and who is told of them (OpenFlow 1.4.1, 7.4.6)."""
from __future__ import annotations

from typing import TYPE_CHECKING

from vswitch.openflow import group_messages as group, messages as ofp
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


_ALL_TYPES = 0b1111
_SELECT_WEIGHT, _SELECT_LIVENESS, _CHAINING, _CHAINING_CHECKS = 1, 2, 4, 8
_GROUPS_MAX = 65536
_ACTIONS = sum(1 << n for n in (0, *range(11, 13), *range(15, 28)))


def group_features() -> bytes:
    """ofp_group_features (1.3.5, 7.3.5.9)."""
    limits = {f"{what}_{kind}": n for kind in ("all", "select", "indirect", "ff")
              for what, n in (("max", _GROUPS_MAX), ("actions", _ACTIONS))}
    return ofp.GROUP_FEATURES.encode(ofp.GROUP_FEATURES(
        types=_ALL_TYPES, capabilities=_SELECT_WEIGHT | _SELECT_LIVENESS | _CHAINING | _CHAINING_CHECKS, **limits))
