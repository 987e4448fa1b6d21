"""Replies as tables for people and as JSON for scripts."""
from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import click


def print_json(value) -> None:
    click.echo(json.dumps(value, indent=2))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns aligned, numbers to the right; headings alone where there are no rows."""
    click.echo(format_table(headings, rows), nl=False)


def format_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    rows = [list(row) for row in rows]
    cells = [[heading.upper() for heading in headings], *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    right = [bool(rows) and all(isinstance(row[index], (int, float)) and not isinstance(row[index], bool) for row in rows)
             for index in range(len(headings))]
    lines = []
    for line in cells:
        padded = (cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in zip(line, widths, right))
        lines.append("  ".join(padded).rstrip() + "\n")
    return "".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value)) or "-"
    return "-" if value in ("", None) else str(value)


def message_dict(message) -> dict[str, object]:
    """A message with the names of its proto file: all fields without presence, those with it where they are there. Bytes are
    hexadecimal, enums their short word in lower case."""
    shown = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            shown[field.name] = dict(sorted(value.items()))
        elif field.is_repeated:
            shown[field.name] = [_plain(field, item) for item in value]
        else:
            shown[field.name] = _plain(field, value)
    return shown


def _plain(field, value):
    if field.message_type is not None:
        return message_dict(value)
    if field.enum_type is not None:
        return enum_word(field.enum_type, value)
    return value.hex() if isinstance(value, bytes) else value


def enum_word(enum_type, number: int) -> str:
    """PORT_KIND_TAP of PortKind -> "tap"."""
    known = enum_type.values_by_number.get(number)
    if known is None:
        return str(number)
    prefix = "".join("_" + letter if letter.isupper() else letter.upper() for letter in enum_type.name).lstrip("_") + "_"
    return known.name.removeprefix(prefix).lower()


def show_list(client, messages, columns: dict[str, str]) -> None:
    """`columns` maps a heading to a path of fields, "port.name"."""
    if client.as_json:
        print_json([message_dict(message) for message in messages])
        return
    dicts = [message_dict(message) for message in messages]
    print_table(list(columns), [[_dig(item, path) for path in columns.values()] for item in dicts])


def show_one(client, message) -> None:
    """An object, a line a field."""
    shown = message_dict(message)
    if client.as_json:
        print_json(shown)
        return
    lines = list(_lines(shown, ""))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        click.echo(f"{name.ljust(width)}  {value}")


def _lines(shown: dict, prefix: str):
    for name, value in shown.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{prefix}{name}.")
        else:
            yield prefix + name, f"{value:#x}" if name == "dpid" else _cell(value)


def _dig(item: dict, path: str):
    for name in path.split("."):
        item = item.get(name) if isinstance(item, dict) else None
    if path.endswith("dpid"):
        return f"{item:016x}"
    return item
