"""OpenFlow messages to bytes and back: framing, and bodies by the table of messages.py.

    data = encode(Type.ROLE_REPLY, xid, ROLE(role=Role.MASTER))
    for message in take_frames(buffer): decode(message.type, message.body)
"""
from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from vswitch.errors import OpenFlowError
from vswitch.openflow.constants import HEADER_LEN, MESSAGE_MAX, VERSION, BadRequest, ErrorType, Multipart, Type
from vswitch.openflow.layout import bad_length
from vswitch.openflow.messages import EMPTY, ERROR, HELLO, MESSAGES, MULTIPART_ENTRIES, MULTIPART_REQUESTS, VERSION_BITMAP

_HEADER = struct.Struct("!BBHI")
_MULTIPART = struct.Struct("!HH4x")
OFFENDING_MAX = 512         # bytes of the offending message that an error carries; the specification wants 64 or more
_ENTRIES_MAX = MESSAGE_MAX - HEADER_LEN - _MULTIPART.size


class Frame(NamedTuple):
    version: int
    type: int
    xid: int
    data: bytes             # the whole message with its header

    @property
    def body(self) -> bytes:
        return self.data[HEADER_LEN:]


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


def frame(type_: int, xid: int, body: bytes = b"", version: int = VERSION) -> bytes:
    """A message of a body that is encoded already."""
    return _HEADER.pack(version, type_, HEADER_LEN + len(body), xid) + body


def encode(type_: Type, xid: int, message: Any = None) -> bytes:
    return frame(type_, xid, MESSAGES[type_].encode(message if message is not None else EMPTY()))


def decode(type_: int, body: bytes) -> Any:
    """A message's body. OpenFlowError BAD_TYPE for an unknown type, BAD_LEN and others for what is wrong inside."""
    layout = MESSAGES.get(type_)
    if layout is None:
        raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_TYPE, f"unknown message type {type_}")
    return layout.decode(body)


def encode_hello(xid: int) -> bytes:
    return encode(Type.HELLO, xid, HELLO(elements=[VERSION_BITMAP(bitmaps=[1 << VERSION])]))


def speaks_ours(frame_: Frame) -> bool:
    """Whether a hello's sender can speak 1.3: by its version bitmap, or else by the version in its header (6.3.1)."""
    for element in decode(Type.HELLO, frame_.body).elements:
        if element.layout is VERSION_BITMAP and element.bitmaps:
            return bool(element.bitmaps[0] >> VERSION & 1)
    return frame_.version >= VERSION


def encode_error(error: OpenFlowError, offending: bytes, xid: int) -> bytes:
    return encode(Type.ERROR, xid, ERROR(type=int(error.of_type), code=int(error.of_code), data=offending[:OFFENDING_MAX]))


def decode_multipart_request(kind: int, body: bytes) -> Any:
    if kind not in MULTIPART_REQUESTS:
        raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_MULTIPART, f"unknown multipart type {kind}")
    return MULTIPART_REQUESTS[Multipart(kind)].decode(body)


def decode_multipart_entries(kind: int, body: bytes) -> list[Any]:
    """The entries of a reply's body, or its one entry."""
    layout, entries, at = MULTIPART_ENTRIES[Multipart(kind)], [], 0
    while at < len(body):
        entry, at = layout.decode_at(body, at, len(body))
        entries.append(entry)
    return entries


class MultipartWriter:
    """Packs a reply's entries into as few messages as they fit into; all but the last carry OFPMPF_REPLY_MORE."""

    def __init__(self, kind: int, xid: int):
        self._kind = kind
        self._xid = xid
        self._entries: list[bytes] = []
        self._size = 0

    def add(self, entries: list[bytes]) -> Iterator[bytes]:
        """Messages that have become full."""
        for entry in entries:
            if self._entries and self._size + len(entry) > _ENTRIES_MAX:
                yield self._message(more=True)
            self._entries.append(entry)
            self._size += len(entry)

    def last(self) -> bytes:
        return self._message(more=False)

    def _message(self, *, more: bool) -> bytes:
        body = _MULTIPART.pack(self._kind, int(more)) + b"".join(self._entries)
        self._entries.clear()
        self._size = 0
        return frame(Type.MULTIPART_REPLY, self._xid, body)
