"""What a bridge's rules, groups, meters and tables can be asked for: the part of the model that says nothing of desired state but
logs what the datapath has carried out. Bodies are OpenFlow's (what follows the ofp_header), as the channel has them."""
from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from vswitch.datapath.client import ALL_GROUPS, ALL_METERS
from vswitch.datapath.records import pack
from vswitch.errors import InvalidError
from vswitch.model.bundle import commit_bundle
from vswitch.model.flow_bodies import delete_all
from vswitch.model.group_journal import GROUP, METER, TABLE
from vswitch.model.journal import ALL_FLOWS

if TYPE_CHECKING:
    from vswitch.datapath.client import BatchAnswers, Client
    from vswitch.datapath.records import QueueRecord, TableRecord
    from vswitch.model.group_journal import GroupJournal
    from vswitch.model.journal import Journal
    from vswitch.model.objects import Bridge
    from vswitch.model.origins import Origins
    from vswitch.model.reconcile import Runs

# n, batch, answered, lost, passed: write_run
SlowRun = tuple[int, bytes, Callable[[dict[int, Exception]], None], Callable[[Exception], None], Callable[[], None] | None]

_AGGREGATE = struct.Struct("!QQI4x")
_TABLE_STATS = struct.Struct("!B3xIQQ")


class BridgeRules:
    """A part of Switch (switch.py), which has the datapath's client, the bridges and their journals."""
    _runs: Runs
    _origins: Origins
    _watched: set[str]
    _client: Callable[[], Client]
    bridge: Callable[[str], Bridge]
    _background: Callable[[asyncio.Future], None]

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
        self._keep_short(journal, client)
        return outcome

    def write_run(self, bridge: str, n: int, batch: bytes, answered: Callable[[dict[int, Exception]], None],
                  lost: Callable[[Exception], None], passed: Callable[[], None] | None = None) -> None:
        """Sends `n` flow_mods, each behind 32 bits of its length, that fit into one message of the channel (BODY_MAX - 4
        bytes). When the datapath has answered, `answered` is given the errors by index, or `lost` what went wrong with all of
        them. With `passed` a barrier goes with them; it is called when that is passed, after `answered`."""
        client = self._client()
        client.write_batch(self.bridge(bridge).id, n, batch, self._logged(client, bridge, n, batch, answered), lost, passed)

    def _keep_short(self, journal: Journal, client: Client) -> None:
        if journal.outgrown and not client.channel.closed:
            self._background(journal.rewrite(client))

    def _logged(self, client: Client, bridge: str, n: int, batch: bytes,
                answered: Callable[[dict[int, Exception]], None]) -> Callable[[dict[int, Exception]], None]:
        journal = self._runs.by_name[bridge].journal

        def carried_out(errors: dict[int, Exception]) -> None:
            journal.applied_batch(batch, n, errors)
            answered(errors)
            self._keep_short(journal, client)

        return carried_out

    def exchange(self, bridge: str, version: int, form: int, data: bytes, slower: Callable[[], SlowRun]) -> bool | None:
        """Flow_mods and the barrier behind them that are all of `data`, a controller's bytes: True when they are in force and the
        barrier is passed. False when that takes longer, or some are refused: then write_run's arguments but for the bridge, which
        `slower` gives, are made use of. None: nothing was done (client.py, exchange)."""
        client = self._client()

        def begun() -> BatchAnswers:
            n, batch, answered, lost, passed = slower()
            return self._logged(client, bridge, n, batch, answered), lost, passed

        outcome = client.exchange(self.bridge(bridge).id, version, form, data, begun)
        if outcome is None:
            return None
        n, records = outcome
        if n:
            journal = self._runs.by_name[bridge].journal
            journal.applied_records(records, n)
            self._keep_short(journal, client)
        return n > 0

    async def commit_runs(self, bridge: str, runs: Sequence[tuple[int, bytes]]) -> None:
        """A bundle of flow_mods alone, as write_run takes them: all in force at one moment, or BundleRefused with the index of
        the first that was refused."""
        client = self._client()
        journal = self._runs.by_name[self.bridge(bridge).name].journal

        def committed() -> None:
            for n, batch in runs:
                journal.applied_batch(batch, n, {})

        await client.write_bundle_runs(self.bridge(bridge).id, runs, committed)
        self._keep_short(journal, client)

    def barrier_now(self, bridge: str, passed: Callable[[], None], lost: Callable[[Exception], None]) -> None:
        """`passed` is called at the moment the datapath's answer is read."""
        self._client().barrier_now(self.bridge(bridge).id, passed, lost)

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
        self._keep_short(journal, client)

    # -- groups and meters (bodies as the channel has them: contract.h)
    async def group_mod(self, bridge: str, body: bytes) -> None:
        """Carries out a group_mod of OpenFlow 1.5."""
        await self._group_or_meter_mod(bridge, GROUP, body)

    async def meter_mod(self, bridge: str, body: bytes) -> None:
        await self._group_or_meter_mod(bridge, METER, body)

    async def _group_or_meter_mod(self, bridge: str, kind: int, body: bytes) -> None:
        client, bridge_id, journal = self._client(), self.bridge(bridge).id, self._runs.by_name[bridge].groups
        await (client.group_mod if kind == GROUP else client.meter_mod)(bridge_id, body)
        self._log_settings(client, journal, kind, body)

    def _log_settings(self, client: Client, journal: GroupJournal, kind: int, body: bytes) -> None:
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
        client, journal = self._client(), self._runs.by_name[self.bridge(bridge).name].groups
        await client.set_table(self.bridge(bridge).id, table)
        self._log_settings(client, journal, TABLE, pack(table))

    async def tables(self, bridge: str) -> list[TableRecord]:
        """The tables that are configured or in use."""
        return await self._client().tables(self.bridge(bridge).id)

    async def clear_tables(self, bridge: str, tables: Iterable[int]) -> None:
        """Deletes all rules of some tables."""
        if bodies := [delete_all(table) for table in tables]:
            for error in await self.write_flows(bridge, bodies):
                if error is not None:
                    raise error

    async def queues(self, bridge: str) -> dict[int, tuple[int, list[QueueRecord]]]:
        """By port number: kbit/s that may leave in all (0 = no limit), and the queues with their counters."""
        return await self._client().queues(self.bridge(bridge).id)

    async def port_stats(self, bridge: str, port_no: int) -> bytes:
        """ofp_port_stats entries"""
        return await self._client().port_stats(self.bridge(bridge).id, port_no)

    async def packet_out(self, bridge: str, body: bytes) -> None:
        await self._client().packet_out(self.bridge(bridge).id, body)

    def packet_out_now(self, bridge: str, body: bytes, refused: Callable[[Exception], None]) -> bool:
        """Sends it, if nothing about the bridge waits to be sent; `refused` is called if it can't be carried out."""
        return self._client().packet_out_now(self.bridge(bridge).id, body, refused)

    async def packet_outs(self, bridge: str, bodies: Sequence[bytes]) -> list[Exception | None]:
        """Several in order, all sent before the first answer is waited for; one entry a body, None where it went out."""
        client, bridge_id = self._client(), self.bridge(bridge).id
        sent = [client.packet_out(bridge_id, body) for body in bodies]
        return [r if isinstance(r, Exception) else None for r in await asyncio.gather(*sent, return_exceptions=True)]

    async def barrier(self, bridge: str) -> None:
        await self._client().barrier(self.bridge(bridge).id)
