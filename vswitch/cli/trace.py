"""`vswitch trace`."""
import click

from vswitch.cli.client import frame_bytes, port_number
from vswitch.cli.output import print_json


@click.command()
@click.argument("bridge")
@click.argument("in_port")
@click.argument("frame")
@click.pass_obj
def trace(client, bridge, in_port, frame):
    """What would happen to FRAME (hexadecimal) arriving at IN_PORT, a number or a name. Nothing is sent."""
    text = client.call("FlowService.Trace", bridge=bridge, frame=frame_bytes(frame),
                       in_port=port_number(client, bridge, in_port)).text
    if client.as_json:
        print_json({"text": text})
    else:
        click.echo(text.rstrip("\n"))
