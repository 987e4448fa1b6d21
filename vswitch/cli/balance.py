"""`vswitch balance`."""
import click

from vswitch.cli.output import show_one


@click.group()
def balance():
    """Queues that move from busy workers to others."""


@balance.command()
@click.pass_obj
def show(client):
    """The settings, what the last look found, and what was moved."""
    show_one(client, client.call("SwitchService.GetBalance"))


@balance.command("set")
@click.option("--interval", type=click.IntRange(0, 3600), help="Seconds between two looks; 0 = no queue is moved.")
@click.option("--load", type=click.IntRange(1, 100), help="Percent of its time that a worker must have been busy.")
@click.option("--improvement", type=click.IntRange(1, 100), help="Percent by which a move must lessen the loads' variance.")
@click.pass_obj
def set_(client, **settings):
    """Change what is given, leave the rest."""
    now = client.call("SwitchService.GetBalance")
    client.call("SwitchService.SetBalance", **{name: getattr(now, name) if value is None else value for name, value in settings.items()})
