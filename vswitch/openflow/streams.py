"""Streams that may hand what has come to somebody at once, without waking a task for it: what asyncio's streams take to do so is
as long as all else that a short message takes."""
from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

Streams = tuple["Reader", asyncio.StreamWriter]
Serve = Callable[["Reader", asyncio.StreamWriter], Awaitable[None]]


class Reader(asyncio.StreamReader):
    """`at_once(data)` is set by a reader who waits, and is called with what comes meanwhile; what it returns wakes the one who
    waits, who sets it anew. It must not raise."""
    at_once: Callable[[bytes], bytes] | None = None

    def feed_data(self, data: bytes) -> None:
        if self.at_once is not None:
            data = self.at_once(data)
            if not data:
                return
            self.at_once = None
        super().feed_data(data)


def made(serve: Serve | None = None) -> asyncio.StreamReaderProtocol:
    """A connection's protocol; of an accepted one `serve` holds the conversation."""
    return asyncio.StreamReaderProtocol(Reader(), serve)


async def connect(host: str, port: int, tls: ssl.SSLContext | None = None) -> Streams:
    reader = Reader()
    transport, protocol = await asyncio.get_running_loop().create_connection(
        lambda: asyncio.StreamReaderProtocol(reader), host, port, ssl=tls)
    return reader, asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())


async def connect_unix(path: str) -> Streams:
    reader = Reader()
    transport, protocol = await asyncio.get_running_loop().create_unix_connection(
        lambda: asyncio.StreamReaderProtocol(reader), path)
    return reader, asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
