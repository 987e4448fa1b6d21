"""Answers about rules: flow statistics and descriptions, aggregates, in every version's form. Entries come in batches."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from vswitch.datapath.client import split_entries
from vswitch.openflow import convert, messages as ofp, native
from vswitch.openflow.codec import MultipartWriter
from vswitch.openflow.constants import Multipart
from vswitch.openflow.versions import OF10, OF15

if TYPE_CHECKING:
    from vswitch.openflow.session import Session

_FLAGS_AT = 10              # in a multipart reply, header included
Entries = AsyncIterator[list[bytes]]


async def flows(session: Session, body: bytes, form: str = convert.STANDARD) -> Entries:
    version = OF10 if form == convert.NICIRA else session.version
    asked_form = convert.STANDARD if form == convert.STATS else form
    request = convert.flow_stats_request(version, asked_form, body)
    async for entries in session.switch.dump_flows(session.bridge, request):
        yield split_entries(convert.flow_stats(version, form, b"".join(entries)))


async def send_flows(session: Session, xid: int, body: bytes, form: str) -> None:
    """The whole answer: the C half puts each part of the dump into messages, which are sent as they are made."""
    version = session.version
    request = convert.flow_stats_request(version, convert.STANDARD, body)
    number = native.FLOW_STATS if form == convert.STATS else native.STANDARD
    held: tuple[bytearray, int] | None = None
    async for part in session.switch.dump_flow_parts(session.bridge, request):
        if held is not None:
            session.connection.send(held[0])
            await session.connection.drain()
            await asyncio.sleep(0)      # more parts may be here already: others' turn first
        held = native.flow_stats_messages(version, number, xid, part)
    if held is None:
        kind = Multipart.FLOW_STATS if form == convert.STATS else Multipart.FLOW
        session.connection.send(MultipartWriter(kind, xid, version).last())
        return
    messages, last = held
    messages[last + _FLAGS_AT:last + _FLAGS_AT + 2] = b"\0\0"      # nothing follows the last
    session.connection.send(messages)


async def aggregate(session: Session, body: bytes, form: str = convert.STANDARD) -> Entries:
    version = OF10 if form == convert.NICIRA else session.version
    packets, octets, count = await session.switch.aggregate_flows(
        session.bridge, convert.flow_stats_request(version, form, body))
    if version == OF15:
        yield [convert.oxs_stats(flow_count=count, packet_count=packets, byte_count=octets)]
    else:
        yield [ofp.AGGREGATE_REPLY.encode(ofp.AGGREGATE_REPLY(packet_count=packets, byte_count=octets, flow_count=count))]
