"""A snapshot as Prometheus metric families. Names and units follow prometheus.io/docs/practices/naming: seconds, bytes, and
_total for what only grows. Counters begin at 0 again when the datapath is started anew."""
from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from vswitch.metrics.snapshot import Snapshot
from vswitch.model.objects import Usage

_LINK_DOWN = 1              # OFPPS_LINK_DOWN
_OF_ACCOUNTS = {
    "turns": ("turns", "Turns begun"),
    "yields": ("suspended_turns", "Turns suspended in the middle of something, because the slice was over"),
    "overtaken": ("overtaken_turns", "Turns suspended because another tenant woke that was due before"),
    "rx_packets": ("receive_packets", "Packets that the tenant's ports received"),
    "rx_bytes": ("receive_bytes", "Bytes that the tenant's ports received"),
    "tx_packets": ("transmit_packets", "Packets that the tenant's ports sent"),
    "tx_bytes": ("transmit_bytes", "Bytes that the tenant's ports sent"),
    "packet_ins": ("packet_ins", "Packets sent to the tenant's controllers"),
}
_ANSWERS = {"exact_match": "emc_hits", "megaflow": "megaflow_hits", "tables": "slow"}
_OF_WORKERS = {
    "loops": "Scheduling decisions",
    "sleeps": "Times the worker slept for want of work",
    "stalls": "Times the machine took the core away",
}
_OF_PORTS = {
    "rx_packets": ("receive_packets", "Packets received"), "rx_bytes": ("receive_bytes", "Bytes received"),
    "tx_packets": ("transmit_packets", "Packets sent"), "tx_bytes": ("transmit_bytes", "Bytes sent"),
    "rx_drops": ("receive_drops", "Received packets dropped"), "tx_drops": ("transmit_drops", "Packets not sent"),
    "rx_errors": ("receive_errors", "Errors when receiving"), "tx_errors": ("transmit_errors", "Errors when sending"),
    "rx_merged": ("receive_merged", "TCP segments that became part of a larger one, which counts as one packet received"),
}


def families(snapshot: Snapshot) -> Iterator[Metric]:
    yield GaugeMetricFamily("vswitch_datapath_up", "Whether the datapath is there", value=snapshot.up)
    yield CounterMetricFamily("vswitch_datapath_restarts", "Times vswitchd started the datapath again",
                              value=snapshot.restarts)
    weights = GaugeMetricFamily("vswitch_tenant_weight", "The tenant's weight", labels=["tenant"])
    for tenant, weight in snapshot.weights.items():
        weights.add_metric([tenant], weight)
    yield weights
    yield _controllers(snapshot)
    if snapshot.usage is not None:
        yield from _tenants(snapshot.usage)
        yield from _workers(snapshot.usage)
        yield from _ports(snapshot)


def _controllers(snapshot: Snapshot) -> Metric:
    connected = GaugeMetricFamily("vswitch_controller_connected", "Whether the OpenFlow session is up",
                                  labels=["tenant", "bridge", "target"])
    for status in snapshot.controllers:
        connected.add_metric([snapshot.owners.get(status.bridge, ""), status.bridge, status.target], status.connected)
    return connected


def _tenants(usage: Usage) -> Iterator[Metric]:
    accounts = [(account, [account.tenant, str(worker.worker)]) for worker in usage.workers for account in worker.accounts]
    labels = ["tenant", "worker"]
    spent = CounterMetricFamily("vswitch_tenant_cpu_seconds", "CPU time charged to the tenant, by the stage it was spent in",
                                labels=[*labels, "stage"])
    answered = CounterMetricFamily("vswitch_tenant_lookups", "Packets, by what decided about them",
                                   labels=[*labels, "answer"])
    dropped = CounterMetricFamily("vswitch_tenant_dropped_packets", "Packets dropped, by reason", labels=[*labels, "reason"])
    for account, values in accounts:
        for stage, cycles in account.cycles.items():
            spent.add_metric([*values, stage], cycles / usage.tsc_hz)
        for answer, name in _ANSWERS.items():
            answered.add_metric([*values, answer], getattr(account, name))
        for reason, packets in account.drops.items():
            dropped.add_metric([*values, reason], packets)
    yield from (spent, answered, dropped, *_waiting(accounts, labels, usage.tsc_hz))
    for attribute, (name, text) in _OF_ACCOUNTS.items():
        counter = CounterMetricFamily(f"vswitch_tenant_{name}", text, labels=labels)
        for account, values in accounts:
            counter.add_metric(values, getattr(account, attribute))
        yield counter


def _waiting(accounts: list, labels: list[str], tsc_hz: int) -> Iterator[Metric]:
    waited = CounterMetricFamily("vswitch_tenant_waited_seconds", "Time with work while others had the core", labels=labels)
    throttled = CounterMetricFamily("vswitch_tenant_throttled_seconds", "Time with work that cpu_max held back", labels=labels)
    blamed = CounterMetricFamily("vswitch_tenant_waited_for_seconds", "Time waited for the few tenants that mattered most, from "
                                 "samples", labels=[*labels, "blocker"])
    for account, values in accounts:
        waited.add_metric(values, account.waited / tsc_hz)
        throttled.add_metric(values, account.throttled / tsc_hz)
        for blocker, cycles in account.waited_for.items():
            blamed.add_metric([*values, blocker], cycles / tsc_hz)
    yield from (waited, throttled, blamed)


def _workers(usage: Usage) -> Iterator[Metric]:
    spent = CounterMetricFamily("vswitch_worker_cpu_seconds", "A worker's time that was no tenant's, by use",
                                labels=["worker", "use"])
    stalled = CounterMetricFamily("vswitch_worker_stall_seconds", "Time for which the machine took the core away",
                                  labels=["worker"])
    longest = GaugeMetricFamily("vswitch_worker_longest_stretch_seconds",
                                "Longest time between two scheduling decisions, stalls left out", labels=["worker"])
    longest_raw = GaugeMetricFamily("vswitch_worker_longest_stretch_with_stalls_seconds",
                                    "Longest time between two scheduling decisions, stalls and all", labels=["worker"])
    stretch = HistogramMetricFamily("vswitch_worker_stretch_seconds", "Time between two scheduling decisions",
                                    labels=["worker"])
    for worker in usage.workers:
        number = str(worker.worker)
        for use, cycles in worker.system.items():
            spent.add_metric([number, use], cycles / usage.tsc_hz)
        stalled.add_metric([number], worker.stall_cycles / usage.tsc_hz)
        longest.add_metric([number], worker.longest / usage.tsc_hz)
        longest_raw.add_metric([number], worker.longest_raw / usage.tsc_hz)
        stretch.add_metric([number], _buckets(worker.stretch, usage.tsc_hz), None)
    yield from (spent, stalled, longest, longest_raw, stretch)
    for attribute, text in _OF_WORKERS.items():
        counter = CounterMetricFamily(f"vswitch_worker_{attribute}", text, labels=["worker"])
        for worker in usage.workers:
            counter.add_metric([str(worker.worker)], getattr(worker, attribute))
        yield counter


def _buckets(stretch: list[int], tsc_hz: int) -> list[tuple[str, int]]:
    """Item i of `stretch` counts those of [2^i, 2^(i+1)) cycles; Prometheus wants sums up to a limit."""
    buckets, total = [], 0
    for i, count in enumerate(stretch[:-1]):
        total += count
        buckets.append((repr(2 ** (i + 1) / tsc_hz), total))
    return [*buckets, ("+Inf", total + sum(stretch[-1:]))]


def _ports(snapshot: Snapshot) -> Iterator[Metric]:
    labels = ["tenant", "bridge", "port"]
    ports = [(status, [snapshot.owners.get(status.port.bridge, ""), status.port.bridge, status.port.name])
             for status in snapshot.ports]
    up = GaugeMetricFamily("vswitch_port_up", "Whether the port's link is up", labels=labels)
    for status, values in ports:
        up.add_metric(values, not status.state & _LINK_DOWN)
    yield up
    spent = CounterMetricFamily("vswitch_port_cpu_seconds", "Time spent on what the port received, all stages", labels=labels)
    for status, values in ports:
        spent.add_metric(values, status.counters.get("cycles", 0) / snapshot.usage.tsc_hz)
    yield spent
    for attribute, (name, text) in _OF_PORTS.items():
        counter = CounterMetricFamily(f"vswitch_port_{name}", text, labels=labels)
        for status, values in ports:
            if attribute in status.counters:
                counter.add_metric(values, status.counters[attribute])
        yield counter
