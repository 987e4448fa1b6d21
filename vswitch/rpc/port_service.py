"""PortService (proto/vswitch/v1/port.proto): ports, and the tunnel end point."""
from __future__ import annotations

from dataclasses import replace

from vswitch.errors import InvalidError, NotFoundError
from vswitch.model.switch import Switch
from vswitch.rpc.lookup import find_bridge, find_port
from vswitch.rpc.messages import (port_message, port_object, port_status_message, present_fields, queue_texts, required,
                                  vtep_message,
                                  vtep_object)
from vswitch.rpc.v1 import port_pb2, port_pb2_grpc

CHANGEABLE = ("learning", "config", "mtu", "mac", "vni", "queues", "ifname", "peer_bridge", "peer_port", "max_rate",
              "socket", "mode", "xdp_mode", "busy_poll", "steering")


class PortService(port_pb2_grpc.PortServiceServicer):
    def __init__(self, switch: Switch):
        self.switch = switch

    async def AddPort(self, request, context):
        return port_message(await self.switch.add_port(port_object(required(request, "port"))))

    async def SetPort(self, request, context):
        port = find_port(self.switch, request.bridge, request.name)
        changes = present_fields(request, CHANGEABLE)
        if request.HasField("remotes"):
            changes["remotes"] = tuple(request.remotes.address)
        if request.HasField("egress_queues"):
            changes["egress_queues"] = queue_texts(request.egress_queues.queue)
        return port_message(await self.switch.change_port(replace(port, **changes)))

    async def DeletePort(self, request, context):
        find_port(self.switch, request.bridge, request.name)
        await self.switch.remove_port(request.bridge, request.name)
        return port_pb2.DeletePortResponse()

    async def GetPort(self, request, context):
        find_port(self.switch, request.bridge, request.name)
        for status in await self.switch.port_status(request.bridge):
            if status.port.name == request.name:
                status.detail = await self.switch.port_detail(request.bridge, request.name)
                message = port_status_message(status)
                _, queues = (await self.switch.queues(request.bridge)).get(status.port.port_no, (0, []))
                message.egress_queues.extend(port_pb2.EgressQueue(
                    id=q.queue_id, min_rate=q.min_kbps, max_rate=q.max_kbps, tx_packets=q.tx_packets, tx_bytes=q.tx_bytes,
                    tx_drops=q.tx_errors) for q in queues)
                return message
        raise NotFoundError(f"the datapath has no port {request.name!r}", "port.name")

    async def ListPorts(self, request, context):
        if request.bridge:
            find_bridge(self.switch, request.bridge)
        ports = await self.switch.port_status(request.bridge)
        ports.sort(key=lambda status: (status.port.bridge, status.port.port_no))
        return port_pb2.ListPortsResponse(ports=map(port_status_message, ports))

    async def GetVtep(self, request, context):
        return vtep_message(self.switch.vtep())

    async def SetVtep(self, request, context):
        return vtep_message(await self.switch.set_vtep(vtep_object(required(request, "vtep"))))

    async def Inject(self, request, context):
        self._dummy(request)
        for index, frame in enumerate(request.frames):
            if not 14 <= len(frame) <= 65535:
                raise InvalidError(f"{len(frame)} bytes, must be 14..65535", f"frames[{index}]")
        for frame in request.frames:
            await self.switch.inject(request.bridge, request.port, frame)
        return port_pb2.InjectResponse()

    async def Collect(self, request, context):
        self._dummy(request)
        return port_pb2.CollectResponse(frames=await self.switch.collect(request.bridge, request.port))

    def _dummy(self, request) -> None:
        port = find_port(self.switch, request.bridge, request.port, "port")
        if port.kind != "dummy":
            raise InvalidError(f"{port.name} is a {port.kind} port, not a dummy", "port")
