"""One bridge's OpenFlow side: its controllers, its listening sockets, its management socket, who is told what, and what
happens when no controller is there (fail modes)."""
from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vswitch.errors import NotFoundError, VswitchError
from vswitch.model.check import split_listen
from vswitch.model.objects import Bridge, ControllerStatus, Event
from vswitch.openflow.connection import Connection
from vswitch.openflow.constants import VERSION
from vswitch.openflow.controller import Controller
from vswitch.openflow.roles import Roles
from vswitch.openflow.session import Session

if TYPE_CHECKING:
    from vswitch.model.switch import Switch

log = logging.getLogger(__name__)

_RETRY = 2.0                # seconds between attempts to listen, and to tell the datapath of the fail mode


class Agent:
    def __init__(self, switch: Switch, bridge: Bridge, run_dir: str):
        self._switch = switch
        self.bridge = bridge
        self._roles = Roles()
        self._sessions: set[Session] = set()
        self._serving: set[asyncio.Task] = set()
        self._controllers: dict[str, Controller] = {}
        self._by_controller: dict[Controller, Session] = {}
        self._listeners: dict[str, asyncio.Task] = {}
        self._listen_errors: dict[str, str] = {}
        self._management = Path(run_dir) / f"{bridge.name}.mgmt"
        self._look = asyncio.Event()
        self._keeper = asyncio.create_task(self._keep_fail_mode(), name=f"fail mode {bridge.name}")
        self._listeners["management"] = asyncio.create_task(self._listen_management())
        self.change(bridge)

    def change(self, bridge: Bridge) -> None:
        """To the bridge's new desired state; connections that it leaves alone stay."""
        self.bridge = bridge
        for target in set(self._controllers) - set(bridge.controllers):
            self._controllers.pop(target).task.cancel()
        for target in bridge.controllers:
            if target not in self._controllers:
                self._controllers[target] = Controller(target, self._serve_controller, self._look.set)
        for target in set(self._listeners) - set(bridge.listen) - {"management"}:
            self._listeners.pop(target).cancel()
            self._listen_errors.pop(target, None)
        for target in bridge.listen:
            if target not in self._listeners:
                self._listeners[target] = asyncio.create_task(self._listen(target))
        self._look.set()

    async def stop(self) -> None:
        tasks = [self._keeper, *self._listeners.values(), *(c.task for c in self._controllers.values()), *self._serving]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._management.unlink(missing_ok=True)

    # -- what the datapath tells
    def tell(self, kind: str, reason: int, message: bytes) -> None:
        for session in self._sessions:
            session.tell(kind, reason, message)

    # -- who is there
    def status(self) -> list[ControllerStatus]:
        found = [self._status(target, self._by_controller.get(controller), controller.last_error)
                 for target, controller in self._controllers.items()]
        active = set(self._by_controller.values())
        found += [self._status(s.peer, s, "") for s in self._sessions if s not in active and not s.management]
        found += [self._status(target, None, error) for target, error in self._listen_errors.items()]
        return found

    def _status(self, target: str, session: Session | None, last_error: str) -> ControllerStatus:
        connected = session is not None and session.connection.open
        return ControllerStatus(self.bridge.name, target, connected, VERSION if connected else 0,
                                session.standing.role.name.lower() if connected else "", last_error)

    # -- connections
    async def _serve_controller(self, controller: Controller, reader: asyncio.StreamReader,
                                writer: asyncio.StreamWriter) -> str:
        session = self._session(Connection(reader, writer), controller.target)
        self._by_controller[controller] = session
        try:
            return await self._run(session, controller.was_opened)
        finally:
            del self._by_controller[controller]

    async def _serve_passive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = writer.get_extra_info("peername")[:2]
        await self._served(self._session(Connection(reader, writer), f"tcp:[{host}]:{port}" if ":" in host
                                         else f"tcp:{host}:{port}"))

    async def _serve_management(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._served(self._session(Connection(reader, writer, probe=False), "management", management=True))

    async def _served(self, session: Session) -> None:
        task = asyncio.current_task()
        self._serving.add(task)
        try:
            await self._run(session, lambda: None)
        except asyncio.CancelledError:
            pass
        finally:
            self._serving.discard(task)

    def _session(self, connection: Connection, peer: str, *, management: bool = False) -> Session:
        return Session(self._switch, self.bridge.name, connection, self._roles, peer, management=management)

    async def _run(self, session: Session, opened: Callable[[], None]) -> str:
        was_open = False

        def now_open() -> None:
            nonlocal was_open
            was_open = True
            if not session.management:
                log.info("controller is there", extra={"bridge": self.bridge.name, "controller": session.peer})
                self._switch.tell(Event("controller", "up", self.bridge.name, session.peer, session.peer))
            opened()

        self._sessions.add(session)
        try:
            return await session.run(now_open)
        finally:
            self._sessions.discard(session)
            if was_open and not session.management:
                self._switch.tell(Event("controller", "down", self.bridge.name, session.peer,
                                        session.connection.end_reason))

    async def _listen(self, target: str) -> None:
        address, port = split_listen(target)
        while True:
            try:
                server = await asyncio.start_server(self._serve_passive, address or None, port, reuse_address=True)
            except OSError as e:
                if target not in self._listen_errors:
                    log.error("can't listen", extra={"bridge": self.bridge.name, "target": target, "reason": str(e)})
                self._listen_errors[target] = e.strerror or str(e)
                await asyncio.sleep(_RETRY)
                continue
            self._listen_errors.pop(target, None)
            async with server:
                await server.serve_forever()

    async def _listen_management(self) -> None:
        try:
            server = await asyncio.start_unix_server(self._serve_management, self._management)
            os.chmod(self._management, 0o660)
        except OSError as e:
            log.error("no management socket", extra={"path": str(self._management), "reason": str(e)})
            return
        async with server:
            await server.serve_forever()

    # -- fail modes
    def _normal(self) -> bool | None:
        """Whether table 0's miss is to forward as a learning switch does; None while it is too early to tell."""
        if self.bridge.fail_mode == "secure":
            return False
        controllers = self._controllers.values()
        if any(c.connected for c in controllers):
            return False
        return True if all(c.lost for c in controllers) else None

    async def _keep_fail_mode(self) -> None:
        while True:
            await self._look.wait()
            self._look.clear()
            while (normal := self._normal()) is not None:
                try:
                    await self._switch.set_normal(self.bridge.name, normal)
                    break
                except NotFoundError:
                    return
                except VswitchError:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_RETRY):
                            await self._look.wait()
