"""The switch, to its front doors: OpenFlow, gRPC and YAML all call this and nothing below it.

Every method that changes something checks the whole request first (InvalidError, NotFoundError, ExistsError, BusyError,
QuotaError name the field), then tells the datapath, then writes the durable store; when a step fails, what went before is
taken back. UnavailableError while the datapath is away. All of it runs in one asyncio loop.
"""
from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from vswitch.datapath.client import (EVENT_FLOW_REMOVED, EVENT_FLOW_STATS, EVENT_FLOW_UPDATE, EVENT_PACKET_IN, EVENT_PORT_STATUS,
                                     EVENT_TABLE_STATUS, Client)
from vswitch.datapath.launcher import Launcher
from vswitch.datapath.records import PACKET_IN_HEAD, FlowRemoved, FlowUpdate, PortRecord, TableRecord, size, unpack
from vswitch.datapath.supervisor import Supervisor
from vswitch.datapath.usage import Counters
from vswitch.errors import InvalidError, UnavailableError, VswitchError
from vswitch.model import check
from vswitch.model.bridge_ports import BridgePorts
from vswitch.model.bridge_rules import BridgeRules
from vswitch.model.objects import (Balance, BalanceStatus, Bridge, ControllerStatus, Event, MacEntry, RuleUpdate, Tenant, Usage,
                                   Vtep)
from vswitch.model.origins import Origins
from vswitch.model.reconcile import Runs, first_miss, reconcile
from vswitch.model.store import State, Store
from vswitch.model.to_its_end import to_its_end
from vswitch.model.watch import Watchers
from vswitch.model.wire import balance_record, bridge_record, mac_text, tenant_record, vtep_record

log = logging.getLogger(__name__)

_PORT_MODIFIED = 2          # enum dp_port_reason


class OpenFlowSide(Protocol):
    """What the switch tells its OpenFlow sessions; plain functions, called in the datapath's order."""

    def packet_in(self, bridge: str, body: bytes, *, controller_id: int = 0, userdata: bytes = b"") -> None: ...
    def flow_removed(self, bridge: str, body: bytes) -> None: ...
    def port_status(self, bridge: str, port: PortRecord) -> None: ...
    def table_status(self, bridge: str, table: TableRecord) -> None: ...
    def stats_triggered(self, bridge: str, entry: bytes) -> None: ...
    def rule_changed(self, bridge: str, update: RuleUpdate) -> None: ...
    def bridges_changed(self) -> None: ...
    def controllers(self) -> list[ControllerStatus]: ...


class Switch(BridgePorts, BridgeRules):
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

    @to_its_end
    async def add_tenant(self, tenant: Tenant) -> Tenant:
        async with self._changing() as (client, state):
            new = check.new_tenant(state, tenant, client.hello.n_workers)
            await client.set_tenant(tenant_record(new))
            state.tenants[new.name] = new
            state.last_tenant_id = new.id
            await self._commit(state, lambda: client.delete_tenant(new.id))
        self._watchers.tell(Event("tenant", "added", name=new.name, detail=new))
        return new

    @to_its_end
    async def change_tenant(self, tenant: Tenant) -> Tenant:
        async with self._changing() as (client, state):
            old = check.found_tenant(state, tenant.name)
            new = check.changed_tenant(state, tenant, client.hello.n_workers)
            await client.set_tenant(tenant_record(new))
            state.tenants[new.name] = new
            await self._commit(state, lambda: client.set_tenant(tenant_record(old)))
        self._watchers.tell(Event("tenant", "changed", name=new.name, detail=new))
        return new

    @to_its_end
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

    @to_its_end
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

    @to_its_end
    async def change_bridge(self, bridge: Bridge) -> Bridge:
        async with self._changing() as (client, state):
            old = check.found_bridge(state, bridge.name)
            new = check.changed_bridge(state, bridge)
            run = self._runs.by_name[new.name]
            miss = run.miss
            if (old.fail_mode, old.controllers) != (new.fail_mode, new.controllers):
                run.miss = first_miss(new)
            state.bridges[new.name] = new
            before = self._record(self._state, old, miss)
            try:
                await client.set_bridge(self._record(state, new))
                await self._commit(state, lambda: client.set_bridge(before))
            except BaseException:
                run.miss = miss
                raise
        self._bridges_changed(Event("bridge", "changed", bridge=new.name, name=new.name, detail=new))
        return new

    @to_its_end
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

    async def set_miss(self, bridge: str, miss: int) -> None:
        """What becomes of a packet that no rule knows, one of MISS_*: forwarded as by a learning switch (fail mode standalone
        without its controllers), told to the controllers (those of OpenFlow 1.0 to 1.2), or dropped."""
        await self._set_run(bridge, miss=miss)

    async def set_config(self, bridge: str, flags: int, miss_send_len: int) -> None:
        """ofp_switch_config (OpenFlow 1.3.5, 7.3.2)."""
        await self._set_run(bridge, config_flags=flags, miss_send_len=miss_send_len)

    def config(self, bridge: str) -> tuple[int, int]:
        """flags, miss_send_len"""
        self.bridge(bridge)
        run = self._runs.by_name[bridge]
        return run.config_flags, run.miss_send_len

    @to_its_end
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

    def _record(self, state: State, bridge: Bridge, miss: int | None = None):
        run = self._runs.by_name[bridge.name]
        return bridge_record(bridge, state.tenants[bridge.tenant].id, miss=run.miss if miss is None else miss,
                             miss_send_len=run.miss_send_len, config_flags=run.config_flags)

    # -- queues that move
    def balance(self) -> Balance:
        return self._state.balance

    async def balance_status(self) -> BalanceStatus:
        held = await self._client().balance()
        return BalanceStatus(self.balance(), held.looks, held.moves, held.refused, held.last_look, held.last_move)

    @to_its_end
    async def set_balance(self, balance: Balance) -> Balance:
        async with self._changing() as (client, state):
            new, old = check.balance(balance), state.balance
            await client.set_balance(balance_record(new))
            state.balance = new
            await self._commit(state, lambda: client.set_balance(balance_record(old)))
        return new

    # -- the tunnel end point
    def vtep(self) -> Vtep:
        return self._state.vtep

    @to_its_end
    async def set_vtep(self, vtep: Vtep) -> Vtep:
        async with self._changing() as (client, state):
            new, old = check.vtep(vtep), state.vtep
            await client.set_vtep(vtep_record(new))
            state.vtep = new
            await self._commit(state, lambda: client.set_vtep(vtep_record(old)))
        self._watchers.tell(Event("vtep", "changed", detail=new))
        return new

    # -- what ports and bridges hold besides rules
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

    async def rule_costs(self, bridge: str, most: int) -> list[tuple[int, bytes]]:
        """(cycles, ofp_flow_stats entry) of the bridge's rules that cost most time, dearest first."""
        return await self._client().rule_costs(self.bridge(bridge).id, most)

    async def scheduler(self) -> tuple[str, int]:
        """The policy's name and the slice in nanoseconds."""
        return await self._client().scheduler()

    async def set_scheduler(self, policy: str, slice_ns: int) -> None:
        """Until the datapath ends. InvalidError for a policy that there is not, and a slice out of range."""
        await self._client().set_scheduler(policy, slice_ns)

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

    def _on_event(self, type_: int, bridge_id: int, body: bytes) -> None:
        bridge = self._by_id.get(bridge_id)
        if bridge is None:
            return
        if type_ == EVENT_PACKET_IN:
            if self._openflow is not None:
                controller_id, userdata_len = PACKET_IN_HEAD.unpack_from(body)
                start = PACKET_IN_HEAD.size + userdata_len
                self._openflow.packet_in(bridge, body[start:], controller_id=controller_id,
                                         userdata=body[PACKET_IN_HEAD.size:start])
        elif type_ == EVENT_FLOW_REMOVED:
            self._flow_removed(bridge, unpack(FlowRemoved, body), body[size(FlowRemoved):])
        elif type_ == EVENT_PORT_STATUS:
            self._port_event(bridge, unpack(PortRecord, body))
        elif type_ == EVENT_FLOW_UPDATE:
            self._rule_changed(bridge, unpack(FlowUpdate, body), body[size(FlowUpdate):])
        elif type_ == EVENT_TABLE_STATUS and self._openflow is not None:
            self._openflow.table_status(bridge, unpack(TableRecord, body))
        elif type_ == EVENT_FLOW_STATS:
            self._stats_triggered(bridge, body)

    def _stats_triggered(self, bridge: str, entry: bytes) -> None:
        if self._openflow is not None:
            self._openflow.stats_triggered(bridge, entry)
        if self._watchers:
            self._watchers.tell(Event("flow_stats", "passed", bridge=bridge, detail=entry))

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
