"""What the tables can do, as OFPMP_TABLE_FEATURES tells it (OpenFlow 1.3.5, 7.3.5.5; 1.5.1, 7.3.5.18), and what controllers
set of it: which tables there are, and their names. All tables can do the same but for the tables that may follow, so their
parts are made once."""
from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from vswitch.datapath.fields import FIELDS
from vswitch.datapath.records import TABLE_MAX_ENTRIES
from vswitch.errors import OpenFlowError
from vswitch.openflow.constants import N_TABLES, BadProperty, ErrorType, TableFeaturesFailed
from vswitch.openflow.layout import bad_property
from vswitch.openflow.messages import TABLE_PROPERTY
from vswitch.openflow.table_messages import TABLE_FEATURES
from vswitch.openflow.versions import OF14, OF15

ALL_BITS = 0xffffffffffffffff
_INSTRUCTIONS, _NEXT_TABLES, _WRITE_ACTIONS, _APPLY_ACTIONS = 0, 2, 4, 6
_MATCH, _WILDCARDS, _WRITE_SETFIELD, _APPLY_SETFIELD = 8, 10, 12, 14
_WRITE_COPYFIELD, _APPLY_COPYFIELD = 18, 20
_SUPPORTED = (_INSTRUCTIONS, _NEXT_TABLES, _WRITE_ACTIONS, _APPLY_ACTIONS, _MATCH, _WILDCARDS, _WRITE_SETFIELD,
              _APPLY_SETFIELD)
_SUPPORTED15 = (*_SUPPORTED, _WRITE_COPYFIELD, _APPLY_COPYFIELD)
_ONE_BYTE, _ID_LEN, _OXM_LEN = (_NEXT_TABLES, _NEXT_TABLES + 1), 4, 4
_EXPERIMENTER = 0xfffe
# goto-table, write-metadata, write-actions, apply-actions, clear-actions, and to 1.4 meter
_INSTRUCTION_TYPES = (1, 2, 3, 4, 5)
_METER_INSTRUCTION, _STAT_TRIGGER_INSTRUCTION = 6, 7
# All actions of 1.3, and 1.5's copy-field and meter
_ACTION_TYPES = (0, 11, 12, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27)
_ACTION_TYPES15 = (*_ACTION_TYPES, 28, 29)
_ID = struct.Struct("!HH")
_OXM = struct.Struct("!I")
_STANDARD_CLASSES = (0x8000, 0x8001, 0xffff)
_CAPABILITIES = 0xc         # OFPTC_EVICTION, VACANCY_EVENTS
_INGRESS, _EGRESS, _FIRST_EGRESS = 1, 2, 16     # ofp_table_feature_flag of 1.5


def _ids(types: tuple[int, ...]) -> bytes:
    return b"".join(_ID.pack(number, 4) for number in types)


@lru_cache(maxsize=None)
def _alike(version: int) -> list:
    fields = [f for f in FIELDS if f.oxm >> 16 in _STANDARD_CLASSES[:2 if version == OF15 else 1]]
    match = b"".join(_OXM.pack(f.oxm | int(f.maskable) << 8 | f.bytes << int(f.maskable)) for f in fields)
    settable = b"".join(_OXM.pack(f.oxm | f.bytes) for f in fields if f.settable)
    every = b"".join(_OXM.pack(f.oxm | f.bytes) for f in fields)
    actions = _ids(_ACTION_TYPES15 if version == OF15 else _ACTION_TYPES)
    properties = [(_WRITE_ACTIONS, actions), (_APPLY_ACTIONS, actions), (_MATCH, match), (_WILDCARDS, every),
                  (_WRITE_SETFIELD, settable), (_APPLY_SETFIELD, settable)]
    if version == OF15:
        properties += [(_WRITE_COPYFIELD, settable), (_APPLY_COPYFIELD, settable)]
    return [TABLE_PROPERTY(type=kind, data=data) for kind, data in properties]


@lru_cache(maxsize=None)
def _properties(version: int, table_id: int, egress: int = 0) -> list:
    end = egress if table_id < egress else N_TABLES
    last = table_id == end - 1
    instructions = _INSTRUCTION_TYPES[1:] if last else _INSTRUCTION_TYPES
    instructions += (_METER_INSTRUCTION,) if version < OF15 else (_STAT_TRIGGER_INSTRUCTION,)
    return [TABLE_PROPERTY(type=_INSTRUCTIONS, data=_ids(instructions)),
            TABLE_PROPERTY(type=_NEXT_TABLES, data=bytes(range(table_id + 1, end))), *_alike(version)]


@lru_cache(maxsize=8 * N_TABLES)
def _entry(version: int, table_id: int, name: str, egress: int) -> bytes:
    """Kept: all 254 take 30 ms, and ovs-ofctl asks for them with every command that could print a table's name."""
    layout = TABLE_FEATURES[version]
    entry = layout(table_id=table_id, name=name, metadata_match=ALL_BITS, metadata_write=ALL_BITS, max_entries=TABLE_MAX_ENTRIES,
                   properties=_properties(version, table_id, egress))
    if version >= OF14:
        entry.capabilities = _CAPABILITIES
    if version == OF15:
        entry.features = _able(table_id) | (_FIRST_EGRESS if egress and table_id == egress else 0)
    return layout.encode(entry)


@dataclass
class Tables:
    """One bridge's pipeline: the tables taken out of it, and the names of the others. `egress`, the first egress table or 0, is
    the bridge's and given with each call."""
    disabled: frozenset[int] = frozenset()
    names: dict[int, str] = field(default_factory=dict)

    def entry(self, version: int, table_id: int, egress: int = 0) -> bytes:
        """The table's ofp_table_features."""
        return _entry(version, table_id, self.names.get(table_id, f"table{table_id}"), egress)

    def entries(self, version: int, egress: int = 0) -> list[bytes]:
        return [self.entry(version, i, egress) for i in range(N_TABLES) if i not in self.disabled]

    def checked(self, version: int, asked: list, egress: int = 0) -> tuple[Tables, int]:
        """The pipeline that a request asks for, and its first egress table. OpenFlowError when a table is to do what it can't; nothing has changed."""
        if len(asked) > N_TABLES:
            raise _failed(TableFeaturesFailed.TOO_MANY if version == OF15 else TableFeaturesFailed.EPERM,
                          f"{len(asked)} tables, there are {N_TABLES}")
        named = [entry.table_id for entry in asked]
        if len(set(named)) != len(named):
            raise _failed(TableFeaturesFailed.BAD_TABLE, "a table is named twice")
        commands = {entry.command for entry in asked} if version == OF15 else {_REPLACE}
        if not commands <= {_REPLACE, _MODIFY, _ENABLE, _DISABLE} or _REPLACE in commands and len(commands) > 1:
            raise _failed(TableFeaturesFailed.BAD_COMMAND, "commands that are unknown, or replace besides others")
        for entry in asked:
            if entry.table_id >= N_TABLES:
                raise _failed(TableFeaturesFailed.BAD_TABLE, f"there is no table {entry.table_id}")
            if version < OF15 or entry.command in (_REPLACE, _MODIFY):
                _check(version, entry)
        disabled, names = set(self.disabled), dict(self.names)
        if commands == {_REPLACE}:
            disabled, names = set(range(N_TABLES)) - set(named), {}
        for entry in asked:
            command = entry.command if version == OF15 else _REPLACE
            if command == _DISABLE:
                disabled.add(entry.table_id)
            else:
                disabled.discard(entry.table_id)
            if command in (_REPLACE, _MODIFY) and entry.name:
                names[entry.table_id] = entry.name
        if 0 in disabled:
            raise _failed(TableFeaturesFailed.BAD_TABLE, "packets enter at table 0")
        if version == OF15:
            egress = _first_egress(asked, egress)
        if egress in disabled:
            raise _failed(TableFeaturesFailed.BAD_TABLE, f"table {egress} is the first egress table")
        return Tables(frozenset(disabled), names), egress


def _able(table_id: int) -> int:
    return _INGRESS | _EGRESS if table_id else _INGRESS


def _first_egress(asked: list, egress: int) -> int:
    """What a request of 1.5 makes of the first egress table: it stays where the request does not say of that table that it is
    another."""
    said = [entry for entry in asked if entry.command in (_REPLACE, _MODIFY)]
    flagged = [entry.table_id for entry in said if entry.features & _FIRST_EGRESS]
    if len(flagged) > 1:
        raise _failed(TableFeaturesFailed.BAD_FEATURES, f"tables {flagged[0]} and {flagged[1]} are both the first egress table")
    if flagged:
        return flagged[0]
    replaced = any(entry.command == _REPLACE for entry in said)
    return 0 if replaced or egress in (entry.table_id for entry in said) else egress


_REPLACE, _MODIFY, _ENABLE, _DISABLE = range(4)


def _failed(code: TableFeaturesFailed, reason: str) -> OpenFlowError:
    return OpenFlowError(ErrorType.TABLE_FEATURES_FAILED, code, reason, "table_features")


def _check(version: int, entry: Any) -> None:
    if entry.max_entries > TABLE_MAX_ENTRIES:
        raise _failed(TableFeaturesFailed.BAD_MAX_ENTRIES, f"a table has at most {TABLE_MAX_ENTRIES} entries")
    if version >= OF14 and entry.capabilities & ~_CAPABILITIES & ~0b11:
        raise _failed(TableFeaturesFailed.BAD_CAPABILITY, f"unknown capabilities {entry.capabilities:#x}")
    if version == OF15 and entry.features & ~(_able(entry.table_id) | (_FIRST_EGRESS if entry.table_id else 0)):
        raise _failed(TableFeaturesFailed.BAD_FEATURES, f"table {entry.table_id} has no features {entry.features:#x}")
    able = {item.type: _members(item) for item in _properties(version, entry.table_id)}
    seen = set()
    for item in entry.properties:
        if item.type >= _EXPERIMENTER:
            raise bad_property(BadProperty.BAD_EXPERIMENTER, "experimenters have no features here")
        kind = item.type & ~1       # an odd type is the same of the table-miss entry
        if kind not in able or item.type in (_MATCH + 1, _WILDCARDS + 1):
            raise bad_property(BadProperty.BAD_TYPE, f"unknown property type {item.type}")
        if item.type in seen:
            raise bad_property(BadProperty.DUP_TYPE, f"property type {item.type} is given twice")
        seen.add(item.type)
        if more := _members(item) - able[kind]:
            raise bad_property(BadProperty.BAD_VALUE, f"table {entry.table_id} can't do {sorted(more)[0]:#x}"
                                                      f" (property {item.type})")
    missing = {_INSTRUCTIONS, _WRITE_ACTIONS, _APPLY_ACTIONS, _MATCH, _WILDCARDS} - seen
    if missing and seen and version < OF15:
        raise bad_property(BadProperty.BAD_TYPE, f"property type {min(missing)} is missing")


def _members(item: Any) -> set[int]:
    """What a property lists: tables, types of instructions or actions, fields."""
    if item.type in _ONE_BYTE:
        return set(item.data)
    if item.type < _MATCH:
        if len(item.data) % _ID_LEN:
            raise bad_property(BadProperty.BAD_LEN, f"property type {item.type} has the wrong length")
        return {kind for kind, _ in _ID.iter_unpack(item.data)}
    if len(item.data) % _OXM_LEN:
        raise bad_property(BadProperty.BAD_LEN, f"property type {item.type} has the wrong length")
    return {header & ~0x1ff for (header,) in _OXM.iter_unpack(item.data)}
