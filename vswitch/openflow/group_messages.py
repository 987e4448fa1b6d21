"""Groups in each version. The switch keeps 1.5's form (bucket ids, bucket properties, 1.5.1: 7.3.4.3); these functions go
between it and the others'. Buckets' actions are carried as bytes."""
from __future__ import annotations

import struct
from collections.abc import Iterator

from vswitch.errors import OpenFlowError
from vswitch.openflow import convert, messages as ofp
from vswitch.openflow.constants import OFPG_ALL, OFPG_ANY, OFPP_ANY, BadRequest, ErrorType, GroupModFailed
from vswitch.openflow.layout import Layout, Many, Properties, Rest, bad_length, bad_property_length
from vswitch.openflow.versions import OF10, OF11, OF12, OF13, OF14, OF15

BUCKET = Layout("RawBucket", f"H length, H weight, I watch_port={OFPP_ANY:#x}, I watch_group={OFPG_ANY:#x}, 4x",
                actions=Rest())
WEIGHT = Layout("BucketWeight", "H type=0, H length, H weight, 2x", fault=bad_property_length)
WATCH_PORT = Layout("BucketWatchPort", "H type=1, H length, I watch", fault=bad_property_length)
WATCH_GROUP = Layout("BucketWatchGroup", "H type=2, H length, I watch", fault=bad_property_length)
BUCKET15 = Layout("Bucket15", "H length, H action_array_len, I bucket_id", actions=Rest(length_in="action_array_len"),
                  properties=Properties({0: WEIGHT, 1: WATCH_PORT, 2: WATCH_GROUP}))
BUCKET_ALL = 0xffffffff     # OFPG_BUCKET_ALL
BUCKET_FIRST = 0xfffffffd

GROUP_MOD11 = Layout("RawGroupMod", "H command, B type, x, I group_id", buckets=Many(BUCKET))
GROUP_MOD15 = Layout("GroupMod15", f"H command, B type, x, I group_id, H bucket_array_len, 2x,"
                     f" I command_bucket_id={BUCKET_ALL:#x}", buckets=Many(BUCKET15, "bucket_array_len"),
                     properties=Properties({}))
GROUP_MOD = {OF11: GROUP_MOD11, OF12: GROUP_MOD11, OF13: GROUP_MOD11, OF14: GROUP_MOD11, OF15: GROUP_MOD15}
GROUP_DESC11 = Layout("RawGroupDesc", "H length, B type, x, I group_id", buckets=Many(BUCKET))
GROUP_DESC15 = Layout("GroupDesc15", "H length, B type, x, I group_id, H bucket_array_len, 6x",
                      buckets=Many(BUCKET15, "bucket_array_len"), properties=Properties({}))
GROUP_DESC = {OF11: GROUP_DESC11, OF12: GROUP_DESC11, OF13: GROUP_DESC11, OF14: GROUP_DESC11, OF15: GROUP_DESC15}
GROUP_DESC_REQUEST = {version: ofp.GROUP_REQUEST if version == OF15 else ofp.EMPTY for version in GROUP_DESC}
GROUP_STATS11 = Layout("GroupStats11", "H length, 2x, I group_id, I ref_count, 4x, Q packet_count, Q byte_count",
                       buckets=Many(ofp.BUCKET_COUNTER))
GROUP_STATS = {OF11: GROUP_STATS11, OF12: GROUP_STATS11, OF13: ofp.GROUP_STATS, OF14: ofp.GROUP_STATS, OF15: ofp.GROUP_STATS}

ADD, MODIFY, DELETE, INSERT_BUCKET, REMOVE_BUCKET = 0, 1, 2, 3, 5
ADD_OR_MODIFY = 0x8000      # Open vSwitch's: add, or modify what is there
_SELECT, _FAST_FAILOVER = 1, 3
_STATS_FIXED, _DURATION_AT = 40, 32     # ofp_group_stats of 1.3


def _bucket_in(version: int, kind: int, number: int, bucket) -> object:
    properties = []
    if bucket.weight or kind == _SELECT:
        properties.append(WEIGHT(weight=bucket.weight))
    if bucket.watch_port != OFPP_ANY:
        properties.append(WATCH_PORT(watch=bucket.watch_port))
    if bucket.watch_group != OFPG_ANY:
        properties.append(WATCH_GROUP(watch=bucket.watch_group))
    return BUCKET15(bucket_id=number, actions=convert.actions(version, bucket.actions), properties=properties)


def _bucket_out(version: int, bucket) -> object:
    said = {item.layout: item for item in bucket.properties}
    return BUCKET(weight=said[WEIGHT].weight if WEIGHT in said else 0,
                  watch_port=said[WATCH_PORT].watch if WATCH_PORT in said else OFPP_ANY,
                  watch_group=said[WATCH_GROUP].watch if WATCH_GROUP in said else OFPG_ANY,
                  actions=convert.actions_out(version, bucket.actions))


def group_mod(version: int, body: bytes) -> bytes:
    """An OFPT_GROUP_MOD as 1.5's; buckets of versions without ids get 0, 1, 2, …"""
    if version == OF15:
        if len(body) < GROUP_MOD15.fixed_size:
            raise bad_length("the message")
        return body
    message = GROUP_MOD11.decode(body)
    if message.command in (INSERT_BUCKET, REMOVE_BUCKET):
        raise OpenFlowError(ErrorType.GROUP_MOD_FAILED, GroupModFailed.BAD_COMMAND,
                            f"version {version:#04x} has no command {message.command}")
    buckets = [_bucket_in(version, message.type, i, bucket) for i, bucket in enumerate(message.buckets)]
    return GROUP_MOD15.encode(GROUP_MOD15(command=message.command, type=message.type, group_id=message.group_id,
                                          buckets=buckets))


def group_mod_out(version: int, body: bytes) -> bytes | None:
    """1.5's as the version's, for request forwarding; None where the version can't say it."""
    if version == OF15:
        return body
    message = GROUP_MOD15.decode(body)
    if message.command in (INSERT_BUCKET, REMOVE_BUCKET):
        return None
    return GROUP_MOD11.encode(GROUP_MOD11(command=message.command, type=message.type, group_id=message.group_id,
                                          buckets=[_bucket_out(version, b) for b in message.buckets]))


def entries(data: bytes) -> Iterator[bytes]:
    """Entries that start with their own 16-bit length."""
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at:at + 2], "big")
        if length < 8:
            raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.UNKNOWN, "an entry without a length")
        yield data[at:at + length]
        at += length


def group_desc(version: int, entry: bytes) -> bytes:
    """1.5's ofp_group_desc as the version's."""
    if version == OF15:
        return entry
    desc = GROUP_DESC15.decode(entry)
    return GROUP_DESC11.encode(GROUP_DESC11(type=desc.type, group_id=desc.group_id,
                                            buckets=[_bucket_out(version, b) for b in desc.buckets]))


def group_stats(version: int, entry: bytes) -> bytes:
    """1.3's ofp_group_stats as the version's: 1.1 and 1.2 have no duration."""
    if version >= OF13:
        return entry
    rest = entry[4:_DURATION_AT] + entry[_STATS_FIXED:]
    return struct.pack("!H2x", 4 + len(rest)) + rest


def asked_group(version: int, kind_is_desc: bool, body: bytes) -> int:
    """The group that a request for statistics or descriptions names; OFPG_ALL = all."""
    if kind_is_desc and version != OF15:
        ofp.EMPTY.decode(body)
        return OFPG_ALL
    return ofp.GROUP_REQUEST.decode(body).group_id


def nx_group_mod(body: bytes) -> bytes:
    """An NXT_GROUP_MOD: 1.5's with 1.0's actions."""
    message = GROUP_MOD15.decode(body)
    for bucket in message.buckets:
        bucket.actions = convert.actions(OF10, bucket.actions)
    return GROUP_MOD15.encode(message)


def nx_group_desc(entry: bytes) -> bytes:
    """An entry of NXST_GROUP_DESC, likewise."""
    desc = GROUP_DESC15.decode(entry)
    for bucket in desc.buckets:
        bucket.actions = convert.actions_out(OF10, bucket.actions)
    return GROUP_DESC15.encode(desc)
