"""The datapath's list of match fields (datapath_c/flow/fields.def), as Python values."""
from __future__ import annotations

from dataclasses import dataclass

from vswitch._datapath import ffi, lib


@dataclass(frozen=True, slots=True)
class Field:
    name: str           # as ovs-ofctl and the specification write it, lower case
    oxm: int            # class << 16 | field << 9: the OXM header with has-mask and length clear
    bits: int           # 1..128
    bytes: int          # length of the value on the wire
    maskable: bool
    settable: bool      # set-field may change it
    prereq: str         # "none", "ipv4", ...: what else a match must hold (enum dp_prereq, without its prefix)
    order: int          # place in a serialised match

    @property
    def full_mask(self) -> int:
        return (1 << self.bits) - 1


def _read() -> tuple[Field, ...]:
    prereqs = ffi.typeof("enum dp_prereq").elements
    fields = []
    while (c := lib.dp_field_at(len(fields))) != ffi.NULL:
        fields.append(Field(ffi.string(c.name).decode(), c.oxm, c.bits, c.bytes, bool(c.maskable), bool(c.settable),
                            prereqs[c.prereq].removeprefix("DP_PRE_").lower(), len(fields)))
    return tuple(fields)


FIELDS = _read()
BY_NAME = {f.name: f for f in FIELDS}
BY_OXM = {f.oxm: f for f in FIELDS}
