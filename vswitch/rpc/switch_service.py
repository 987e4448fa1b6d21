"""SwitchService (proto/vswitch/v1/switch.proto)."""
from __future__ import annotations

from importlib.metadata import version

from vswitch.model.objects import Balance
from vswitch.model.switch import Switch
from vswitch.rpc.v1 import switch_pb2, switch_pb2_grpc


class SwitchService(switch_pb2_grpc.SwitchServiceServicer):
    def __init__(self, switch: Switch):
        self.switch = switch

    async def GetInfo(self, request, context):
        state = self.switch.datapath_state()
        numbers = {name: int(state.get(name) or 0) for name in ("pid", "incarnation", "restarts", "n_workers", "tsc_hz")}
        return switch_pb2.Info(version=version("vswitch"), connected=bool(state.get("connected")),
                               tenants=len(self.switch.tenants()), bridges=len(self.switch.bridges()),
                               ports=len(self.switch.ports()), **numbers)

    async def GetScheduler(self, request, context):
        policy, slice_ns = await self.switch.scheduler()
        return switch_pb2.Scheduler(policy=policy, slice_ns=slice_ns)

    async def SetScheduler(self, request, context):
        await self.switch.set_scheduler(request.policy, request.slice_ns)
        return await self.GetScheduler(request, context)

    async def GetBalance(self, request, context):
        status = await self.switch.balance_status()
        balance = status.balance
        return switch_pb2.Balance(interval=balance.interval, load=balance.load, improvement=balance.improvement, looks=status.looks,
                                  moves=status.moves, refused=status.refused, last_look=status.last_look, last_move=status.last_move)

    async def SetBalance(self, request, context):
        await self.switch.set_balance(Balance(request.interval, request.load or Balance.load, request.improvement or Balance.improvement))
        return await self.GetBalance(request, context)
