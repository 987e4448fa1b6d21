"""Whether a rule, as a canonical flow_stats entry tells of it, is among those that a monitor asks for: its table, its match
(loosely, 1.3.5, 6.4), the ports and groups that it sends to."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from vswitch.openflow.constants import OFPG_ANY, OFPP_ANY, OFPTT_ALL

_FIXED = 48                 # ofp_flow_stats without its match
_WRITE_ACTIONS, _APPLY_ACTIONS = 3, 4
_OUTPUT, _GROUP = 0, 22
_EXPERIMENTER_CLASS = 0xffff


def match_end(entry: bytes) -> int:
    """Where an entry's match ends, with its padding."""
    return _FIXED + (int.from_bytes(entry[_FIXED + 2:_FIXED + 4], "big") + 7 & ~7)


def _fields(match: bytes) -> dict[int, tuple[int, int]]:
    """(value, mask) of each field of an OXM match; an experimenter's field has its id in the key."""
    fields: dict[int, tuple[int, int]] = {}
    at, end = 4, int.from_bytes(match[2:4], "big")
    while at + 4 <= end:
        header = int.from_bytes(match[at:at + 4], "big")
        value, at = match[at + 4:at + 4 + (header & 0xff)], at + 4 + (header & 0xff)
        key = header >> 9
        if header >> 16 == _EXPERIMENTER_CLASS:
            key = key << 32 | int.from_bytes(value[:4], "big")
            value = value[4:]
        if header & 0x100:
            half = len(value) // 2
            fields[key] = int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big")
        else:
            fields[key] = int.from_bytes(value, "big"), (1 << 8 * len(value)) - 1
    return fields


def _actions(entry: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of the actions in an entry's instructions."""
    at = match_end(entry)
    while at + 8 <= len(entry):
        kind, length = int.from_bytes(entry[at:at + 2], "big"), int.from_bytes(entry[at + 2:at + 4], "big")
        if length < 8:
            return
        if kind in (_WRITE_ACTIONS, _APPLY_ACTIONS):
            inner, end = at + 8, at + length
            while inner + 8 <= end:
                size = int.from_bytes(entry[inner + 2:inner + 4], "big")
                if size < 8:
                    return
                yield int.from_bytes(entry[inner:inner + 2], "big"), entry[inner:inner + size]
                inner += size
        at += length


@dataclass(frozen=True)
class Filter:
    table_id: int
    out_port: int
    out_group: int
    match: bytes            # canonical

    @cached_property
    def _wanted(self) -> dict[int, tuple[int, int]]:
        return _fields(self.match)

    def passes(self, entry: bytes) -> bool:
        if self.table_id not in (OFPTT_ALL, entry[2]):
            return False
        held = _fields(entry[_FIXED:match_end(entry)])
        for key, (value, mask) in self._wanted.items():
            its, its_mask = held.get(key, (0, 0))
            if mask & ~its_mask or (its ^ value) & mask:
                return False
        return self._sends(entry)

    def _sends(self, entry: bytes) -> bool:
        if self.out_port != OFPP_ANY and not any(
                kind == _OUTPUT and int.from_bytes(data[4:8], "big") == self.out_port for kind, data in _actions(entry)):
            return False
        return self.out_group == OFPG_ANY or any(
            kind == _GROUP and int.from_bytes(data[4:8], "big") == self.out_group for kind, data in _actions(entry))

    def request(self) -> bytes:
        """The canonical request for the rules that pass."""
        return (bytes((self.table_id, 0, 0, 0)) + self.out_port.to_bytes(4, "big") + self.out_group.to_bytes(4, "big")
                + bytes(20) + self.match)
