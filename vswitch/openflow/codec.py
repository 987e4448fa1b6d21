"""OpenFlow messages to bytes and back: framing, and bodies by the tables of message_table.py.

    data = encode(Type.ROLE_REPLY, xid, ROLE(role=Role.MASTER))
    for message in take_frames(buffer): decode(message.type, message.body)

Types are canonical (versions.py); `version` is the wire's, 1.3 where it is left out.
"""
from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from vswitch.errors import OpenFlowError
from vswitch.openflow.constants import HEADER_LEN, MESSAGE_MAX, VERSION, BadRequest, ErrorType, Multipart, Type
from vswitch.openflow.error_map import encode_error_body
from vswitch.openflow.layout import bad_length
from vswitch.openflow.message_table import ENTRIES, MESSAGES, REQUESTS
from vswitch.openflow.messages import EMPTY, HELLO, VERSION_BITMAP
from vswitch.openflow.versions import OF10, OF13, TYPES, WIRE_TYPES

_HEADER = struct.Struct("!BBHI")
_MULTIPART = struct.Struct("!HH4x")
_MULTIPART10 = struct.Struct("!HH")
OFFENDING_MAX = 512         # bytes of the offending message that an error carries; the specification wants 64 or more


class Frame(NamedTuple):
    version: int
    type: int               # the wire's number
    xid: int
    data: bytes             # the whole message with its header

    @property
    def body(self) -> bytes:
        return self.data[HEADER_LEN:]

    @property
    def kind(self) -> Type | None:
        """The canonical type; None for one that the version has not."""
        return TYPES.get(self.version, {}).get(self.type)


def take_frames(buffer: bytearray) -> list[Frame]:
    """The whole messages at the start of `buffer`, which are taken off it. OpenFlowError BAD_LEN for a header with a length
    shorter than itself, after which the stream makes no sense."""
    found = []
    at = 0
    while len(buffer) - at >= HEADER_LEN:
        version, type_, length, xid = _HEADER.unpack_from(buffer, at)
        if length < HEADER_LEN:
            raise bad_length("a message")
        if len(buffer) - at < length:
            break
        found.append(Frame(version, type_, xid, bytes(buffer[at:at + length])))
        at += length
    del buffer[:at]
    return found


def frame_at(data: bytes, at: int) -> Frame:
    """The whole message at `at`."""
    version, type_, length, xid = _HEADER.unpack_from(data, at)
    return Frame(version, type_, xid, data[at:at + length])


def frame(type_: int, xid: int, body: bytes = b"", version: int = VERSION) -> bytes:
    """A message of a body that is encoded already; `type_` is the wire's number."""
    return _HEADER.pack(version, type_, HEADER_LEN + len(body), xid) + body


def message_frame(version: int, type_: Type, xid: int, body: bytes = b"") -> bytes:
    """The same by the canonical type."""
    return frame(WIRE_TYPES[version][type_], xid, body, version)


def encode(type_: Type, xid: int, message: Any = None, version: int = VERSION) -> bytes:
    return message_frame(version, type_, xid, MESSAGES[version][type_].encode(message if message is not None else EMPTY()))


def decode(type_: int, body: bytes, version: int = VERSION) -> Any:
    """A message's body. OpenFlowError BAD_TYPE for a type that the version has not, BAD_LEN and others for what is wrong
    inside."""
    layout = MESSAGES[version].get(type_)
    if layout is None:
        raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_TYPE, f"unknown message type {type_}")
    return layout.decode(body)


def encode_hello(xid: int, versions: Iterable[int] = (VERSION,)) -> bytes:
    """A hello that offers `versions`, its header the highest of them (1.3.5, 6.3.1). Before 1.3, hellos had no elements."""
    versions = sorted(versions)
    elements = [VERSION_BITMAP(bitmaps=[sum(1 << v for v in versions)])] if versions[-1] >= OF13 else []
    return frame(Type.HELLO, xid, HELLO.encode(HELLO(elements=elements)), versions[-1])


def negotiate(frame_: Frame, versions: Iterable[int]) -> int | None:
    """The version to speak with a hello's sender, or None: the highest that both bitmaps have; without the sender's, the
    lower of both headers' versions (1.3.5, 6.3.1)."""
    versions = set(versions)
    for element in HELLO.decode(frame_.body).elements:
        if element.layout is VERSION_BITMAP and element.bitmaps and max(versions) >= OF13:
            theirs = {v for v in versions if v // 32 < len(element.bitmaps) and element.bitmaps[v // 32] >> v % 32 & 1}
            return max(theirs, default=None)
    lower = min(max(versions), frame_.version)
    return lower if lower in versions else None


def encode_error(error: OpenFlowError, offending: bytes, xid: int, version: int = VERSION) -> bytes:
    return frame(Type.ERROR, xid, encode_error_body(version, error, offending[:OFFENDING_MAX]), version)


def decode_multipart_request(kind: int, body: bytes, version: int = VERSION) -> Any:
    layout = REQUESTS[version].get(kind)
    if layout is None:
        raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_MULTIPART, f"unknown multipart type {kind}")
    return layout.decode(body)


def decode_multipart_entries(kind: int, body: bytes, version: int = VERSION) -> list[Any]:
    """The entries of a reply's body, or its one entry."""
    layout, entries, at = ENTRIES[version][Multipart(kind)], [], 0
    while at < len(body):
        entry, at = layout.decode_at(body, at, len(body))
        entries.append(entry)
    return entries


class MultipartWriter:
    """Packs a reply's entries into as few messages as they fit into; all but the last carry OFPMPF_REPLY_MORE. `prefix` is
    what each message has before the entries (the head of an experimenter's reply)."""

    def __init__(self, kind: int, xid: int, version: int = VERSION, prefix: bytes = b""):
        self._kind = kind
        self._xid = xid
        self._version = version
        self._prefix = prefix
        self._head = _MULTIPART10 if version == OF10 else _MULTIPART
        self._room = MESSAGE_MAX - HEADER_LEN - self._head.size - len(prefix)
        self._entries: list[bytes] = []
        self._size = 0

    def add(self, entries: list[bytes]) -> Iterator[bytes]:
        """Messages that have become full."""
        for entry in entries:
            if self._entries and self._size + len(entry) > self._room:
                yield self._message(more=True)
            self._entries.append(entry)
            self._size += len(entry)

    def last(self) -> bytes:
        return self._message(more=False)

    def _message(self, *, more: bool) -> bytes:
        body = self._head.pack(self._kind, int(more)) + self._prefix + b"".join(self._entries)
        self._entries.clear()
        self._size = 0
        return message_frame(self._version, Type.MULTIPART_REPLY, self._xid, body)
