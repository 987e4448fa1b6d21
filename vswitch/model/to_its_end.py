from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vswitch.model.switch import Switch


def to_its_end(method):
    """A change goes on when its caller is cancelled: datapath and store are not left to differ."""
    @functools.wraps(method)
    async def run(self: Switch, *arguments, **named):
        task = asyncio.create_task(method(self, *arguments, **named))
        self._changes.add(task)
        task.add_done_callback(self._changed)
        return await asyncio.shield(task)
    return run
