"""Actions and instructions, both ways (OpenFlow 1.3.5, 7.2.4 and 7.2.5), as small dataclasses.

Every class but SetField and Experimenter is one line of a table: its number on the wire, its `struct` format and the
attributes that the format packs. Errors are OpenFlowError of type OFPET_BAD_ACTION or OFPET_BAD_INSTRUCTION.
"""
from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, fields

from vswitch.datapath.fields import BY_OXM
from vswitch.errors import OpenFlowError
from vswitch.openflow import oxm
from vswitch.openflow.constants import OFPCML_NO_BUFFER, BadAction, BadInstruction, ErrorType


@dataclass(frozen=True, slots=True)
class Output:
    port: int
    max_len: int = OFPCML_NO_BUFFER     # bytes of the packet sent to a controller; OFPCML_NO_BUFFER = all


@dataclass(frozen=True, slots=True)
class CopyTtlOut:
    pass


@dataclass(frozen=True, slots=True)
class CopyTtlIn:
    pass


@dataclass(frozen=True, slots=True)
class SetMplsTtl:
    ttl: int


@dataclass(frozen=True, slots=True)
class DecMplsTtl:
    pass


@dataclass(frozen=True, slots=True)
class PushVlan:
    ethertype: int = 0x8100


@dataclass(frozen=True, slots=True)
class PopVlan:
    pass


@dataclass(frozen=True, slots=True)
class PushMpls:
    ethertype: int = 0x8847


@dataclass(frozen=True, slots=True)
class PopMpls:
    ethertype: int


@dataclass(frozen=True, slots=True)
class SetQueue:
    queue: int


@dataclass(frozen=True, slots=True)
class Group:
    group: int


@dataclass(frozen=True, slots=True)
class SetNwTtl:
    ttl: int


@dataclass(frozen=True, slots=True)
class DecNwTtl:
    pass


@dataclass(frozen=True, slots=True)
class PushPbb:
    ethertype: int = 0x88e7


@dataclass(frozen=True, slots=True)
class PopPbb:
    pass


@dataclass(frozen=True, slots=True)
class SetField:
    field: str
    value: int | bytes


@dataclass(frozen=True, slots=True)
class ExperimenterAction:
    experimenter: int
    data: bytes = b""


Action = (Output | CopyTtlOut | CopyTtlIn | SetMplsTtl | DecMplsTtl | PushVlan | PopVlan | PushMpls | PopMpls | SetQueue
          | Group | SetNwTtl | DecNwTtl | PushPbb | PopPbb | SetField | ExperimenterAction)

OFPAT_SET_FIELD = 25
OFPAT_EXPERIMENTER = 0xffff

# Number, class, format of what follows type and length.
_ACTIONS = {number: (cls, struct.Struct("!" + form)) for number, cls, form in (
    (0, Output, "IH6x"), (11, CopyTtlOut, "4x"), (12, CopyTtlIn, "4x"), (15, SetMplsTtl, "B3x"), (16, DecMplsTtl, "4x"),
    (17, PushVlan, "H2x"), (18, PopVlan, "4x"), (19, PushMpls, "H2x"), (20, PopMpls, "H2x"), (21, SetQueue, "I"),
    (22, Group, "I"), (23, SetNwTtl, "B3x"), (24, DecNwTtl, "4x"), (26, PushPbb, "H2x"), (27, PopPbb, "4x"))}


@dataclass(frozen=True, slots=True)
class GotoTable:
    table: int


@dataclass(frozen=True, slots=True)
class WriteMetadata:
    metadata: int
    mask: int = 0xffffffffffffffff


@dataclass(frozen=True, slots=True)
class Meter:
    meter: int


@dataclass(frozen=True, slots=True)
class WriteActions:
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class ApplyActions:
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class ClearActions:
    pass


@dataclass(frozen=True, slots=True)
class StatTrigger:
    """The rule's statistics are told when they pass one of these (OpenFlow 1.5.1, 7.2.5): nanoseconds, numbers; None = not
    watched. `periodic`: at all their multiples; `only_first`: at the one that is passed first."""
    duration: int | None = None
    idle_time: int | None = None
    flows: int | None = None
    packets: int | None = None
    bytes: int | None = None
    periodic: bool = False
    only_first: bool = False


@dataclass(frozen=True, slots=True)
class ExperimenterInstruction:
    experimenter: int
    data: bytes = b""


Instruction = (GotoTable | WriteMetadata | WriteActions | ApplyActions | ClearActions | Meter | StatTrigger | ExperimenterInstruction)

_INSTRUCTIONS = {number: (cls, struct.Struct("!" + form)) for number, cls, form in (
    (1, GotoTable, "B3x"), (2, WriteMetadata, "4xQQ"), (5, ClearActions, "4x"), (6, Meter, "I"))}
_WITH_ACTIONS = {3: WriteActions, 4: ApplyActions}
OFPIT_STAT_TRIGGER, OFPIT_EXPERIMENTER = 7, 0xffff
_OXS = {"duration": 0, "idle_time": 1, "flows": 3, "packets": 4, "bytes": 5}    # of class OFPXSC_OPENFLOW_BASIC (7.2.4.4)
_OXS_NAMES = {0x80020000 | number << 9 | (4 if name == "flows" else 8): name for name, number in _OXS.items()}
_BILLION = 1_000_000_000

_NUMBERS = {cls: number for table in (_ACTIONS, _INSTRUCTIONS) for number, (cls, _) in table.items()}
_NUMBERS |= {cls: number for number, cls in _WITH_ACTIONS.items()}
_TL = struct.Struct("!HH")


def _pack(cls_number: int, form: struct.Struct, value: object) -> bytes:
    return _TL.pack(cls_number, 4 + form.size) + form.pack(*(getattr(value, f.name) for f in fields(value)))


def encode_action(action: Action) -> bytes:
    match action:
        case SetField(field, value):
            tlv = oxm.encode_field(field, value)
            length = 4 + len(tlv) + 7 & ~7
            return (_TL.pack(OFPAT_SET_FIELD, length) + tlv).ljust(length, b"\0")
        case ExperimenterAction(experimenter, data):
            length = 8 + len(data) + 7 & ~7
            return (_TL.pack(OFPAT_EXPERIMENTER, length) + struct.pack("!I", experimenter) + data).ljust(length, b"\0")
        case _:
            number = _NUMBERS[type(action)]
            return _pack(number, _ACTIONS[number][1], action)


def encode_actions(actions: Iterable[Action]) -> bytes:
    return b"".join(map(encode_action, actions))


def _bad_action(code: BadAction, reason: str) -> OpenFlowError:
    return OpenFlowError(ErrorType.BAD_ACTION, code, reason, "actions")


def _decode_set_field(body: bytes) -> SetField:
    header = int.from_bytes(body[:4], "big")
    if header & 0xfffffe00 not in BY_OXM:
        raise _bad_action(BadAction.BAD_SET_TYPE, f"set-field of unknown OXM {header:#x}")
    name, value, mask, used = oxm.decode_field(body)
    if mask is not None:
        raise _bad_action(BadAction.BAD_SET_TYPE, f"set-field of {name} has a mask")
    if 4 + len(body) != 4 + used + 7 & ~7:
        raise _bad_action(BadAction.BAD_SET_LEN, f"set-field of {name} has the wrong length")
    return SetField(name, value)


def decode_actions(data: bytes) -> list[Action]:
    """Actions that fill `data` exactly."""
    actions: list[Action] = []
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise _bad_action(BadAction.BAD_LEN, "an action is cut off")
        number, length = _TL.unpack_from(data, at)
        if length < 8 or length % 8 or length > len(data) - at:
            raise _bad_action(BadAction.BAD_LEN, f"action type {number} claims {length} bytes")
        body = bytes(data[at + 4:at + length])
        if number == OFPAT_SET_FIELD:
            actions.append(_decode_set_field(body))
        elif number == OFPAT_EXPERIMENTER:
            actions.append(ExperimenterAction(int.from_bytes(body[:4], "big"), body[4:]))
        elif number in _ACTIONS:
            cls, form = _ACTIONS[number]
            if form.size != len(body):
                raise _bad_action(BadAction.BAD_LEN, f"action type {number} is {length} bytes long")
            actions.append(cls(*form.unpack(body)))
        else:
            raise _bad_action(BadAction.BAD_TYPE, f"unknown action type {number}")
        at += length
    return actions


def encode_instruction(instruction: Instruction) -> bytes:
    match instruction:
        case WriteActions(actions) | ApplyActions(actions):
            body = encode_actions(actions)
            return _TL.pack(_NUMBERS[type(instruction)], 8 + len(body)) + bytes(4) + body
        case StatTrigger():
            return _encode_trigger(instruction)
        case ExperimenterInstruction(experimenter, data):
            return _TL.pack(OFPIT_EXPERIMENTER, 8 + len(data)) + struct.pack("!I", experimenter) + data
        case _:
            number = _NUMBERS[type(instruction)]
            return _pack(number, _INSTRUCTIONS[number][1], instruction)


def _encode_trigger(trigger: StatTrigger) -> bytes:
    thresholds = b""
    for header, name in _OXS_NAMES.items():
        value = getattr(trigger, name)
        if value is not None:
            if name in ("duration", "idle_time"):
                value = value // _BILLION << 32 | value % _BILLION
            thresholds += header.to_bytes(4, "big") + value.to_bytes(header & 0xff, "big")
    flags = int(trigger.periodic) | int(trigger.only_first) << 1
    length = 12 + len(thresholds) + 7 & ~7
    return (_TL.pack(OFPIT_STAT_TRIGGER, length) + struct.pack("!IHH", flags, 0, 4 + len(thresholds)) + thresholds).ljust(length, b"\0")


def _decode_trigger(body: bytes) -> StatTrigger:
    if len(body) < 8:
        raise _bad_instruction(BadInstruction.BAD_LEN, "a statistics trigger is cut off")
    flags, _, length = struct.unpack_from("!IHH", body)
    thresholds, at, end = {}, 8, 4 + length
    while at < end:
        header = int.from_bytes(body[at:at + 4], "big")
        if header not in _OXS_NAMES or end > len(body):
            raise _bad_instruction(BadInstruction.UNSUP_INST, f"OXS {header:#x} is no statistic of a rule")
        value = int.from_bytes(body[at + 4:at + 4 + (header & 0xff)], "big")
        if _OXS_NAMES[header] in ("duration", "idle_time"):
            value = (value >> 32) * _BILLION + (value & 0xffffffff)
        thresholds[_OXS_NAMES[header]] = value
        at += 4 + (header & 0xff)
    return StatTrigger(**thresholds, periodic=bool(flags & 1), only_first=bool(flags & 2))


def encode_instructions(instructions: Iterable[Instruction]) -> bytes:
    return b"".join(map(encode_instruction, instructions))


def _bad_instruction(code: BadInstruction, reason: str) -> OpenFlowError:
    return OpenFlowError(ErrorType.BAD_INSTRUCTION, code, reason, "instructions")


def decode_instructions(data: bytes) -> list[Instruction]:
    """Instructions that fill `data` exactly."""
    instructions: list[Instruction] = []
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise _bad_instruction(BadInstruction.BAD_LEN, "an instruction is cut off")
        number, length = _TL.unpack_from(data, at)
        if length < 8 or length > len(data) - at:
            raise _bad_instruction(BadInstruction.BAD_LEN, f"instruction type {number} claims {length} bytes")
        body = bytes(data[at + 4:at + length])
        if number in _WITH_ACTIONS:
            instructions.append(_WITH_ACTIONS[number](tuple(decode_actions(body[4:]))))
        elif number == OFPIT_STAT_TRIGGER:
            instructions.append(_decode_trigger(body))
        elif number == OFPIT_EXPERIMENTER:
            instructions.append(ExperimenterInstruction(int.from_bytes(body[:4], "big"), body[4:]))
        elif number in _INSTRUCTIONS:
            cls, form = _INSTRUCTIONS[number]
            if form.size != len(body):
                raise _bad_instruction(BadInstruction.BAD_LEN, f"instruction type {number} is {length} bytes long")
            instructions.append(cls(*form.unpack(body)))
        else:
            raise _bad_instruction(BadInstruction.UNKNOWN_INST, f"unknown instruction type {number}")
        at += length
    return instructions
