"""The switch, to its front doors: OpenFlow, gRPC and YAML all call this and nothing below it.

Every method that changes something checks the whole request first (InvalidError, NotFoundError, ExistsError, BusyError,
QuotaError name the field), then tells the datapath, then writes the durable store; when a step fails, what went before is
taken back. UnavailableError while the datapath is away. All of it runs in one asyncio loop.
"""
from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from vswitch.datapath.client import (ALL_GROUPS, ALL_METERS, EVENT_FLOW_REMOVED, EVENT_FLOW_UPDATE, EVENT_PACKET_IN, EVENT_PORT_STATUS,
                                     EVENT_TABLE_STATUS, Client)
from vswitch.datapath.launcher import Launcher
from vswitch.datapath.records import (FlowRemoved, FlowUpdate, PacketInHead, PortMod, PortRecord, TableRecord,
                                      address_bytes, size, unpack)
from vswitch.datapath.supervisor import Supervisor
from vswitch.datapath.usage import Counters
from vswitch.errors import InvalidError, NotFoundError, UnavailableError, VswitchError
from vswitch.model import check
from vswitch.model.bundle import commit_bundle
from vswitch.model.flow_bodies import delete_all
from vswitch.model.group_journal import GROUP, METER
from vswitch.model.journal import ALL_FLOWS
from vswitch.model.objects import (Bridge, ControllerStatus, Event, MacEntry, Port, PortStatus, RuleUpdate, Tenant, Usage,
                                   Vtep)
from vswitch.model.origins import Origins
from vswitch.model.reconcile import Runs, create_port, reconcile, standalone_alone
from vswitch.model.store import State, Store
from vswitch.model.watch import Watchers
from vswitch.model.wire import bridge_record, mac_text, port_record, tenant_record, vtep_record

log = logging.getLogger(__name__)

_RETRY_PORTS = 2.0          # seconds between attempts at ports that could not be had after a restart
_PORT_MODIFIED = 2          # enum dp_port_reason
_AGGREGATE = struct.Struct("!QQI4x")
_TABLE_STATS = struct.Struct("!B3xIQQ")


def _to_its_end(method):
    """A change goes on when its caller is cancelled: datapath and store are not left to differ."""
    @functools.wraps(method)
    async def run(self: Switch, *arguments, **named):
        task = asyncio.create_task(method(self, *arguments, **named))
        self._changes.add(task)
        task.add_done_callback(self._changed)
        return await asyncio.shield(task)
    return run


class OpenFlowSide(Protocol):
    """What the switch tells its OpenFlow sessions; plain functions, called in the datapath's order."""

    def packet_in(self, bridge: str, body: bytes, *, controller_id: int = 0, userdata: bytes = b"") -> None: ...
    def flow_removed(self, bridge: str, body: bytes) -> None: ...
    def port_status(self, bridge: str, port: PortRecord) -> None: ...
    def table_status(self, bridge: str, table: TableRecord) -> None: ...
    def rule_changed(self, bridge: str, update: RuleUpdate) -> None: ...
    def bridges_changed(self) -> None: ...
    def controllers(self) -> list[ControllerStatus]: ...


class Switch:
    def __init__(self, state_dir: str | Path, socket_path: str, launcher: Launcher):
        self._store = Store(state_dir)
        flows = Path(state_dir) / "flows"
        flows.mkdir(parents=True, exist_ok=True)
        self._state = self._store.load()
        self._runs = Runs(flows)
        for bridge in self._state.bridges.values():
            self._runs.open(bridge)
        self._by_id = {b.id: b.name for b in self._state.bridges.values()}
        self._supervisor = Supervisor(socket_path, launcher, on_event=self._on_event, on_up=self._on_up,
                                      on_down=self._on_down)
        self._counters: Counters | None = None
        self._lock = asyncio.Lock()     # one change at a time, and none while the datapath is brought up
        self._watchers = Watchers()
        self._missing_ports: dict[tuple[str, str], str] = {}
        self._tasks: set[asyncio.Task] = set()
        self._changes: set[asyncio.Task] = set()
        self._openflow: OpenFlowSide | None = None
        self._origins = Origins()
        self._watched: set[str] = set()     # bridges whose rules' changes somebody wants to know

    # -- life
    async def start(self, timeout: float = 30.0) -> None:
        """Attaches to or starts the datapath and brings it to the desired state. UnavailableError after `timeout` seconds
        without one; the attempts go on."""
        self._supervisor.start()
        try:
            async with asyncio.timeout(timeout):
                await self._supervisor.ready()
        except TimeoutError:
            raise UnavailableError(f"no datapath: {self._supervisor.last_error}") from None

    async def stop(self, *, datapath_too: bool = False) -> None:
        """Lets go of the datapath, which forwards on, or ends it."""
        await asyncio.gather(*self._changes, return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        await self._supervisor.stop(datapath_too=datapath_too)
        for run in self._runs.by_name.values():
            run.close()

    def connect_openflow(self, side: OpenFlowSide) -> None:
        self._openflow = side
        side.bridges_changed()

    # -- tenants
    def tenants(self) -> list[Tenant]:
        return list(self._state.tenants.values())

    @_to_its_end
    async def add_tenant(self, tenant: Tenant) -> Tenant:
        async with self._changing() as (client, state):
            new = check.new_tenant(state, tenant, client.hello.n_workers)
            await client.set_tenant(tenant_record(new))
            state.tenants[new.name] = new
            state.last_tenant_id = new.id
            await self._commit(state, lambda: client.delete_tenant(new.id))
        self._watchers.tell(Event("tenant", "added", name=new.name, detail=new))
        return new

    @_to_its_end
    async def change_tenant(self, tenant: Tenant) -> Tenant:
        async with self._changing() as (client, state):
            old = check.found_tenant(state, tenant.name)
            new = check.changed_tenant(state, tenant, client.hello.n_workers)
            await client.set_tenant(tenant_record(new))
            state.tenants[new.name] = new
            await self._commit(state, lambda: client.set_tenant(tenant_record(old)))
        self._watchers.tell(Event("tenant", "changed", name=new.name, detail=new))
        return new

    @_to_its_end
    async def remove_tenant(self, name: str) -> None:
        async with self._changing() as (client, state):
            old = check.removable_tenant(state, name)
            await client.delete_tenant(old.id)
            del state.tenants[name]
            await self._commit(state, lambda: client.set_tenant(tenant_record(old)))
        self._watchers.tell(Event("tenant", "removed", name=name, detail=old))

    # -- bridges
    def bridges(self) -> list[Bridge]:
        return list(self._state.bridges.values())

    def bridge(self, name: str) -> Bridge:
        return check.found_bridge(self._state, name)

    @_to_its_end
    async def add_bridge(self, bridge: Bridge) -> Bridge:
        async with self._changing() as (client, state):
            new = check.new_bridge(state, bridge, state.host_id)
            run = self._runs.open(new, fresh=True)
            state.bridges[new.name] = new
            state.last_bridge_id = new.id
            try:
                await client.set_bridge(self._record(state, new))
                await self._commit(state, lambda: client.delete_bridge(new.id))
            except BaseException:
                del self._runs.by_name[new.name]
                run.remove()
                raise
        self._bridges_changed(Event("bridge", "added", bridge=new.name, name=new.name, detail=new))
        return new

    @_to_its_end
    async def change_bridge(self, bridge: Bridge) -> Bridge:
        async with self._changing() as (client, state):
            old = check.found_bridge(state, bridge.name)
            new = check.changed_bridge(state, bridge)
            run = self._runs.by_name[new.name]
            normal = run.normal
            if (old.fail_mode, old.controllers) != (new.fail_mode, new.controllers):
                run.normal = standalone_alone(new)
            state.bridges[new.name] = new
            before = self._record(self._state, old, normal)
            try:
                await client.set_bridge(self._record(state, new))
                await self._commit(state, lambda: client.set_bridge(before))
            except BaseException:
                run.normal = normal
                raise
        self._bridges_changed(Event("bridge", "changed", bridge=new.name, name=new.name, detail=new))
        return new

    @_to_its_end
    async def remove_bridge(self, name: str) -> None:
        async with self._changing() as (client, state):
            old = check.found_bridge(state, name)
            del state.bridges[name]
            state.ports = {key: port for key, port in state.ports.items() if key[0] != name}
            before = self._state
            await self._commit(state, None)
            try:
                await client.delete_bridge(old.id)
            except BaseException:
                await self._commit(before, None)
                raise
            self._runs.by_name.pop(name).remove()
            self._missing_ports = {key: why for key, why in self._missing_ports.items() if key[0] != name}
        self._bridges_changed(Event("bridge", "removed", bridge=name, name=name, detail=old))

    def controllers(self) -> list[ControllerStatus]:
        return self._openflow.controllers() if self._openflow is not None else []

    async def set_normal(self, bridge: str, normal: bool) -> None:
        """Whether table 0's miss forwards as a learning switch does (fail mode standalone without its controllers)."""
        await self._set_run(bridge, normal=normal)

    async def set_config(self, bridge: str, flags: int, miss_send_len: int) -> None:
        """ofp_switch_config (OpenFlow 1.3.5, 7.3.2)."""
        await self._set_run(bridge, config_flags=flags, miss_send_len=miss_send_len)

    def config(self, bridge: str) -> tuple[int, int]:
        """flags, miss_send_len"""
        self.bridge(bridge)
        run = self._runs.by_name[bridge]
        return run.config_flags, run.miss_send_len

    @_to_its_end
    async def _set_run(self, name: str, **values: int | bool) -> None:
        async with self._changing() as (client, state):
            bridge = check.found_bridge(state, name)
            run = self._runs.by_name[name]
            old = {key: getattr(run, key) for key in values}
            if old == values:
                return
            run.__dict__.update(values)
            try:
                await client.set_bridge(self._record(state, bridge))
            except BaseException:
                run.__dict__.update(old)
                raise

    def _record(self, state: State, bridge: Bridge, normal: bool | None = None):
        run = self._runs.by_name[bridge.name]
        return bridge_record(bridge, state.tenants[bridge.tenant].id, normal=run.normal if normal is None else normal,
                             miss_send_len=run.miss_send_len, config_flags=run.config_flags)

    # -- ports
    def ports(self, bridge: str = "") -> list[Port]:
        if bridge:
            check.found_bridge(self._state, bridge)
            return self._state.ports_of(bridge)
        return list(self._state.ports.values())

    async def port_status(self, bridge: str = "") -> list[PortStatus]:
        return [self._status(record) for record in await self.port_records(bridge)
                if self._port_of(record) is not None]

    async def port_records(self, bridge: str = "") -> list[PortRecord]:
        """Ports as the datapath has them."""
        return await self._client().ports(self.bridge(bridge).id if bridge else 0)

    @_to_its_end
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

    @_to_its_end
    async def change_port(self, port: Port) -> Port:
        async with self._changing() as (client, state):
            old = check.found_port(state, port.bridge, port.name)
            new = check.changed_port(state, port)
            state.ports[new.bridge, new.name] = new
            number = state.bridges[new.bridge].id, old.port_no
            missing = (new.bridge, new.name) in self._missing_ports
            if missing or replace(new, config=0, remotes=()) != replace(old, config=0, remotes=()):
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
        bridge, port_no = number
        if old.config != new.config:
            await client.modify_port(bridge, PortMod(port_no, new.config, 0xffffffff))
        if old.remotes != new.remotes:
            try:
                await client.set_remotes(bridge, port_no, [address_bytes(text) for text in new.remotes])
            except VswitchError:
                if old.config != new.config and not client.channel.closed:
                    await client.modify_port(bridge, PortMod(port_no, old.config, 0xffffffff))
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

    @_to_its_end
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

    @_to_its_end
    async def modify_port(self, bridge: str, change: PortMod) -> None:
        """ofp_port_mod (OpenFlow 1.3.5, 7.3.4.3): the datapath checks it, and the config it leaves is kept."""
        async with self._changing() as (client, state):
            bridge_id = check.found_bridge(state, bridge).id
            await client.modify_port(bridge_id, change)
            for key, port in state.ports.items():
                if port.bridge == bridge and port.port_no == change.port_no:
                    state.ports[key] = replace(port, config=port.config & ~change.mask | change.config & change.mask)
            await self._commit(state, None)

    def _port_of(self, record: PortRecord) -> Port | None:
        return self._state.ports.get((self._by_id.get(record.bridge, ""), record.name))

    def _status(self, record: PortRecord) -> PortStatus:
        port = self._port_of(record)
        counters = self._counters.port(record.slot) if self._counters is not None else {}
        return PortStatus(port, record.state, record.speed_kbps, record.slot, counters)

    # -- the tunnel end point
    def vtep(self) -> Vtep:
        return self._state.vtep

    @_to_its_end
    async def set_vtep(self, vtep: Vtep) -> Vtep:
        async with self._changing() as (client, state):
            new, old = check.vtep(vtep), state.vtep
            await client.set_vtep(vtep_record(new))
            state.vtep = new
            await self._commit(state, lambda: client.set_vtep(vtep_record(old)))
        self._watchers.tell(Event("vtep", "changed", detail=new))
        return new

    # -- rules: OpenFlow 1.3 bodies (what follows the ofp_header), network order
    async def write_flows(self, bridge: str, bodies: Sequence[bytes], *, origin: object = None,
                          xids: Sequence[int] = ()) -> list[Exception | None]:
        """Carries out flow_mod bodies in order, each on its own; one entry a body, None where it was applied. Whoever watches
        the rules is told of `origin` and the body's xid with each change."""
        client = self._client()
        bridge_id, journal = self.bridge(bridge).id, self._runs.by_name[bridge].journal
        for body in bodies:
            if len(body) < 48:
                raise InvalidError(f"a flow_mod body has at least 48 bytes, not {len(body)}", "flow")
        with self._origins.noting(origin, xids if bridge in self._watched else ()) as sent:
            outcome = await client.write_flows(bridge_id, bodies, journal.applied, sent)
        if journal.outgrown and not client.channel.closed:
            self._background(journal.rewrite(client))
        return outcome

    def write_run(self, bridge: str, n: int, batch: bytes, refused: Callable[[dict[int, Exception]], None]) -> asyncio.Future:
        """Sends `n` flow_mods, each behind 32 bits of its length, that fit into one message of the channel (BODY_MAX - 4
        bytes). `refused` is given the errors by index when the datapath has answered, if there are any; the future raises
        what went wrong with all of them."""
        client = self._client()
        bridge_id, journal = self.bridge(bridge).id, self._runs.by_name[bridge].journal

        def answered(errors: dict[int, Exception]) -> None:
            journal.applied_batch(batch, n, errors)
            if errors:
                refused(errors)
            if journal.outgrown and not client.channel.closed:
                self._background(journal.rewrite(client))

        return client.write_batch(bridge_id, n, batch, answered)

    async def commit_runs(self, bridge: str, runs: Sequence[tuple[int, bytes]]) -> None:
        """A bundle of flow_mods alone, as write_run takes them: all in force at one moment, or BundleRefused with the index of
        the first that was refused."""
        client = self._client()
        journal = self._runs.by_name[self.bridge(bridge).name].journal

        def committed() -> None:
            for n, batch in runs:
                journal.applied_batch(batch, n, {})

        await client.write_bundle_runs(self.bridge(bridge).id, runs, committed)
        if journal.outgrown and not client.channel.closed:
            self._background(journal.rewrite(client))

    def barrier_now(self, bridge: str, passed: Callable[[], None]) -> asyncio.Future:
        """`passed` is called at the moment the datapath's answer is read."""
        return self._client().barrier_now(self.bridge(bridge).id, passed)

    def rules_watched(self, bridge: str) -> bool:
        return bridge in self._watched

    async def commit_bundle(self, bridge: str, items: Sequence[tuple[int, object]], *, origin: object = None,
                            xids: Sequence[int] = ()) -> None:
        """Carries out all of a bundle's items in order, or none: (OpenFlow's message type, canonical body; of a port-mod, a
        PortMod). BundleRefused names the first that can't be carried out."""
        client = self._client()
        journal = self._runs.by_name[self.bridge(bridge).name].journal
        with self._origins.noting(origin, xids if bridge in self._watched else ()) as sent:
            await commit_bundle(self, client, bridge, self.bridge(bridge).id, items, journal, sent)
        if journal.outgrown and not client.channel.closed:
            self._background(journal.rewrite(client))

    # -- groups and meters (bodies as the channel has them: contract.h)
    async def group_mod(self, bridge: str, body: bytes) -> None:
        """Carries out a group_mod of OpenFlow 1.5."""
        await self._group_or_meter_mod(bridge, GROUP, body)

    async def meter_mod(self, bridge: str, body: bytes) -> None:
        await self._group_or_meter_mod(bridge, METER, body)

    async def _group_or_meter_mod(self, bridge: str, kind: int, body: bytes) -> None:
        client, bridge_id, journal = self._client(), self.bridge(bridge).id, self._runs.by_name[bridge].groups
        await (client.group_mod if kind == GROUP else client.meter_mod)(bridge_id, body)
        journal.applied(kind, body)
        if journal.outgrown and not client.channel.closed:
            self._background(asyncio.ensure_future(journal.rewrite(client)))

    async def groups(self, bridge: str, group: int = ALL_GROUPS) -> list[bytes]:
        """ofp_group_desc entries of OpenFlow 1.5."""
        return await self._client().group_desc(self.bridge(bridge).id, group)

    async def group_stats(self, bridge: str, group: int = ALL_GROUPS) -> list[bytes]:
        """ofp_group_stats entries of OpenFlow 1.3."""
        return await self._client().group_stats(self.bridge(bridge).id, group)

    async def meters(self, bridge: str, meter: int = ALL_METERS) -> list[bytes]:
        """ofp_meter_config entries. OpenFlowError UNKNOWN_METER for one that there is not."""
        return await self._client().meter_config(self.bridge(bridge).id, meter)

    async def meter_stats(self, bridge: str, meter: int = ALL_METERS) -> list[bytes]:
        """ofp_meter_stats entries of OpenFlow 1.3."""
        return await self._client().meter_stats(self.bridge(bridge).id, meter)

    async def watch_rules(self, bridge: str, on: bool) -> None:
        """Whether the OpenFlow side's rule_changed is called for the bridge."""
        if on:
            self._watched.add(bridge)
        else:
            self._watched.discard(bridge)
        await self._client().watch_flows(self.bridge(bridge).id, on)

    def dump_flows(self, bridge: str, request: bytes = b"") -> AsyncIterator[list[bytes]]:
        """ofp_flow_stats entries matching an ofp_flow_stats_request body (b"" = all), in batches as they come."""
        return self._client().dump_flows(self.bridge(bridge).id, request or ALL_FLOWS)

    def dump_flow_parts(self, bridge: str, request: bytes) -> AsyncIterator[bytes]:
        """The same as bytes: each part holds whole entries, of 60,000 bytes at most."""
        return self._client().dump_flow_parts(self.bridge(bridge).id, request)

    async def aggregate_flows(self, bridge: str, request: bytes) -> tuple[int, int, int]:
        """packets, bytes, flows"""
        return _AGGREGATE.unpack_from(await self._client().aggregate_flows(self.bridge(bridge).id, request or ALL_FLOWS))

    async def table_stats(self, bridge: str) -> list[tuple[int, int, int, int]]:
        """table id, active rules, lookups, matches"""
        return list(_TABLE_STATS.iter_unpack(await self._client().table_stats(self.bridge(bridge).id)))

    async def set_table(self, bridge: str, table: TableRecord) -> None:
        """Eviction and vacancy of one table, or of all (OpenFlow 1.4.1, 7.3.3)."""
        await self._client().set_table(self.bridge(bridge).id, table)

    async def tables(self, bridge: str) -> list[TableRecord]:
        """The tables that are configured or in use."""
        return await self._client().tables(self.bridge(bridge).id)

    async def clear_tables(self, bridge: str, tables: Iterable[int]) -> None:
        """Deletes all rules of some tables."""
        if bodies := [delete_all(table) for table in tables]:
            for error in await self.write_flows(bridge, bodies):
                if error is not None:
                    raise error

    async def port_stats(self, bridge: str, port_no: int) -> bytes:
        """ofp_port_stats entries"""
        return await self._client().port_stats(self.bridge(bridge).id, port_no)

    async def packet_out(self, bridge: str, body: bytes) -> None:
        await self._client().packet_out(self.bridge(bridge).id, body)

    async def packet_outs(self, bridge: str, bodies: Sequence[bytes]) -> list[Exception | None]:
        """Several in order, all sent before the first answer is waited for; one entry a body, None where it went out."""
        client, bridge_id = self._client(), self.bridge(bridge).id
        sent = [client.packet_out(bridge_id, body) for body in bodies]
        return [r if isinstance(r, Exception) else None for r in await asyncio.gather(*sent, return_exceptions=True)]

    async def barrier(self, bridge: str) -> None:
        await self._client().barrier(self.bridge(bridge).id)

    async def macs(self, bridge: str) -> list[MacEntry]:
        return [MacEntry(mac_text(m.mac), m.vlan, m.port_no, m.age) for m in await self._client().macs(self.bridge(bridge).id)]

    async def flush_macs(self, bridge: str) -> None:
        await self._client().flush_macs(self.bridge(bridge).id)

    async def trace(self, bridge: str, in_port: int, frame: bytes) -> str:
        return await self._client().trace(self.bridge(bridge).id, in_port, frame)

    async def inject(self, bridge: str, port: str, frame: bytes) -> None:
        await self._client().inject(*self._dummy(bridge, port), frame)

    async def collect(self, bridge: str, port: str) -> list[bytes]:
        return await self._client().collect(*self._dummy(bridge, port))

    def _dummy(self, bridge: str, name: str) -> tuple[int, int]:
        port = check.found_port(self._state, bridge, name)
        if port.kind != "dummy":
            raise InvalidError(f"{name} is a {port.kind} port, not a dummy", "port")
        return self._state.bridges[bridge].id, port.port_no

    # -- seeing
    def usage(self) -> Usage:
        """The counters, read from shared memory: costs the datapath nothing."""
        self._client()
        if self._counters is None:
            raise UnavailableError("the datapath has no counters")
        names = {t.id: t.name for t in self._state.tenants.values()}
        return self._counters.usage(names, max(names, default=0) + 1)

    def watch(self) -> AsyncIterator[Event]:
        """Everything that happens from now on. A reader 1,000 events behind gets UnavailableError."""
        return self._watchers.watch()

    def tell(self, event: Event) -> None:
        """For the front doors that know of events themselves: controllers that come and go."""
        self._watchers.tell(event)

    def datapath_state(self) -> dict[str, object]:
        """pid, incarnation, restarts, connected, n_workers, tsc_hz"""
        client = self._supervisor.client
        hello = client.hello if client is not None else None
        return {"pid": hello.pid if hello else 0, "incarnation": hello.incarnation if hello else 0,
                "restarts": self._supervisor.restarts, "connected": client is not None,
                "n_workers": hello.n_workers if hello else 0, "tsc_hz": hello.tsc_hz if hello else 0,
                "error": self._supervisor.last_error,
                "missing_ports": {f"{bridge}/{name}": why for (bridge, name), why in self._missing_ports.items()}}

    # -- inside
    def _changed(self, task: asyncio.Task) -> None:
        self._changes.discard(task)
        if not task.cancelled():
            task.exception()    # the caller has it, or is gone

    def _client(self) -> Client:
        if self._supervisor.client is None:
            raise UnavailableError("the datapath is away")
        return self._supervisor.client

    @contextlib.asynccontextmanager
    async def _changing(self) -> AsyncIterator[tuple[Client, State]]:
        """One change: the client, and a copy of the state to be changed and committed."""
        async with self._lock:
            yield self._client(), self._state.copy()

    async def _commit(self, state: State, undo: Callable[[], Awaitable[object]] | None) -> None:
        """Writes the store and makes `state` the desired one; when writing fails, takes the datapath's step back."""
        try:
            await asyncio.to_thread(self._store.save, state)
        except Exception as e:
            if undo is not None:
                await undo()
            raise UnavailableError(f"the state can't be written: {e}") from e
        self._state = state
        self._by_id = {b.id: b.name for b in state.bridges.values()}

    def _bridges_changed(self, event: Event) -> None:
        self._watchers.tell(event)
        if self._openflow is not None:
            self._openflow.bridges_changed()

    def _background(self, work: Awaitable[object]) -> None:
        async def run() -> None:
            try:
                await work
            except UnavailableError as e:
                log.info("background work ended", extra={"reason": str(e)})
            except VswitchError:
                log.exception("background work failed")
        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _on_up(self, client: Client) -> None:
        async with self._lock:
            outcome = await reconcile(client, self._state, self._runs)
            self._missing_ports = outcome.missing_ports
            await self._keep_macs(outcome.changed_ports)
            self._counters = Counters(client.counters) if client.counters is not None else None
            self._watched &= set(self._state.bridges)
            for bridge in self._watched:
                await client.watch_flows(self._state.bridges[bridge].id, True)
        log.info("the datapath is as desired", extra={"rules_replayed": outcome.rules_replayed,
                                                      "ports_missing": len(outcome.missing_ports)})
        self._watchers.tell(Event("datapath", "up", detail=client.hello.pid))
        if self._missing_ports:
            self._background(self._retry_ports(client))

    async def _keep_macs(self, records: dict[tuple[str, str], PortRecord]) -> None:
        state = self._state.copy()
        for key, record in records.items():
            state.ports[key] = replace(state.ports[key], mac=mac_text(record.mac))
        if state.ports != self._state.ports:
            await self._commit(state, None)

    def _on_down(self, reason: str) -> None:
        self._counters = None
        self._watchers.tell(Event("datapath", "down", detail=reason))

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

    def _on_event(self, type_: int, bridge_id: int, body: bytes) -> None:
        bridge = self._by_id.get(bridge_id)
        if bridge is None:
            return
        if type_ == EVENT_PACKET_IN:
            if self._openflow is not None:
                head = unpack(PacketInHead, body)
                start = size(PacketInHead) + head.userdata_len
                self._openflow.packet_in(bridge, body[start:], controller_id=head.controller_id,
                                         userdata=body[size(PacketInHead):start])
        elif type_ == EVENT_FLOW_REMOVED:
            self._flow_removed(bridge, unpack(FlowRemoved, body), body[size(FlowRemoved):])
        elif type_ == EVENT_PORT_STATUS:
            self._port_event(bridge, unpack(PortRecord, body))
        elif type_ == EVENT_FLOW_UPDATE:
            self._rule_changed(bridge, unpack(FlowUpdate, body), body[size(FlowUpdate):])
        elif type_ == EVENT_TABLE_STATUS and self._openflow is not None:
            self._openflow.table_status(bridge, unpack(TableRecord, body))

    def _rule_changed(self, bridge: str, head: FlowUpdate, entry: bytes) -> None:
        if self._openflow is not None:
            origin, xid = self._origins.of(head.xid, head.item)
            self._openflow.rule_changed(bridge, RuleUpdate(head.what, head.reason, entry, origin, xid))

    def _flow_removed(self, bridge: str, head: FlowRemoved, body: bytes) -> None:
        if bridge in self._runs.by_name:
            self._runs.by_name[bridge].journal.removed(body)
        if head.want and self._openflow is not None:
            self._openflow.flow_removed(bridge, body)
        if self._watchers:
            self._watchers.tell(Event("flow_removed", "removed", bridge=bridge, detail=body))

    def _port_event(self, bridge: str, record: PortRecord) -> None:
        if self._openflow is not None:
            self._openflow.port_status(bridge, record)
        if record.reason == _PORT_MODIFIED and self._port_of(record) is not None:
            action = "down" if record.state & 1 else "up"
            self._watchers.tell(Event("port", action, bridge, record.name, self._status(record)))
