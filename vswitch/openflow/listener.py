"""A bridge's listening sockets: controllers that connect by themselves."""
from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import Awaitable, Callable

from vswitch.model import targets
from vswitch.openflow.tls import TlsError, reason

log = logging.getLogger(__name__)

_RETRY = 2.0                # seconds between attempts to listen
_HANDSHAKE_TIMEOUT = 5.0

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Awaitable[None]]


class Listener:
    """Listens at `target` until its task is cancelled; `serve(reader, writer, peer)` holds a conversation. `error` says why
    it does not listen, or whom it refused last."""

    def __init__(self, target: str, bridge: str, serve: Serve, tls: Callable[[], ssl.SSLContext]):
        self.target = target
        self.error = ""
        self._bridge = bridge
        self._where = targets.listener(target)
        self._serve = serve
        self._tls = tls
        self.task = asyncio.create_task(self._run(), name=f"listen {target}")

    async def _run(self) -> None:
        where = self._where
        while True:
            try:
                if where.tls:
                    self._tls()
                if where.path:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(where.path)
                    server = await asyncio.start_unix_server(self._accepted, where.path)
                else:
                    server = await asyncio.start_server(self._accepted, where.host or None, where.port, reuse_address=True)
            except (OSError, TlsError) as e:
                why = e.strerror or str(e) if isinstance(e, OSError) else str(e)
                if why != self.error:
                    log.error("can't listen", extra={"bridge": self._bridge, "target": self.target, "reason": why})
                self.error = why
                await asyncio.sleep(_RETRY)
                continue
            self.error = ""
            async with server:
                await server.serve_forever()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = self._peer(writer)
        if self._where.tls:
            try:
                async with asyncio.timeout(_HANDSHAKE_TIMEOUT):
                    await writer.start_tls(self._tls())
            except TimeoutError:
                return self._refused(writer, peer, f"no TLS handshake in {_HANDSHAKE_TIMEOUT:.0f} s")
            except (OSError, TlsError) as e:
                return self._refused(writer, peer, reason(e))
        await self._serve(reader, writer, peer)

    def _refused(self, writer: asyncio.StreamWriter, peer: str, why: str) -> None:
        self.error = f"{peer}: {why}"
        log.info("refused a connection", extra={"bridge": self._bridge, "target": self.target, "reason": self.error})
        writer.transport.abort()

    def _peer(self, writer: asyncio.StreamWriter) -> str:
        if self._where.path:
            return f"unix:{self._where.path}"
        host, port = writer.get_extra_info("peername")[:2]
        return f"{'ssl' if self._where.tls else 'tcp'}:{f'[{host}]' if ':' in host else host}:{port}"
