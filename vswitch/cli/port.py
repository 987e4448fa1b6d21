"""`vswitch port`."""
import click

from vswitch.cli.client import frame_bytes
from vswitch.cli.output import print_json, show_list, show_one
from vswitch.errors import InvalidError

KINDS = ["tap", "netdev", "vxlan", "patch", "dummy", "vhost-user"]


@click.group()
def port():
    """Ports of bridges."""


def _settings(command):
    for option in reversed((
            click.option("--ifname", help="tap, netdev: the device; the port's name when left out."),
            click.option("--queues", type=click.IntRange(1, 16), help="tap: queues; vhost-user: the most pairs of them."),
            click.option("--socket", help="vhost-user: path of the Unix socket."),
            click.option("--mode", type=click.Choice(["server", "client"]),
                         help="vhost-user: whether the switch listens at the socket (server) or connects to it."),
            click.option("--xdp-mode", type=click.Choice(["off", "best-effort", "native-with-zerocopy", "native", "generic"]),
                         help="netdev: AF_XDP, and how; off = AF_PACKET."),
            click.option("--busy-poll", type=click.IntRange(0, 10000), help="netdev with AF_XDP: microseconds; 0 = not."),
            click.option("--steering", type=click.Choice(["all", "vtep"]),
                         help="netdev: all packets are the switch's, or the VTEP's alone and the kernel has the rest."),
            click.option("--mac", help="Ethernet address."),
            click.option("--mtu", type=click.IntRange(68, 65535), help="Bytes."),
            click.option("--vni", type=click.IntRange(0, 0xffffff), help="vxlan: network identifier."),
            click.option("--remote", "remotes", multiple=True, help="vxlan: address flooded to; may be repeated; '' = none."),
            click.option("--learning/--no-learning", default=None, help="vxlan: learn remote addresses."),
            click.option("--peer", metavar="BRIDGE/PORT", help="patch: the other end."),
            click.option("--max-rate", type=click.IntRange(0, 0xffffffff), help="kbit/s that may leave in all; 0 = no limit."),
            click.option("--queue", "egress_queues", multiple=True, metavar="ID:MIN:MAX",
                         help="A queue for set-queue, rates in kbit/s, 0 = none; may be repeated; '' = none."),
            click.option("--config", type=click.IntRange(0, 0xffffffff), help="OFPPC_* bits; 1 = down."))):
        command = option(command)
    return command


def _queues(texts: tuple[str, ...]) -> list[dict[str, int]]:
    found = []
    for text in filter(None, texts):
        parts = text.split(":")
        if len(parts) != 3 or not all(part.isdecimal() for part in parts):
            raise InvalidError(f"{text!r} is not ID:MIN:MAX", "queue")
        found.append(dict(zip(("id", "min_rate", "max_rate"), map(int, parts))))
    return found


def _peer(text: str | None) -> dict[str, str]:
    if text is None:
        return {}
    peer_bridge, slash, peer_port = text.partition("/")
    if not (peer_bridge and slash and peer_port):
        raise InvalidError(f"{text!r} is not BRIDGE/PORT", "peer")
    return {"peer_bridge": peer_bridge, "peer_port": peer_port}


@port.command()
@click.argument("bridge")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), required=True)
@click.option("--number", "port_no", help="OpenFlow port number or LOCAL; the switch picks one when left out.")
@_settings
@click.pass_obj
def add(client, bridge, name, kind, port_no, remotes, egress_queues, peer, **settings):
    """Add a port."""
    message = {key: value for key, value in settings.items() if value is not None}
    if port_no:
        if port_no.upper() != "LOCAL" and not port_no.isdecimal():
            raise InvalidError(f"{port_no!r} is no number", "port_no")
        message["port_no"] = 0xfffffffe if port_no.upper() == "LOCAL" else int(port_no)
    created = client.call("PortService.AddPort", port={
        "bridge": bridge, "name": name, "kind": f"PORT_KIND_{kind.upper().replace('-', '_')}", "remotes": list(filter(None, remotes)),
        "egress_queues": _queues(egress_queues),
        **_peer(peer), **message})
    if client.as_json:
        show_one(client, created)


@port.command("set")
@click.argument("bridge")
@click.argument("name")
@_settings
@click.pass_obj
def set_(client, bridge, name, remotes, egress_queues, peer, **settings):
    """Change what is given, leave the rest."""
    client.call("PortService.SetPort", bridge=bridge, name=name, **_peer(peer),
                remotes={"address": list(filter(None, remotes))} if remotes else None,
                egress_queues={"queue": _queues(egress_queues)} if egress_queues else None, **settings)


@port.command("del")
@click.argument("bridge")
@click.argument("name")
@click.pass_obj
def del_(client, bridge, name):
    """Delete a port."""
    client.call("PortService.DeletePort", bridge=bridge, name=name)


@port.command("list")
@click.argument("bridge", default="")
@click.pass_obj
def list_(client, bridge):
    """The ports of one bridge or all."""
    show_list(client, client.call("PortService.ListPorts", bridge=bridge).ports, {
        "bridge": "port.bridge", "no": "port.port_no", "name": "port.name", "kind": "port.kind", "mac": "port.mac",
        "vni": "port.vni", "remotes": "port.remotes", "rx packets": "counters.rx_packets",
        "tx packets": "counters.tx_packets", "rx drops": "counters.rx_drops", "tx drops": "counters.tx_drops"})


@port.command()
@click.argument("bridge")
@click.argument("name")
@click.pass_obj
def show(client, bridge, name):
    """One port with its counters."""
    show_one(client, client.call("PortService.GetPort", bridge=bridge, name=name))


@port.command()
@click.argument("bridge")
@click.argument("name")
@click.pass_obj
def queues(client, bridge, name):
    """The port's queues with their counters, rates in kbit/s."""
    show_list(client, client.call("PortService.GetPort", bridge=bridge, name=name).egress_queues, {
        "id": "id", "min": "min_rate", "max": "max_rate", "packets": "tx_packets", "bytes": "tx_bytes", "drops": "tx_drops"})


@port.command()
@click.argument("bridge")
@click.argument("name")
@click.argument("frame", nargs=-1, required=True)
@click.pass_obj
def inject(client, bridge, name, frame):
    """Let frames (hexadecimal) arrive at a dummy port."""
    client.call("PortService.Inject", bridge=bridge, port=name, frames=list(map(frame_bytes, frame)))


@port.command()
@click.argument("bridge")
@click.argument("name")
@click.pass_obj
def collect(client, bridge, name):
    """The frames that a dummy port has sent, in hexadecimal, a line each."""
    frames = [frame.hex() for frame in client.call("PortService.Collect", bridge=bridge, port=name).frames]
    if client.as_json:
        print_json(frames)
    else:
        for frame in frames:
            click.echo(frame)
