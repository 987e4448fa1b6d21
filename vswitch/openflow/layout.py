"""Wire layouts as tables: a message is a fixed part in `struct` format and at most a few parts of variable length.

    PORT_MOD = Layout("PortMod", "I port_no, 4x, 6s hw_addr, 2x, I config, I mask, I advertise, 4x")
    FLOW_MOD = Layout("FlowMod", "Q cookie, ..., 2x", match=MATCH, instructions=INSTRUCTIONS)

A layout makes a dataclass of its name (`Layout.cls`, also by calling the layout), encodes instances of it and decodes
bytes to them. A member called `length` is the element's own length, filled in when encoding and obeyed when decoding; it
is not an attribute. Texts are fixed arrays: "16z name" is a str padded with zeros.
"""
from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import field, make_dataclass
from typing import Any, Protocol

from vswitch.errors import OpenFlowError
from vswitch.openflow import actions, oxm
from vswitch.openflow.constants import BadProperty, BadRequest, ErrorType


def bad_length(what: str) -> OpenFlowError:
    return OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_LEN, f"{what} has the wrong length")


def bad_property(code: BadProperty, what: str) -> OpenFlowError:
    return OpenFlowError(ErrorType.BAD_PROPERTY, code, what)


def bad_property_length(what: str) -> OpenFlowError:
    return bad_property(BadProperty.BAD_LEN, f"{what} has the wrong length")


class Part(Protocol):
    """Something of variable length after a layout's fixed part."""

    def encode(self, value: Any) -> bytes: ...
    def decode(self, data: bytes, at: int, end: int) -> tuple[Any, int]:
        """The value at `at`, and where it ends (at most `end`)."""
    default: Callable[[], Any]


class Rest:
    """All that is left, as bytes, after so many bytes of padding; or as many as the member `length_in` of the fixed part
    says."""
    default = bytes

    def __init__(self, padding: int = 0, length_in: str = ""):
        self.padding = padding
        self.length_in = length_in

    def encode(self, value: bytes) -> bytes:
        return bytes(self.padding) + value

    def decode(self, data: bytes, at: int, end: int) -> tuple[bytes, int]:
        if end - at < self.padding:
            raise bad_length("a message")
        return bytes(data[at + self.padding:end]), end


class MatchPart:
    default = dict

    def encode(self, value: oxm.Match) -> bytes:
        return oxm.encode_match(value)

    def decode(self, data: bytes, at: int, end: int) -> tuple[dict, int]:
        fields, used = oxm.decode_match(data[:end], at)
        return fields, at + used


class InstructionsPart:
    default = list

    def encode(self, value: list) -> bytes:
        return actions.encode_instructions(value)

    def decode(self, data: bytes, at: int, end: int) -> tuple[list, int]:
        return actions.decode_instructions(data[at:end]), end


class ActionsPart:
    """Actions to the end, or as many bytes as the member `length_in` of the fixed part says."""
    default = list

    def __init__(self, length_in: str = ""):
        self.length_in = length_in

    def encode(self, value: list) -> bytes:
        return actions.encode_actions(value)

    def decode(self, data: bytes, at: int, end: int) -> tuple[list, int]:
        return actions.decode_actions(data[at:end]), end


class RawMatch:
    """An ofp_match with its padding, as bytes."""
    default = staticmethod(lambda: b"\0\1\0\4\0\0\0\0")

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, data: bytes, at: int, end: int) -> tuple[bytes, int]:
        if end - at < 8:
            raise oxm.bad_match_length("is cut off")
        length = int.from_bytes(data[at + 2:at + 4], "big")
        after = at + (length + 7 & ~7)
        if length < 4 or after > end:
            raise oxm.bad_match_length(f"claims {length} bytes")
        return bytes(data[at:after]), after


class One:
    """Exactly one element of a layout."""

    def __init__(self, element: Layout):
        self.element = element
        self.default = element.cls

    def encode(self, value: Any) -> bytes:
        return self.element.encode(value)

    def decode(self, data: bytes, at: int, end: int) -> tuple[Any, int]:
        return self.element.decode_at(data, at, end)


class Many:
    """Elements of one layout to the end, or as many bytes as the member `length_in` of the fixed part says."""
    default = list

    def __init__(self, element: Layout, length_in: str = ""):
        self.element = element
        self.length_in = length_in

    def encode(self, value: list) -> bytes:
        return b"".join(map(self.element.encode, value))

    def decode(self, data: bytes, at: int, end: int) -> tuple[list, int]:
        items = []
        while at < end:
            item, at = self.element.decode_at(data, at, end)
            items.append(item)
        return items, end


class OneOf:
    """Elements of several layouts to the end, told apart by 16 bits: their first, or those `type_at` bytes after them.
    Unknown ones are kept as the `unknown` layout's."""
    default = list

    def __init__(self, by_type: dict[int, Layout], unknown: Layout, type_at: int = 0):
        self.by_type = by_type
        self.unknown = unknown
        self.type_at = type_at

    def encode(self, value: list) -> bytes:
        return b"".join(item.layout.encode(item) for item in value)

    def decode(self, data: bytes, at: int, end: int) -> tuple[list, int]:
        items = []
        while at < end:
            if end - at < 4:
                raise bad_length("an element")
            kind = int.from_bytes(data[at + self.type_at:at + self.type_at + 2], "big")
            item, at = self.by_type.get(kind, self.unknown).decode_at(data, at, end)
            items.append(item)
        return items, end


class Properties(OneOf):
    """A list of properties (OpenFlow 1.4.1, 7.2.1.1): none of a type that is not known, and none twice but those of the types
    in `many`. OpenFlowError of type BAD_PROPERTY."""

    def __init__(self, by_type: dict[int, Layout], *, many: tuple[int, ...] = ()):
        super().__init__(by_type, PROPERTY)
        self.many = many

    def decode(self, data: bytes, at: int, end: int) -> tuple[list, int]:
        items, seen = [], set()
        while at < end:
            if end - at < 4:
                raise bad_property_length("a property")
            kind = int.from_bytes(data[at:at + 2], "big")
            if kind not in self.by_type:
                code = BadProperty.BAD_EXPERIMENTER if kind >= 0xfffe else BadProperty.BAD_TYPE
                raise bad_property(code, f"unknown property type {kind:#x}")
            if kind in seen and kind not in self.many:
                raise bad_property(BadProperty.DUP_TYPE, f"property type {kind} is given twice")
            seen.add(kind)
            item, at = self.by_type[kind].decode_at(data, at, end)
            items.append(item)
        return items, end


class Numbers:
    """Numbers of one `struct` format to the end."""
    default = list

    def __init__(self, form: str):
        self.form = struct.Struct("!" + form)

    def encode(self, value: list[int]) -> bytes:
        return b"".join(map(self.form.pack, value))

    def decode(self, data: bytes, at: int, end: int) -> tuple[list[int], int]:
        if (end - at) % self.form.size:
            raise bad_length("a list")
        return [n for (n,) in self.form.iter_unpack(data[at:end])], end


_MEMBER = re.compile(r"(\d*)([BHIQszx])(?:\s+(\w+)(?:=(\w+))?)?")


class Layout:
    """`align`: an element whose `length` leaves out the padding to so many bytes that follows it. `fault` makes the error for
    a wrong length."""

    def __init__(self, name: str, fixed: str = "", *, align: int = 1,
                 fault: Callable[[str], OpenFlowError] = bad_length, **parts: Part):
        self.name = name
        self.align = align
        self._fault = fault
        self.parts = parts
        self._names: list[str] = []
        self._texts: set[str] = set()
        defaults: dict[str, Any] = {}
        form = "!"
        for member in filter(None, (text.strip() for text in fixed.split(","))):
            match = _MEMBER.fullmatch(member)
            if match is None:
                raise ValueError(f"{name}: {member!r}")
            count, code, attribute, default = match.groups()
            form += count + code.replace("z", "s")
            if code == "x":
                continue
            self._names.append(attribute)
            if code == "z":
                self._texts.add(attribute)
            defaults[attribute] = int(default, 0) if default else "" if code == "z" else bytes(int(count or 1)) \
                if code == "s" else 0
        self._struct = struct.Struct(form)
        self._length_at = self._names.index("length") if "length" in self._names else None
        self._sized = {part.length_in: key for key, part in parts.items() if getattr(part, "length_in", "")}
        attributes = [(n, Any, field(default=defaults[n])) for n in self._names if n != "length" and n not in self._sized]
        attributes += [(n, Any, field(default_factory=part.default)) for n, part in parts.items()]
        self.cls = make_dataclass(name, attributes, slots=True)
        self.cls.layout = self

    def __call__(self, **values: Any) -> Any:
        return self.cls(**values)

    @property
    def fixed_size(self) -> int:
        return self._struct.size

    def encode(self, value: Any) -> bytes:
        tails = {key: part.encode(getattr(value, key)) for key, part in self.parts.items()}
        size = self._struct.size + sum(map(len, tails.values()))
        numbers = []
        for name in self._names:
            if name == "length":
                numbers.append(size)
            elif name in self._sized:
                numbers.append(len(tails[self._sized[name]]))
            else:
                member = getattr(value, name)
                numbers.append(member.encode()[:255] if name in self._texts else member)
        data = self._struct.pack(*numbers) + b"".join(tails.values())
        return data + bytes(-size % self.align)

    def decode(self, data: bytes) -> Any:
        """The whole of `data`. OpenFlowError BAD_LEN when it is shorter or longer."""
        value, end = self.decode_at(data, 0, len(data))
        if end != len(data):
            raise self._fault(self.name)
        return value

    def decode_at(self, data: bytes, at: int, end: int) -> tuple[Any, int]:
        start = at
        if end - at < self._struct.size:
            raise self._fault(self.name)
        members = self._struct.unpack_from(data, at)
        after = end
        if self._length_at is not None:
            length = members[self._length_at]
            if length < self._struct.size or length > end - at:
                raise self._fault(self.name)
            after = min(end, start + length + -length % self.align)
            end = start + length
        at += self._struct.size
        values = {n: m for n, m in zip(self._names, members) if n != "length" and n not in self._sized}
        for name in self._texts:
            values[name] = values[name].partition(b"\0")[0].decode("utf-8", "replace")
        for key, part in self.parts.items():
            stop = end
            if length_in := getattr(part, "length_in", ""):
                stop = at + members[self._names.index(length_in)]
                if stop > end:
                    raise self._fault(self.name)
            values[key], at = part.decode(data, at, stop)
        if self._length_at is not None:
            if at != end:
                raise self._fault(self.name)
            at = after
        return self.cls(**values), at


PROPERTY = Layout("Property", "H type, H length", align=8, fault=bad_property_length, data=Rest())
