"""BridgeService (proto/vswitch/v1/bridge.proto)."""
from __future__ import annotations

from dataclasses import replace

from vswitch.errors import InvalidError
from vswitch.model.switch import Switch
from vswitch.rpc.lookup import find_bridge, find_tenant
from vswitch.rpc.messages import (FAIL_MODES, bridge_message, bridge_object, controller_message, enum_name, present_fields,
                                  required, tls_files)
from vswitch.rpc.v1 import bridge_pb2, bridge_pb2_grpc


class BridgeService(bridge_pb2_grpc.BridgeServiceServicer):
    def __init__(self, switch: Switch):
        self.switch = switch

    async def AddBridge(self, request, context):
        return bridge_message(await self.switch.add_bridge(bridge_object(required(request, "bridge"))))

    async def SetBridge(self, request, context):
        bridge = find_bridge(self.switch, request.name, "bridge.name")
        changes = present_fields(request, ("dpid", "mac_ageing", "mac_max", "auxiliary", "egress_table"))
        if changes.get("dpid") == 0:
            raise InvalidError("must be 1..2^64-1", "bridge.dpid")
        if request.HasField("fail_mode"):
            changes["fail_mode"] = enum_name(FAIL_MODES, request.fail_mode, "bridge.fail_mode")
        if request.HasField("controllers"):
            changes["controllers"] = tuple(request.controllers.target)
        if request.HasField("listen"):
            changes["listen"] = tuple(request.listen.target)
        if request.HasField("protocols"):
            changes["protocols"] = tuple(request.protocols.version)
        if request.HasField("tls"):
            changes |= tls_files(request.tls)
        return bridge_message(await self.switch.change_bridge(replace(bridge, **changes)))

    async def DeleteBridge(self, request, context):
        find_bridge(self.switch, request.name, "bridge.name")
        await self.switch.remove_bridge(request.name)
        return bridge_pb2.DeleteBridgeResponse()

    async def GetBridge(self, request, context):
        return bridge_message(find_bridge(self.switch, request.name, "bridge.name"))

    async def ListBridges(self, request, context):
        if request.tenant:
            find_tenant(self.switch, request.tenant, "tenant")
        bridges = [bridge for bridge in self.switch.bridges() if request.tenant in ("", bridge.tenant)]
        return bridge_pb2.ListBridgesResponse(bridges=map(bridge_message, sorted(bridges, key=lambda bridge: bridge.name)))

    async def ListControllers(self, request, context):
        if request.bridge:
            find_bridge(self.switch, request.bridge)
        sessions = [status for status in self.switch.controllers() if request.bridge in ("", status.bridge)]
        sessions.sort(key=lambda status: (status.bridge, status.target))
        return bridge_pb2.ListControllersResponse(controllers=map(controller_message, sessions))
