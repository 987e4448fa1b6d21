"""Two readings of the usage counters as rates."""
from __future__ import annotations


def rates(before, after) -> dict[str, object]:
    """What happened between two vswitch.v1.Usage messages. Percentages are of one worker's time for workers, of all workers'
    time together for tenants. A datapath that was started anew in between counts from its start."""
    earlier = {worker.worker: worker for worker in before.workers}
    tenants: dict[str, dict] = {}
    workers = []
    total = 0
    for worker in after.workers:
        old = earlier.get(worker.worker)
        if old is not None and old.start != worker.start:
            old = None
        elapsed = max(1, worker.now - (old.now if old else worker.start))
        total += elapsed
        seconds = elapsed / (after.tsc_hz or 1)
        used = _add_accounts(worker, old, seconds, tenants)
        system = {use: cycles - (old.system.get(use, 0) if old else 0) for use, cycles in worker.system.items()}
        idle = system.pop("idle", 0)
        workers.append({
            "worker": worker.worker, "tenants_percent": 100 * used / elapsed, "idle_percent": 100 * idle / elapsed,
            "system_percent": 100 * sum(system.values()) / elapsed,
            "loops_per_second": (worker.loops - (old.loops if old else 0)) / seconds,
            "longest_us": worker.longest * 1e6 / (after.tsc_hz or 1)})
    for tenant in tenants.values():
        cycles, packets = tenant.pop("cycles"), tenant.pop("packets")
        tenant["cpu_percent"] = 100 * cycles / max(1, total)
        tenant["cycles_per_packet"] = cycles / packets if packets else 0.0
        tenant["drops_per_second"] = {reason: count for reason, count in sorted(tenant["drops_per_second"].items()) if count}
    ordered = sorted(tenants.values(), key=lambda tenant: (-tenant["cpu_percent"], tenant["tenant"]))
    return {"tenants": ordered, "workers": workers}


def _add_accounts(worker, old, seconds: float, tenants: dict[str, dict]) -> int:
    """Adds a worker's accounts to `tenants`; returns the cycles they used."""
    earlier = {account.tenant: account for account in old.accounts} if old else {}
    used = 0
    for account in worker.accounts:
        past = earlier.get(account.tenant)

        def grown(name):
            return getattr(account, name) - (getattr(past, name) if past else 0)

        cycles = sum(account.cycles.values()) - (sum(past.cycles.values()) if past else 0)
        used += cycles
        sums = tenants.setdefault(account.tenant, {
            "tenant": account.tenant, "cycles": 0, "packets": 0, "packets_per_second": 0.0, "bytes_per_second": 0.0,
            "slow_per_second": 0.0, "drops_per_second": {}})
        sums["cycles"] += cycles
        sums["packets"] += grown("rx_packets")
        sums["packets_per_second"] += grown("rx_packets") / seconds
        sums["bytes_per_second"] += grown("rx_bytes") / seconds
        sums["slow_per_second"] += grown("slow") / seconds
        for reason, count in account.drops.items():
            more = (count - (past.drops.get(reason, 0) if past else 0)) / seconds
            sums["drops_per_second"][reason] = sums["drops_per_second"].get(reason, 0.0) + more
    return used
