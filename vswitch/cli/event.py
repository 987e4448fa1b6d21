"""`vswitch event`."""
import json

import click

from vswitch.cli.output import message_dict


@click.group()
def event():
    """What happens, as it happens."""


@event.command()
@click.option("--kind", "kinds", multiple=True, help="Only events of this kind; may be repeated.")
@click.option("--bridge", help="Only events of this bridge.")
@click.option("--count", type=click.IntRange(1), help="End after so many.")
@click.pass_obj
def watch(client, kinds, bridge, count):
    """Print events until interrupted; with --json, one object a line."""
    for number, item in enumerate(client.stream("EventService.Watch", kinds=list(kinds), bridge=bridge), 1):
        shown = message_dict(item)
        if client.as_json:
            click.echo(json.dumps(shown))
        else:
            click.echo(" ".join(filter(None, (item.kind, item.action, item.bridge, item.name, _detail(item)))))
        if number == count:
            break


def _detail(item) -> str:
    match item.WhichOneof("detail"):
        case "text":
            return item.text
        case "flow_removed":
            removed = item.flow_removed
            return f"{removed.reason} {removed.entry.text} n_packets={removed.entry.packets} n_bytes={removed.entry.bytes}"
        case "flow_stats":
            return f"{item.flow_stats.text} n_packets={item.flow_stats.packets} n_bytes={item.flow_stats.bytes}"
        case "controller":
            return item.controller.target
        case "port":
            return f"no={item.port.port.port_no} state={item.port.state}"
    return ""
