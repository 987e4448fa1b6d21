"""A bridge's active connection to one controller: connects, and again with a back-off when it is refused or ends."""
from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable

from vswitch.model.check import split_controller

log = logging.getLogger(__name__)

_BACK_OFF = (0.25, 8.0)     # seconds, first and longest
_CONNECT_TIMEOUT = 5.0
_FAILED_AFTER = 3           # attempts without an answer after which the controller counts as lost

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[str]]


class Controller:
    """`serve(reader, writer)` holds the conversation and calls `was_opened` when its hello is done; `changed()` is told of
    every change of `lost` or of the connection."""

    def __init__(self, target: str, serve: Callable[[Controller, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[str]],
                 changed: Callable[[], None]):
        self.target = target
        self._serve = serve
        self._changed = changed
        self.connected = False
        self.failures = 0
        self.last_error = ""
        self.task = asyncio.create_task(self._run(), name=f"controller {target}")

    @property
    def lost(self) -> bool:
        return not self.connected and self.failures >= _FAILED_AFTER

    def was_opened(self) -> None:
        self.connected = True
        self.failures = 0
        self.last_error = ""
        self._changed()

    async def _run(self) -> None:
        host, port = split_controller(self.target)
        delay = _BACK_OFF[0]
        while True:
            opened = False
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT):
                    reader, writer = await asyncio.open_connection(host, port)
                reason = await self._serve(self, reader, writer)
                opened = self.connected
            except TimeoutError:
                reason = f"no answer in {_CONNECT_TIMEOUT:.0f} s"
            except OSError as e:
                reason = os.strerror(e.errno) if e.errno and e.errno > 0 else str(e)
            self.connected = False
            self.failures += 1
            self.last_error = reason
            log.info("controller is away", extra={"controller": self.target, "reason": reason, "failures": self.failures})
            self._changed()
            if opened:
                delay = _BACK_OFF[0]
            await asyncio.sleep(delay)
            delay = min(2 * delay, _BACK_OFF[1])
