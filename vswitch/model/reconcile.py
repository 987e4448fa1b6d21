"""Brings a datapath to the desired state by the difference between that and what it holds.

A datapath that has just been started holds nothing, and gets everything: one way for both. A bridge that it did not hold
gets its rules before its ports, so that no packet meets a half-filled table.
"""
from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

from vswitch.datapath.client import Client
from vswitch.datapath.records import MISS_DROP, MISS_NORMAL, BridgeRecord, PortMod, PortRecord, QueueRecord, address_bytes
from vswitch.errors import UnavailableError, VswitchError
from vswitch.model.egress_queues import parse_queues, queue_text
from vswitch.model.group_journal import GroupJournal
from vswitch.model.journal import Journal
from vswitch.model.objects import Bridge, Port
from vswitch.model.store import State
from vswitch.model.wire import balance_record, bridge_record, port_record, same_port, same_vtep, tenant_record, vtep_record

log = logging.getLogger(__name__)


@dataclass
class BridgeRun:
    """What a bridge has besides its desired state."""
    journal: Journal
    groups: GroupJournal
    miss: int                   # what becomes of a packet that no rule knows: MISS_*
    miss_send_len: int = 128    # OpenFlow 1.3.5, 7.3.2
    config_flags: int = 0

    def close(self) -> None:
        self.journal.close()
        self.groups.close()

    def remove(self) -> None:
        """For good."""
        self.journal.remove()
        self.groups.remove()


@dataclass
class Runs:
    directory: Path
    by_name: dict[str, BridgeRun] = field(default_factory=dict)

    def open(self, bridge: Bridge, *, fresh: bool = False) -> BridgeRun:
        """The bridge's run; a fresh one forgets the rules of whoever had its id before."""
        if bridge.name not in self.by_name:
            path = self.directory / f"{bridge.id}.flows"
            if fresh:
                path.unlink(missing_ok=True)
                path.with_suffix(".groups").unlink(missing_ok=True)
            self.by_name[bridge.name] = BridgeRun(Journal(self.directory, bridge.id), GroupJournal(self.directory, bridge.id),
                                                 first_miss(bridge))
        return self.by_name[bridge.name]


def first_miss(bridge: Bridge) -> int:
    """What becomes of a packet that no rule knows, before any controller is there: a standalone bridge forwards by itself when
    none is meant to come."""
    return MISS_NORMAL if bridge.fail_mode == "standalone" and not bridge.controllers else MISS_DROP


@dataclass
class Outcome:
    missing_ports: dict[tuple[str, str], str] = field(default_factory=dict)    # wanted, refused, and why
    changed_ports: dict[tuple[str, str], PortRecord] = field(default_factory=dict)
    rules_replayed: int = 0


async def reconcile(client: Client, state: State, runs: Runs) -> Outcome:
    outcome = Outcome()
    held_bridges = {b.id: b for b in await client.bridges()}
    held_ports = {(p.bridge, p.port_no): p for p in await client.ports()}
    kept = await _remove_unwanted(client, state, held_bridges, held_ports)
    await _tenants(client, state)
    vtep = vtep_record(state.vtep)
    if not same_vtep(vtep, await client.vtep()):
        try:
            await client.set_vtep(vtep)
        except UnavailableError:
            raise
        except VswitchError as e:
            log.error("the tunnel end point can't be opened", extra={"reason": str(e)})
    await client.set_balance(balance_record(state.balance))
    for bridge in state.bridges.values():
        run = runs.open(bridge)
        held = held_bridges.get(bridge.id) if bridge.id in kept else None
        await _bridge(client, state, bridge, run, held)
        if held is None:
            await run.groups.replay(client)
            outcome.rules_replayed += await run.journal.replay(client)
        else:
            await run.groups.rewrite(client)
            await run.journal.rewrite(client)
    for port in state.ports.values():
        await _port(client, state, port, held_ports, outcome)
    return outcome


async def _remove_unwanted(client: Client, state: State, held_bridges: dict[int, BridgeRecord],
                           held_ports: dict[tuple[int, int], PortRecord]) -> set[int]:
    """Removes bridges, ports and tenants that are not wanted; the ids of the bridges that stay."""
    wanted = {b.id: b for b in state.bridges.values()}
    kept = set()
    for held in held_bridges.values():
        bridge = wanted.get(held.id)
        if bridge is not None and bridge.name == held.name and state.tenants[bridge.tenant].id == held.tenant:
            kept.add(held.id)
        else:
            log.info("removing a bridge that is not wanted", extra={"bridge": held.name})
            await client.delete_bridge(held.id)
    wanted_ports = {}
    for port in state.ports.values():
        record = port_record(port, state)
        wanted_ports[record.bridge, record.port_no] = record
    for key, held in list(held_ports.items()):
        if held.bridge not in kept:
            del held_ports[key]
        elif key not in wanted_ports or not same_port(wanted_ports[key], held):
            log.info("removing a port that is not wanted so", extra={"port": held.name})
            await client.delete_port(held.bridge, held.port_no)
            del held_ports[key]
    tenants = {t.id: t.name for t in state.tenants.values()}
    for held in await client.tenants():
        if tenants.get(held.id) != held.name:
            log.info("removing a tenant that is not wanted", extra={"tenant": held.name})
            await client.delete_tenant(held.id)
    return kept


async def _tenants(client: Client, state: State) -> None:
    held = {t.id: t for t in await client.tenants()}
    for tenant in state.tenants.values():
        record = tenant_record(tenant)
        if held.get(tenant.id) != record:
            await client.set_tenant(record)


async def _bridge(client: Client, state: State, bridge: Bridge, run: BridgeRun, held: BridgeRecord | None) -> None:
    if held is not None:
        run.miss_send_len, run.config_flags = held.miss_send_len, held.config_flags
        if bridge.controllers:
            run.miss = held.miss
    record = bridge_record(bridge, state.tenants[bridge.tenant].id, miss=run.miss, miss_send_len=run.miss_send_len,
                           config_flags=run.config_flags)
    if held is None or replace(held, n_rules=0) != record:
        await client.set_bridge(record)


async def _port(client: Client, state: State, port: Port, held_ports: dict[tuple[int, int], PortRecord],
                outcome: Outcome) -> None:
    record = port_record(port, state)
    held = held_ports.get((record.bridge, record.port_no))
    try:
        if held is None:
            outcome.changed_ports[port.bridge, port.name] = await create_port(client, state, port)
            return
        if held.config != record.config:
            await client.modify_port(record.bridge, PortMod(record.port_no, record.config, 0xffffffff))
        if port.kind == "vxlan" and set(await client.remotes(record.bridge, record.port_no)) != remote_bytes(port):
            await client.set_remotes(record.bridge, record.port_no, sorted(remote_bytes(port)))
        if same_queues((await client.queues(record.bridge, record.port_no))[record.port_no], port):
            return
        await client.set_queues(record.bridge, record.port_no, port.max_rate, parse_queues(port.egress_queues))
    except UnavailableError:
        raise
    except VswitchError as e:
        log.error("a port can't be had", extra={"bridge": port.bridge, "port": port.name, "reason": str(e)})
        outcome.missing_ports[port.bridge, port.name] = str(e)


def same_queues(held: tuple[int, list[QueueRecord]], port: Port) -> bool:
    return held[0] == port.max_rate and tuple(map(queue_text, held[1])) == port.egress_queues


def remote_bytes(port: Port) -> set[bytes]:
    return {address_bytes(text) for text in port.remotes}


async def create_port(client: Client, state: State, port: Port) -> PortRecord:
    """Adds the port with its remotes and queues; when these are refused, the port is taken back."""
    record = await client.add_port(port_record(port, state))
    try:
        if port.remotes:
            await client.set_remotes(record.bridge, record.port_no, [address_bytes(text) for text in port.remotes])
        if port.max_rate or port.egress_queues:
            await client.set_queues(record.bridge, record.port_no, port.max_rate, parse_queues(port.egress_queues))
    except VswitchError:
        if not client.channel.closed:
            await client.delete_port(record.bridge, record.port_no)
        raise
    return record
