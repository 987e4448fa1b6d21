"""Keeps a datapath there: attaches to one that runs, starts one where none does, starts it again when it is lost.

Whoever uses it is told by two callbacks: `on_up(client)` is awaited once per connection and brings the datapath to what
is wanted; the client counts as usable after that. `on_down(reason)` says that it is gone.
"""
from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from vswitch.datapath.client import Client
from vswitch.datapath.launcher import Launcher
from vswitch.errors import UnavailableError

log = logging.getLogger(__name__)

_POLL = 0.01                # seconds between looks for the socket of a datapath that is starting
_START_TIMEOUT = 15.0
_END_TIMEOUT = 5.0          # seconds for a datapath that was only just started to be there and end
_BACK_OFF = (0.1, 5.0)      # seconds before a datapath that keeps dying is started again: first, longest
_STEADY = 10.0              # seconds after which a datapath's end no longer counts as dying repeatedly


class Supervisor:
    def __init__(self, socket_path: str, launcher: Launcher, *, on_event: Callable[[int, int, bytes], None],
                 on_up: Callable[[Client], Awaitable[None]], on_down: Callable[[str], None]):
        self._path = socket_path
        self._launcher = launcher
        self._on_event = on_event
        self._on_up = on_up
        self._on_down = on_down
        self._task: asyncio.Task | None = None
        self._first = asyncio.Event()
        self._stopping = False
        self._launched = False
        self.client: Client | None = None       # usable, or None
        self.attached: Client | None = None     # connected, perhaps still being brought up to date
        self.incarnations: list[int] = []       # of the datapaths met since this process began, newest last
        self.last_error = ""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="datapath supervisor")

    async def ready(self) -> None:
        """Waits until a datapath has been up for the first time."""
        await self._first.wait()

    async def stop(self, *, datapath_too: bool = False) -> None:
        """Lets go of the datapath, which runs on, or ends it."""
        self._stopping = True
        unreached = self.client is None and self._launched
        if datapath_too and self.client is not None:
            with contextlib.suppress(UnavailableError):
                await self.client.shutdown()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.client = None
        if self.attached is not None:
            self.attached.close()
        if datapath_too and unreached:
            await self._end_launched()

    async def _end_launched(self) -> None:
        """Ends a datapath that was started, and is not usable yet."""
        with contextlib.suppress(UnavailableError, OSError, TimeoutError):
            async with asyncio.timeout(_END_TIMEOUT):
                client = await self._reach(lambda _: None)
                try:
                    await client.shutdown()
                finally:
                    client.close()

    @property
    def restarts(self) -> int:
        return max(0, len(self.incarnations) - 1)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        delay = 0.0
        while not self._stopping:
            began = loop.time()
            try:
                reason = await self._one_life()
            except (UnavailableError, OSError) as e:
                reason = str(e)
            except Exception as e:
                log.exception("bringing the datapath up failed")
                reason = f"{type(e).__name__}: {e}"
            if self._stopping:
                return
            self.last_error = reason
            if loop.time() - began > _STEADY:
                delay = 0.0
            log.warning("the datapath is away", extra={"reason": reason, "again_in": delay})
            await asyncio.sleep(delay)
            delay = min(max(2 * delay, _BACK_OFF[0]), _BACK_OFF[1])

    async def _one_life(self) -> str:
        """From attaching to the loss of the channel, whose reason is the result."""
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def on_lost(reason: str) -> None:
            self.client = None
            if not lost.done():
                lost.set_result(reason)

        client = self.attached = await self._attach(on_lost)
        try:
            if client.hello.incarnation not in self.incarnations:
                self.incarnations.append(client.hello.incarnation)
            await self._on_up(client)
            if lost.done():
                return lost.result()
            self.client = client
            self.last_error = ""
            self._first.set()
            log.info("the datapath is up", extra={"pid": client.hello.pid, "incarnation": client.hello.incarnation})
            reason = await lost
        finally:
            self.client = self.attached = None
            client.close()
        self._on_down(reason)
        return reason

    async def _attach(self, on_lost: Callable[[str], None]) -> Client:
        try:
            return await Client.attach(self._path, self._on_event, on_lost)
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        pid = await self._launcher.start()
        self._launched = True
        log.info("started the datapath", extra={"pid": pid})
        return await self._reach(on_lost)

    async def _reach(self, on_lost: Callable[[str], None]) -> Client:
        """Attaches to the datapath that was started, as soon as it listens."""
        deadline = asyncio.get_running_loop().time() + _START_TIMEOUT
        while True:
            try:
                return await Client.attach(self._path, self._on_event, on_lost)
            except (FileNotFoundError, ConnectionRefusedError) as e:
                if self._launcher.exited():
                    raise UnavailableError("the datapath ended as soon as it was started (see its log)") from e
                if asyncio.get_running_loop().time() > deadline:
                    raise UnavailableError(f"the datapath did not open {self._path} in {_START_TIMEOUT:.0f} s") from e
            await asyncio.sleep(_POLL)
