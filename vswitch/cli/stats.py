"""`vswitch stats`."""
import click

from vswitch.cli.output import message_dict, print_json, print_table, show_list


@click.group()
def stats():
    """Counters of workers, tenants, ports and tables, since the datapath started."""


@stats.command()
@click.pass_obj
def workers(client):
    """What each worker's time went to."""
    usage = client.call("StatsService.GetUsage")
    if client.as_json:
        print_json(message_dict(usage))
        return
    rows = []
    for worker in usage.workers:
        elapsed = max(1, worker.now - worker.start)
        accounted = sum(worker.system.values()) + sum(sum(account.cycles.values()) for account in worker.accounts)
        rows.append((worker.worker, round(elapsed / usage.tsc_hz, 1) if usage.tsc_hz else 0.0,
                     round(100 * worker.system["idle"] / elapsed, 2) if "idle" in worker.system else 0.0,
                     round(100 * accounted / elapsed, 3), worker.loops, worker.sleeps, worker.stalls, worker.longest))
    print_table(("worker", "seconds", "idle %", "accounted %", "loops", "sleeps", "stalls", "longest"), rows)


@stats.command()
@click.pass_obj
def tenants(client):
    """What each tenant used on each worker."""
    usage = client.call("StatsService.GetUsage")
    if client.as_json:
        print_json([{"worker": worker.worker, **message_dict(account)}
                    for worker in usage.workers for account in worker.accounts])
        return
    print_table(("worker", "tenant", "cycles", "rx packets", "rx bytes", "tx packets", "tx bytes", "emc", "megaflow", "slow",
                 "packet-ins", "drops"),
                [(worker.worker, account.tenant, sum(account.cycles.values()), account.rx_packets, account.rx_bytes,
                  account.tx_packets, account.tx_bytes, account.emc_hits, account.megaflow_hits, account.slow,
                  account.packet_ins, " ".join(f"{reason}={count}" for reason, count in sorted(account.drops.items())))
                 for worker in usage.workers for account in worker.accounts])


@stats.command()
@click.argument("bridge", default="")
@click.pass_obj
def ports(client, bridge):
    """The ports of one bridge or all."""
    show_list(client, client.call("StatsService.ListPortCounters", bridge=bridge).ports, {
        "bridge": "bridge", "no": "port_no", "name": "name",
        **{name.replace("_", " "): f"counters.{name}" for name in (
            "rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "rx_drops", "tx_drops", "rx_errors", "tx_errors")}})


@stats.command()
@click.argument("bridge")
@click.pass_obj
def tables(client, bridge):
    """The tables of a bridge that are in use."""
    show_list(client, client.call("StatsService.ListTableStats", bridge=bridge).tables,
              {"table": "table_id", "rules": "active", "lookups": "lookups", "matches": "matches"})
