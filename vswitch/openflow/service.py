"""OpenFlow for all bridges: an agent a bridge, kept in step with the desired state; the datapath's events on their way out.
"""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from vswitch.model.objects import ControllerStatus, RuleUpdate
from vswitch.openflow import announcements
from vswitch.openflow.agent import Agent
from vswitch.openflow.announcements import Announcement
from vswitch.openflow.table_handlers import encode_desc

if TYPE_CHECKING:
    from vswitch.datapath.records import PortRecord, TableRecord
    from vswitch.model.switch import Switch

log = logging.getLogger(__name__)


class OpenFlowService:
    """Management sockets are made in `run_dir`, as BRIDGE.mgmt."""

    def __init__(self, switch: Switch, run_dir: str):
        self._switch = switch
        self._run_dir = run_dir
        self._agents: dict[str, Agent] = {}
        self._ending: set[asyncio.Task] = set()
        switch.connect_openflow(self)

    async def stop(self) -> None:
        agents, self._agents = list(self._agents.values()), {}
        await asyncio.gather(*(agent.stop() for agent in agents), *self._ending)

    # -- what the model tells (model/switch.py, OpenFlowSide)
    def bridges_changed(self) -> None:
        wanted = {b.name: b for b in self._switch.bridges()}
        for name, agent in list(self._agents.items()):
            if name not in wanted or wanted[name].id != agent.bridge.id:
                self._end(self._agents.pop(name))
        for name, bridge in wanted.items():
            if name not in self._agents:
                self._agents[name] = Agent(self._switch, bridge, self._run_dir)
            elif self._agents[name].bridge != bridge:
                self._agents[name].change(bridge)

    def _end(self, agent: Agent) -> None:
        task = asyncio.create_task(agent.stop())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def packet_in(self, bridge: str, body: bytes, *, controller_id: int = 0, userdata: bytes = b"") -> None:
        agent = self._agents.get(bridge)
        if agent is not None and agent.sessions:
            agent.packet_in(body, controller_id, userdata)

    def flow_removed(self, bridge: str, body: bytes) -> None:
        self._tell(bridge, lambda: announcements.flow_removed(body))

    def stats_triggered(self, bridge: str, entry: bytes) -> None:
        self._tell(bridge, lambda: announcements.stats_triggered(entry))

    def port_status(self, bridge: str, port: PortRecord) -> None:
        self._tell(bridge, lambda: announcements.port_status(port))

    def table_status(self, bridge: str, table: TableRecord) -> None:
        self._tell(bridge, lambda: announcements.table_status(table.reason, encode_desc(table)))

    def rule_changed(self, bridge: str, update: RuleUpdate) -> None:
        if (agent := self._agents.get(bridge)) is not None:
            agent.rule_changed(update)

    def _tell(self, bridge: str, announcement: Callable[[], Announcement]) -> None:
        agent = self._agents.get(bridge)
        if agent is not None and agent.sessions:
            agent.tell(announcement())

    def controllers(self) -> list[ControllerStatus]:
        return [status for agent in self._agents.values() for status in agent.status()]
