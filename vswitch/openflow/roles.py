"""Controllers' roles on one bridge, and which asynchronous messages each wants (OpenFlow 1.3.5, 6.3.5, 7.3.9, 7.3.10)."""
from __future__ import annotations

from dataclasses import dataclass, field

from vswitch.errors import OpenFlowError
from vswitch.openflow.constants import (BadRequest, ErrorType, FlowRemovedReason, PacketInReason, Role, RoleRequestFailed,
                                        Type)
from vswitch.openflow.messages import ASYNC

GENERATION_UNDEFINED = 0xffffffffffffffff
_ALL_PORT_STATUS = 0b111
_ALL_FLOW_REMOVED = sum(1 << reason for reason in FlowRemovedReason)
_DEFAULT_PACKET_IN = 1 << PacketInReason.NO_MATCH | 1 << PacketInReason.ACTION
_FORBIDDEN_TO_SLAVES = {Type.PACKET_OUT, Type.FLOW_MOD, Type.GROUP_MOD, Type.PORT_MOD, Type.TABLE_MOD, Type.METER_MOD}


def default_async():
    return ASYNC(packet_in=_DEFAULT_PACKET_IN, port_status=_ALL_PORT_STATUS, port_status_slave=_ALL_PORT_STATUS,
                 flow_removed=_ALL_FLOW_REMOVED)


def no_async():
    return ASYNC()


@dataclass
class Standing:
    """One connection's role and wishes."""
    role: Role = Role.EQUAL
    wishes: object = field(default_factory=default_async)

    def wants(self, kind: str, reason: int) -> bool:
        """`kind` is "packet_in", "port_status" or "flow_removed"."""
        mask = getattr(self.wishes, f"{kind}_slave" if self.role == Role.SLAVE else kind)
        return bool(mask >> reason & 1)

    def check(self, type_: int) -> None:
        """OpenFlowError IS_SLAVE for what a slave may not do."""
        if self.role == Role.SLAVE and type_ in _FORBIDDEN_TO_SLAVES:
            raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.IS_SLAVE, "a slave may not change the switch")


class Roles:
    """Who is master: at most one, the one that asked last with a generation that is not stale."""

    def __init__(self) -> None:
        self.generation: int | None = None
        self._standings: dict[int, Standing] = {}

    def join(self, standing: Standing) -> None:
        self._standings[id(standing)] = standing

    def leave(self, standing: Standing) -> None:
        self._standings.pop(id(standing), None)

    def request(self, standing: Standing, role: int, generation: int) -> None:
        """Gives the role, or OpenFlowError ROLE_REQUEST_FAILED with STALE or BAD_ROLE."""
        if role > Role.SLAVE:
            raise OpenFlowError(ErrorType.ROLE_REQUEST_FAILED, RoleRequestFailed.BAD_ROLE, f"there is no role {role}")
        if role in (Role.MASTER, Role.SLAVE):
            if self.generation is not None and (generation - self.generation) & 1 << 63:
                raise OpenFlowError(ErrorType.ROLE_REQUEST_FAILED, RoleRequestFailed.STALE,
                                    f"generation {generation} is older than {self.generation}")
            self.generation = generation
        if role == Role.MASTER:
            for other in self._standings.values():
                if other is not standing and other.role == Role.MASTER:
                    other.role = Role.SLAVE
        if role != Role.NOCHANGE:
            standing.role = Role(role)
