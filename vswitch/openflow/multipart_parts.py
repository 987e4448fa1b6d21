"""Multipart requests that arrive in several messages (OpenFlow 1.3.5, 7.3.5; timeouts 1.4.1, 7.3.5)."""
from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vswitch.errors import OpenFlowError
from vswitch.openflow.constants import BadRequest, ErrorType

if TYPE_CHECKING:
    from vswitch.openflow.codec import Frame
    from vswitch.openflow.session import Session

ROOM = 1 << 20              # bytes that a connection's unfinished requests may take
TIMEOUT = 1.0               # seconds until the next part must have come


@dataclass
class _Unfinished:
    message: Frame          # the latest part, for errors
    kind: int
    body: bytes
    timer: asyncio.TimerHandle


class Parts:
    """One connection's unfinished requests, by xid."""

    def __init__(self, session: Session):
        self._session = session
        self._unfinished: dict[int, _Unfinished] = {}

    def take(self, message: Frame, kind: int, body: bytes, *, more: bool) -> bytes | None:
        """The whole request's body when this part is the last, else None. OpenFlowError MULTIPART_BUFFER_OVERFLOW when there
        is no room; what had come of the request is then forgotten."""
        before = self._unfinished.pop(message.xid, None)
        if before is not None:
            before.timer.cancel()
            if before.kind != kind:
                raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_MULTIPART,
                                    f"a part of type {kind} continues a request of type {before.kind}")
            body = before.body + body
        if not more:
            return body
        if len(body) + sum(len(other.body) for other in self._unfinished.values()) > ROOM:
            raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.MULTIPART_BUFFER_OVERFLOW,
                                f"requests in parts may take {ROOM} bytes")
        timer = asyncio.get_running_loop().call_later(TIMEOUT, self._late, message.xid)
        self._unfinished[message.xid] = _Unfinished(message, kind, body, timer)
        return None

    def _late(self, xid: int) -> None:
        late = self._unfinished.pop(xid)
        self._session.refuse(OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.MULTIPART_REQUEST_TIMEOUT,
                                           f"the request's next part did not come in {TIMEOUT:g} s"), late.message)

    def end(self) -> None:
        for entry in self._unfinished.values():
            entry.timer.cancel()
        self._unfinished.clear()
