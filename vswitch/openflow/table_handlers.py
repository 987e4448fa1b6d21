"""Tables' configuration and features: table-mod, table-desc, table features read and set."""
from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING

from vswitch.datapath.records import TableRecord
from vswitch.errors import OpenFlowError
from vswitch.openflow import table_messages as table
from vswitch.openflow.codec import Frame, decode, decode_multipart_request
from vswitch.openflow.constants import (N_TABLES, OFPTT_ALL, BadProperty, ErrorType, Multipart, TableModFailed, Type)
from vswitch.openflow.layout import bad_property
from vswitch.openflow.versions import OF13, OF14, OF15

if TYPE_CHECKING:
    from vswitch.openflow.session import Session

_DEPRECATED = 0b11          # OFPTC_DEPRECATED_MASK; what a miss does, until 1.2
_EVICTION, _VACANCY = 4, 8
_EVICTION_FLAGS = 0b111     # OTHER, IMPORTANCE, LIFETIME


def _failed(code: TableModFailed, reason: str) -> OpenFlowError:
    return OpenFlowError(ErrorType.TABLE_MOD_FAILED, code, reason, "table_mod")


async def table_mod(session: Session, message: Frame) -> None:
    """Until 1.2 what a miss does (1.2, A.3.3); nothing in 1.3, where it is checked (1.3.5, 7.3.3); then eviction and vacancy."""
    version = session.version
    asked = decode(Type.TABLE_MOD, message.body, version)
    if asked.table_id != OFPTT_ALL and (asked.table_id >= N_TABLES or asked.table_id in session.agent.tables.disabled):
        raise _failed(TableModFailed.BAD_TABLE, f"there is no table {asked.table_id}")
    known = _DEPRECATED if version < OF14 else _DEPRECATED | _EVICTION | _VACANCY
    if asked.config & ~known:
        raise _failed(TableModFailed.BAD_CONFIG, f"unknown config {asked.config:#x}")
    if version < OF13:
        await _set_miss(session, asked)
    if version < OF14:
        return
    down = up = 0
    for item in asked.properties:
        if item.layout is table.EVICTION and item.flags & ~_EVICTION_FLAGS:
            raise bad_property(BadProperty.BAD_VALUE, f"unknown eviction flags {item.flags:#x}")
        if item.layout is table.VACANCY:
            if item.vacancy_down > item.vacancy_up or item.vacancy_up > 100:
                raise bad_property(BadProperty.BAD_VALUE, "vacancy_down <= vacancy_up <= 100 must hold")
            down, up = item.vacancy_down, item.vacancy_up
    await session.switch.set_table(session.bridge, TableRecord(
        table_id=asked.table_id, vacancy_down=down, vacancy_up=up, config=asked.config & (_EVICTION | _VACANCY)))


async def _set_miss(session: Session, asked) -> None:
    if asked.config == _DEPRECATED:
        raise _failed(TableModFailed.BAD_CONFIG, "a miss is to continue and to be dropped")
    held = {record.table_id: record for record in await session.switch.tables(session.bridge)}
    for i in range(N_TABLES) if asked.table_id == OFPTT_ALL else (asked.table_id,):
        record = held.get(i) or TableRecord(table_id=i)
        if record.config & _DEPRECATED != asked.config:
            await session.switch.set_table(session.bridge, replace(record, config=record.config & ~_DEPRECATED | asked.config))


def encode_desc(record: TableRecord) -> bytes:
    """The ofp_table_desc of a table as the datapath has it (1.4.1, 7.3.5.15)."""
    properties = [table.EVICTION(flags=_EVICTION_FLAGS)] if record.config & _EVICTION else []
    if record.config & _VACANCY:
        properties.append(table.VACANCY(vacancy_down=record.vacancy_down, vacancy_up=record.vacancy_up,
                                        vacancy=record.vacancy))
    return table.TABLE_DESC.encode(table.TABLE_DESC(table_id=record.table_id, config=record.config & ~_DEPRECATED, properties=properties))


async def table_desc(session: Session, body: bytes) -> AsyncIterator[list[bytes]]:
    decode_multipart_request(Multipart.TABLE_DESC, body, session.version)
    held = {record.table_id: record for record in await session.switch.tables(session.bridge)}
    yield [encode_desc(held.get(i) or TableRecord(table_id=i)) for i in range(N_TABLES)
           if i not in session.agent.tables.disabled]


async def table_features(session: Session, body: bytes) -> AsyncIterator[list[bytes]]:
    """An empty request reads; another changes the pipeline and is answered by what it is then."""
    version = session.version
    asked = decode_multipart_request(Multipart.TABLE_FEATURES, body, version)
    tables = session.agent.tables
    if asked.tables:
        session.standing.check_change()
        tables, egress = tables.checked(version, asked.tables, session.switch.bridge(session.bridge).egress_table)
        gone = tables.disabled - session.agent.tables.disabled
        if egress != session.switch.bridge(session.bridge).egress_table:
            await session.switch.change_bridge(replace(session.switch.bridge(session.bridge), egress_table=egress))
        session.agent.tables = tables
        await session.switch.clear_tables(session.bridge, gone)
    egress = session.switch.bridge(session.bridge).egress_table
    if version == OF15 and asked.tables:
        named = {entry.table_id for entry in asked.tables}
        yield [tables.entry(version, i, egress) for i in sorted(named - tables.disabled)]
        return
    for entry in tables.entries(version, egress):
        yield [entry]
