"""OpenFlow's versions: their names, and which number each message has in each.

Inside the switch a message has its number of OpenFlow 1.5 (`Type`); 1.0 and its queue messages number some differently.
"""
from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from vswitch.openflow.constants import Multipart, Type


class Version(IntEnum):
    """What stands in ofp_header.version."""
    OF10 = 0x01
    OF11 = 0x02
    OF12 = 0x03
    OF13 = 0x04
    OF14 = 0x05
    OF15 = 0x06


OF10, OF11, OF12, OF13, OF14, OF15 = Version
NAMES: dict[str, Version] = {f"1.{v - 1}": v for v in Version}      # as configurations write them
TEXTS: dict[int, str] = {v: name for name, v in NAMES.items()}


def allowed(protocols: Iterable[str]) -> tuple[int, ...]:
    """The wire versions of a bridge's `protocols`, ascending; none named = all."""
    return tuple(sorted(NAMES[name] for name in protocols)) or tuple(Version)


_SINCE_11 = {t: t for t in Type if t <= Type.QUEUE_GET_CONFIG_REPLY}
_SINCE_12 = {**_SINCE_11, **{t: t for t in (Type.ROLE_REQUEST, Type.ROLE_REPLY)}}
_SINCE_13 = {t: t for t in Type if t <= Type.METER_MOD}
_SINCE_14 = {t: t for t in Type if t < Type.CONTROLLER_STATUS
             and t not in (Type.QUEUE_GET_CONFIG_REQUEST, Type.QUEUE_GET_CONFIG_REPLY)}

# Canonical number by the wire's.
TYPES: dict[int, dict[int, Type]] = {
    OF10: {**{t: t for t in Type if t <= Type.FLOW_MOD}, 15: Type.PORT_MOD, 16: Type.MULTIPART_REQUEST,
           17: Type.MULTIPART_REPLY, 18: Type.BARRIER_REQUEST, 19: Type.BARRIER_REPLY,
           20: Type.QUEUE_GET_CONFIG_REQUEST, 21: Type.QUEUE_GET_CONFIG_REPLY},
    OF11: _SINCE_11, OF12: _SINCE_12, OF13: _SINCE_13, OF14: _SINCE_14,
    OF15: {**_SINCE_14, Type.CONTROLLER_STATUS: Type.CONTROLLER_STATUS},
}
WIRE_TYPES: dict[int, dict[Type, int]] = {v: {t: wire for wire, t in types.items()} for v, types in TYPES.items()}

# Open vSwitch answers OFPMP_PORT_DESC in every version, and its tools ask for it.
_FIRST = (Multipart.DESC, Multipart.FLOW, Multipart.AGGREGATE, Multipart.TABLE, Multipart.PORT_STATS, Multipart.QUEUE,
          Multipart.PORT_DESC, Multipart.EXPERIMENTER)
_KINDS_11 = (*_FIRST, Multipart.GROUP, Multipart.GROUP_DESC)
_KINDS_12 = (*_KINDS_11, Multipart.GROUP_FEATURES)
_KINDS_13 = (*_KINDS_12, Multipart.METER, Multipart.METER_CONFIG, Multipart.METER_FEATURES, Multipart.TABLE_FEATURES)
_KINDS_14 = (*_KINDS_13, Multipart.TABLE_DESC, Multipart.QUEUE_DESC, Multipart.FLOW_MONITOR)
KINDS: dict[int, frozenset[Multipart]] = {
    OF10: frozenset(_FIRST), OF11: frozenset(_KINDS_11), OF12: frozenset(_KINDS_12), OF13: frozenset(_KINDS_13),
    OF14: frozenset(_KINDS_14), OF15: frozenset(Multipart),
}

NICIRA = 0x00002320         # experimenter ids
ONF = 0x4f4e4600
