"""`vswitch info`."""
import click

from vswitch.cli.output import show_one


@click.command()
@click.pass_obj
def info(client):
    """The switch as a whole."""
    show_one(client, client.call("SwitchService.GetInfo"))
