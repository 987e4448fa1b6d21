"""A rule as plain values, between its text or its API message and OpenFlow 1.3's bodies (7.3.4.1, 7.3.5.2, 7.4.2).

A body is what follows the ofp_header, in network order. Match fields are as in vswitch.openflow.oxm, instructions and
actions as in vswitch.openflow.actions.
"""
from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from vswitch.openflow.actions import (Action, ApplyActions, ClearActions, GotoTable, Instruction, Meter, StatTrigger, WriteActions,
                                      WriteMetadata, decode_instructions, encode_actions, encode_instructions)
from vswitch.openflow.constants import (OFP_NO_BUFFER, OFPG_ANY, OFPP_ANY, OFPP_CONTROLLER, FlowFlag,
                                        FlowModCommand)
from vswitch.openflow.oxm import decode_match, encode_match

COMMANDS = {"add": FlowModCommand.ADD, "modify": FlowModCommand.MODIFY, "modify_strict": FlowModCommand.MODIFY_STRICT,
            "delete": FlowModCommand.DELETE, "delete_strict": FlowModCommand.DELETE_STRICT}
COMMAND_NAMES = {number: name for name, number in COMMANDS.items()}

# Flags that a rule keeps; check_overlap and reset_counts matter only while it is written.
LASTING_FLAGS = FlowFlag.SEND_FLOW_REM | FlowFlag.NO_PKT_COUNTS | FlowFlag.NO_BYT_COUNTS

# In the order in which a switch carries them out (5.9).
INSTRUCTION_ORDER = (Meter, ApplyActions, ClearActions, WriteActions, WriteMetadata, StatTrigger, GotoTable)

_FLOW_MOD = struct.Struct("!QQBBHHHIIIHxx")
_FLOW_STATS = struct.Struct("!HBxIIHHHHxxxxQQQ")
_STATS_REQUEST = struct.Struct("!BxxxIIxxxxQQ")
_FLOW_REMOVED = struct.Struct("!QHBBIIHHQQ")
_PACKET_OUT = struct.Struct("!IIHxxxxxx")

FieldMatch = dict[str, tuple[int, int | None]]


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
    match: FieldMatch = field(default_factory=dict)
    instructions: list[Instruction] = field(default_factory=list)
    out_port: int = OFPP_ANY
    out_group: int = OFPG_ANY

    @property
    def key(self) -> tuple:
        """What makes a rule one rule: adding another with the same key replaces it."""
        return self.table_id, self.priority, frozenset(self.match.items())

    @property
    def lasting(self) -> tuple:
        """All of a rule in a table that is not its key."""
        return (self.cookie, self.idle_timeout, self.hard_timeout, self.flags & LASTING_FLAGS, self.instructions)


class RuleStats(NamedTuple):
    """A flow_stats entry, or what a flow_removed says of its rule. `reason` is flow_removed's."""
    rule: Rule
    duration_nsec: int
    packets: int
    bytes: int
    reason: int = 0


def flow_mod_body(rule: Rule, command: str) -> bytes:
    """An ofp_flow_mod; `command` is a key of COMMANDS."""
    return (_FLOW_MOD.pack(rule.cookie, rule.cookie_mask, rule.table_id, COMMANDS[command], rule.idle_timeout,
                           rule.hard_timeout, rule.priority, OFP_NO_BUFFER, rule.out_port, rule.out_group, rule.flags)
            + encode_match(rule.match) + encode_instructions(rule.instructions))


def strict_deletion_body(rule: Rule) -> bytes:
    """An ofp_flow_mod that deletes exactly this rule."""
    return flow_mod_body(Rule(rule.table_id, rule.priority, match=rule.match), "delete_strict")


def stats_request_body(rule: Rule) -> bytes:
    """An ofp_flow_stats_request for the rules that `rule`'s table, match, cookie and outputs cover."""
    return (_STATS_REQUEST.pack(rule.table_id, rule.out_port, rule.out_group, rule.cookie, rule.cookie_mask)
            + encode_match(rule.match))


def packet_out_body(in_port: int, actions: Iterable[Action], frame: bytes) -> bytes:
    """An ofp_packet_out that carries its frame; in_port 0 = from the controller."""
    encoded = encode_actions(actions)
    return _PACKET_OUT.pack(OFP_NO_BUFFER, in_port or OFPP_CONTROLLER, len(encoded)) + encoded + frame


def read_flow_stats(entry: bytes) -> RuleStats:
    """An ofp_flow_stats."""
    (length, table, seconds, nanoseconds, priority, idle, hard, flags, cookie, packets,
     octets) = _FLOW_STATS.unpack_from(entry)
    match, size = decode_match(entry, _FLOW_STATS.size)
    instructions = decode_instructions(entry[_FLOW_STATS.size + size:length])
    rule = Rule(table, priority, cookie, 0, idle, hard, flags, match, instructions)
    return RuleStats(rule, seconds * 10**9 + nanoseconds, packets, octets)


def read_flow_removed(body: bytes) -> RuleStats:
    """An ofp_flow_removed."""
    (cookie, priority, reason, table, seconds, nanoseconds, idle, hard, packets,
     octets) = _FLOW_REMOVED.unpack_from(body)
    match, _ = decode_match(body, _FLOW_REMOVED.size)
    return RuleStats(Rule(table, priority, cookie, 0, idle, hard, 0, match), seconds * 10**9 + nanoseconds, packets, octets,
                     reason)


def read_flow_mod(body: bytes) -> tuple[str, Rule]:
    """An ofp_flow_mod: its command's name and its rule."""
    (cookie, cookie_mask, table, command, idle, hard, priority, _, out_port, out_group,
     flags) = _FLOW_MOD.unpack_from(body)
    match, size = decode_match(body, _FLOW_MOD.size)
    instructions = decode_instructions(body[_FLOW_MOD.size + size:])
    return COMMAND_NAMES[command], Rule(table, priority, cookie, cookie_mask, idle, hard, flags, match, instructions,
                                        out_port, out_group)
