"""`vswitch table`."""
import click

from vswitch.cli.output import show_list


@click.group()
def table():
    """Tables of bridges: what they do when they are full, and with what they don't know."""


@table.command("set")
@click.argument("bridge")
@click.argument("table", metavar="TABLE|all")
@click.option("--max-entries", type=click.IntRange(1, 1_000_000), help="Rules at most.")
@click.option("--eviction/--no-eviction", default=None, help="When it is full, a less important rule makes room.")
@click.option("--vacancy", nargs=2, type=click.IntRange(0, 100), metavar="DOWN UP",
              help="Tell controllers when less than DOWN percent is free, and when more than UP percent is again.")
@click.option("--no-vacancy", is_flag=True, help="Tell nobody.")
@click.option("--miss", type=click.Choice(["default", "continue", "drop"]), help="What becomes of a packet that no rule knows.")
@click.pass_obj
def set_(client, bridge, table, max_entries, eviction, vacancy, no_vacancy, miss):
    """Change what is given, leave the rest."""
    if table != "all" and not table.isdecimal():
        raise click.BadParameter(f"{table!r} is neither a number nor all", param_hint="TABLE")
    if vacancy and no_vacancy:
        raise click.UsageError("--vacancy and --no-vacancy exclude each other")
    down, up = vacancy or (None, None)
    client.call("TableService.SetTable", bridge=bridge, table_id=None if table == "all" else int(table), max_entries=max_entries,
                eviction=eviction, vacancy_events=True if vacancy else False if no_vacancy else None, vacancy_down=down,
                vacancy_up=up, miss=f"TABLE_MISS_{miss.upper()}" if miss else None)


@table.command("list")
@click.argument("bridge")
@click.pass_obj
def list_(client, bridge):
    """Tables that have rules or that somebody has set."""
    show_list(client, client.call("TableService.ListTables", bridge=bridge).tables, {
        "table": "table_id", "rules": "rules", "max entries": "max_entries", "free %": "vacancy", "eviction": "eviction",
        "vacancy events": "vacancy_events", "down %": "vacancy_down", "up %": "vacancy_up", "miss": "miss"})
