"""FlowService (proto/vswitch/v1/flow.proto)."""
from __future__ import annotations

import asyncio

from vswitch.errors import BundleRefused, InvalidError, OpenFlowError, VswitchError
from vswitch.model.switch import Switch
from vswitch.openflow import flow_text
from vswitch.openflow.constants import Type
from vswitch.openflow.flow_text_rule import packet_out_body
from vswitch.rpc import rules
from vswitch.rpc.errors import status_code
from vswitch.rpc.lookup import find_bridge
from vswitch.rpc.v1 import flow_pb2, flow_pb2_grpc

MAX_MODS, MAX_ATOMIC_MODS = 10_000, 100_000
TURN = 200          # rules worked on before others get their turn in the one loop: about 5 ms
NO_OF_ERROR = 0xffff
COMMANDS = {
    flow_pb2.FLOW_COMMAND_ADD: "add",
    flow_pb2.FLOW_COMMAND_MODIFY: "modify",
    flow_pb2.FLOW_COMMAND_MODIFY_STRICT: "modify_strict",
    flow_pb2.FLOW_COMMAND_DELETE: "delete",
    flow_pb2.FLOW_COMMAND_DELETE_STRICT: "delete_strict",
}


class FlowService(flow_pb2_grpc.FlowServiceServicer):
    def __init__(self, switch: Switch):
        self.switch = switch

    async def WriteFlows(self, request, context):
        bridge = find_bridge(self.switch, request.bridge)
        most = MAX_ATOMIC_MODS if request.atomic else MAX_MODS
        if len(request.mods) > most:
            raise InvalidError(f"{len(request.mods)} items, at most {most}", "mods")
        ports = self._port_numbers(bridge.name)
        bodies = []
        for index, mod in enumerate(request.mods):
            bodies.append(_flow_mod(mod, f"mods[{index}]", ports))
            if index % TURN == TURN - 1:
                await asyncio.sleep(0)
        if request.atomic:
            await self._write_all(bridge.name, bodies)
            outcomes: list[Exception | None] = [None] * len(bodies)
        else:
            outcomes = await self.switch.write_flows(bridge.name, bodies)
        return flow_pb2.WriteFlowsResponse(results=map(_result, outcomes),
                                           applied=sum(outcome is None for outcome in outcomes))

    async def _write_all(self, bridge: str, bodies: list[bytes]) -> None:
        try:
            await self.switch.commit_bundle(bridge, [(Type.FLOW_MOD, body) for body in bodies])
        except BundleRefused as refused:
            if not isinstance(refused.error, VswitchError):
                raise
            raise refused.error.within(f"mods[{refused.index}]") from None

    async def ReadFlows(self, request, context):
        bridge = find_bridge(self.switch, request.bridge)
        body = self._stats_request(request)
        names = {number: name for name, number in self._port_numbers(bridge.name).items()} if request.as_text else {}
        entry_message = rules.text_entry if request.as_text else rules.typed_entry
        async for batch in self.switch.dump_flows(bridge.name, body):
            for start in range(0, len(batch), TURN):
                yield flow_pb2.ReadFlowsResponse(entries=[entry_message(entry, names)
                                                          for entry in batch[start:start + TURN]])

    async def AggregateFlows(self, request, context):
        bridge = find_bridge(self.switch, request.bridge)
        packets, octets, flows = await self.switch.aggregate_flows(bridge.name, self._stats_request(request))
        return flow_pb2.AggregateFlowsResponse(packets=packets, bytes=octets, flows=flows)

    async def Barrier(self, request, context):
        find_bridge(self.switch, request.bridge)
        await self.switch.barrier(request.bridge)
        return flow_pb2.BarrierResponse()

    async def Trace(self, request, context):
        find_bridge(self.switch, request.bridge)
        if not 14 <= len(request.frame) <= 9216:
            raise InvalidError(f"{len(request.frame)} bytes, must be 14..9216", "frame")
        if request.in_port == 0:
            raise InvalidError("is required", "in_port")
        return flow_pb2.TraceResponse(text=await self.switch.trace(request.bridge, request.in_port, request.frame))

    async def PacketOut(self, request, context):
        find_bridge(self.switch, request.bridge)
        if not 14 <= len(request.frame) <= 65000:
            raise InvalidError(f"{len(request.frame)} bytes, must be 14..65000", "frame")
        if bool(request.actions) == bool(request.text):
            raise InvalidError("give exactly one of actions and text", "actions")
        if request.text:
            actions = flow_text.parse_actions(request.text, self._port_numbers(request.bridge).get)
        else:
            actions = rules.actions(request.actions, "actions")
        await self.switch.packet_out(request.bridge, packet_out_body(request.in_port, actions, request.frame))
        return flow_pb2.PacketOutResponse()

    def _port_numbers(self, bridge: str) -> dict[str, int]:
        return {port.name: port.port_no for port in self.switch.ports(bridge)}

    def _stats_request(self, request) -> bytes:
        if request.text:
            if request.HasField("filter") or request.HasField("table_id"):
                raise InvalidError("give text, or filter and table_id, not both", "text")
            return flow_text.parse_stats_request(request.text, self._port_numbers(request.bridge).get)
        return rules.stats_request_body(request.filter, request.table_id if request.HasField("table_id") else None)


def _flow_mod(mod: flow_pb2.FlowMod, path: str, ports: dict[str, int]) -> bytes:
    if mod.command not in COMMANDS:
        raise InvalidError(f"{mod.command} is none of {', '.join(COMMANDS.values())}", f"{path}.command")
    if mod.HasField("flow") == bool(mod.text):
        raise InvalidError("give exactly one of flow and text", path)
    command = COMMANDS[mod.command]
    if mod.HasField("flow"):
        return rules.flow_mod_body(mod.flow, command, f"{path}.flow")
    try:
        return flow_text.parse_flow_mod(mod.text, command, ports.get)
    except InvalidError as error:
        raise InvalidError(error.reason, f"{path}.text: {error.field}" if error.field else f"{path}.text") from None


def _result(outcome: Exception | None) -> flow_pb2.FlowResult:
    if outcome is None:
        return flow_pb2.FlowResult(of_type=NO_OF_ERROR, of_code=NO_OF_ERROR)
    code = status_code(outcome).value[0]
    of_type, of_code = NO_OF_ERROR, NO_OF_ERROR
    if isinstance(outcome, OpenFlowError):
        of_type, of_code = outcome.of_type, outcome.of_code
    return flow_pb2.FlowResult(code=code, message=str(outcome), field=getattr(outcome, "field", ""), of_type=of_type,
                               of_code=of_code)
