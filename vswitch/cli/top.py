"""`vswitch top`: who uses the datapath's CPU time."""
from __future__ import annotations

import sys
import time

import click

from vswitch.cli.output import format_table, print_json
from vswitch.cli.usage_rates import port_costs, rates, rule_costs

TENANT_HEADINGS = ("tenant", "cpu %", "cycles/packet", "packets/s", "bytes/s", "slow/s", "waited %", "throttled %", "waited for",
                   "stages", "drops/s")
WORKER_HEADINGS = ("worker", "tenants %", "idle %", "system %", "loops/s", "p99 us", "longest us", "in", "with stalls us", "stalls/s")
PORT_HEADINGS = ("cpu %", "bridge", "port")
RULE_HEADINGS = ("cpu %", "packets/s", "bridge", "rule")
LEFT = {"tenant", "waited for", "stages", "drops/s", "in", "bridge", "port", "rule"}


@click.command()
@click.option("-i", "--interval", type=click.FloatRange(0.05, 3600), default=1.0, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="One plain table; so it is without a terminal, too.")
@click.option("-k", "--most", type=click.IntRange(0, 64), default=0, show_default=True,
              help="So many of the ports, and of the rules, that cost most.")
@click.pass_obj
def top(client, interval, once, most):
    """Each tenant's share of the CPU time, live."""
    if once or client.as_json or not sys.stdout.isatty():
        before = _read(client, most)
        time.sleep(interval)
        sample = _sample(before, _read(client, most), most)
        if client.as_json:
            print_json(sample)
        else:
            click.echo("\n".join(format_table(headings, rows) for headings, rows in _tables(sample)), nl=False)
        return
    _live(client, interval, most)


def _read(client, most: int) -> tuple:
    usage, ports, rules = client.call("StatsService.GetUsage"), None, {}
    if most:
        ports = client.call("StatsService.ListPortCounters")
        for bridge in client.call("BridgeService.ListBridges").bridges:
            rules[bridge.name] = client.call("StatsService.ListRuleCosts", bridge=bridge.name, most=64)
    return usage, ports, rules, time.monotonic()


def _sample(before: tuple, after: tuple, most: int) -> dict:
    sample = rates(before[0], after[0])
    if most:
        seconds = after[3] - before[3]
        sample["ports"] = port_costs(before[1], after[1], after[0].tsc_hz, seconds)[:most]
        sample["rules"] = rule_costs(before[2], after[2], after[0].tsc_hz, seconds)[:most]
    return sample


def _few(parts: dict[str, float]) -> str:
    """The three that matter most."""
    ordered = sorted(parts.items(), key=lambda item: (-item[1], item[0]))[:3]
    return " ".join(f"{name}={percent:.1f}" for name, percent in ordered if percent >= 0.05)


def _tenant_rows(sample: dict) -> list[tuple]:
    return [(tenant["tenant"], round(tenant["cpu_percent"], 2), round(tenant["cycles_per_packet"]),
             round(tenant["packets_per_second"]), round(tenant["bytes_per_second"]), round(tenant["slow_per_second"]),
             round(tenant["waited_percent"], 2), round(tenant["throttled_percent"], 2), _few(tenant["waited_for_percent"]),
             _few(tenant["stages_percent"]),
             " ".join(f"{reason}={count:.0f}" for reason, count in tenant["drops_per_second"].items()))
            for tenant in sample["tenants"]]


def _worker_rows(sample: dict) -> list[tuple]:
    return [(worker["worker"], round(worker["tenants_percent"], 2), round(worker["idle_percent"], 2),
             round(worker["system_percent"], 2), round(worker["loops_per_second"]), round(worker["p99_us"], 1),
             round(worker["longest_us"], 1), worker["longest_in"], round(worker["longest_raw_us"], 1),
             round(worker["stalls_per_second"])) for worker in sample["workers"]]


def _tables(sample: dict) -> list[tuple]:
    tables = [(TENANT_HEADINGS, _tenant_rows(sample)), (WORKER_HEADINGS, _worker_rows(sample))]
    if "ports" in sample:
        tables.append((PORT_HEADINGS, [(round(port["cpu_percent"], 2), port["bridge"], port["port"]) for port in sample["ports"]]))
        tables.append((RULE_HEADINGS, [(round(rule["cpu_percent"], 2), round(rule["packets_per_second"]), rule["bridge"],
                                        rule["rule"]) for rule in sample["rules"]]))
    return tables


def _live(client, interval: float, most: int) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table

    def table(headings, rows):
        view = Table(box=None, pad_edge=False)
        for heading in headings:
            view.add_column(heading, justify="left" if heading in LEFT else "right")
        for row in rows:
            view.add_row(*map(str, row))
        return view

    before = _read(client, most)
    with Live(screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            after = _read(client, most)
            live.update(Group(*(table(*part) for part in _tables(_sample(before, after, most)))), refresh=True)
            before = after
