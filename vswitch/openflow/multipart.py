"""Answers to multipart requests (OpenFlow 1.3.5, 7.3.5; 1.5.1, 7.3.5), one function a type. Each yields its entries, in the
session's version, in batches."""
from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING

from vswitch.datapath.records import TABLE_MAX_ENTRIES
from vswitch.errors import NotFoundError, OpenFlowError
from vswitch.openflow import convert, group_messages as group, messages as ofp, meter_messages as meter
from vswitch.openflow import port_messages as port, table_messages as table
from vswitch.openflow.bundles import bundle_features
from vswitch.openflow.codec import Frame, MultipartWriter, decode_multipart_request
from vswitch.openflow.constants import (N_TABLES, OFPM_ALL, OFPMPF_MORE, OFPP_ANY, BadRequest, ErrorType,
                                        MeterModFailed, Multipart)
from vswitch.openflow.experimenter import answer_experimenter
from vswitch.openflow.flow_monitor import answer_monitors
from vswitch.openflow.group_handlers import group_features
from vswitch.openflow.layout import bad_length
from vswitch.openflow.multipart_rules import aggregate, send_flows
from vswitch.openflow.queue_handlers import queue_desc, queue_stats
from vswitch.openflow.table_handlers import table_desc, table_features
from vswitch.openflow.versions import KINDS, OF10, OF13

if TYPE_CHECKING:
    from vswitch.openflow.session import Session

_HEAD, _HEAD10 = struct.Struct("!HH4x"), struct.Struct("!HH")
_Entries = AsyncIterator[list[bytes]]
_Function = Callable[["Session", bytes], _Entries]


async def answer_multipart(session: Session, message: Frame) -> None:
    head = _HEAD10 if session.version == OF10 else _HEAD
    body = message.body
    if len(body) < head.size:
        raise bad_length("the request")
    kind, flags = head.unpack_from(body)
    if kind not in KINDS[session.version]:
        raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_MULTIPART, f"unknown multipart type {kind}")
    if session.version >= OF13:
        whole = session.parts.take(message, kind, body[head.size:], more=bool(flags & OFPMPF_MORE))
        if whole is None:
            return
    else:
        whole = body[head.size:]
    if kind in (Multipart.FLOW, Multipart.FLOW_STATS):
        await send_flows(session, message.xid, whole, convert.STATS if kind == Multipart.FLOW_STATS else convert.STANDARD)
        return
    prefix = b""
    if kind == Multipart.EXPERIMENTER:
        prefix, entries = answer_experimenter(session, whole)
    else:
        entries = _ANSWERS[Multipart(kind)](session, whole)
    writer = MultipartWriter(kind, message.xid, session.version, prefix)
    async for batch in entries:
        for full in writer.add(batch):
            session.connection.send(full)
            await session.connection.drain()
    session.connection.send(writer.last())


def _asked(session: Session, kind: Multipart, body: bytes):
    return decode_multipart_request(kind, body, session.version)


async def _desc(session: Session, body: bytes) -> _Entries:
    _asked(session, Multipart.DESC, body)
    bridge = session.switch.bridge(session.bridge)
    yield [ofp.DESC.encode(ofp.DESC(mfr_desc="vswitch", hw_desc="Virtual switch with time protection",
                                    sw_desc=installed_version("vswitch"), serial_num="None", dp_desc=bridge.name))]


async def _table(session: Session, body: bytes) -> _Entries:
    _asked(session, Multipart.TABLE, body)
    used = {row[0]: row for row in await session.switch.table_stats(session.bridge)}
    miss = {record.table_id: record.config & 0b11 for record in await session.switch.tables(session.bridge)}
    entries = [table.table_stats(session.version, used.get(i, (i, 0, 0, 0)), TABLE_MAX_ENTRIES, miss.get(i, 0))
               for i in range(N_TABLES) if i not in session.agent.tables.disabled]
    yield [entry.layout.encode(entry) for entry in entries]


async def _port_stats(session: Session, body: bytes) -> _Entries:
    asked = port.asked_port(session.version, _asked(session, Multipart.PORT_STATS, body).port_no)
    try:
        data = await session.switch.port_stats(session.bridge, asked)
    except NotFoundError as e:
        raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_PORT, str(e)) from None
    yield port.port_stats(session.version, data)


async def _port_desc(session: Session, body: bytes) -> _Entries:
    asked = getattr(_asked(session, Multipart.PORT_DESC, body), "port_no", OFPP_ANY)
    records = [record for record in await session.switch.port_records(session.bridge) if asked in (OFPP_ANY, record.port_no)]
    if not records and asked != OFPP_ANY:
        raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_PORT, f"there is no port {asked}")
    yield [port.encode_port(session.version, record) for record in records if port.speakable(session.version, record.port_no)]


async def _groups(session: Session, body: bytes) -> _Entries:
    number = group.asked_group(session.version, False, body)
    yield [group.group_stats(session.version, entry) for entry in await session.switch.group_stats(session.bridge, number)]


async def _group_desc(session: Session, body: bytes) -> _Entries:
    number = group.asked_group(session.version, True, body)
    yield [group.group_desc(session.version, entry) for entry in await session.switch.groups(session.bridge, number)]


_METERS_MAX, _BANDS_MAX = 65536, 8
_BAND_TYPES = 1 << 1 | 1 << 2
_METER_CAPABILITIES = 0b1111


async def _group_features(session: Session, body: bytes) -> _Entries:
    _asked(session, Multipart.GROUP_FEATURES, body)
    yield [group_features()]


async def _meters(session: Session, body: bytes) -> _Entries:
    asked = _asked(session, Multipart.METER, body)
    yield [meter.meter_stats(session.version, e) for e in await session.switch.meter_stats(session.bridge, asked.meter_id)]


async def _meter_config(session: Session, body: bytes) -> _Entries:
    asked = _asked(session, Multipart.METER_CONFIG, body)
    yield await session.switch.meters(session.bridge, asked.meter_id)


async def _meter_features(session: Session, body: bytes) -> _Entries:
    _asked(session, Multipart.METER_FEATURES, body)
    yield [meter.meter_features(session.version, ofp.METER_FEATURES.encode(ofp.METER_FEATURES(
        max_meter=_METERS_MAX, band_types=_BAND_TYPES, capabilities=_METER_CAPABILITIES, max_bands=_BANDS_MAX)))]


async def _controller_status(session: Session, body: bytes) -> _Entries:
    _asked(session, Multipart.CONTROLLER_STATUS, body)
    yield session.agent.controller_entries()


async def _bundle_features(session: Session, body: bytes) -> _Entries:
    yield [bundle_features(session, _asked(session, Multipart.BUNDLE_FEATURES, body))]


_ANSWERS: dict[Multipart, _Function] = {
    Multipart.DESC: _desc, Multipart.AGGREGATE: aggregate, Multipart.TABLE: _table,
    Multipart.PORT_STATS: _port_stats, Multipart.QUEUE: queue_stats, Multipart.GROUP: _groups,
    Multipart.GROUP_DESC: _group_desc, Multipart.GROUP_FEATURES: _group_features, Multipart.METER: _meters,
    Multipart.METER_CONFIG: _meter_config, Multipart.METER_FEATURES: _meter_features,
    Multipart.TABLE_FEATURES: table_features, Multipart.PORT_DESC: _port_desc, Multipart.TABLE_DESC: table_desc,
    Multipart.QUEUE_DESC: queue_desc, Multipart.FLOW_MONITOR: answer_monitors,
    Multipart.CONTROLLER_STATUS: _controller_status, Multipart.BUNDLE_FEATURES: _bundle_features,
}
