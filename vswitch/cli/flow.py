"""`vswitch flow`: rules in ovs-ofctl's syntax."""
import re
import sys

import click

from vswitch.cli.output import message_dict, print_json
from vswitch.errors import InvalidError, VswitchError

BATCH = 5000        # rules a call


@click.group()
def flow():
    """Rules, in ovs-ofctl's syntax.

    A FLOW is one rule, or - for standard input; --file reads one rule a line, # begins a comment.
    """


def _sources(command):
    command = click.option("-f", "--file", "files", multiple=True, type=click.File(), help="Read rules from it.")(command)
    return click.argument("flows", nargs=-1, metavar="[FLOW]...")(command)


def _bundle(command):
    return click.option("--bundle", is_flag=True, help="All at one moment, or none.")(command)


def _rules(flows, files) -> list[tuple[str, str]]:
    """(where it stands, rule)"""
    rules = []
    for text in flows:
        if text == "-":
            rules += _lines(sys.stdin, "-")
        else:
            rules.append(("", text))
    for file in files:
        rules += _lines(file, file.name)
    return rules


def _lines(file, name: str) -> list[tuple[str, str]]:
    try:
        numbered = [(f"{name}:{number}", line.partition("#")[0].strip()) for number, line in enumerate(file, 1)]
    except UnicodeDecodeError:
        raise InvalidError("is not UTF-8 text", name) from None
    return [(where, line) for where, line in numbered if line]


def _write(client, bridge: str, mods: list[tuple[str, str, str]], bundle: bool = False) -> None:
    """`mods`: (where it stands, command, text). All that can be done is done, or with `bundle` all or none; the first failure is
    told."""
    failures = []
    size = len(mods) or 1 if bundle else BATCH
    for start in range(0, len(mods), size):
        batch = mods[start:start + size]
        try:
            reply = client.call("FlowService.WriteFlows", bridge=bridge, atomic=bundle, mods=[
                {"command": f"FLOW_COMMAND_{command.upper()}", "text": text} for _, command, text in batch])
        except VswitchError as error:
            raise _at_line(error, batch) from None
        failures += [(where or text, result.message) for (where, _, text), result in zip(batch, reply.results) if result.code]
    if failures:
        where, message = failures[0]
        more = f" ({len(failures)} of {len(mods)} rules failed)" if len(mods) > 1 else ""
        raise VswitchError(f"{where}: {message}{more}")


def _at_line(error: VswitchError, batch) -> VswitchError:
    found = re.match(r"mods\[(\d+)\](?:\.text:|\.|:)? ?", str(error))
    if not found:
        return error
    where, _, rule = batch[int(found[1])]
    if not where and not found[0].endswith((".text: ", ".text:")):
        where = rule           # well formed, and refused
    text = str(error)[found.end():]
    return type(error)(f"{where}: {text}" if where else text)


@flow.command()
@click.argument("bridge")
@_sources
@_bundle
@click.pass_obj
def add(client, bridge, flows, files, bundle):
    """Add rules; one with the same table, priority and match is replaced."""
    _write(client, bridge, [(where, "add", text) for where, text in _given(flows, files)], bundle)


@flow.command()
@click.argument("bridge")
@_sources
@click.option("--strict", is_flag=True, help="Only rules with exactly this match and priority.")
@_bundle
@click.pass_obj
def mod(client, bridge, flows, files, strict, bundle):
    """Give new actions to the rules that match."""
    command = "modify_strict" if strict else "modify"
    _write(client, bridge, [(where, command, text) for where, text in _given(flows, files)], bundle)


@flow.command("del")
@click.argument("bridge")
@_sources
@click.option("--strict", is_flag=True, help="Only rules with exactly this match and priority.")
@click.option("--all", "every", is_flag=True, help="All rules of the bridge.")
@_bundle
@click.pass_obj
def del_(client, bridge, flows, files, strict, every, bundle):
    """Delete the rules that match."""
    if every:
        _write(client, bridge, [("", "delete", "cookie=0/0")])
        return
    command = "delete_strict" if strict else "delete"
    _write(client, bridge, [(where, command, text) for where, text in _given(flows, files)], bundle)


def _given(flows, files) -> list[tuple[str, str]]:
    if not flows and not files:
        raise click.UsageError("give a FLOW or --file")
    return _rules(flows, files)


@flow.command()
@click.argument("bridge")
@click.argument("which", default="", metavar="[FLOW]")
@click.option("--aggregate", is_flag=True, help="Only how many there are and their counters together.")
@click.pass_obj
def dump(client, bridge, which, aggregate):
    """The rules that match, all when none is given."""
    if aggregate:
        reply = client.call("FlowService.AggregateFlows", bridge=bridge, text=which)
        if client.as_json:
            print_json(message_dict(reply))
        else:
            click.echo(f"packet_count={reply.packets} byte_count={reply.bytes} flow_count={reply.flows}")
        return
    replies = client.stream("FlowService.ReadFlows", bridge=bridge, text=which, as_text=not client.as_json)
    entries = [entry for reply in replies for entry in reply.entries]
    if client.as_json:
        print_json([message_dict(entry) for entry in entries])
        return
    for entry in sorted(entries, key=_dump_order):
        click.echo(entry.text)


def _dump_order(entry):
    table = re.search(r"table=(\d+)", entry.text)
    priority = re.search(r"priority=(\d+)", entry.text)
    return int(table[1]), -int(priority[1] if priority else 0x8000), entry.text.rpartition("n_bytes=")[2]


@flow.command()
@click.argument("bridge")
@_sources
@_bundle
@click.pass_obj
def replace(client, bridge, flows, files, bundle):
    """Make the bridge's rules exactly those given, touching only what differs."""
    from vswitch.config.diff import flow_changes
    from vswitch.config.load import Config, FlowLine
    from vswitch.openflow.flow_text import parse_rule
    from vswitch.openflow.flow_text_print import format_rule

    ports = {status.port.name: status.port.port_no for status in client.call("PortService.ListPorts", bridge=bridge).ports}
    wanted = []
    for where, text in _given(flows, files):
        try:
            wanted.append((FlowLine(text, 0, where), parse_rule(text, "add", ports.get)))
        except InvalidError as error:
            raise InvalidError(f"{where}: {error}" if where else str(error)) from None
    running = {}
    for reply in client.stream("FlowService.ReadFlows", bridge=bridge, as_text=True):
        for entry in reply.entries:
            rule = parse_rule(entry.text, "add", ports.get)
            running[rule.key] = rule
    mods = []
    for change in flow_changes(Config("rules"), bridge, running, wanted):
        if change.new is None:
            mods.append(("", "delete_strict", _strict_deletion(change.old)))
        else:
            mods.append((change.path, "add", format_rule(change.new)))
    _write(client, bridge, mods, bundle)


def _strict_deletion(rule) -> str:
    """The text that deletes exactly this rule."""
    from vswitch.openflow.flow_text_print import format_match
    head = f"table={rule.table_id},priority={rule.priority}"
    return ",".join(filter(None, (head, format_match(rule.match))))
