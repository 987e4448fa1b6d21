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
            "longest_us": worker.longest * 1e6 / (after.tsc_hz or 1),
            "longest_raw_us": worker.longest_raw * 1e6 / (after.tsc_hz or 1),
            "longest_in": "/".join(filter(None, (worker.longest_tenant, worker.longest_stage))),
            "p99_us": _percentile(worker.stretch, old.stretch if old else (), 0.99) * 1e6 / (after.tsc_hz or 1),
            "stalls_per_second": (worker.stalls - (old.stalls if old else 0)) / seconds})
    for tenant in tenants.values():
        cycles, packets = tenant.pop("cycles"), tenant.pop("packets")
        tenant["cpu_percent"] = 100 * cycles / max(1, total)
        for what in ("waited", "throttled"):
            tenant[f"{what}_percent"] = 100 * tenant.pop(what) / max(1, total)
        tenant["stages_percent"] = {stage: 100 * spent / max(1, total) for stage, spent in tenant.pop("stages").items() if spent}
        tenant["waited_for_percent"] = {name: 100 * waited / max(1, total) for name, waited in
                                        sorted(tenant.pop("waited_for").items(), key=lambda item: -item[1]) if waited > 0}
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
            "slow_per_second": 0.0, "drops_per_second": {}, "stages": {}, "waited": 0, "throttled": 0, "waited_for": {}})
        for stage, spent in account.cycles.items():
            sums["stages"][stage] = sums["stages"].get(stage, 0) + spent - (past.cycles.get(stage, 0) if past else 0)
        for name, waited in account.waited_for.items():
            more = waited - (past.waited_for.get(name, 0) if past else 0)
            sums["waited_for"][name] = sums["waited_for"].get(name, 0) + more
        sums["waited"] += grown("waited")
        sums["throttled"] += grown("throttled")
        sums["cycles"] += cycles
        sums["packets"] += grown("rx_packets")
        sums["packets_per_second"] += grown("rx_packets") / seconds
        sums["bytes_per_second"] += grown("rx_bytes") / seconds
        sums["slow_per_second"] += grown("slow") / seconds
        for reason, count in account.drops.items():
            more = (count - (past.drops.get(reason, 0) if past else 0)) / seconds
            sums["drops_per_second"][reason] = sums["drops_per_second"].get(reason, 0.0) + more
    return used


def _percentile(after, before, part: float) -> float:
    """Upper end, in cycles, of the histogram's bucket below which `part` of what was counted since lies."""
    counts = [count - (before[i] if i < len(before) else 0) for i, count in enumerate(after)]
    left = part * sum(counts)
    for i, count in enumerate(counts):
        left -= count
        if left <= 0 and count:
            return float(2 ** (i + 1))
    return 0.0


def port_costs(before, after, tsc_hz: int, seconds: float) -> list[dict]:
    """Two ListPortCounters responses: ports by the time that what they received took, in percent of one worker."""
    earlier = {(port.bridge, port.name): port.counters.get("cycles", 0) for port in before.ports}
    costs = [{"bridge": port.bridge, "port": port.name, "cpu_percent":
              100 * (port.counters.get("cycles", 0) - earlier.get((port.bridge, port.name), 0)) / max(1.0, tsc_hz * seconds)}
             for port in after.ports]
    return sorted((cost for cost in costs if cost["cpu_percent"] > 0), key=lambda cost: -cost["cpu_percent"])


def rule_costs(before: dict, after: dict, tsc_hz: int, seconds: float) -> list[dict]:
    """Two ListRuleCosts responses by bridge: rules by the time that their packets took, in percent of one worker."""
    costs = []
    for bridge, response in after.items():
        earlier = {_rule(rule.text): rule for rule in before[bridge].rules} if bridge in before else {}
        for rule in response.rules:
            old = earlier.get(_rule(rule.text))
            costs.append({"bridge": bridge, "rule": _rule(rule.text),
                          "packets_per_second": (rule.packets - (old.packets if old else 0)) / seconds,
                          "cpu_percent": 100 * (rule.cycles - (old.cycles if old else 0)) / max(1.0, tsc_hz * seconds)})
    return sorted((cost for cost in costs if cost["cpu_percent"] > 0), key=lambda cost: -cost["cpu_percent"])


def _rule(text: str) -> str:
    """The line without what changes as packets come."""
    kept = [part for part in text.strip().split(", ") if not part.startswith(("duration=", "n_packets=", "n_bytes=", "idle_age=",
                                                                             "hard_age="))]
    return ", ".join(kept)
