"""The HTTP server that Prometheus scrapes: /metrics, read only, without credentials.

A thread of its own speaks HTTP; the switch belongs to the event loop, which is asked for one snapshot a scrape.
"""
from __future__ import annotations

import asyncio
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.registry import Collector

from vswitch.errors import InvalidError, UnavailableError
from vswitch.metrics.families import families
from vswitch.metrics.snapshot import take_snapshot
from vswitch.model.switch import Switch

_TIMEOUT = 5.0              # seconds that a scrape waits for the loop


class SwitchCollector(Collector):
    def __init__(self, switch: Switch, loop: asyncio.AbstractEventLoop):
        self._switch = switch
        self._loop = loop

    def collect(self) -> Iterable[Metric]:
        snapshot = asyncio.run_coroutine_threadsafe(take_snapshot(self._switch), self._loop).result(_TIMEOUT)
        return families(snapshot)


class MetricsServer:
    """A running server; `port` is the one it listens at."""

    def __init__(self, server, thread):
        self._server = server
        self._thread = thread
        self.port = server.server_port

    async def stop(self) -> None:
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()
        await asyncio.to_thread(self._thread.join)


def split_address(address: str) -> tuple[str, int]:
    """ "host:port" or "[IPv6]:port"; InvalidError."""
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise InvalidError(f"{address!r} is not host:port", "metrics.address")
    return host.strip("[]"), int(port)


def serve_metrics(switch: Switch, address: str) -> MetricsServer:
    """Serves at "host:port", port 0 = any. To be called in the event loop that the switch lives in. InvalidError for an
    address that is none, UnavailableError for one that can't be had."""
    host, port = split_address(address)
    registry = CollectorRegistry()
    registry.register(SwitchCollector(switch, asyncio.get_running_loop()))
    try:
        return MetricsServer(*start_http_server(port, host, registry))
    except OSError as error:
        raise UnavailableError(f"can't listen at {address}: {error.strerror or error}", "metrics.address") from None
