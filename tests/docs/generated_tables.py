"""Tables of the documents that say again what the code says. In a document: <!-- generated: NAME -->, the table,
<!-- end -->. test_documents_match_code.py compares; `python tests/docs/generated_tables.py` writes them anew."""
from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

from vswitch._datapath import ffi, lib
from vswitch.datapath.fields import FIELDS
from vswitch.openflow.flow_text_fields import ALIASES

ROOT = Path(__file__).resolve().parents[2]
SECTION = re.compile(r"(<!-- generated: ([\w-]+) -->\n)(.*?)(<!-- end -->\n)", re.DOTALL)


def table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    headings = list(headings)
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def drop_reasons() -> str:
    rows, reason = [], 0
    while (name := lib.dp_drop_name(reason)) != ffi.NULL:
        rows.append((f"`{ffi.string(name).decode()}`", ffi.string(lib.dp_drop_text(reason)).decode()))
        reason += 1
    return table(("reason", "why the packet was dropped"), rows)


def match_fields() -> str:
    others: dict[str, list[str]] = {}
    for word, name in ALIASES.items():
        others.setdefault(name, []).append(f"`{word}`")
    return table(("field", "also written", "bits", "mask", "set-field", "needs"), (
        (f"`{f.name}`", ", ".join(others.get(f.name, [])), f.bits, "yes" if f.maskable else "", "yes" if f.settable else "",
         "" if f.prereq == "none" else f.prereq) for f in FIELDS))


def commands() -> str:
    rows = []
    for path, command, context in _commands():
        arguments = [p.make_metavar(context) for p in command.params if isinstance(p, click.Argument)]
        rows.append((f"`{' '.join([*path, *arguments])}`", command.get_short_help_str(200),
                     " ".join(f"`{_spelled(option)}`" for option in _options(command))))
    return table(("command", "what it does", "options"), rows)


def options() -> str:
    """An option that several commands explain alike stands once."""
    nouns: dict[tuple[str, str], list[str]] = {}
    for path, command, context in _commands():
        for option in _options(command):
            kind = " ".join(option.type.choices) if isinstance(option.type, click.Choice) else option.metavar or ""
            of = nouns.setdefault((f"{_spelled(option)} {kind}".strip(), option.help or ""), [])
            if path[1] not in of:
                of.append(path[1])
    return table(("option", "of", "meaning"), ((f"`{spelled}`", ", ".join(of), text) for (spelled, text), of in nouns.items()))


def _commands() -> Iterator[tuple[list[str], click.Command, click.Context]]:
    """(words, command, context) of every command that is no group."""
    from vswitch.cli.main import cli
    groups = [(["vswitch"], cli)]
    while groups:
        path, group = groups.pop(0)
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                groups.append(([*path, name], command))
            else:
                yield [*path, name], command, context


def _options(command: click.Command) -> list[click.Option]:
    return [parameter for parameter in command.params if isinstance(parameter, click.Option)]


def _spelled(option: click.Option) -> str:
    return "/".join((*option.opts, *option.secondary_opts))


def services() -> str:
    import vswitch.rpc.v1
    rows = []
    for module in sorted(m.name for m in pkgutil.iter_modules(vswitch.rpc.v1.__path__) if m.name.endswith("_pb2")):
        descriptor = importlib.import_module(f"vswitch.rpc.v1.{module}").DESCRIPTOR
        for service in descriptor.services_by_name.values():
            for method in service.methods:
                reply = f"{'stream of ' if method.server_streaming else ''}`{method.output_type.name}`"
                rows.append((f"`{service.name}.{method.name}`", f"`{method.input_type.name}`", reply))
    return table(("method", "request", "reply"), rows)


def metrics() -> str:
    from vswitch.metrics.families import families
    from vswitch.metrics.snapshot import Snapshot
    from vswitch.model.objects import AccountUsage, ControllerStatus, Port, PortStatus, Usage, WorkerUsage

    account = AccountUsage(0, "t", {"rx": 0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, {"no_rule": 0}, waited_for={"u": 0})
    worker = WorkerUsage(0, 0, 0, {"idle": 0}, 0, 0, 0, 0, 0, [0], [account])
    port = PortStatus(Port("p", "b", "dummy"), 0, 0, 0, {f"{way}_{what}": 0 for way in ("rx", "tx") for what in
                                                          ("packets", "bytes", "drops", "errors")} | {"rx_merged": 0})
    controller = ControllerStatus("b", "tcp:c", False, 0, "", "")
    snapshot = Snapshot(True, 0, {"t": 1}, {"b": "t"}, [controller], Usage(1, [worker]), [port])
    return table(("metric", "labels", "what it says"), (
        (f"`{f.name}{'_total' if f.type == 'counter' else ''}`", ", ".join(_labels(f)), f.documentation)
        for f in families(snapshot)))


def _labels(family) -> list[str]:
    return [f"`{label}`" for label in family.samples[0].labels if label != "le"]


def _versions() -> list[str]:
    from vswitch.openflow.versions import TEXTS
    return [TEXTS[version] for version in sorted(TEXTS)]


def openflow_messages() -> str:
    """Number of each message in each version; "→" what controllers send, "←" what the switch sends."""
    from vswitch.openflow.constants import Type
    from vswitch.openflow.handlers import HANDLERS
    from vswitch.openflow.versions import WIRE_TYPES
    taken = {*HANDLERS, Type.FLOW_MOD, Type.PACKET_OUT}
    both = {Type.HELLO, Type.ERROR, Type.ECHO_REQUEST, Type.ECHO_REPLY, Type.EXPERIMENTER, Type.BUNDLE_CONTROL}
    return table(("message", "", *_versions()), (
        (f"`{type_.name}`", "⇄" if type_ in both else "→" if type_ in taken else "←",
         *(WIRE_TYPES[version].get(type_, "") for version in sorted(WIRE_TYPES))) for type_ in Type))


def openflow_multiparts() -> str:
    from vswitch.openflow.constants import Multipart
    from vswitch.openflow.versions import KINDS
    return table(("multipart", "number", *_versions()), (
        (f"`{kind.name}`", kind.value if kind != Multipart.EXPERIMENTER else "0xffff",
         *("yes" if kind in KINDS[version] else "" for version in sorted(KINDS))) for kind in Multipart))


TABLES: dict[str, Callable[[], str]] = {
    "openflow-messages": openflow_messages, "openflow-multiparts": openflow_multiparts,
    "drop-reasons": drop_reasons, "match-fields": match_fields, "commands": commands, "options": options,
    "services": services,
    "metrics": metrics,
}


def renewed(text: str) -> str:
    return SECTION.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[4]}", text)


if __name__ == "__main__":
    for path in (ROOT / "docs").glob("*.md"):
        old = path.read_text(encoding="utf-8")
        if (new := renewed(old)) != old:
            path.write_text(new, encoding="utf-8")
            print(f"wrote {path}")
