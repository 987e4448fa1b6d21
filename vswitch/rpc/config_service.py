"""ConfigService (proto/vswitch/v1/config.proto)."""
from __future__ import annotations

import asyncio

from vswitch.config.apply import apply_text, diff_text
from vswitch.config.load import load_text
from vswitch.config.show import show
from vswitch.errors import InvalidError
from vswitch.model.switch import Switch
from vswitch.rpc.v1 import config_pb2, config_pb2_grpc

MAX_TEXT = 64 << 20


class ConfigService(config_pb2_grpc.ConfigServiceServicer):
    def __init__(self, switch: Switch):
        self.switch = switch

    async def Check(self, request, context):
        await asyncio.to_thread(load_text, *_source(request))
        return config_pb2.CheckResponse()

    async def Diff(self, request, context):
        return _changes(await diff_text(self.switch, *_source(request)))

    async def Apply(self, request, context):
        # Shielded: a client that goes away does not leave the state half way.
        applying = asyncio.create_task(apply_text(self.switch, *_source(request)))
        return _changes(await asyncio.shield(applying))

    async def Show(self, request, context):
        return config_pb2.ShowResponse(text=await show(self.switch, flows=request.flows))


def _source(request) -> tuple[str, str]:
    if len(request.text) > MAX_TEXT:
        raise InvalidError("is longer than 64 MiB", "text")
    return request.text, request.filename or "config"


def _changes(changes) -> config_pb2.ConfigChanges:
    return config_pb2.ConfigChanges(changes=[
        config_pb2.ConfigChange(action=change.action, object=change.object, detail=change.detail) for change in changes])
