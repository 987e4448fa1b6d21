"""One bridge's sessions, seen together: what one does and the others are told of (roles, requests, connections), and which
connection of a controller carries what."""
from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from vswitch.errors import VswitchError
from vswitch.openflow.announcements import Announcement
from vswitch.openflow.bundles import Tolerance
from vswitch.openflow.codec import message_frame
from vswitch.openflow.constants import Role, Type
from vswitch.openflow.experimenter import experimenter_frame
from vswitch.openflow.group_messages import group_mod_out
from vswitch.openflow.roles import GENERATION_UNDEFINED
from vswitch.openflow.session_messages import (CHANNEL_DOWN, CHANNEL_UP, CONTROLLER_STATUS, FORWARDED_GROUP_MOD,
                                               FORWARDED_METER_MOD, REASON_REQUEST, REASON_ROLE, REASON_SHORT_ID,
                                               ROLE_REASON_MASTER, ROLE_STATUS, SHORT_ID_UNDEFINED, URI)
from vswitch.openflow.table_features import Tables
from vswitch.openflow.versions import OF11, OF13, OF14, OF15, ONF

if TYPE_CHECKING:
    from vswitch.model.switch import Switch
    from vswitch.openflow.session import Session

_ONFT_ROLE_STATUS, _ONFT_REQUESTFORWARD = 1911, 2350


class Audience:
    def __init__(self, switch: Switch, name: str):
        self._switch = switch
        self._name = name
        self.sessions: set[Session] = set()
        self.tables = Tables()
        self.tolerance = Tolerance()
        self._watching = False
        self._watch_lock = asyncio.Lock()
        self._ending: asyncio.Task | None = None

    # -- roles
    def request_role(self, session: Session, role: int, generation: int | None, short_id: int = SHORT_ID_UNDEFINED) -> None:
        standing = session.standing
        before = standing.role, standing.short_id
        session.roles.request(standing, role, generation, short_id)
        if standing.role != before[0]:
            self.tell_controller_status(REASON_ROLE, session.peer, standing.role, up=True, but=session)
        elif standing.short_id != before[1]:
            self.tell_controller_status(REASON_SHORT_ID, session.peer, standing.role, up=True, but=session)

    def tell_role(self, session: Session) -> None:
        """That another controller is master in its place (OFPT_ROLE_STATUS; 1.4.1, 7.4.4)."""
        generation = session.roles.generation
        body = ROLE_STATUS.encode(ROLE_STATUS(role=session.standing.role, reason=ROLE_REASON_MASTER,
                                              generation_id=GENERATION_UNDEFINED if generation is None else generation))

        def make(version: int) -> bytes | None:
            if version >= OF14:
                return message_frame(version, Type.ROLE_STATUS, 0, body)
            return experimenter_frame(version, ONF, _ONFT_ROLE_STATUS, 0, body) if version == OF13 else None

        session.tell(Announcement("role_status", ROLE_REASON_MASTER, lambda s: s.version, make))

    # -- requests forwarded to others (1.4.1, 7.4.6)
    def forward_group_mod(self, session: Session, xid: int, body: bytes) -> None:
        def make(version: int) -> bytes | None:
            said = group_mod_out(version, body) if version >= OF11 else None
            return None if said is None else _forwarded(version, message_frame(version, Type.GROUP_MOD, xid, said))
        self._forward(session, FORWARDED_GROUP_MOD, make)

    def forward_meter_mod(self, session: Session, xid: int, body: bytes) -> None:
        def make(version: int) -> bytes | None:
            return _forwarded(version, message_frame(version, Type.METER_MOD, xid, body)) if version >= OF13 else None
        self._forward(session, FORWARDED_METER_MOD, make)

    def _forward(self, session: Session, reason: int, make) -> None:
        announcement = Announcement("requestforward", reason, lambda s: s.version, make)
        for other in list(self.sessions):
            if other.standing is not session.standing and not other.auxiliary_id:
                other.tell(announcement)

    # -- controller status (1.5.1, 7.4.7)
    def tell_controller_status(self, reason: int, peer: str, role: Role, *, up: bool, but: Session | None = None) -> None:
        entry = _status_entry(reason, peer, role, up=up)

        def make(version: int) -> bytes | None:
            return message_frame(version, Type.CONTROLLER_STATUS, 0, entry) if version == OF15 else None

        announcement = Announcement("controller_status", reason, lambda s: s.version, make)
        for session in list(self.sessions):
            if session is not but and not session.auxiliary_id:
                session.tell(announcement)

    def controller_entries(self) -> list[bytes]:
        """ofp_controller_status of all controllers."""
        return [_status_entry(REASON_REQUEST, s.peer, s.standing.role, up=s.connection.open, short_id=s.standing.short_id)
                for s in sorted(self.sessions, key=lambda s: s.peer) if not s.management and not s.auxiliary_id]

    # -- auxiliary connections
    def auxiliaries(self, main: Session) -> list[Session]:
        """The open auxiliary connections of a main one."""
        return sorted((s for s in self.sessions if s.auxiliary_id and s.standing is main.standing and s.connection.open),
                      key=lambda s: s.auxiliary_id)

    def channel_for(self, main: Session, announcement: Announcement) -> Session:
        """The connection that carries a packet-in: an auxiliary one where there are some (1.3.5, 6.3.6). Packets of one port
        and table take the same one, and so keep their order."""
        if main.management or len(self.sessions) == 1 or not (others := self.auxiliaries(main)):
            return main
        chosen = others[announcement.spread % len(others)]
        chosen.packet_in_format, chosen.controller_id = main.packet_in_format, main.controller_id
        return chosen

    # -- flow monitors
    def watch_rules(self) -> None:
        """Stops watching the bridge's rules when nobody monitors them any more; when is of no importance."""
        if self._watching and not any(s.monitors for s in self.sessions):
            self._ending = asyncio.create_task(self._unwatch())

    async def _unwatch(self) -> None:
        with contextlib.suppress(VswitchError):
            await self.watch_rules_now()

    async def watch_rules_now(self) -> None:
        """Watches the bridge's rules if somebody monitors them."""
        async with self._watch_lock:
            wanted = any(s.monitors for s in self.sessions)
            if wanted != self._watching:
                await self._switch.watch_rules(self._name, wanted)
                self._watching = wanted


def _forwarded(version: int, request: bytes) -> bytes | None:
    if version >= OF14:
        return message_frame(version, Type.REQUESTFORWARD, 0, request)
    return experimenter_frame(version, ONF, _ONFT_REQUESTFORWARD, 0, request) if version == OF13 else None


def _status_entry(reason: int, peer: str, role: Role, *, up: bool, short_id: int = SHORT_ID_UNDEFINED) -> bytes:
    return CONTROLLER_STATUS.encode(CONTROLLER_STATUS(short_id=short_id, role=role, reason=reason,
                                                      channel_status=CHANNEL_UP if up else CHANNEL_DOWN,
                                                      properties=[URI(uri=peer.encode())]))
