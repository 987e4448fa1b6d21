"""`vswitch packet-out`."""
import click

from vswitch.cli.client import frame_bytes, port_number


@click.command("packet-out")
@click.argument("bridge")
@click.argument("actions")
@click.argument("frame")
@click.option("--in-port", help="As if it had arrived there: a number or a name.")
@click.pass_obj
def packet_out(client, bridge, actions, frame, in_port):
    """Carry out ACTIONS (ovs-ofctl's syntax) on FRAME (hexadecimal)."""
    client.call("FlowService.PacketOut", bridge=bridge, text=actions, frame=frame_bytes(frame),
                in_port=port_number(client, bridge, in_port) if in_port else None)
