"""Answers about rules: flow statistics and descriptions, aggregates, in every version's form. Entries come in batches."""
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from vswitch.datapath.client import split_entries
from vswitch.openflow import convert, messages as ofp
from vswitch.openflow.versions import OF10, OF15

if TYPE_CHECKING:
    from vswitch.openflow.session import Session

Entries = AsyncIterator[list[bytes]]


async def flows(session: Session, body: bytes, form: str = convert.STANDARD) -> Entries:
    version = OF10 if form == convert.NICIRA else session.version
    asked_form = convert.STANDARD if form == convert.STATS else form
    request = convert.flow_stats_request(version, asked_form, body)
    async for entries in session.switch.dump_flows(session.bridge, request):
        yield split_entries(convert.flow_stats(version, form, b"".join(entries)))


async def stats(session: Session, body: bytes) -> Entries:
    """1.5's OFPMP_FLOW_STATS."""
    async for entries in flows(session, body, convert.STATS):
        yield entries


async def aggregate(session: Session, body: bytes, form: str = convert.STANDARD) -> Entries:
    version = OF10 if form == convert.NICIRA else session.version
    packets, octets, count = await session.switch.aggregate_flows(
        session.bridge, convert.flow_stats_request(version, form, body))
    if version == OF15:
        yield [convert.oxs_stats(flow_count=count, packet_count=packets, byte_count=octets)]
    else:
        yield [ofp.AGGREGATE_REPLY.encode(ofp.AGGREGATE_REPLY(packet_count=packets, byte_count=octets, flow_count=count))]
