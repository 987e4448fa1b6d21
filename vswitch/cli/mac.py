"""`vswitch mac`."""
import click

from vswitch.cli.output import show_list


@click.group()
def mac():
    """Learned addresses."""


@mac.command("list")
@click.argument("bridge")
@click.pass_obj
def list_(client, bridge):
    """What a bridge has learned."""
    show_list(client, client.call("StatsService.ListMacs", bridge=bridge).macs,
              {"mac": "mac", "vlan": "vlan", "port": "port_no", "age": "age"})


@mac.command()
@click.argument("bridge")
@click.pass_obj
def flush(client, bridge):
    """Forget them all."""
    client.call("StatsService.FlushMacs", bridge=bridge)
