"""OpenFlow's extensible match: one field as a TLV, and ofp_match (OpenFlow 1.3.5, 7.2.3).

A match in Python is a dict from field name to (value, mask). Values and masks are ints (of the field's width: an IPv6 or
MAC address as well); the encoder takes bytes of the field's length too. A mask of None means that every bit counts.
Errors are OpenFlowError of type OFPET_BAD_MATCH and name the field as `match.NAME`.

This is for tests, tools and the API: rules on their way from a controller to the datapath are not decoded.
"""
from __future__ import annotations

import struct

from vswitch.datapath.fields import BY_NAME, BY_OXM, Field
from vswitch.errors import InvalidError, OpenFlowError
from vswitch.openflow.constants import BadMatch, ErrorType

Value = int | bytes
Match = dict[str, tuple[Value, Value | None]]

OFPMT_OXM = 1
_HEADER = struct.Struct("!I")
_MATCH = struct.Struct("!HH")
_EXPERIMENTER_CLASS = 0xffff
_ONF = b"ONF\0"


def _error(code: BadMatch, reason: str, field: str = "") -> OpenFlowError:
    return OpenFlowError(ErrorType.BAD_MATCH, code, reason, f"match.{field}" if field else "match")


def bad_match_length(reason: str) -> OpenFlowError:
    return _error(BadMatch.BAD_LEN, f"ofp_match {reason}")


def field_named(name: str) -> Field:
    """The field, or InvalidError."""
    try:
        return BY_NAME[name]
    except KeyError:
        raise InvalidError("there is no such match field", f"match.{name}") from None


def to_int(field: Field, value: Value) -> int:
    """A value or mask as an int that fits the field, or InvalidError."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        if len(value) != field.bytes:
            raise InvalidError(f"is {len(value)} bytes long instead of {field.bytes}", f"match.{field.name}")
        value = int.from_bytes(value, "big")
    if not 0 <= value <= field.full_mask:
        raise InvalidError(f"does not fit into {field.bits} bits", f"match.{field.name}")
    return value


def encode_field(name: str, value: Value, mask: Value | None = None) -> bytes:
    """One OXM TLV. InvalidError for an unknown field, a value too wide or a field that takes no mask."""
    field = field_named(name)
    number = to_int(field, value)
    if mask is None:
        return _HEADER.pack(field.oxm | field.bytes) + number.to_bytes(field.bytes, "big")
    if not field.maskable:
        raise InvalidError("can't be masked", f"match.{name}")
    bits = to_int(field, mask)
    return (_HEADER.pack(field.oxm | 1 << 8 | 2 * field.bytes) + (number & bits).to_bytes(field.bytes, "big")
            + bits.to_bytes(field.bytes, "big"))


def decode_field(data: bytes, offset: int = 0) -> tuple[str, int, int | None, int]:
    """The TLV at `offset`: name, value, mask, and the bytes that it takes."""
    if len(data) - offset < 4:
        raise _error(BadMatch.BAD_LEN, "an OXM header is cut off")
    (header,) = _HEADER.unpack_from(data, offset)
    length = header & 0xff
    extra = 0
    if header >> 16 == _EXPERIMENTER_CLASS:
        # ONF's fields for 1.3 and 1.4, which 1.5 has under the same numbers in its own class.
        if data[offset + 4:offset + 8] != _ONF or length < 4:
            raise _error(BadMatch.BAD_FIELD, "an unknown experimenter's field")
        header, extra, length = 0x80000000 | header & 0xffff, 4, length - 4
    field = BY_OXM.get(header & 0xfffffe00)
    if field is None:
        raise _error(BadMatch.BAD_FIELD, f"unknown OXM class {header >> 16:#x} field {header >> 9 & 0x7f}")
    has_mask = header >> 8 & 1
    if length != field.bytes << has_mask or len(data) - offset - 4 - extra < length:
        raise _error(BadMatch.BAD_LEN, f"is {length} bytes long", field.name)
    start = offset + 4 + extra
    value = int.from_bytes(data[start:start + field.bytes], "big")
    mask = int.from_bytes(data[start + field.bytes:start + length], "big") if has_mask else None
    return field.name, value, mask, 4 + extra + length


def encode_match(fields: Match) -> bytes:
    """ofp_match with its padding to 8 bytes; fields in the order in which prerequisites come first."""
    names = sorted(fields, key=lambda name: field_named(name).order)
    body = b"".join(encode_field(name, *fields[name]) for name in names)
    match = _MATCH.pack(OFPMT_OXM, 4 + len(body)) + body
    return match + bytes(-len(match) % 8)


def decode_match(data: bytes, offset: int = 0) -> tuple[dict[str, tuple[int, int | None]], int]:
    """The fields of the ofp_match at `offset`, and the bytes that it takes with its padding."""
    if len(data) - offset < 8:
        raise bad_match_length("is cut off")
    kind, length = _MATCH.unpack_from(data, offset)
    if kind != OFPMT_OXM:
        raise _error(BadMatch.BAD_TYPE, f"match type {kind} is not OXM")
    padded = length + 7 & ~7
    if length < 4 or padded > len(data) - offset:
        raise bad_match_length(f"claims {length} bytes")
    end = offset + length
    at = offset + 4
    fields: dict[str, tuple[int, int | None]] = {}
    part = bytes(data[:end])
    while at < end:
        name, value, mask, used = decode_field(part, at)
        if name in fields:
            raise _error(BadMatch.DUP_FIELD, "is given twice", name)
        fields[name] = (value, mask)
        at += used
    return fields, padded
