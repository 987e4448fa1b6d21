"""EventService (proto/vswitch/v1/event.proto)."""
from __future__ import annotations

from vswitch.errors import InvalidError
from vswitch.model.objects import Bridge, ControllerStatus, Event, Port, PortStatus, Tenant, Vtep
from vswitch.model.switch import Switch
from vswitch.rpc.messages import bridge_message, controller_message, port_status_message, tenant_message, vtep_message
from vswitch.rpc.rules import flow_removed_message, flow_stats_message
from vswitch.rpc.v1 import event_pb2, event_pb2_grpc

KINDS = ("tenant", "bridge", "port", "vtep", "flow_removed", "flow_stats", "controller", "datapath")


class EventService(event_pb2_grpc.EventServiceServicer):
    def __init__(self, switch: Switch):
        self.switch = switch

    async def Watch(self, request, context):
        for index, kind in enumerate(request.kinds):
            if kind not in KINDS:
                raise InvalidError(f"{kind!r} is none of {', '.join(KINDS)}", f"kinds[{index}]")
        events = self.switch.watch()
        await context.send_initial_metadata(())
        async for event in events:
            if request.kinds and event.kind not in request.kinds:
                continue
            if request.bridge and event.bridge != request.bridge:
                continue
            yield event_message(event)


def event_message(event: Event) -> event_pb2.Event:
    message = event_pb2.Event(kind=event.kind, action=event.action, bridge=event.bridge, name=event.name)
    match event.detail:
        case Tenant():
            message.tenant.CopyFrom(tenant_message(event.detail))
        case Bridge():
            message.bridge_detail.CopyFrom(bridge_message(event.detail))
        case PortStatus():
            message.port.CopyFrom(port_status_message(event.detail))
        case Port():
            message.port.CopyFrom(port_status_message(PortStatus(event.detail, 0, 0, 0)))
        case Vtep():
            message.vtep.CopyFrom(vtep_message(event.detail))
        case ControllerStatus():
            message.controller.CopyFrom(controller_message(event.detail))
        case bytes() if event.kind == "flow_removed":
            message.flow_removed.CopyFrom(flow_removed_message(event.detail))
        case bytes() if event.kind == "flow_stats":
            message.flow_stats.CopyFrom(flow_stats_message(event.detail))
        case None:
            pass
        case _:
            message.text = str(event.detail)
    return message
