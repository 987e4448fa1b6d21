"""One bridge's OpenFlow side: its controllers, its listening sockets, its management socket, who is told what, and what
happens when no controller is there (fail modes)."""
from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vswitch.datapath.records import MISS_CONTROLLER, MISS_DROP, MISS_NORMAL
from vswitch.errors import NotFoundError, VswitchError
from vswitch.model.objects import Bridge, ControllerStatus, Event, RuleUpdate
from vswitch.openflow import announcements, streams, tls
from vswitch.openflow.announcements import Announcement
from vswitch.openflow.audience import Audience
from vswitch.openflow.connection import Connection
from vswitch.openflow.constants import Role
from vswitch.openflow.controller import Controller
from vswitch.openflow.listener import Listener
from vswitch.openflow.roles import Roles
from vswitch.openflow.session import Session
from vswitch.openflow.session_messages import REASON_ADDED, REASON_CHANNEL, REASON_REMOVED
from vswitch.openflow.streams import Reader
from vswitch.openflow.versions import OF13, allowed

if TYPE_CHECKING:
    from vswitch.model.switch import Switch

log = logging.getLogger(__name__)

_RETRY = 2.0                # seconds between attempts to tell the datapath of the fail mode


class Agent(Audience):
    def __init__(self, switch: Switch, bridge: Bridge, run_dir: str):
        super().__init__(switch, bridge.name)
        self.bridge = bridge
        self._roles = Roles()
        self._serving: set[asyncio.Task] = set()
        self._controllers: dict[str, Controller] = {}
        self._by_controller: dict[Controller, Session] = {}
        self._listeners: dict[str, Listener] = {}
        self._management = Path(run_dir) / f"{bridge.name}.mgmt"
        self._look = asyncio.Event()
        self._keeper = asyncio.create_task(self._keep_fail_mode(), name=f"fail mode {bridge.name}")
        self._management_task = asyncio.create_task(self._listen_management())
        self.change(bridge)

    def change(self, bridge: Bridge) -> None:
        """To the bridge's new desired state; connections that it leaves alone stay."""
        before, self.bridge = self.bridge, bridge
        anew = any(getattr(before, key) != getattr(bridge, key)
                   for key in ("protocols", "auxiliary", "tls_certificate", "tls_key", "tls_ca"))
        for target in set(self._controllers) - set(() if anew else bridge.controllers):
            self._controllers.pop(target).task.cancel()
            if target not in bridge.controllers:
                self.tell_controller_status(REASON_REMOVED, target, Role.NOCHANGE, up=False)
        for target in bridge.controllers:
            if target not in self._controllers:
                self._controllers[target] = Controller(target, self._serve_controller, self._look.set, self._client_tls)
                if target not in before.controllers:
                    self.tell_controller_status(REASON_ADDED, target, Role.NOCHANGE, up=False)
        for target in set(self._listeners) - set(() if anew else bridge.listen):
            self._listeners.pop(target).task.cancel()
        for target in bridge.listen:
            if target not in self._listeners:
                self._listeners[target] = Listener(target, bridge.name, self._serve_passive, self._server_tls)
        if anew:
            for session in list(self.sessions):
                session.connection.abort("the bridge's OpenFlow settings changed")
        self._look.set()

    async def stop(self) -> None:
        tasks = [self._keeper, self._management_task, *(c.task for c in self._controllers.values()),
                 *(listener.task for listener in self._listeners.values()), *self._serving]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._management.unlink(missing_ok=True)

    def _client_tls(self) -> ssl.SSLContext:
        return tls.context(self.bridge, server=False)

    def _server_tls(self) -> ssl.SSLContext:
        return tls.context(self.bridge, server=True)

    # -- what the datapath tells
    def tell(self, announcement: Announcement) -> None:
        for session in list(self.sessions):
            if not session.auxiliary_id:
                session.tell(announcement)

    def packet_in(self, body: bytes, controller_id: int, userdata: bytes) -> None:
        """A canonical packet_in. To one connection it mostly goes as it is, without what choosing and encoding for many takes."""
        if len(self.sessions) == 1 and next(iter(self.sessions)).packet_in(body, controller_id):
            return
        announcement = announcements.packet_in(body, controller_id, userdata)
        for session in list(self.sessions):
            if session.controller_id == announcement.controller_id and not session.auxiliary_id:
                self.channel_for(session, announcement).tell(announcement)

    def rule_changed(self, update: RuleUpdate) -> None:
        for session in self.sessions:
            if session.monitors:
                session.monitors.changed(update)

    # -- who is there
    def status(self) -> list[ControllerStatus]:
        found = [self._status(target, self._by_controller.get(controller), controller.last_error)
                 for target, controller in self._controllers.items()]
        active = {session for controller, session in self._by_controller.items() if not controller.auxiliary_id}
        found += [self._status(s.peer, s, "") for s in self.sessions
                  if s not in active and not s.management and not s.auxiliary_id]
        found += [self._status(listener.target, None, listener.error) for listener in self._listeners.values()
                  if listener.error]
        return found

    def _status(self, target: str, session: Session | None, last_error: str) -> ControllerStatus:
        connected = session is not None and session.connection.open
        return ControllerStatus(self.bridge.name, target, connected, session.version if connected else 0,
                                session.standing.role.name.lower() if connected else "", last_error,
                                len(self.auxiliaries(session)) if connected else 0)

    # -- connections
    async def _serve_controller(self, controller: Controller, reader: Reader,
                                writer: asyncio.StreamWriter) -> str:
        main = self._by_controller.get(self._controllers.get(controller.target)) if controller.auxiliary_id else None
        if controller.auxiliary_id and main is None:
            writer.close()
            return "the main connection is away"
        session = self._session(self._connection(reader, writer, main), controller.target,
                                auxiliary_id=controller.auxiliary_id, main=main)
        self._by_controller[controller] = session
        auxiliary: list[Controller] = []

        def opened() -> None:
            controller.was_opened()
            if not controller.auxiliary_id:
                auxiliary.extend(Controller(controller.target, self._serve_controller, lambda: None, self._client_tls, i)
                                 for i in range(1, self.bridge.auxiliary + 1))

        try:
            return await self._run(session, opened)
        finally:
            del self._by_controller[controller]
            for other in auxiliary:
                other.task.cancel()
            await asyncio.gather(*(other.task for other in auxiliary), return_exceptions=True)

    def _connection(self, reader: Reader, writer: asyncio.StreamWriter, main: Session | None = None, *,
                    probe: bool = True) -> Connection:
        versions = (main.version,) if main is not None else allowed(self.bridge.protocols)
        return Connection(reader, writer, probe=probe, versions=versions)

    async def _serve_passive(self, reader: Reader, writer: asyncio.StreamWriter, peer: str) -> None:
        await self._served(self._session(self._connection(reader, writer), peer))

    async def _serve_management(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        await self._served(self._session(self._connection(reader, writer, probe=False), "management", management=True))

    async def _served(self, session: Session) -> None:
        task = asyncio.current_task()
        self._serving.add(task)
        try:
            await self._run(session, lambda: None)
        except asyncio.CancelledError:
            pass
        finally:
            self._serving.discard(task)

    def _session(self, connection: Connection, peer: str, *, management: bool = False, auxiliary_id: int = 0,
                 main: Session | None = None) -> Session:
        return Session(self._switch, self.bridge.name, connection, self._roles, peer, self, management=management,
                       auxiliary_id=auxiliary_id, standing=main.standing if main is not None else None)

    async def _run(self, session: Session, opened: Callable[[], None]) -> str:
        was_open = False
        shown = not session.management and not session.auxiliary_id

        def now_open() -> None:
            nonlocal was_open
            was_open = True
            if shown:
                log.info("controller is there", extra={"bridge": self.bridge.name, "controller": session.peer,
                                                       "version": session.version})
                self._switch.tell(Event("controller", "up", self.bridge.name, session.peer, session.peer))
                self.tell_controller_status(REASON_CHANNEL, session.peer, session.standing.role, up=True, but=session)
            opened()
            self._look.set()

        self.sessions.add(session)
        try:
            return await session.run(now_open)
        finally:
            self.sessions.discard(session)
            self._look.set()
            if was_open and shown:
                self._switch.tell(Event("controller", "down", self.bridge.name, session.peer,
                                        session.connection.end_reason))
                self.tell_controller_status(REASON_CHANNEL, session.peer, session.standing.role, up=False)

    async def _listen_management(self) -> None:
        try:
            server = await asyncio.get_running_loop().create_unix_server(lambda: streams.made(self._serve_management), self._management)
            os.chmod(self._management, 0o660)
        except OSError as e:
            log.error("no management socket", extra={"path": str(self._management), "reason": str(e)})
            return
        async with server:
            await server.serve_forever()

    # -- fail modes
    def _miss(self) -> int | None:
        """What becomes of a packet that no rule knows, MISS_*; None while it is too early to tell. Controllers of OpenFlow 1.0 to
        1.2 are told of it (1.0: 3.4; 1.2: 5.4); those of 1.3 have rules for it."""
        told = any(s.version < OF13 and s.connection.open and not s.management for s in self.sessions)
        controllers = self._controllers.values()
        if self.bridge.fail_mode == "secure" or any(c.connected for c in controllers):
            return MISS_CONTROLLER if told else MISS_DROP
        return MISS_NORMAL if all(c.lost for c in controllers) else None

    async def _keep_fail_mode(self) -> None:
        while True:
            await self._look.wait()
            self._look.clear()
            while (miss := self._miss()) is not None:
                try:
                    await self._switch.set_miss(self.bridge.name, miss)
                    break
                except NotFoundError:
                    return
                except VswitchError:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_RETRY):
                            await self._look.wait()
