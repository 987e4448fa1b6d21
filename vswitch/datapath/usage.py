"""Counters out of the datapath's shared memory: who used its time, and what each port carried. No call to the datapath."""
from __future__ import annotations

import mmap

from vswitch._datapath import ffi, lib
from vswitch.errors import UnavailableError
from vswitch.model.objects import AccountUsage, Usage, WorkerUsage

_MAGIC = 0x5653574954434831


def _names(name_of, n: int) -> list[str]:
    return [ffi.string(name).decode() if (name := name_of(i)) != ffi.NULL else f"{i}" for i in range(n)]


STAGES = _names(lib.dp_stage_name, lib.DP_N_STAGES)
SYSTEM = _names(lib.dp_system_name, lib.DP_N_SYSTEM)
DROPS = _names(lib.dp_drop_name, lib.DP_N_DROPS)
_PORT_COUNTERS = [name for name, _ in ffi.typeof("struct dp_shm_port").fields]
_ACCOUNT_COUNTERS = [name for name, _ in ffi.typeof("struct dp_shm_account").fields if name not in ("cycles", "drops", "blockers")]


def _name(names: dict[int, str], tenant: int) -> str:
    return names.get(tenant, f"removed-{tenant}")


class Counters:
    """A view of the mapping. Everything read through it is a copy."""

    def __init__(self, mapping: mmap.mmap):
        self._base = ffi.from_buffer(mapping, require_writable=False)
        self._header = ffi.cast("struct dp_shm_header *", self._base)
        if self._header.magic != _MAGIC or self._header.version != lib.DP_CONTRACT_VERSION:
            raise UnavailableError("the datapath's counters are of another version")

    def usage(self, names: dict[int, str], n_tenants: int) -> Usage:
        """Accounts of tenants with an id below `n_tenants` that `names` knows, or that have spent anything."""
        n = min(n_tenants, self._header.max_tenants)
        accounts = ffi.new("struct dp_shm_account[]", max(n, 1))
        row = ffi.new("struct dp_shm_worker *")
        workers = []
        for worker in range(self._header.n_workers):
            lib.dp_shm_read_accounts(self._base, worker, row, accounts, n)
            workers.append(self._worker(worker, row, names, [
                self._account(worker, names, i, accounts[i])
                for i in range(n) if i in names or accounts[i].turns]))
        return Usage(self._header.tsc_hz, workers)

    @staticmethod
    def _worker(worker: int, row, names: dict[int, str], accounts: list[AccountUsage]) -> WorkerUsage:
        tenant = _name(names, row.longest_tenant) if row.longest_tenant else ""
        return WorkerUsage(worker, row.start, row.now, dict(zip(SYSTEM, row.system)), row.loops, row.sleeps, row.stalls,
                           row.stall_cycles, row.longest, list(row.stretch), accounts, row.longest_raw, tenant,
                           STAGES[row.longest_stage] if tenant else "", row.longest_port - 1)

    @staticmethod
    def _account(worker: int, names: dict[int, str], tenant: int, row) -> AccountUsage:
        waited_for = {_name(names, blocker.tenant): blocker.cycles for blocker in row.blockers if blocker.cycles}
        return AccountUsage(worker=worker, tenant=_name(names, tenant), waited_for=waited_for, cycles=dict(zip(STAGES, row.cycles)),
                            drops={name: n for name, n in zip(DROPS, row.drops) if n},
                            **{name: getattr(row, name) for name in _ACCOUNT_COUNTERS})

    def port(self, slot: int) -> dict[str, int]:
        """A port's counters, all workers together."""
        if slot >= self._header.max_ports:
            return {}
        rows = ffi.cast("struct dp_shm_port *", self._base + self._header.ports_off)
        picked = [rows[worker * self._header.max_ports + slot] for worker in range(self._header.n_workers)]
        return {name: sum(getattr(row, name) for row in picked) for name in _PORT_COUNTERS}
