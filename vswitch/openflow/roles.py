"""Controllers' roles on one bridge (OpenFlow 1.3.5, 6.3.5, 7.3.9; short ids 1.5.1, 7.3.8.1), and what each connection has
asked for besides."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vswitch.errors import OpenFlowError
from vswitch.openflow.async_config import Wishes
from vswitch.openflow.constants import BadRequest, ErrorType, Role, RoleRequestFailed, Type
from vswitch.openflow.session_messages import SHORT_ID_UNDEFINED

GENERATION_UNDEFINED = 0xffffffffffffffff
_FORBIDDEN_TO_SLAVES = {Type.PACKET_OUT, Type.FLOW_MOD, Type.GROUP_MOD, Type.PORT_MOD, Type.TABLE_MOD, Type.METER_MOD,
                        Type.BUNDLE_CONTROL, Type.BUNDLE_ADD_MESSAGE}


@dataclass(eq=False)
class Standing:
    """One controller's role and wishes; its auxiliary connections share it. `demoted` is called when another controller
    became master in this one's place."""
    role: Role = Role.EQUAL
    wishes: Wishes = field(default_factory=Wishes)
    short_id: int = SHORT_ID_UNDEFINED
    demoted: Callable[[], None] = lambda: None

    def wants(self, kind: str, reason: int) -> bool:
        """`kind` is one of async_config.KINDS."""
        return self.wishes.wants(kind, reason, slave=self.role == Role.SLAVE)

    def check_change(self) -> None:
        """OpenFlowError IS_SLAVE where a slave would change the switch."""
        if self.role == Role.SLAVE:
            raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.IS_SLAVE, "a slave may not change the switch")

    def check(self, type_: int | None) -> None:
        """OpenFlowError IS_SLAVE for what a slave may not do."""
        if type_ in _FORBIDDEN_TO_SLAVES:
            self.check_change()


class Roles:
    """Who is master: at most one, the one that asked last with a generation that is not stale."""

    def __init__(self) -> None:
        self.generation: int | None = None
        self._standings: set[Standing] = set()

    def join(self, standing: Standing) -> None:
        self._standings.add(standing)

    def leave(self, standing: Standing) -> None:
        self._standings.discard(standing)

    def request(self, standing: Standing, role: int, generation: int | None, short_id: int = SHORT_ID_UNDEFINED) -> None:
        """Gives the role, or OpenFlowError ROLE_REQUEST_FAILED with STALE, BAD_ROLE or ID_IN_USE. Nicira's request has no
        generation (None)."""
        if role > Role.SLAVE:
            raise OpenFlowError(ErrorType.ROLE_REQUEST_FAILED, RoleRequestFailed.BAD_ROLE, f"there is no role {role}")
        if short_id != SHORT_ID_UNDEFINED and any(s is not standing and s.short_id == short_id for s in self._standings):
            raise OpenFlowError(ErrorType.ROLE_REQUEST_FAILED, RoleRequestFailed.ID_IN_USE,
                                f"another controller has the id {short_id}")
        if role in (Role.MASTER, Role.SLAVE) and generation is not None:
            if self.generation is not None and (generation - self.generation) & 1 << 63:
                raise OpenFlowError(ErrorType.ROLE_REQUEST_FAILED, RoleRequestFailed.STALE,
                                    f"generation {generation} is older than {self.generation}")
            self.generation = generation
        if short_id != SHORT_ID_UNDEFINED:
            standing.short_id = short_id
        if role == Role.MASTER:
            for other in list(self._standings):
                if other is not standing and other.role == Role.MASTER:
                    other.role = Role.SLAVE
                    other.demoted()
        if role != Role.NOCHANGE:
            standing.role = Role(role)
