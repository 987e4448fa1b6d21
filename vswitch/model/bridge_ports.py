"""A bridge's ports: what they shall be, told to the datapath, and how they are."""
from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from vswitch.datapath.records import PortMod, PortRecord, address_bytes
from vswitch.errors import NotFoundError, UnavailableError, VswitchError
from vswitch.model import check
from vswitch.model.egress_queues import parse_queues
from vswitch.model.objects import Event, Port, PortStatus
from vswitch.model.reconcile import create_port
from vswitch.model.to_its_end import to_its_end
from vswitch.model.wire import mac_text, port_record

if TYPE_CHECKING:
    from vswitch.datapath.client import Client
    from vswitch.datapath.supervisor import Supervisor
    from vswitch.datapath.usage import Counters
    from vswitch.model.objects import Bridge
    from vswitch.model.store import State
    from vswitch.model.watch import Watchers

log = logging.getLogger(__name__)

_RETRY_PORTS = 2.0          # seconds between attempts at ports that could not be had after a restart


class BridgePorts:
    """A part of Switch (switch.py), which has the datapath's client, the desired state and the way to change it."""
    _state: State
    _lock: asyncio.Lock
    _supervisor: Supervisor
    _counters: Counters | None
    _watchers: Watchers
    _by_id: dict[int, str]
    _missing_ports: dict[tuple[str, str], str]
    _client: Callable[[], Client]
    _changing: Callable[[], AbstractAsyncContextManager[tuple[Client, State]]]
    _commit: Callable[[State, Callable[[], Awaitable[object]] | None], Awaitable[None]]
    _keep_macs: Callable[[dict[tuple[str, str], PortRecord]], Awaitable[None]]
    bridge: Callable[[str], Bridge]

    def ports(self, bridge: str = "") -> list[Port]:
        if bridge:
            check.found_bridge(self._state, bridge)
            return self._state.ports_of(bridge)
        return list(self._state.ports.values())

    async def port_status(self, bridge: str = "") -> list[PortStatus]:
        return [self._status(record) for record in await self.port_records(bridge)
                if self._port_of(record) is not None]

    async def port_detail(self, bridge: str, port: str) -> dict[str, str]:
        found = check.found_port(self._state, bridge, port)
        return await self._client().port_detail(self.bridge(bridge).id, found.port_no)

    async def port_records(self, bridge: str = "") -> list[PortRecord]:
        """Ports as the datapath has them."""
        return await self._client().ports(self.bridge(bridge).id if bridge else 0)

    @to_its_end
    async def add_port(self, port: Port) -> Port:
        async with self._changing() as (client, state):
            new = check.new_port(state, port)
            state.ports[new.bridge, new.name] = new
            record = await create_port(client, state, new)
            new = state.ports[new.bridge, new.name] = replace(new, port_no=record.port_no, mac=mac_text(record.mac))
            await self._commit(state, lambda: client.delete_port(record.bridge, record.port_no))
            await self._renew_peers(client, new)
            status = self._status(record)
        self._watchers.tell(Event("port", "added", new.bridge, new.name, status))
        return new

    @to_its_end
    async def change_port(self, port: Port) -> Port:
        async with self._changing() as (client, state):
            old = check.found_port(state, port.bridge, port.name)
            new = check.changed_port(state, port)
            state.ports[new.bridge, new.name] = new
            number = state.bridges[new.bridge].id, old.port_no
            missing = (new.bridge, new.name) in self._missing_ports
            in_place = {"config": 0, "remotes": (), "max_rate": 0, "egress_queues": ()}
            if missing or replace(new, **in_place) != replace(old, **in_place):
                new = await self._recreate(client, state, old, new)
            else:
                await self._adjust(client, number, old, new)
                await self._commit(state, lambda: self._adjust(client, number, new, old))
        status = await self.port_status(new.bridge)
        self._watchers.tell(Event("port", "changed", new.bridge, new.name,
                                  next((s for s in status if s.port.name == new.name), None)))
        return new

    @staticmethod
    async def _adjust(client: Client, number: tuple[int, int], old: Port, new: Port) -> None:
        """To the new state in place, all of it or nothing."""
        bridge, port_no = number
        done: list[Callable[[], Awaitable[None]]] = []
        try:
            for differs, change in (
                    (old.config != new.config, lambda p: client.modify_port(bridge, PortMod(port_no, p.config, 0xffffffff))),
                    (old.remotes != new.remotes,
                     lambda p: client.set_remotes(bridge, port_no, [address_bytes(text) for text in p.remotes])),
                    ((old.max_rate, old.egress_queues) != (new.max_rate, new.egress_queues),
                     lambda p: client.set_queues(bridge, port_no, p.max_rate, parse_queues(p.egress_queues)))):
                if differs:
                    await change(new)
                    done.append(functools.partial(change, old))
        except VswitchError:
            while done and not client.channel.closed:
                await done.pop()()
            raise

    async def _recreate(self, client: Client, state: State, old: Port, new: Port) -> Port:
        """Takes the port away and adds it as `state` has it; when that is refused, the old one is put back."""
        before = self._state
        bridge = state.bridges[new.bridge].id
        if (new.bridge, new.name) not in self._missing_ports:
            await client.delete_port(bridge, old.port_no)
        try:
            record = await create_port(client, state, new)
            self._missing_ports.pop((new.bridge, new.name), None)
            new = state.ports[new.bridge, new.name] = replace(new, port_no=record.port_no, mac=mac_text(record.mac))
            await self._commit(state, lambda: client.delete_port(bridge, record.port_no))
        except VswitchError:
            if not client.channel.closed:
                await create_port(client, before, old)
            raise
        if new.port_no != old.port_no:
            await self._renew_peers(client, new)
        return new

    async def _renew_peers(self, client: Client, port: Port) -> None:
        """Patches that named this port before it had its number get to know it."""
        for peer in list(self._state.ports.values()):
            if peer.kind == "patch" and (peer.peer_bridge, peer.peer_port) == (port.bridge, port.name):
                bridge = self._state.bridges[peer.bridge].id
                try:
                    await client.delete_port(bridge, peer.port_no)
                    await client.add_port(port_record(peer, self._state))
                except UnavailableError:
                    raise
                except VswitchError as e:
                    log.error("a patch can't be renewed", extra={"port": peer.name, "reason": str(e)})
                    self._missing_ports[peer.bridge, peer.name] = str(e)

    @to_its_end
    async def remove_port(self, bridge: str, name: str) -> None:
        async with self._changing() as (client, state):
            old = check.found_port(state, bridge, name)
            bridge_id = state.bridges[bridge].id
            if (bridge, name) not in self._missing_ports:
                with contextlib.suppress(NotFoundError):
                    await client.delete_port(bridge_id, old.port_no)
            before = self._state
            del state.ports[bridge, name]
            await self._commit(state, lambda: create_port(client, before, old))
            self._missing_ports.pop((bridge, name), None)
        self._watchers.tell(Event("port", "removed", bridge, name, PortStatus(old, 1, 0, 0)))

    @to_its_end
    async def modify_port(self, bridge: str, change: PortMod) -> None:
        """ofp_port_mod (OpenFlow 1.3.5, 7.3.4.3): the datapath checks it, and the config it leaves is kept."""
        async with self._changing() as (client, state):
            bridge_id = check.found_bridge(state, bridge).id
            await client.modify_port(bridge_id, change)
            for key, port in state.ports.items():
                if port.bridge == bridge and port.port_no == change.port_no:
                    state.ports[key] = replace(port, config=port.config & ~change.mask | change.config & change.mask)
            await self._commit(state, None)

    async def _retry_ports(self, client: Client) -> None:
        while self._missing_ports:
            await asyncio.sleep(_RETRY_PORTS)
            async with self._lock:
                if self._supervisor.client is not client:
                    return
                for key in list(self._missing_ports):
                    try:
                        record = await create_port(client, self._state, self._state.ports[key])
                    except UnavailableError:
                        raise
                    except VswitchError as e:
                        self._missing_ports[key] = str(e)
                        continue
                    del self._missing_ports[key]
                    await self._keep_macs({key: record})
                    self._watchers.tell(Event("port", "added", *key, self._status(record)))

    def _port_of(self, record: PortRecord) -> Port | None:
        return self._state.ports.get((self._by_id.get(record.bridge, ""), record.name))

    def _status(self, record: PortRecord) -> PortStatus:
        port = self._port_of(record)
        counters = self._counters.port(record.slot) if self._counters is not None else {}
        return PortStatus(port, record.state, record.speed_kbps, record.slot, counters)
