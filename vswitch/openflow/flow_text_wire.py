"""A rule between its text or its API message and OpenFlow 1.3's bytes (7.2.2 to 7.2.5, 7.3.4).

What the front doors build and read: plain values, field by field. Bodies are what follows the ofp_header, network order.
"""
from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from vswitch.errors import InvalidError
from vswitch.openflow.flow_text_fields import FIELDS_BY_OXM, Field

OFPP_MAX = 0xffffff00
OFPP_IN_PORT = 0xfffffff8
OFPP_CONTROLLER = 0xfffffffd
OFPP_ANY = 0xffffffff
OFPG_ANY = 0xffffffff
OFPTT_ALL = 0xff
OFP_NO_BUFFER = 0xffffffff
MAX_LEN_ALL = 0xffff

COMMANDS = {"add": 0, "modify": 1, "modify_strict": 2, "delete": 3, "delete_strict": 4}
FLAGS = {"send_flow_rem": 1, "check_overlap": 2, "reset_counts": 4, "no_packet_counts": 8, "no_byte_counts": 16}

# OFPAT_* by name: type, and how the 4 bytes after the header hold the argument ("" = there is none).
ACTION_TYPES = {
    "output": (0, ""), "copy_ttl_out": (11, ""), "copy_ttl_in": (12, ""), "set_mpls_ttl": (15, "Bxxx"),
    "dec_mpls_ttl": (16, ""), "push_vlan": (17, "Hxx"), "pop_vlan": (18, ""), "push_mpls": (19, "Hxx"),
    "pop_mpls": (20, "Hxx"), "set_queue": (21, "I"), "group": (22, "I"), "set_nw_ttl": (23, "Bxxx"),
    "dec_nw_ttl": (24, ""), "set_field": (25, ""), "push_pbb": (26, "Hxx"), "pop_pbb": (27, ""),
}
ACTION_NAMES = {number: name for name, (number, _) in ACTION_TYPES.items()}

# OFPIT_* by name, in the order in which a switch carries them out (5.9).
INSTRUCTION_TYPES = {"meter": 6, "apply_actions": 4, "clear_actions": 5, "write_actions": 3, "write_metadata": 2,
                     "goto_table": 1}
INSTRUCTION_NAMES = {number: name for name, number in INSTRUCTION_TYPES.items()}

_FLOW_MOD = struct.Struct("!QQBBHHHIIIHxx")
_FLOW_STATS = struct.Struct("!HBxIIHHHHxxxxQQQ")
_STATS_REQUEST = struct.Struct("!BxxxIIxxxxQQ")
_FLOW_REMOVED = struct.Struct("!QHBBIIHHQQ")
_PACKET_OUT = struct.Struct("!IIHxxxxxx")


class FieldValue(NamedTuple):
    """A match field or the argument of set_field. `mask` None = exact."""
    field: Field
    value: int
    mask: int | None = None


class Action(NamedTuple):
    """`value` is the action's one number (an output's port); `max_len` an output's, bytes; `target` a set_field's."""
    name: str
    value: int = 0
    max_len: int = 0
    target: FieldValue | None = None


class Instruction(NamedTuple):
    """`value` is a table, a meter or the metadata; `actions` those of apply_actions and write_actions."""
    name: str
    value: int = 0
    mask: int = 0
    actions: tuple[Action, ...] = ()


@dataclass
class Rule:
    """A flow_mod without its command, or a flow_stats entry without its counters. Ranges as OpenFlow's own fields."""
    table_id: int = 0
    priority: int = 0x8000
    cookie: int = 0
    cookie_mask: int = 0
    idle_timeout: int = 0
    hard_timeout: int = 0
    flags: int = 0
    match: list[FieldValue] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    out_port: int = OFPP_ANY
    out_group: int = OFPG_ANY


class RuleStats(NamedTuple):
    """A flow_stats entry, or what a flow_removed says of its rule. `reason` is flow_removed's."""
    rule: Rule
    duration_nsec: int
    packets: int
    bytes: int
    reason: int = 0


# -- writing

def _pad8(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _oxm(item: FieldValue) -> bytes:
    size = item.field.bytes
    value = item.value.to_bytes(size, "big")
    if item.mask is None:
        return struct.pack("!I", item.field.oxm | size) + value
    return struct.pack("!I", item.field.oxm | 0x100 | 2 * size) + value + item.mask.to_bytes(size, "big")


def match_bytes(match: list[FieldValue]) -> bytes:
    """An ofp_match with its padding, fields in the list's order of prerequisites."""
    fields = b"".join(_oxm(item) for item in sorted(match, key=lambda item: item.field.index))
    return _pad8(struct.pack("!HH", 1, 4 + len(fields)) + fields)


def action_bytes(action: Action) -> bytes:
    number, layout = ACTION_TYPES[action.name]
    if action.name == "output":
        return struct.pack("!HHIHxxxxxx", number, 16, action.value, action.max_len)
    if action.name == "set_field":
        body = _oxm(action.target)
        length = (4 + len(body) + 7) // 8 * 8
        return (struct.pack("!HH", number, length) + body).ljust(length, b"\0")
    if layout:
        return struct.pack("!HH" + layout, number, 8, action.value)
    return struct.pack("!HHxxxx", number, 8)


def actions_bytes(actions) -> bytes:
    return b"".join(map(action_bytes, actions))


def instruction_bytes(instruction: Instruction) -> bytes:
    number = INSTRUCTION_TYPES[instruction.name]
    match instruction.name:
        case "goto_table":
            return struct.pack("!HHBxxx", number, 8, instruction.value)
        case "meter":
            return struct.pack("!HHI", number, 8, instruction.value)
        case "write_metadata":
            return struct.pack("!HHxxxxQQ", number, 24, instruction.value, instruction.mask)
    actions = actions_bytes(instruction.actions)
    if len(actions) > 0xfff0:
        raise InvalidError("more actions than one OpenFlow message holds", "actions")
    return struct.pack("!HHxxxx", number, 8 + len(actions)) + actions


def flow_mod_body(rule: Rule, command: str) -> bytes:
    """An ofp_flow_mod; `command` is a key of COMMANDS."""
    return (_FLOW_MOD.pack(rule.cookie, rule.cookie_mask, rule.table_id, COMMANDS[command], rule.idle_timeout,
                           rule.hard_timeout, rule.priority, OFP_NO_BUFFER, rule.out_port, rule.out_group, rule.flags)
            + match_bytes(rule.match) + b"".join(map(instruction_bytes, rule.instructions)))


def stats_request_body(rule: Rule) -> bytes:
    """An ofp_flow_stats_request for the rules that `rule`'s table, match, cookie and outputs cover."""
    return (_STATS_REQUEST.pack(rule.table_id, rule.out_port, rule.out_group, rule.cookie, rule.cookie_mask)
            + match_bytes(rule.match))


def packet_out_body(in_port: int, actions: bytes, frame: bytes) -> bytes:
    """An ofp_packet_out that carries its frame; in_port 0 = from the controller."""
    return _PACKET_OUT.pack(OFP_NO_BUFFER, in_port or OFPP_CONTROLLER, len(actions)) + actions + frame


# -- reading: of bytes that the datapath wrote

def read_match(data: bytes, offset: int) -> tuple[list[FieldValue], int]:
    """The fields of the ofp_match at `offset`, and the offset after its padding."""
    length = struct.unpack_from("!H", data, offset + 2)[0]
    at, end, match = offset + 4, offset + length, []
    while at < end:
        header = struct.unpack_from("!I", data, at)[0]
        size, masked = header & 0xff, header & 0x100
        known = FIELDS_BY_OXM.get(header & ~0x1ff)
        if known is None:
            raise InvalidError(f"the datapath sent an unknown match field {header:#010x}", "match")
        half = size // 2 if masked else size
        value = int.from_bytes(data[at + 4:at + 4 + half], "big")
        mask = int.from_bytes(data[at + 4 + half:at + 4 + size], "big") if masked else None
        match.append(FieldValue(known, value, mask))
        at += 4 + size
    return match, offset + (length + 7) // 8 * 8


def read_actions(data: bytes, at: int, end: int) -> tuple[Action, ...]:
    actions = []
    while at < end:
        number, length = struct.unpack_from("!HH", data, at)
        name = ACTION_NAMES.get(number)
        if name is None or length < 8:
            raise InvalidError(f"the datapath sent an unknown action {number}", "actions")
        if name == "output":
            actions.append(Action(name, *struct.unpack_from("!IH", data, at + 4)))
        elif name == "set_field":
            header = struct.unpack_from("!I", data, at + 4)[0]
            known = FIELDS_BY_OXM[header & ~0x1ff]
            value = int.from_bytes(data[at + 8:at + 8 + known.bytes], "big")
            mask = None
            if header & 0x100:
                mask = int.from_bytes(data[at + 8 + known.bytes:at + 8 + 2 * known.bytes], "big")
            actions.append(Action(name, target=FieldValue(known, value, mask)))
        else:
            layout = ACTION_TYPES[name][1]
            actions.append(Action(name, *struct.unpack_from("!" + layout, data, at + 4)) if layout else Action(name))
        at += length
    return tuple(actions)


def read_instructions(data: bytes, at: int, end: int) -> list[Instruction]:
    instructions = []
    while at < end:
        number, length = struct.unpack_from("!HH", data, at)
        name = INSTRUCTION_NAMES.get(number)
        if name is None or length < 8:
            raise InvalidError(f"the datapath sent an unknown instruction {number}", "instructions")
        match name:
            case "goto_table":
                instructions.append(Instruction(name, data[at + 4]))
            case "meter":
                instructions.append(Instruction(name, struct.unpack_from("!I", data, at + 4)[0]))
            case "write_metadata":
                instructions.append(Instruction(name, *struct.unpack_from("!QQ", data, at + 8)))
            case _:
                instructions.append(Instruction(name, actions=read_actions(data, at + 8, at + length)))
        at += length
    return instructions


def read_flow_stats(entry: bytes) -> RuleStats:
    """An ofp_flow_stats."""
    (length, table, seconds, nanoseconds, priority, idle, hard, flags, cookie, packets,
     octets) = _FLOW_STATS.unpack_from(entry)
    match, at = read_match(entry, _FLOW_STATS.size)
    rule = Rule(table, priority, cookie, 0, idle, hard, flags, match, read_instructions(entry, at, length))
    return RuleStats(rule, seconds * 10**9 + nanoseconds, packets, octets)


def read_flow_removed(body: bytes) -> RuleStats:
    """An ofp_flow_removed."""
    (cookie, priority, reason, table, seconds, nanoseconds, idle, hard, packets,
     octets) = _FLOW_REMOVED.unpack_from(body)
    match, _ = read_match(body, _FLOW_REMOVED.size)
    return RuleStats(Rule(table, priority, cookie, 0, idle, hard, 0, match), seconds * 10**9 + nanoseconds, packets, octets,
                     reason)


def read_flow_mod(body: bytes) -> tuple[str, Rule]:
    """An ofp_flow_mod: its command's name and its rule."""
    (cookie, cookie_mask, table, command, idle, hard, priority, _, out_port, out_group,
     flags) = _FLOW_MOD.unpack_from(body)
    match, at = read_match(body, _FLOW_MOD.size)
    names = list(COMMANDS)
    return names[command], Rule(table, priority, cookie, cookie_mask, idle, hard, flags, match,
                                read_instructions(body, at, len(body)), out_port, out_group)
