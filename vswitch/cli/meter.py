"""`vswitch meter`: meters in ovs-ofctl's syntax."""
import click

from vswitch.cli.output import message_dict, print_json


@click.group()
def meter():
    """Meters, in ovs-ofctl's syntax.

    meter=1,kbps,burst,band=type=drop,rate=1000,burst_size=100
    """


def _writes(name: str, command: str, text: str):
    @meter.command(name, help=text)
    @click.argument("bridge")
    @click.argument("meter")
    @click.pass_obj
    def write(client, bridge, meter):
        client.call("GroupService.WriteMeter", bridge=bridge, command=f"METER_COMMAND_{command}", text=meter)
    return write


_writes("add", "ADD", "Add a meter.")
_writes("mod", "MODIFY", "Give a meter other flags and bands.")


@meter.command("del")
@click.argument("bridge")
@click.argument("number", metavar="METER|all")
@click.pass_obj
def del_(client, bridge, number):
    """Delete a meter, or all, with the rules that name it."""
    client.call("GroupService.WriteMeter", bridge=bridge, command="METER_COMMAND_DELETE", text=f"meter={number}")


@meter.command("list")
@click.argument("bridge")
@click.pass_obj
def list_(client, bridge):
    """Meters as they could be added again, a line each."""
    found = client.call("GroupService.ListMeters", bridge=bridge).meters
    if client.as_json:
        print_json([message_dict(entry) for entry in found])
        return
    for entry in found:
        click.echo(entry.text)


@meter.command()
@click.argument("bridge")
@click.pass_obj
def stats(client, bridge):
    """What each meter and band has counted."""
    found = client.call("GroupService.ListMeters", bridge=bridge).meters
    if client.as_json:
        print_json([message_dict(entry) for entry in found])
        return
    for entry in found:
        click.echo(f"meter={entry.meter.id} flows={entry.flows} packets={entry.packets} bytes={entry.bytes}")
        for band, packets, octets in zip(entry.meter.bands, entry.band_packets, entry.band_bytes):
            click.echo(f"  rate={band.rate} packets={packets} bytes={octets}")
