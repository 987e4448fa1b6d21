"""The gRPC server: every service of vswitch.v1, health and reflection, over Unix sockets and TCP.

An address is "unix:/path" or "host:port". A Unix socket is made for its owner and group alone. TCP is served only with
mutual TLS or on a loopback address: whoever can call can change the switch.
"""
from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from vswitch.errors import InvalidError, UnavailableError
from vswitch.model.switch import Switch
from vswitch.rpc.bridge_service import BridgeService
from vswitch.rpc.config_service import ConfigService
from vswitch.rpc.errors import ErrorInterceptor
from vswitch.rpc.event_service import EventService
from vswitch.rpc.flow_service import FlowService
from vswitch.rpc.group_service import GroupService
from vswitch.rpc.port_service import PortService
from vswitch.rpc.stats_service import StatsService
from vswitch.rpc.switch_service import SwitchService
from vswitch.rpc.table_service import TableService
from vswitch.rpc.tenant_service import TenantService
from vswitch.rpc.v1 import (bridge_pb2, bridge_pb2_grpc, config_pb2, config_pb2_grpc, event_pb2, event_pb2_grpc, flow_pb2,
                            flow_pb2_grpc, group_pb2, group_pb2_grpc, port_pb2, port_pb2_grpc, stats_pb2, stats_pb2_grpc,
                            switch_pb2, switch_pb2_grpc, table_pb2, table_pb2_grpc, tenant_pb2, tenant_pb2_grpc)

DEFAULT_ADDRESS = "unix:/run/vswitch/api.sock"
MAX_MESSAGE = 80 << 20      # bytes: a configuration of 64 MiB fits
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

SERVICES = (
    (TenantService, tenant_pb2, tenant_pb2_grpc.add_TenantServiceServicer_to_server),
    (BridgeService, bridge_pb2, bridge_pb2_grpc.add_BridgeServiceServicer_to_server),
    (PortService, port_pb2, port_pb2_grpc.add_PortServiceServicer_to_server),
    (FlowService, flow_pb2, flow_pb2_grpc.add_FlowServiceServicer_to_server),
    (GroupService, group_pb2, group_pb2_grpc.add_GroupServiceServicer_to_server),
    (TableService, table_pb2, table_pb2_grpc.add_TableServiceServicer_to_server),
    (StatsService, stats_pb2, stats_pb2_grpc.add_StatsServiceServicer_to_server),
    (EventService, event_pb2, event_pb2_grpc.add_EventServiceServicer_to_server),
    (ConfigService, config_pb2, config_pb2_grpc.add_ConfigServiceServicer_to_server),
    (SwitchService, switch_pb2, switch_pb2_grpc.add_SwitchServiceServicer_to_server),
)


@dataclass(frozen=True)
class Tls:
    """PEM of the server's key and certificate, and of the authority whose clients are let in."""
    key: bytes
    certificate: bytes
    client_authority: bytes

    def credentials(self) -> grpc.ServerCredentials:
        return grpc.ssl_server_credentials([(self.key, self.certificate)], self.client_authority, require_client_auth=True)


class ApiServer:
    """A running server. `addresses` are those it listens at, a TCP port 0 replaced by the one it got."""

    def __init__(self, server: grpc.aio.Server, addresses: list[str], health_status: health.aio.HealthServicer,
                 sockets: list[Path]):
        self._server = server
        self.addresses = addresses
        self._health = health_status
        self._sockets = sockets

    async def stop(self, grace: float = 0.5) -> None:
        """Refuses new calls at once, ends running ones after `grace` seconds."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)
        for path in self._sockets:
            path.unlink(missing_ok=True)


async def serve(switch: Switch, addresses: Sequence[str] = (DEFAULT_ADDRESS,), tls: Tls | None = None) -> ApiServer:
    """Serves `switch` at `addresses`. InvalidError for an address that is none, UnavailableError for one that is taken."""
    server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=[
        ("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE),
        ("grpc.so_reuseport", 0)])
    names = [reflection.SERVICE_NAME, health.SERVICE_NAME]
    for service, module, add in SERVICES:
        add(service(switch), server)
        names.append(module.DESCRIPTOR.services_by_name[service.__name__].full_name)
    health_status = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_status, server)
    reflection.enable_server_reflection(names, server)
    for name in ("", *names):
        await health_status.set(name, health_pb2.HealthCheckResponse.SERVING)

    sockets: list[Path] = []
    bound = [_bind(server, address, tls, sockets) for address in addresses]
    await server.start()
    return ApiServer(server, bound, health_status, sockets)


def _bind(server: grpc.aio.Server, address: str, tls: Tls | None, sockets: list[Path]) -> str:
    if address.startswith("unix:"):
        path = Path(address.removeprefix("unix:"))
        if not path.is_absolute():
            raise InvalidError(f"{address!r}: the path must begin with /", "api.address")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()       # of a server that was killed
        umask = os.umask(0o117)
        try:
            server.add_insecure_port(address)
        except RuntimeError as error:
            raise UnavailableError(f"can't listen at {address}: {error}", "api.address") from None
        finally:
            os.umask(umask)
        sockets.append(path)
        return address
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise InvalidError(f"{address!r} is neither unix:/path nor host:port", "api.address")
    if tls is None and host not in LOOPBACK:
        raise InvalidError(f"{address}: needs TLS key files, only loopback addresses do without", "api.address")
    try:
        if tls is None:
            number = server.add_insecure_port(address)
        else:
            number = server.add_secure_port(address, tls.credentials())
    except RuntimeError as error:
        raise UnavailableError(f"can't listen at {address}: {error}", "api.address") from None
    return f"{host}:{number}"
