"""Events to those who watch, each at its own pace."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from vswitch.errors import UnavailableError
from vswitch.model.objects import Event

BACKLOG = 1_000


class Watchers:
    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Event | None]] = set()

    def __bool__(self) -> bool:
        return bool(self._queues)

    def tell(self, event: Event) -> None:
        for queue in list(self._queues):
            if queue.qsize() >= BACKLOG:
                self._queues.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)

    def watch(self) -> AsyncIterator[Event]:
        """Everything told from this call on. UnavailableError after the events that a slow reader still has."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._queues.add(queue)
        return self._read(queue)

    async def _read(self, queue: asyncio.Queue[Event | None]) -> AsyncIterator[Event]:
        try:
            while (event := await queue.get()) is not None:
                yield event
            raise UnavailableError(f"more than {BACKLOG} events were waiting to be read")
        finally:
            self._queues.discard(queue)
