"""`vswitch top`: who uses the datapath's CPU time."""
from __future__ import annotations

import sys
import time

import click

from vswitch.cli.output import format_table, print_json
from vswitch.cli.usage_rates import rates

TENANT_HEADINGS = ("tenant", "cpu %", "cycles/packet", "packets/s", "bytes/s", "slow/s", "drops/s")
WORKER_HEADINGS = ("worker", "tenants %", "idle %", "system %", "loops/s", "longest us")


@click.command()
@click.option("-i", "--interval", type=click.FloatRange(0.05, 3600), default=1.0, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="One plain table; so it is without a terminal, too.")
@click.pass_obj
def top(client, interval, once):
    """Each tenant's share of the CPU time, live."""
    if once or client.as_json or not sys.stdout.isatty():
        before = client.call("StatsService.GetUsage")
        time.sleep(interval)
        sample = rates(before, client.call("StatsService.GetUsage"))
        if client.as_json:
            print_json(sample)
        else:
            click.echo(_plain(sample), nl=False)
        return
    _live(client, interval)


def _tenant_rows(sample: dict) -> list[tuple]:
    return [(tenant["tenant"], round(tenant["cpu_percent"], 2), round(tenant["cycles_per_packet"]),
             round(tenant["packets_per_second"]), round(tenant["bytes_per_second"]), round(tenant["slow_per_second"]),
             " ".join(f"{reason}={count:.0f}" for reason, count in tenant["drops_per_second"].items()))
            for tenant in sample["tenants"]]


def _worker_rows(sample: dict) -> list[tuple]:
    return [(worker["worker"], round(worker["tenants_percent"], 2), round(worker["idle_percent"], 2),
             round(worker["system_percent"], 2), round(worker["loops_per_second"]), round(worker["longest_us"], 1))
            for worker in sample["workers"]]


def _plain(sample: dict) -> str:
    return f"{format_table(TENANT_HEADINGS, _tenant_rows(sample))}\n{format_table(WORKER_HEADINGS, _worker_rows(sample))}"


def _live(client, interval: float) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table

    def table(headings, rows):
        view = Table(box=None, pad_edge=False)
        for index, heading in enumerate(headings):
            view.add_column(heading, justify="left" if index in (0, 6) else "right")
        for row in rows:
            view.add_row(*map(str, row))
        return view

    before = client.call("StatsService.GetUsage")
    with Live(screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            after = client.call("StatsService.GetUsage")
            sample = rates(before, after)
            live.update(Group(table(TENANT_HEADINGS, _tenant_rows(sample)), "",
                              table(WORKER_HEADINGS, _worker_rows(sample))), refresh=True)
            before = after
