"""What one scrape shows, read out of the switch at one moment."""
from __future__ import annotations

from dataclasses import dataclass, field

from vswitch.errors import UnavailableError
from vswitch.model.objects import ControllerStatus, PortStatus, Usage
from vswitch.model.switch import Switch


@dataclass(frozen=True)
class Snapshot:
    up: bool                                    # the datapath is there
    restarts: int
    weights: dict[str, int]                     # by tenant
    owners: dict[str, str]                      # tenant by bridge
    controllers: list[ControllerStatus]
    usage: Usage | None = None                  # None while the datapath is away
    ports: list[PortStatus] = field(default_factory=list)


async def take_snapshot(switch: Switch) -> Snapshot:
    """Everything a scrape shows. Without a datapath, what is known without it."""
    state = switch.datapath_state()
    known = {"restarts": state["restarts"], "weights": {tenant.name: tenant.weight for tenant in switch.tenants()},
             "owners": {bridge.name: bridge.tenant for bridge in switch.bridges()}, "controllers": switch.controllers()}
    try:
        return Snapshot(up=True, usage=switch.usage(), ports=await switch.port_status(), **known)
    except UnavailableError:
        return Snapshot(up=False, **known)
