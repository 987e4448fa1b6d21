"""A bridge's active connection to one controller: connects, and again with a back-off when it is refused or ends. A main
connection has auxiliary ones (OpenFlow 1.3.5, 6.3.6), which live as long as it does."""
from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Awaitable, Callable

from vswitch.model import targets
from vswitch.openflow import streams
from vswitch.openflow.streams import Reader, Streams
from vswitch.openflow.tls import TlsError, reason

log = logging.getLogger(__name__)

_BACK_OFF = (0.25, 8.0)     # seconds, first and longest
_CONNECT_TIMEOUT = 5.0
_FAILED_AFTER = 3           # attempts without an answer after which the controller counts as lost

Tls = Callable[[], ssl.SSLContext]


async def connect(target: str, tls: Tls) -> Streams:
    """OSError (ssl.SSLError is one), TimeoutError, or TlsError when the files for TLS are not in order."""
    where = targets.controller(target)
    async with asyncio.timeout(_CONNECT_TIMEOUT):
        if where.path:
            return await streams.connect_unix(where.path)
        return await streams.connect(where.host, where.port, tls() if where.tls else None)


class Controller:
    """`serve(self, reader, writer)` holds the conversation and calls `was_opened` when its hello is done; `changed()` is told
    of every change of `lost` or of the connection. `auxiliary_id` is 0 for a main connection."""

    def __init__(self, target: str, serve: Callable[[Controller, Reader, asyncio.StreamWriter], Awaitable[str]],
                 changed: Callable[[], None], tls: Tls, auxiliary_id: int = 0):
        self.target = target
        self.auxiliary_id = auxiliary_id
        self._serve = serve
        self._changed = changed
        self._tls = tls
        self.connected = False
        self.failures = 0
        self.last_error = ""
        self.task = asyncio.create_task(self._run(), name=f"controller {target} {auxiliary_id or ''}")

    @property
    def lost(self) -> bool:
        return not self.connected and self.failures >= _FAILED_AFTER

    def was_opened(self) -> None:
        self.connected = True
        self.failures = 0
        self.last_error = ""
        self._changed()

    async def _run(self) -> None:
        delay = _BACK_OFF[0]
        while True:
            opened = False
            try:
                reader, writer = await connect(self.target, self._tls)
                why = await self._serve(self, reader, writer)
                opened = self.connected
            except TimeoutError:
                why = f"no answer in {_CONNECT_TIMEOUT:.0f} s"
            except TlsError as e:
                why = str(e)
            except ssl.SSLError as e:
                why = reason(e)
            except OSError as e:
                why = os.strerror(e.errno) if e.errno and e.errno > 0 else str(e)
            self.connected = False
            self.failures += 1
            self.last_error = why
            log.info("controller is away", extra={"controller": self.target, "reason": why, "failures": self.failures,
                                                  "auxiliary": self.auxiliary_id})
            self._changed()
            if opened:
                delay = _BACK_OFF[0]
            await asyncio.sleep(delay)
            delay = min(2 * delay, _BACK_OFF[1])
