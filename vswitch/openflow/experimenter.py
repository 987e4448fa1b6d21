"""Experimenter messages and multiparts (1.0 calls them vendor's): their frames, and who handles which."""
from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from vswitch.errors import OpenFlowError
from vswitch.openflow.codec import Frame, message_frame
from vswitch.openflow.constants import BadRequest, ErrorType, Type
from vswitch.openflow.layout import bad_length
from vswitch.openflow.versions import OF10

if TYPE_CHECKING:
    from vswitch.openflow.session import Session

_HEAD = struct.Struct("!II")
# A vendor's statistics in 1.0: vendor, Nicira's subtype, padding. Later: experimenter, exp_type.
_MULTIPART_HEAD10 = struct.Struct("!II4x")

Handler = Callable[["Session", Frame, bytes], Awaitable[None]]
Answer = Callable[["Session", bytes], AsyncIterator[list[bytes]]]
MESSAGES: dict[tuple[int, int], tuple[range, Handler]] = {}     # (experimenter, type) → its versions, and the handler
MULTIPARTS: dict[tuple[int, int], tuple[range, Answer]] = {}


def handles(experimenter: int, exp_type: int, first: int = OF10, last: int = 0x06) -> Callable[[Handler], Handler]:
    """The handler of one message, which versions `first` to `last` may carry; it gets what follows the experimenter's head."""
    def register(handler: Handler) -> Handler:
        MESSAGES[experimenter, exp_type] = range(first, last + 1), handler
        return handler
    return register


def answers(experimenter: int, exp_type: int, first: int = OF10, last: int = 0x06) -> Callable[[Answer], Answer]:
    def register(answer: Answer) -> Answer:
        MULTIPARTS[experimenter, exp_type] = range(first, last + 1), answer
        return answer
    return register


def experimenter_frame(version: int, experimenter: int, exp_type: int, xid: int, body: bytes) -> bytes:
    return message_frame(version, Type.EXPERIMENTER, xid, _HEAD.pack(experimenter, exp_type) + body)


def multipart_head(version: int, experimenter: int, exp_type: int) -> bytes:
    head = _MULTIPART_HEAD10 if version == OF10 else _HEAD
    return head.pack(experimenter, exp_type)


def _found(table: dict, version: int, experimenter: int, exp_type: int):
    found = table.get((experimenter, exp_type))
    if found is not None and version in found[0]:
        return found[1]
    if any(known == experimenter for known, _ in (*MESSAGES, *MULTIPARTS)):
        raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_EXP_TYPE,
                            f"unknown type {exp_type} of experimenter {experimenter:#010x}")
    raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_EXPERIMENTER, f"unknown experimenter {experimenter:#010x}")


def _split(version: int, body: bytes, head: struct.Struct) -> tuple[int, int, bytes]:
    if len(body) < 4 or version > OF10 and len(body) < head.size:
        raise bad_length("the message")
    if len(body) < head.size:       # a vendor of 1.0 need not have types
        return int.from_bytes(body[:4], "big"), -1, b""
    return *head.unpack_from(body), body[head.size:]


async def handle_experimenter(session: Session, message: Frame) -> None:
    experimenter, exp_type, body = _split(session.version, message.body, _HEAD)
    await _found(MESSAGES, session.version, experimenter, exp_type)(session, message, body)


def answer_experimenter(session: Session, body: bytes) -> tuple[bytes, AsyncIterator[list[bytes]]]:
    """The head of the replies to a multipart request, and their entries."""
    head = _MULTIPART_HEAD10 if session.version == OF10 else _HEAD
    experimenter, exp_type, rest = _split(session.version, body, head)
    answer = _found(MULTIPARTS, session.version, experimenter, exp_type)
    return multipart_head(session.version, experimenter, exp_type), answer(session, rest)
