"""GroupService (proto/vswitch/v1/group.proto): groups and meters."""
from __future__ import annotations

import struct

from vswitch.errors import InvalidError, NotFoundError
from vswitch.model.switch import Switch
from vswitch.openflow import group_messages as wire, group_text, messages as ofp, native
from vswitch.openflow.actions import decode_actions, encode_actions
from vswitch.openflow.constants import OFPG_ALL, OFPG_ANY, OFPM_ALL, OFPP_ANY
from vswitch.openflow.group_text import BandText, BucketText, GroupText, MeterText
from vswitch.rpc import rules
from vswitch.rpc.lookup import find_bridge
from vswitch.rpc.v1 import group_pb2, group_pb2_grpc

_GROUP_COMMANDS = {group_pb2.GROUP_COMMAND_ADD: wire.ADD, group_pb2.GROUP_COMMAND_MODIFY: wire.MODIFY,
                   group_pb2.GROUP_COMMAND_DELETE: wire.DELETE, group_pb2.GROUP_COMMAND_ADD_OR_MODIFY: wire.ADD_OR_MODIFY,
                   group_pb2.GROUP_COMMAND_INSERT_BUCKETS: wire.INSERT_BUCKET,
                   group_pb2.GROUP_COMMAND_REMOVE_BUCKET: wire.REMOVE_BUCKET}
_METER_COMMANDS = {group_pb2.METER_COMMAND_ADD: 0, group_pb2.METER_COMMAND_MODIFY: 1, group_pb2.METER_COMMAND_DELETE: 2}
_LAST = 0xfffffffe
_KBPS, _PKTPS, _BURST = 1, 2, 4
_METER_MOD = struct.Struct("!HHI")
_OF13 = 0x04


class GroupService(group_pb2_grpc.GroupServiceServicer):
    def __init__(self, switch: Switch):
        self.switch = switch

    async def WriteGroup(self, request, context):
        bridge = find_bridge(self.switch, request.bridge)
        if request.command not in _GROUP_COMMANDS:
            raise InvalidError(f"{request.command} is no command", "command")
        if request.HasField("group") == bool(request.text):
            raise InvalidError("give exactly one of group and text", "group")
        ports = {port.name: port.port_no for port in self.switch.ports(bridge.name)}
        group = group_text.parse_group(request.text, ports.get) if request.text else _group_in(request.group)
        command = _GROUP_COMMANDS[request.command]
        place = request.place if request.HasField("place") else group.place
        if place is None:
            place = _LAST if command == wire.INSERT_BUCKET else wire.BUCKET_ALL
        if command in (wire.INSERT_BUCKET, wire.REMOVE_BUCKET) and group.type is None:
            group.type = await self._type(bridge.name, group.id)
        await self.switch.group_mod(bridge.name, _group_mod(command, group, place))
        return group_pb2.WriteGroupResponse()

    async def _type(self, bridge: str, group: int) -> int:
        for entry in await self.switch.groups(bridge, group):
            return entry[2]
        return 0

    async def ListGroups(self, request, context):
        bridge = find_bridge(self.switch, request.bridge)
        number = request.group if request.HasField("group") else OFPG_ALL
        names = {port.port_no: port.name for port in self.switch.ports(bridge.name)}
        stats = {}
        for entry in await self.switch.group_stats(bridge.name, number):
            decoded = ofp.GROUP_STATS.decode(entry)
            stats[decoded.group_id] = decoded
        entries = [_group_entry(entry, stats, names) for entry in await self.switch.groups(bridge.name, number)]
        if request.HasField("group") and not entries:
            raise NotFoundError(f"there is no group {number}", "group")
        return group_pb2.ListGroupsResponse(groups=entries)

    async def WriteMeter(self, request, context):
        bridge = find_bridge(self.switch, request.bridge)
        if request.command not in _METER_COMMANDS:
            raise InvalidError(f"{request.command} is no command", "command")
        if request.HasField("meter") == bool(request.text):
            raise InvalidError("give exactly one of meter and text", "meter")
        meter = group_text.parse_meter(request.text) if request.text else _meter_in(request.meter)
        await self.switch.meter_mod(bridge.name, _meter_mod(_METER_COMMANDS[request.command], meter))
        return group_pb2.WriteMeterResponse()

    async def ListMeters(self, request, context):
        bridge = find_bridge(self.switch, request.bridge)
        number = request.meter if request.HasField("meter") else OFPM_ALL
        stats = {}
        for entry in await self.switch.meter_stats(bridge.name, number):
            decoded = ofp.METER_STATS.decode(entry)
            stats[decoded.meter_id] = decoded
        return group_pb2.ListMetersResponse(meters=[
            _meter_entry(ofp.METER_CONFIG.decode(entry), stats) for entry in await self.switch.meters(bridge.name, number)])


def _group_in(message: group_pb2.Group) -> GroupText:
    buckets = []
    for i, bucket in enumerate(message.buckets):
        path = f"group.buckets[{i}]"
        if bucket.weight > 0xffff:
            raise InvalidError(f"{bucket.weight} is out of range, 0..65535", f"{path}.weight")
        buckets.append(BucketText(
            bucket.id, list(rules.actions(bucket.actions, f"{path}.actions")), bucket.weight,
            bucket.watch_port if bucket.HasField("watch_port") else OFPP_ANY,
            bucket.watch_group if bucket.HasField("watch_group") else OFPG_ANY))
    return GroupText(message.id, message.type, buckets)


def _group_mod(command: int, group: GroupText, place: int) -> bytes:
    buckets = []
    for bucket in group.buckets:
        properties = []
        if bucket.weight is not None and (group.type == 1 or bucket.weight):
            properties.append(wire.WEIGHT(weight=bucket.weight))
        if bucket.watch_port != OFPP_ANY:
            properties.append(wire.WATCH_PORT(watch=bucket.watch_port))
        if bucket.watch_group != OFPG_ANY:
            properties.append(wire.WATCH_GROUP(watch=bucket.watch_group))
        buckets.append(wire.BUCKET15(bucket_id=bucket.id, actions=encode_actions(bucket.actions), properties=properties))
    return wire.GROUP_MOD15.encode(wire.GROUP_MOD15(command=command, type=group.type or 0, group_id=group.id,
                                                    command_bucket_id=place, buckets=buckets))


def _group_entry(entry: bytes, stats: dict, names: dict[int, str]) -> group_pb2.GroupEntry:
    desc = wire.GROUP_DESC15.decode(entry)
    buckets = []
    for bucket in desc.buckets:
        said = {item.layout: item for item in bucket.properties}
        buckets.append(BucketText(
            bucket.bucket_id, decode_actions(native.actions_out(_OF13, bucket.actions)),
            said[wire.WEIGHT].weight if wire.WEIGHT in said else int(desc.type == 1),
            said[wire.WATCH_PORT].watch if wire.WATCH_PORT in said else OFPP_ANY,
            said[wire.WATCH_GROUP].watch if wire.WATCH_GROUP in said else OFPG_ANY))
    group = GroupText(desc.group_id, desc.type, buckets)
    message = group_pb2.GroupEntry(
        group=group_pb2.Group(id=desc.group_id, type=desc.type, buckets=[group_pb2.Bucket(
            id=b.id, actions=map(rules.action_message, b.actions), weight=b.weight if desc.type == 1 else 0,
            watch_port=b.watch_port if b.watch_port != OFPP_ANY else None,
            watch_group=b.watch_group if b.watch_group != OFPG_ANY else None) for b in buckets]),
        text=group_text.format_group(group, names.get))
    if (counted := stats.get(desc.group_id)) is not None:
        message.references, message.packets, message.bytes = counted.ref_count, counted.packet_count, counted.byte_count
        message.duration_nsec = counted.duration_sec * 1_000_000_000 + counted.duration_nsec
        message.bucket_packets.extend(b.packet_count for b in counted.buckets)
        message.bucket_bytes.extend(b.byte_count for b in counted.buckets)
    return message


def _meter_in(message: group_pb2.Meter) -> MeterText:
    bands = [BandText(band.rate, band.burst, band.prec_level) for band in message.bands]
    flags = (_PKTPS if message.packets else _KBPS) | (_BURST if any(band.burst for band in bands) else 0)
    return MeterText(message.id, flags, bands)


def _meter_mod(command: int, meter: MeterText) -> bytes:
    bands = b"".join(ofp.BAND_DSCP.encode(ofp.BAND_DSCP(rate=b.rate, burst_size=b.burst, prec_level=b.prec_level))
                     if b.prec_level else ofp.BAND_DROP.encode(ofp.BAND_DROP(rate=b.rate, burst_size=b.burst))
                     for b in meter.bands)
    return _METER_MOD.pack(command, meter.flags, meter.id) + bands


def _meter_entry(config, stats: dict) -> group_pb2.MeterEntry:
    bands = [BandText(b.rate, b.burst_size, getattr(b, "prec_level", 0)) for b in config.bands]
    message = group_pb2.MeterEntry(
        meter=group_pb2.Meter(id=config.meter_id, packets=bool(config.flags & _PKTPS), bands=[
            group_pb2.Band(rate=b.rate, burst=b.burst, prec_level=b.prec_level) for b in bands]),
        text=group_text.format_meter(MeterText(config.meter_id, config.flags, bands)))
    if (counted := stats.get(config.meter_id)) is not None:
        message.flows, message.packets, message.bytes = counted.flow_count, counted.packet_in_count, counted.byte_in_count
        message.duration_nsec = counted.duration_sec * 1_000_000_000 + counted.duration_nsec
        message.band_packets.extend(b.packet_count for b in counted.bands)
        message.band_bytes.extend(b.byte_count for b in counted.bands)
    return message
