"""`vswitch vtep`."""
import click

from vswitch.cli.output import show_one


@click.group()
def vtep():
    """The host's VXLAN tunnel end point."""


@vtep.command("set")
@click.option("--local4", help="IPv4 address; 0.0.0.0 = any, '' = no IPv4 underlay.")
@click.option("--local6", help="IPv6 address; :: = any, '' = no IPv6 underlay.")
@click.option("--udp-port", type=click.IntRange(1, 65535), help="4789 unless told.")
@click.option("--uplink", metavar="BRIDGE/PORT", help="Port for tunnels as raw frames; '' = UDP sockets.")
@click.option("--udp-checksum/--no-udp-checksum", default=None, help="Of outer headers that leave through the uplink.")
@click.option("--uplink-device", help="Device whose kernel's routes and neighbours lead to remotes; '' = the switch asks itself.")
@click.pass_obj
def set_(client, **settings):
    """Change what is given, leave the rest."""
    current = client.call("PortService.GetVtep")
    for name, value in settings.items():
        if value is not None:
            setattr(current, name, value)
    client.call("PortService.SetVtep", vtep=current)


@vtep.command()
@click.pass_obj
def show(client):
    """The end point."""
    show_one(client, client.call("PortService.GetVtep"))
