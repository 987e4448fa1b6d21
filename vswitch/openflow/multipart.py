"""Answers to OpenFlow 1.3's multipart requests (7.3.5), one function a type. Each yields its entries in batches."""
from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from vswitch.datapath.client import split_fixed
from vswitch.errors import NotFoundError, OpenFlowError
from vswitch.openflow import messages as ofp
from vswitch.openflow.codec import Frame, MultipartWriter, decode_multipart_request
from vswitch.openflow.constants import (N_TABLES, OFPM_ALL, OFPMPF_MORE, OFPP_ANY, BadRequest, ErrorType,
                                        MeterModFailed, Multipart, QueueOpFailed, Role, TableFeaturesFailed)
from vswitch.openflow.layout import bad_length
from vswitch.openflow.table_features import table_features

if TYPE_CHECKING:
    from vswitch.datapath.records import PortRecord
    from vswitch.openflow.session import Session

_FLOW_REQUEST_MIN = 40      # ofp_flow_stats_request with an empty match
_OFPPF_OTHER = 1 << 15
_Entries = AsyncIterator[list[bytes]]
_Function = Callable[["Session", Any], _Entries]


async def answer_multipart(session: Session, message: Frame, request: Any) -> None:
    if request.flags & OFPMPF_MORE:
        raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.MULTIPART_BUFFER_OVERFLOW,
                            "requests in several messages aren't put together")
    if request.type in (Multipart.FLOW, Multipart.AGGREGATE):
        if len(request.body) < _FLOW_REQUEST_MIN:
            raise bad_length("the request")
        asked: Any = request.body       # goes to the datapath as it is
    else:
        asked = decode_multipart_request(request.type, request.body)
    writer = MultipartWriter(request.type, message.xid)
    async for entries in _ANSWERS[Multipart(request.type)](session, asked):
        for full in writer.add(entries):
            session.connection.send(full)
            await session.connection.drain()
    session.connection.send(writer.last())


async def _desc(session: Session, asked: Any) -> _Entries:
    bridge = session.switch.bridge(session.bridge)
    yield [ofp.DESC.encode(ofp.DESC(mfr_desc="vswitch", hw_desc="Virtual switch with time protection",
                                    sw_desc=version("vswitch"), serial_num="None", dp_desc=bridge.name))]


async def _flow(session: Session, asked: bytes) -> _Entries:
    async for entries in session.switch.dump_flows(session.bridge, asked):
        yield entries


async def _aggregate(session: Session, asked: bytes) -> _Entries:
    packets, octets, flows = await session.switch.aggregate_flows(session.bridge, asked)
    yield [ofp.AGGREGATE_REPLY.encode(ofp.AGGREGATE_REPLY(packet_count=packets, byte_count=octets, flow_count=flows))]


async def _table(session: Session, asked: Any) -> _Entries:
    used = {row[0]: row for row in await session.switch.table_stats(session.bridge)}
    names = ("table_id", "active_count", "lookup_count", "matched_count")
    yield [ofp.TABLE_STATS.encode(ofp.TABLE_STATS(**dict(zip(names, used.get(i, (i, 0, 0, 0)))))) for i in range(N_TABLES)]


async def _port_stats(session: Session, asked: Any) -> _Entries:
    try:
        data = await session.switch.port_stats(session.bridge, asked.port_no)
    except NotFoundError as e:
        raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_PORT, str(e)) from None
    yield split_fixed(data, ofp.PORT_STATS.fixed_size)


async def _queue(session: Session, asked: Any) -> _Entries:
    """Ports have no queues."""
    if asked.port_no != OFPP_ANY and all(p.port_no != asked.port_no for p in session.switch.ports(session.bridge)):
        raise OpenFlowError(ErrorType.QUEUE_OP_FAILED, QueueOpFailed.BAD_PORT, f"there is no port {asked.port_no}")
    if asked.queue_id != 0xffffffff:
        raise OpenFlowError(ErrorType.QUEUE_OP_FAILED, QueueOpFailed.BAD_QUEUE, f"there is no queue {asked.queue_id}")
    yield []


async def _nothing(session: Session, asked: Any) -> _Entries:
    """There are no groups."""
    yield []


async def _group_features(session: Session, asked: Any) -> _Entries:
    yield [ofp.GROUP_FEATURES.encode(ofp.GROUP_FEATURES())]


async def _meters(session: Session, asked: Any) -> _Entries:
    if asked.meter_id != OFPM_ALL:
        raise OpenFlowError(ErrorType.METER_MOD_FAILED, MeterModFailed.UNKNOWN_METER, f"there is no meter {asked.meter_id}")
    yield []


async def _meter_features(session: Session, asked: Any) -> _Entries:
    yield [ofp.METER_FEATURES.encode(ofp.METER_FEATURES())]


async def _table_features(session: Session, asked: Any) -> _Entries:
    if asked.tables:
        if session.standing.role == Role.SLAVE:
            raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.IS_SLAVE, "a slave may not change the switch")
        raise OpenFlowError(ErrorType.TABLE_FEATURES_FAILED, TableFeaturesFailed.EPERM, "tables are what they are")
    for entry in table_features():
        yield [entry]


def port_desc(record: PortRecord) -> Any:
    """ofp_port of a port as the datapath has it."""
    known = record.speed_kbps != 0
    return ofp.PORT(port_no=record.port_no, hw_addr=record.mac, name=record.name[:15], config=record.config,
                    state=record.state, curr=_OFPPF_OTHER if known else 0, curr_speed=record.speed_kbps,
                    max_speed=record.speed_kbps)


async def _port_desc(session: Session, asked: Any) -> _Entries:
    yield [ofp.PORT.encode(port_desc(record)) for record in await session.switch.port_records(session.bridge)]


async def _experimenter(session: Session, asked: Any) -> _Entries:
    raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_EXPERIMENTER, f"unknown experimenter {asked.experimenter:#x}")
    yield []


_ANSWERS: dict[Multipart, _Function] = {
    Multipart.DESC: _desc, Multipart.FLOW: _flow, Multipart.AGGREGATE: _aggregate, Multipart.TABLE: _table,
    Multipart.PORT_STATS: _port_stats, Multipart.QUEUE: _queue, Multipart.GROUP: _nothing,
    Multipart.GROUP_DESC: _nothing, Multipart.GROUP_FEATURES: _group_features, Multipart.METER: _meters,
    Multipart.METER_CONFIG: _meters, Multipart.METER_FEATURES: _meter_features,
    Multipart.TABLE_FEATURES: _table_features, Multipart.PORT_DESC: _port_desc, Multipart.EXPERIMENTER: _experimenter,
}
