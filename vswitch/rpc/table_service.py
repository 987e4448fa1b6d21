"""TableService (proto/vswitch/v1/table.proto)."""
from __future__ import annotations

from dataclasses import replace

from vswitch.datapath.records import TABLE_MAX_ENTRIES, TableRecord
from vswitch.errors import InvalidError
from vswitch.model.switch import Switch
from vswitch.openflow.constants import N_TABLES
from vswitch.rpc.lookup import find_bridge
from vswitch.rpc.messages import present_fields
from vswitch.rpc.v1 import table_pb2, table_pb2_grpc

_CONTINUE, _DROP, _EVICTION, _VACANCY = 1, 2, 4, 8      # enum dp_table_config
_MISS = {table_pb2.TABLE_MISS_DEFAULT: 0, table_pb2.TABLE_MISS_CONTINUE: _CONTINUE, table_pb2.TABLE_MISS_DROP: _DROP}
_MISS_NUMBERS = {bits: number for number, bits in _MISS.items()}


class TableService(table_pb2_grpc.TableServiceServicer):
    def __init__(self, switch: Switch):
        self.switch = switch

    async def SetTable(self, request, context):
        bridge = find_bridge(self.switch, request.bridge)
        if request.HasField("table_id") and request.table_id >= N_TABLES:
            raise InvalidError(f"{request.table_id} is not in 0..{N_TABLES - 1}", "table_id")
        if request.HasField("max_entries") and not 1 <= request.max_entries <= TABLE_MAX_ENTRIES:
            raise InvalidError(f"{request.max_entries} is not in 1..{TABLE_MAX_ENTRIES}", "max_entries")
        if request.HasField("miss") and request.miss not in _MISS:
            raise InvalidError(f"{request.miss} is no TableMiss", "miss")
        held = {record.table_id: record for record in await self.switch.tables(bridge.name)}
        asked = [request.table_id] if request.HasField("table_id") else range(N_TABLES)
        wanted = [_changed(held.get(number) or TableRecord(table_id=number), request) for number in asked]
        for record in wanted:
            if not record.vacancy_down <= record.vacancy_up <= 100:
                raise InvalidError(f"vacancy_down {record.vacancy_down} <= vacancy_up {record.vacancy_up} <= 100 must hold",
                                   "vacancy_down" if record.vacancy_up <= 100 else "vacancy_up")
        for record in wanted:
            await self.switch.set_table(bridge.name, record)
        return table_pb2.SetTableResponse()

    async def ListTables(self, request, context):
        bridge = find_bridge(self.switch, request.bridge)
        rules = {table: active for table, active, _, _ in await self.switch.table_stats(bridge.name)}
        records = sorted(await self.switch.tables(bridge.name), key=lambda record: record.table_id)
        return table_pb2.ListTablesResponse(tables=[_message(record, rules.get(record.table_id, 0)) for record in records])


def _changed(record: TableRecord, request: table_pb2.SetTableRequest) -> TableRecord:
    config = record.config
    for field, bit in (("eviction", _EVICTION), ("vacancy_events", _VACANCY)):
        if request.HasField(field):
            config = config | bit if getattr(request, field) else config & ~bit
    if request.HasField("miss"):
        config = config & ~(_CONTINUE | _DROP) | _MISS[request.miss]
    return replace(record, config=config, **present_fields(request, ("max_entries", "vacancy_down", "vacancy_up")))


def _message(record: TableRecord, rules: int) -> table_pb2.Table:
    return table_pb2.Table(table_id=record.table_id, rules=rules, max_entries=record.max_entries or TABLE_MAX_ENTRIES,
                           eviction=bool(record.config & _EVICTION), vacancy_events=bool(record.config & _VACANCY),
                           vacancy_down=record.vacancy_down, vacancy_up=record.vacancy_up, vacancy=record.vacancy,
                           miss=_MISS_NUMBERS[record.config & (_CONTINUE | _DROP)])
