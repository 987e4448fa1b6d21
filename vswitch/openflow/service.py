"""OpenFlow for all bridges: an agent a bridge, kept in step with the desired state; the datapath's events on their way out.
"""
from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from vswitch.model.objects import ControllerStatus
from vswitch.openflow.agent import Agent
from vswitch.openflow.codec import frame
from vswitch.openflow.constants import Type
from vswitch.openflow.messages import PORT_STATUS
from vswitch.openflow.multipart import port_desc

if TYPE_CHECKING:
    from vswitch.datapath.records import PortRecord
    from vswitch.model.switch import Switch

log = logging.getLogger(__name__)

_PACKET_IN_REASON_AT = 6    # in ofp_packet_in and ofp_flow_removed, header left out
_FLOW_REMOVED_REASON_AT = 10


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
        self._tell(bridge, "packet_in", body[_PACKET_IN_REASON_AT], Type.PACKET_IN, body)

    def flow_removed(self, bridge: str, body: bytes) -> None:
        self._tell(bridge, "flow_removed", body[_FLOW_REMOVED_REASON_AT], Type.FLOW_REMOVED, body)

    def port_status(self, bridge: str, port: PortRecord) -> None:
        body = PORT_STATUS.encode(PORT_STATUS(reason=port.reason, ports=[port_desc(port)]))
        self._tell(bridge, "port_status", port.reason, Type.PORT_STATUS, body)

    def _tell(self, bridge: str, kind: str, reason: int, type_: Type, body: bytes) -> None:
        agent = self._agents.get(bridge)
        if agent is not None:
            agent.tell(kind, reason, frame(type_, 0, body))

    def controllers(self) -> list[ControllerStatus]:
        return [status for agent in self._agents.values() for status in agent.status()]
