"""What the datapath can be asked for, one async method a command of the channel (datapath_c/channel/contract.h)."""
from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from vswitch._datapath import lib
from vswitch.datapath.channel import BODY_MAX, Answers, Channel
from vswitch.datapath.records import (BalanceRecord, BridgeRecord, CacheStats, ErrorRecord, FlowWatch, Hello, HelloReply, Mac, PortMod,
                                      PortRecord, PortRef, QueueRecord, Queues, R, Remotes, SchedulerRecord, TableRecord, TenantRecord, Trace,
                                      VtepRecord, pack, size, unpack, unpack_all)
from vswitch.datapath.refusals import refusal
from vswitch.errors import BundleRefused, InvalidError, OpenFlowError, UnavailableError

_U32 = struct.Struct("=I")
_REPLY = struct.Struct("=II")
_COST = struct.Struct("=QQ")
_BATCH_MAX = 256            # items a batch: the datapath names at most so many that it refused
_BUFFER_ERRORS = {(1, 7), (1, 8)}   # OFPBRC_BUFFER_EMPTY, _UNKNOWN: the rule is in force, its packet was not to be had
ALL_PORTS = 0xffffffff
POLICIES = ("wfq", "round-robin", "none")   # by enum dp_policy
ALL_GROUPS, ALL_METERS = 0xfffffffc, 0xffffffff
EVENT_PACKET_IN, EVENT_FLOW_REMOVED, EVENT_PORT_STATUS, EVENT_FLOW_UPDATE, EVENT_TABLE_STATUS, EVENT_FLOW_STATS = (
    lib.DP_EV_PACKET_IN, lib.DP_EV_FLOW_REMOVED, lib.DP_EV_PORT_STATUS, lib.DP_EV_FLOW_UPDATE, lib.DP_EV_TABLE_STATUS,
    lib.DP_EV_FLOW_STATS)


def _batches(bodies: Sequence[bytes], room: int) -> list[tuple[int, int]]:
    """(first, past the last) index of each run of bodies that fits into one message with their lengths."""
    runs, first, used = [], 0, _U32.size
    for i, body in enumerate(bodies):
        need = _U32.size + len(body)
        if i > first and (used + need > room or i - first == _BATCH_MAX):
            runs.append((first, i))
            first, used = i, _U32.size
        used += need
    if first < len(bodies):
        runs.append((first, len(bodies)))
    return runs


def _pack_batch(bodies: Sequence[bytes]) -> bytes:
    parts = [_U32.pack(len(bodies))]
    for body in bodies:
        parts.append(_U32.pack(len(body)))
        parts.append(body)
    return b"".join(parts)


def unpack_items(items: bytes, n: int) -> list[bytes]:
    """Bodies that each stand behind 32 bits of length."""
    found, at = [], 0
    for _ in range(n):
        (length,) = _U32.unpack_from(items, at)
        at += _U32.size
        found.append(items[at:at + length])
        at += length
    return found


def _unpack_batch(body: bytes) -> list[bytes]:
    (n,) = _U32.unpack_from(body)
    return unpack_items(body[_U32.size:], n)


def _batch_errors(body: bytes) -> list[tuple[int, Exception]]:
    _, n = _REPLY.unpack_from(body)
    errors, at = [], _REPLY.size
    for _ in range(n):
        (index,) = _U32.unpack_from(body, at)
        errors.append((index, refusal(unpack(ErrorRecord, body[at + _U32.size:]))))
        at += _U32.size + size(ErrorRecord)
    return errors


BatchAnswers = tuple[Callable[[dict[int, Exception]], None], Callable[[Exception], None], Callable[[], None] | None]


def _batch_answers(answered: Callable[[dict[int, Exception]], None], lost: Callable[[Exception], None],
                   passed: Callable[[], None] | None) -> Answers:
    def part(body: bytes) -> None:
        answered(dict(_batch_errors(body)))

    def last(body: bytes) -> None:
        if body:
            part(body)
        if passed is not None:
            passed()

    return part, last, lost


def in_force(error: Exception) -> bool:
    """Whether the rule is in force nevertheless."""
    return isinstance(error, OpenFlowError) and (error.of_type, error.of_code) in _BUFFER_ERRORS


def split_entries(body: bytes, length_at: int = 0) -> list[bytes]:
    """OpenFlow entries that hold their own 16-bit length (ofp_flow_stats: at their start), one after the other."""
    entries, at = [], 0
    while at + 2 <= len(body):
        length = int.from_bytes(body[at + length_at:at + length_at + 2], "big")
        if length < 2:
            raise UnavailableError("the datapath sent an entry without a length")
        entries.append(body[at:at + length])
        at += length
    return entries


def split_fixed(body: bytes, length: int) -> list[bytes]:
    """Entries of one length, one after the other."""
    return [body[at:at + length] for at in range(0, len(body), length)]


class Client:
    """One connection to a datapath that said hello. Made by `Client.attach`."""

    def __init__(self, channel: Channel, hello: HelloReply, counters: mmap.mmap | None):
        self.channel = channel
        self.hello = hello
        self.counters = counters

    @classmethod
    async def attach(cls, path: str, on_event: Callable[[int, int, bytes], None] = lambda *_: None,
                     on_lost: Callable[[str], None] = lambda _: None, *, control: bool = True,
                     timeout: float = 5.0) -> Client:
        """Connects and says hello. OSError when nobody listens; UnavailableError when the datapath speaks another version
        of the contract, or does not answer in `timeout` seconds."""
        channel = await Channel.connect(path, on_event, on_lost)
        try:
            role = lib.DP_ROLE_CONTROL if control else lib.DP_ROLE_OBSERVER
            async with asyncio.timeout(timeout):
                body = await channel.request(lib.DP_HELLO, body=pack(Hello(lib.DP_CONTRACT_VERSION, role)))
        except TimeoutError:
            channel.close("no answer to hello")
            raise UnavailableError("the datapath does not answer") from None
        except BaseException:
            channel.close("hello failed")
            raise
        hello = unpack(HelloReply, body)
        if hello.version != lib.DP_CONTRACT_VERSION:
            channel.close("another version of the contract")
            raise UnavailableError(f"the datapath speaks version {hello.version} of the channel, not "
                                   f"{lib.DP_CONTRACT_VERSION}")
        counters = None
        if channel.received_fds:
            counters = mmap.mmap(channel.received_fds[0], hello.shm_size, prot=mmap.PROT_READ)
            for fd in channel.received_fds:
                os.close(fd)
            channel.received_fds.clear()
        return cls(channel, hello, counters)

    def close(self) -> None:
        self.channel.close()
        if self.counters is not None:
            with contextlib.suppress(BufferError):
                self.counters.close()

    async def _list(self, cls: type[R], type_: int, object_: int = 0) -> list[R]:
        return unpack_all(cls, await self.channel.request(type_, object_))

    # -- tenants, bridges, ports
    async def set_tenant(self, tenant: TenantRecord) -> None:
        await self.channel.request(lib.DP_TENANT_SET, tenant.id, pack(tenant))

    async def delete_tenant(self, tenant_id: int) -> None:
        await self.channel.request(lib.DP_TENANT_DEL, tenant_id)

    async def tenants(self) -> list[TenantRecord]:
        return await self._list(TenantRecord, lib.DP_TENANT_LIST)

    async def set_bridge(self, bridge: BridgeRecord) -> None:
        await self.channel.request(lib.DP_BRIDGE_SET, bridge.id, pack(bridge))

    async def delete_bridge(self, bridge: int) -> None:
        await self.channel.request(lib.DP_BRIDGE_DEL, bridge)

    async def bridges(self) -> list[BridgeRecord]:
        return await self._list(BridgeRecord, lib.DP_BRIDGE_LIST)

    async def add_port(self, port: PortRecord) -> PortRecord:
        return unpack(PortRecord, await self.channel.request(lib.DP_PORT_ADD, port.bridge, pack(port)))

    async def delete_port(self, bridge: int, port_no: int) -> None:
        await self.channel.request(lib.DP_PORT_DEL, bridge, pack(PortRef(port_no)))

    async def modify_port(self, bridge: int, change: PortMod) -> None:
        await self.channel.request(lib.DP_PORT_MOD, bridge, pack(change))

    async def ports(self, bridge: int = 0) -> list[PortRecord]:
        return await self._list(PortRecord, lib.DP_PORT_LIST, bridge)

    async def set_vtep(self, vtep: VtepRecord) -> None:
        await self.channel.request(lib.DP_VTEP_SET, 0, pack(vtep))

    async def vtep(self) -> VtepRecord:
        return unpack(VtepRecord, await self.channel.request(lib.DP_VTEP_GET))

    async def set_remotes(self, bridge: int, port_no: int, addresses: Sequence[bytes]) -> None:
        body = pack(Remotes(port_no, len(addresses))) + b"".join(addresses)
        await self.channel.request(lib.DP_REMOTES_SET, bridge, body)

    async def remotes(self, bridge: int, port_no: int) -> list[bytes]:
        body = await self.channel.request(lib.DP_REMOTES_GET, bridge, pack(PortRef(port_no)))
        at = size(Remotes)
        return [body[at + 16 * i:at + 16 * (i + 1)] for i in range(unpack(Remotes, body).n)]

    async def set_queues(self, bridge: int, port_no: int, max_kbps: int, queues: Sequence[QueueRecord]) -> None:
        """`queues` by rising id."""
        body = pack(Queues(port_no, len(queues), max_kbps)) + b"".join(map(pack, queues))
        await self.channel.request(lib.DP_QUEUES_SET, bridge, body)

    async def queues(self, bridge: int, port_no: int = ALL_PORTS) -> dict[int, tuple[int, list[QueueRecord]]]:
        """By port number: what may leave in all (kbit/s, 0 = no limit), and the queues with their counters."""
        body = await self.channel.request(lib.DP_QUEUES_GET, bridge, pack(PortRef(port_no)))
        found, at = {}, 0
        while at < len(body):
            head = unpack(Queues, body[at:at + size(Queues)])
            at, end = at + size(Queues), at + size(Queues) + head.n * size(QueueRecord)
            found[head.port_no] = head.max_kbps, unpack_all(QueueRecord, body[at:end])
            at = end
        return found

    # -- rules
    async def write_flows(self, bridge: int, bodies: Sequence[bytes],
                          applied: Callable[[list[bytes]], None] | None = None,
                          sent: Callable[[int, int, int], None] | None = None) -> list[Exception | None]:
        """Carries out flow_mod bodies in order, in as few messages as they fit into; all are sent before the first answer is
        waited for. `applied` is given the bodies that were carried out, at the moment the datapath's answer is read;
        `sent(xid, first, past the last)` is told which request of the channel carries which bodies."""
        return await self._send(lib.DP_FLOW_MOD, bridge, bodies, applied, sent)

    def _send(self, type_: int, bridge: int, bodies: Sequence[bytes],
              applied: Callable[[list[bytes]], None] | None = None,
              sent: Callable[[int, int, int], None] | None = None) -> Awaitable[list[Exception | None]]:
        """Everything is sent when it returns; what is awaited are the answers."""
        outcome: list[Exception | None] = [None] * len(bodies)

        def answered(first: int, last: int, body: bytes) -> None:
            errors = dict(_batch_errors(body))
            for index, error in errors.items():
                outcome[first + index] = error
            if applied is not None:
                applied([bodies[i] for i in range(first, last) if i - first not in errors or in_force(errors[i - first])])

        runs, requests = _batches(bodies, BODY_MAX), []
        for first, last in runs:
            requests.append(self.channel.request(type_, bridge, _pack_batch(bodies[first:last]),
                                                 on_reply=lambda body, f=first, e=last: answered(f, e, body)))
            if sent is not None:
                sent(self.channel.last_xid, first, last)

        async def answers() -> list[Exception | None]:
            for (first, last), result in zip(runs, await asyncio.gather(*requests, return_exceptions=True)):
                if isinstance(result, Exception):
                    outcome[first:last] = [result] * (last - first)
            return outcome

        return answers()

    async def write_bundle(self, bridge: int, bodies: Sequence[bytes], applied: Callable[[list[bytes]], None],
                           sent: Callable[[int, int, int], None] | None = None) -> list[Exception | None]:
        """flow_mod bodies that come into force at one moment, or none of them: one entry a body, the error of the first that
        was refused. All of it is sent at once, so that no other change of the bridge's rules comes between."""
        opened = self.channel.request(lib.DP_BUNDLE_OPEN, bridge)
        added = self._send(lib.DP_BUNDLE_ADD, bridge, bodies)
        committed = self.channel.request(lib.DP_BUNDLE_COMMIT, bridge, on_reply=lambda _: applied(list(bodies)))
        if sent is not None:
            sent(self.channel.last_xid, len(bodies) - 1, len(bodies))
        begun, outcome, ended = await asyncio.gather(opened, added, committed, return_exceptions=True)
        for failed in (begun, outcome):
            if isinstance(failed, BaseException):
                raise failed
        if isinstance(ended, BaseException) and all(error is None for error in outcome):
            raise ended
        return outcome

    def write_batch(self, bridge: int, n: int, batch: bytes, answered: Callable[[dict[int, Exception]], None],
                    lost: Callable[[Exception], None], passed: Callable[[], None] | None = None) -> None:
        """Sends `n` flow_mods, each behind 32 bits of its length, all of which fit into one message. `answered` is given the
        errors of those that were refused, by index, at the moment the datapath's answer is read; or `lost` what went wrong with
        all. With `passed` a barrier goes with them; it is called when that is passed, after `answered`."""
        part, last, lost = _batch_answers(answered, lost, passed)
        self.channel.call(lib.DP_FLOW_MOD, bridge, _U32.pack(n) + batch, last, lost, on_part=part,
                          flags=0 if passed is None else lib.DP_F_BARRIER)

    def exchange(self, bridge: int, version: int, form: int, data: bytes,
                 slower: Callable[[], BatchAnswers]) -> tuple[int, bytes] | None:
        """write_batch with a barrier, of a controller's own bytes, whole (Channel.exchange); `slower` gives answered, lost and
        passed as write_batch has them."""
        return self.channel.exchange(bridge, version, form, data, lambda: _batch_answers(*slower()))

    async def write_bundle_runs(self, bridge: int, runs: Sequence[tuple[int, bytes]], committed: Callable[[], None]) -> None:
        """(number, items) each as write_batch has them, as one bundle. `committed` is called at the moment it is in force;
        BundleRefused with the index of the first item that was refused."""
        first: list[tuple[int, Exception]] = []

        def answered(before: int, body: bytes) -> None:
            if errors := _batch_errors(body):
                first.append((before + errors[0][0], errors[0][1]))

        requests, before = [self.channel.request(lib.DP_BUNDLE_OPEN, bridge)], 0
        for n, batch in runs:
            requests.append(self.channel.request(lib.DP_BUNDLE_ADD, bridge, _U32.pack(n) + batch,
                                                 on_reply=lambda body, before=before: answered(before, body)))
            before += n
        requests.append(self.channel.request(lib.DP_BUNDLE_COMMIT, bridge, on_reply=lambda _: committed()))
        results = await asyncio.gather(*requests, return_exceptions=True)
        if first:
            raise BundleRefused(*first[0])
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def barrier_now(self, bridge: int, passed: Callable[[], None], lost: Callable[[Exception], None]) -> None:
        self.channel.call(lib.DP_BARRIER, bridge, b"", lambda _: passed(), lost)

    # -- groups and meters: OpenFlow 1.5's group_mod and group_desc, 1.3's group_stats, meter_mod, meter_config, meter_stats
    async def group_mod(self, bridge: int, body: bytes) -> None:
        await self.channel.request(lib.DP_GROUP_MOD, bridge, body)

    async def meter_mod(self, bridge: int, body: bytes) -> None:
        await self.channel.request(lib.DP_METER_MOD, bridge, body)

    async def group_desc(self, bridge: int, group: int = ALL_GROUPS) -> list[bytes]:
        return split_entries(await self.channel.request(lib.DP_GROUP_DESC, bridge, _U32.pack(group)))

    async def group_stats(self, bridge: int, group: int = ALL_GROUPS) -> list[bytes]:
        return split_entries(await self.channel.request(lib.DP_GROUP_STATS, bridge, _U32.pack(group)))

    async def meter_config(self, bridge: int, meter: int = ALL_METERS) -> list[bytes]:
        return split_entries(await self.channel.request(lib.DP_METER_CONFIG, bridge, _U32.pack(meter)))

    async def meter_stats(self, bridge: int, meter: int = ALL_METERS) -> list[bytes]:
        return split_entries(await self.channel.request(lib.DP_METER_STATS, bridge, _U32.pack(meter)), 4)

    async def watch_flows(self, bridge: int, on: bool) -> None:
        """Whether the datapath tells how the bridge's rules change (DP_EV_FLOW_UPDATE)."""
        await self.channel.request(lib.DP_FLOW_WATCH, bridge, pack(FlowWatch(int(on))))

    async def set_table(self, bridge: int, table: TableRecord) -> None:
        await self.channel.request(lib.DP_TABLE_MOD, bridge, pack(table))

    async def tables(self, bridge: int) -> list[TableRecord]:
        """Those that are configured or in use."""
        return await self._list(TableRecord, lib.DP_TABLE_DESC, bridge)

    def dump_flows_now(self, bridge: int, request: bytes, on_part: Callable[[bytes], None],
                       on_reply: Callable[[bytes], None]) -> asyncio.Future:
        """A dump whose parts are handed over as they are read (see Channel.request)."""
        return self.channel.request(lib.DP_FLOW_DUMP, bridge, request, on_part=on_part, on_reply=on_reply)

    async def dump_flow_parts(self, bridge: int, request: bytes) -> AsyncIterator[bytes]:
        """ofp_flow_stats entries, as the parts come: each is whole entries of 60,000 bytes at most."""
        parts: asyncio.Queue[bytes | None] = asyncio.Queue()
        last = self.channel.request(lib.DP_FLOW_DUMP, bridge, request, on_part=parts.put_nowait)
        last.add_done_callback(lambda _: parts.put_nowait(None))
        while (part := await parts.get()) is not None:
            yield part
        if rest := await last:
            yield rest

    async def dump_flows(self, bridge: int, request: bytes) -> AsyncIterator[list[bytes]]:
        """ofp_flow_stats entries, in batches as they come."""
        async for part in self.dump_flow_parts(bridge, request):
            yield split_entries(part)

    async def aggregate_flows(self, bridge: int, request: bytes) -> bytes:
        return await self.channel.request(lib.DP_FLOW_AGGREGATE, bridge, request)

    async def table_stats(self, bridge: int) -> bytes:
        return await self.channel.request(lib.DP_TABLE_STATS, bridge)

    async def port_stats(self, bridge: int, port_no: int = ALL_PORTS) -> bytes:
        return await self.channel.request(lib.DP_PORT_STATS, bridge, pack(PortRef(port_no)))

    def packet_out(self, bridge: int, body: bytes) -> asyncio.Future:
        return self.channel.request(lib.DP_PACKET_OUT, bridge, body)

    def packet_out_now(self, bridge: int, body: bytes, refused: Callable[[Exception], None]) -> bool:
        """Whether it was sent: it isn't where other requests about the bridge have to wait."""
        return self.channel.post(lib.DP_PACKET_OUT, bridge, body, refused)

    async def barrier(self, bridge: int) -> None:
        await self.channel.request(lib.DP_BARRIER, bridge)

    # -- seeing and testing
    async def macs(self, bridge: int) -> list[Mac]:
        return await self._list(Mac, lib.DP_MAC_LIST, bridge)

    async def flush_macs(self, bridge: int) -> None:
        await self.channel.request(lib.DP_MAC_FLUSH, bridge)

    async def port_detail(self, bridge: int, port_no: int) -> dict[str, str]:
        """What the port's driver knows of itself."""
        text = await self.channel.request(lib.DP_PORT_DETAIL, bridge, pack(PortRef(port_no)))
        return dict(line.partition(" ")[::2] for line in bytes(text).decode(errors="replace").splitlines())

    async def trace(self, bridge: int, in_port: int, frame: bytes) -> str:
        return (await self.channel.request(lib.DP_TRACE, bridge, pack(Trace(in_port)) + frame)).decode()

    async def inject(self, bridge: int, port_no: int, frame: bytes) -> None:
        await self.channel.request(lib.DP_INJECT, bridge, pack(PortRef(port_no)) + frame)

    async def collect(self, bridge: int, port_no: int) -> list[bytes]:
        return _unpack_batch(await self.channel.request(lib.DP_COLLECT, bridge, pack(PortRef(port_no))))

    async def cache_stats(self) -> list[CacheStats]:
        return await self._list(CacheStats, lib.DP_CACHE_STATS)

    async def rule_costs(self, bridge: int, most: int) -> list[tuple[int, bytes]]:
        """(cycles, ofp_flow_stats entry) of the rules that cost most time, dearest first."""
        body = await self.channel.request(lib.DP_RULE_COSTS, bridge, _U32.pack(most))
        found, at = [], 0
        while at < len(body):
            cycles, length = _COST.unpack_from(body, at)
            at += _COST.size
            found.append((cycles, body[at:at + length]))
            at += length
        return found

    async def scheduler(self) -> tuple[str, int]:
        record = unpack(SchedulerRecord, await self.channel.request(lib.DP_SCHEDULER_GET))
        return POLICIES[record.policy], record.slice_ns

    async def set_scheduler(self, policy: str, slice_ns: int) -> None:
        if policy not in POLICIES:
            raise InvalidError(f"{policy!r} is none of {', '.join(POLICIES)}", "policy")
        await self.channel.request(lib.DP_SCHEDULER_SET, body=pack(SchedulerRecord(POLICIES.index(policy), slice_ns)))

    async def balance(self) -> BalanceRecord:
        return unpack(BalanceRecord, await self.channel.request(lib.DP_BALANCE_GET))

    async def set_balance(self, balance: BalanceRecord) -> None:
        await self.channel.request(lib.DP_BALANCE_SET, body=pack(balance))

    async def shutdown(self) -> None:
        await self.channel.request(lib.DP_SHUTDOWN)
