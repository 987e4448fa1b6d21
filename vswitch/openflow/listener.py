"""A bridge's listening sockets: controllers that connect by themselves."""
from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable

from vswitch.model import targets
from vswitch.openflow import streams
from vswitch.openflow.streams import Reader
from vswitch.openflow.tls import TlsError, reason

log = logging.getLogger(__name__)

_RETRY = 2.0                # seconds between attempts to listen
_HANDSHAKE_TIMEOUT = 5.0

Serve = Callable[[Reader, asyncio.StreamWriter, str], Awaitable[None]]


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
        where, loop = self._where, asyncio.get_running_loop()
        while True:
            try:
                if where.tls:
                    await self._accept_tls()
                if where.path:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(where.path)
                    server = await loop.create_unix_server(lambda: streams.made(self._accepted), where.path)
                else:
                    server = await loop.create_server(lambda: streams.made(self._accepted), where.host or None, where.port,
                                                      reuse_address=True)
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

    async def _accepted(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        peer = f"unix:{self._where.path}" if self._where.path else _peer("tcp", writer.get_extra_info("peername"))
        await self._serve(reader, writer, peer)

    async def _accept_tls(self) -> None:
        """Each connection's handshake is with the files as they are then."""
        self._tls()
        where, loop = self._where, asyncio.get_running_loop()
        both = not where.host and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both or ":" in where.host else socket.AF_INET
        with socket.create_server((where.host, where.port), family=family, dualstack_ipv6=both) as server:
            server.setblocking(False)
            self.error = ""
            conversations: set[asyncio.Task] = set()
            try:
                while True:
                    task = asyncio.create_task(self._handshake(*await loop.sock_accept(server)))
                    conversations.add(task)
                    task.add_done_callback(conversations.discard)
            finally:
                for task in conversations:
                    task.cancel()

    async def _handshake(self, sock: socket.socket, address: tuple) -> None:
        loop, reader, peer = asyncio.get_running_loop(), Reader(), _peer("ssl", address)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock, ssl=self._tls(),
                                                              ssl_handshake_timeout=_HANDSHAKE_TIMEOUT)
        except (OSError, TlsError) as e:
            sock.close()
            self.error = f"{peer}: {reason(e)}"
            log.info("refused a connection", extra={"bridge": self._bridge, "target": self.target, "reason": self.error})
            return
        await self._serve(reader, asyncio.StreamWriter(transport, protocol, reader, loop), peer)


def _peer(scheme: str, address: tuple) -> str:
    host, port = address[0].removeprefix("::ffff:"), address[1]
    return f"{scheme}:{f'[{host}]' if ':' in host else host}:{port}"
