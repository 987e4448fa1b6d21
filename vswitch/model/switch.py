"""The switch, to its front doors: OpenFlow, gRPC and YAML all call this and nothing below it.

Every method that changes something checks the whole request first (InvalidError, NotFoundError, ExistsError, BusyError,
QuotaError name the field), then tells the datapath, then writes the durable store; when a step fails, what went before is
taken back. UnavailableError while the datapath is away. All of it runs in one asyncio loop.
"""
from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from vswitch.model.objects import (Bridge, ControllerStatus, Event, MacEntry, Port, PortStatus, Tenant, Usage, Vtep)


class Switch:
    # -- tenants
    def tenants(self) -> list[Tenant]: ...
    async def add_tenant(self, tenant: Tenant) -> Tenant: ...
    async def change_tenant(self, tenant: Tenant) -> Tenant: ...
    async def remove_tenant(self, name: str) -> None: ...

    # -- bridges
    def bridges(self) -> list[Bridge]: ...
    async def add_bridge(self, bridge: Bridge) -> Bridge: ...
    async def change_bridge(self, bridge: Bridge) -> Bridge: ...          # tenant and id stay
    async def remove_bridge(self, name: str) -> None: ...                 # and its ports and rules
    def controllers(self) -> list[ControllerStatus]: ...

    # -- ports
    def ports(self, bridge: str = "") -> list[Port]: ...                  # "" = of all bridges
    async def port_status(self, bridge: str = "") -> list[PortStatus]: ...
    async def add_port(self, port: Port) -> Port: ...                     # port_no, mac filled in
    async def change_port(self, port: Port) -> Port: ...                  # remotes, config; what else differs: re-created
    async def remove_port(self, bridge: str, name: str) -> None: ...

    # -- the tunnel end point
    def vtep(self) -> Vtep: ...
    async def set_vtep(self, vtep: Vtep) -> Vtep: ...

    # -- rules: OpenFlow 1.3 bodies (what follows the ofp_header), network order
    async def write_flows(self, bridge: str, bodies: Sequence[bytes]) -> list[Exception | None]:
        """Carries out flow_mod bodies in order, each on its own; one entry a body, None where it was applied."""
    def dump_flows(self, bridge: str, request: bytes = b"") -> AsyncIterator[list[bytes]]:
        """ofp_flow_stats entries matching an ofp_flow_stats_request body (b"" = all), in batches as they come."""
    async def aggregate_flows(self, bridge: str, request: bytes) -> tuple[int, int, int]:
        """packets, bytes, flows"""
    async def table_stats(self, bridge: str) -> list[tuple[int, int, int, int]]:
        """table id, active rules, lookups, matches"""
    async def packet_out(self, bridge: str, body: bytes) -> None: ...
    async def barrier(self, bridge: str) -> None: ...
    async def macs(self, bridge: str) -> list[MacEntry]: ...
    async def flush_macs(self, bridge: str) -> None: ...
    async def trace(self, bridge: str, in_port: int, frame: bytes) -> str: ...
    async def inject(self, bridge: str, port: str, frame: bytes) -> None: ...      # dummy ports
    async def collect(self, bridge: str, port: str) -> list[bytes]: ...

    # -- seeing
    def usage(self) -> Usage:
        """The counters, read from shared memory: costs the datapath nothing."""
    def watch(self) -> AsyncIterator[Event]:
        """Everything that happens from now on. A reader 1,000 events behind gets UnavailableError."""
    def datapath_state(self) -> dict[str, object]:
        """pid, incarnation, restarts, connected, n_workers, tsc_hz"""
