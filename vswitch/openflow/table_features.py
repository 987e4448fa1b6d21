"""What the tables can do, as OFPMP_TABLE_FEATURES tells it (OpenFlow 1.3.5, 7.3.5.5). All tables are alike but for the
tables that may follow, so their parts are made once."""
from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache

from vswitch.datapath.fields import FIELDS
from vswitch.openflow.constants import N_TABLES
from vswitch.openflow.messages import TABLE_FEATURES, TABLE_PROPERTY

MAX_ENTRIES = 1_000_000     # a table; the tenant's quota over all tables may be less
ALL_BITS = 0xffffffffffffffff
_INSTRUCTIONS, _NEXT_TABLES, _WRITE_ACTIONS, _APPLY_ACTIONS = 0, 2, 4, 6
_MATCH, _WILDCARDS, _WRITE_SETFIELD, _APPLY_SETFIELD = 8, 10, 12, 14
# goto-table, write-metadata, write-actions, apply-actions, clear-actions
_INSTRUCTION_TYPES = (1, 2, 3, 4, 5)
# All actions of 1.3 but group
_ACTION_TYPES = (0, 11, 12, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27)
_ID = struct.Struct("!HH")


def _ids(types: tuple[int, ...]) -> bytes:
    return b"".join(_ID.pack(number, 4) for number in types)


@lru_cache(maxsize=None)
def _alike() -> list:
    oxm = {f.name: struct.pack("!I", f.oxm | int(f.maskable) << 8 | f.bytes << int(f.maskable)) for f in FIELDS}
    match = b"".join(oxm.values())
    settable = b"".join(struct.pack("!I", f.oxm | f.bytes) for f in FIELDS if f.settable)
    wildcards = b"".join(struct.pack("!I", f.oxm | f.bytes) for f in FIELDS)
    properties = ((_WRITE_ACTIONS, _ids(_ACTION_TYPES)), (_APPLY_ACTIONS, _ids(_ACTION_TYPES)), (_MATCH, match),
                  (_WILDCARDS, wildcards), (_WRITE_SETFIELD, settable), (_APPLY_SETFIELD, settable))
    return [TABLE_PROPERTY(type=kind, data=data) for kind, data in properties]


@lru_cache(maxsize=None)
def _table(table_id: int) -> bytes:
    last = table_id == N_TABLES - 1
    instructions = _INSTRUCTION_TYPES[1:] if last else _INSTRUCTION_TYPES
    return TABLE_FEATURES.encode(TABLE_FEATURES(
        table_id=table_id, name=f"table{table_id}", metadata_match=ALL_BITS, metadata_write=ALL_BITS, config=0,
        max_entries=MAX_ENTRIES, properties=[
            TABLE_PROPERTY(type=_INSTRUCTIONS, data=_ids(instructions)),
            TABLE_PROPERTY(type=_NEXT_TABLES, data=bytes(range(table_id + 1, N_TABLES))), *_alike()]))


def table_features() -> Iterator[bytes]:
    """An ofp_table_features a table."""
    return map(_table, range(N_TABLES))
