"""Rules in ovs-ofctl's syntax (ovs-ofctl(8), "Flow Syntax"), as OpenFlow 1.3 bodies, and back.

A body is what follows the ofp_header, in network order. InvalidError's field is the token that is wrong. A resolver gives a
port's number by its name (None where there is none); a namer the reverse.
"""
from __future__ import annotations

import re

from vswitch.datapath.fields import BY_NAME, Field
from vswitch.errors import InvalidError
from vswitch.openflow import flow_text_actions as actions_text
from vswitch.openflow.actions import Action, GotoTable
from vswitch.openflow.constants import OFPG_ANY, OFPTT_ALL
from vswitch.openflow.flow_text_fields import (ALIASES, FLAGS, PROTOCOLS, Resolver, parse_masked, parse_number, parse_port)
from vswitch.openflow.flow_text_print import PortNames, format_rule, format_stats
from vswitch.openflow.flow_text_rule import FieldMatch, Rule, flow_mod_body, read_flow_stats, stats_request_body

MAX_TEXT = 65535
VLAN_PRESENT = 0x1000

# What dump-flows prints of a rule's life; a rule that is pasted back may hold it.
IGNORED = {"duration", "n_packets", "n_bytes", "idle_age", "hard_age"}

# enum dp_prereq: what must be in the match too, as it is said to people.
PREREQUISITES = {
    "vlan": "a VLAN tag (dl_vlan, vlan_vid)", "ip": "ip or ipv6", "ipv4": "ip", "ipv6": "ipv6", "arp": "arp", "mpls": "mpls",
    "pbb": "dl_type=0x88e7", "tcp": "tcp or tcp6", "udp": "udp or udp6", "sctp": "sctp or sctp6", "icmpv4": "icmp",
    "icmpv6": "icmp6", "nd": "icmp6,icmp_type=135 or 136", "nd_sol": "icmp6,icmp_type=135",
    "nd_adv": "icmp6,icmp_type=136", "in_port": "in_port",
}

_ACTIONS = re.compile(r"(?:^|[\s,])actions?=")
_ITEM = re.compile(r'[^\s,="]+(?:\s*=\s*(?:"[^"]*"|[^\s,]*))?|[^\s,]+')


def parse_flow_mod(text: str, command: str = "add", ports: Resolver | None = None) -> bytes:
    """An ofp_flow_mod body. `command`: add, modify, modify_strict, delete, delete_strict."""
    return flow_mod_body(parse_rule(text, command, ports), command)


def parse_stats_request(text: str, ports: Resolver | None = None) -> bytes:
    """An ofp_flow_stats_request body for the rules that `text` covers; all tables where it names none."""
    return stats_request_body(parse_rule(text, "dump", ports))


def parse_actions(text: str, ports: Resolver | None = None) -> list[Action]:
    """A list of actions, for a packet-out."""
    return actions_text.parse_actions(text, actions_text.Context(ports))


def format_flow_stats(entry: bytes, names: PortNames | None = None) -> str:
    """An ofp_flow_stats as a line of dump-flows."""
    return format_stats(read_flow_stats(entry), names)


def format_flow_rule(entry: bytes, names: PortNames | None = None) -> str:
    """An ofp_flow_stats as the text that recreates the rule, without counters and ages."""
    return format_rule(read_flow_stats(entry).rule, names)


def parse_rule(text: str, command: str, ports: Resolver | None = None) -> Rule:
    """The rule that `text` describes for a command of parse_flow_mod or "dump"."""
    if len(text) > MAX_TEXT:
        raise InvalidError(f"is longer than {MAX_TEXT} characters", "flow")
    found = _ACTIONS.search(text)
    head, tail = (text[:found.start()], text[found.end():]) if found else (text, None)
    needs_actions = command in ("add", "modify", "modify_strict")
    if needs_actions and tail is None:
        raise InvalidError("is missing", "actions")
    if not needs_actions and tail is not None:
        raise InvalidError(f"{command} takes none", "actions")

    rule = Rule()
    if command in ("delete", "delete_strict", "dump"):
        rule.table_id = OFPTT_ALL
    match = _MatchBuilder(ports)
    seen: set[str] = set()
    for item in _ITEM.findall(head):
        name, equals, value = (part.strip() for part in item.partition("="))
        value = value.strip('"')
        name = name.lower()
        if name in seen:
            raise InvalidError("is there twice", name)
        seen.add(name)
        if not _set_property(rule, command, name, bool(equals), value, ports):
            match.add(name, bool(equals), value)
    if command in ("delete", "dump") and "priority" in seen:
        raise InvalidError("only add, modify and the strict commands take it", "priority")
    rule.match = match.finish()
    if tail is not None:
        rule.instructions = actions_text.parse_instructions(tail, match.action_context())
        _check_goto(rule)
    return rule


def _check_goto(rule: Rule) -> None:
    for instruction in rule.instructions:
        if isinstance(instruction, GotoTable) and instruction.table <= rule.table_id:
            raise InvalidError(f"{instruction.table} does not come after the rule's table {rule.table_id}", "goto_table")


def _set_property(rule: Rule, command: str, name: str, equals: bool, value: str, ports: Resolver | None) -> bool:
    """True where `name` is not a match field but a property of the rule."""
    if name in FLAGS:
        if equals:
            raise InvalidError("takes no value", name)
        if command not in ("add", "modify", "modify_strict"):
            raise InvalidError(f"{command} takes no flags", name)
        rule.flags |= FLAGS[name]
        return True
    limits = {"table": 254, "priority": 0xffff, "idle_timeout": 0xffff, "hard_timeout": 0xffff}
    if name in limits:
        number = parse_number(_value(name, value), limits[name], name)
        setattr(rule, "table_id" if name == "table" else name, number)
    elif name == "cookie":
        _set_cookie(rule, command, _value(name, value))
    elif name in ("out_port", "out_group"):
        if command not in ("delete", "delete_strict", "dump"):
            raise InvalidError("only deletion and dumps take it", name)
        if name == "out_port":
            rule.out_port = parse_port(_value(name, value), ports, name)
        else:
            rule.out_group = OFPG_ANY if value == "any" else parse_number(_value(name, value), 0xffffff00, name)
    else:
        return name in IGNORED
    return True


def _value(name: str, value: str) -> str:
    if not value:
        raise InvalidError("has no value", name)
    return value


def _set_cookie(rule: Rule, command: str, text: str) -> None:
    value, slash, mask = text.partition("/")
    ones = (1 << 64) - 1
    if slash and command == "add":
        raise InvalidError("a rule that is added takes no cookie mask", "cookie")
    rule.cookie = parse_number(value, ones, "cookie")
    if slash:
        rule.cookie_mask = ones if mask == "-1" else parse_number(_value("cookie", mask), ones, "cookie")
    elif command in ("delete", "delete_strict", "dump"):
        rule.cookie_mask = ones


class _MatchBuilder:
    """Collects match fields; those whose meaning depends on the protocol wait until it is known."""

    def __init__(self, ports: Resolver | None):
        self.ports = ports
        self.fields: FieldMatch = {}
        self.waiting: list[tuple[str, str]] = []

    def add(self, name: str, equals: bool, value: str) -> None:
        if not equals:
            if name not in PROTOCOLS:
                raise InvalidError(f"unknown keyword {name!r}", name)
            eth_type, ip_proto = PROTOCOLS[name]
            self._put(BY_NAME["eth_type"], eth_type, None, name)
            if ip_proto is not None:
                self._put(BY_NAME["ip_proto"], ip_proto, None, name)
        elif name in LATE:
            self.waiting.append((name, _value(name, value)))
        elif name in VLAN_WORDS:
            VLAN_WORDS[name](self, name, _value(name, value))
        elif (entry := BY_NAME.get(ALIASES.get(name, name))) is not None:
            self._put(entry, *parse_masked(entry, _value(name, value), name, self.ports), name)
        else:
            raise InvalidError(f"unknown field {name!r}", name)

    def finish(self) -> FieldMatch:
        """All fields, once it is sure that they may stand together."""
        for name, value in sorted(self.waiting, key=lambda item: item[0] != "nw_proto"):
            entry, shift = LATE[name](self, name)
            if shift:
                number = parse_number(value, 255, name)
                if number & 3:
                    raise InvalidError(f"{number} has ECN bits, its last two must be 0", name)
                self._put(entry, number >> 2, None, name)
            else:
                self._put(entry, *parse_masked(entry, value, name, self.ports), name)
        for name in self.fields:
            prereq = BY_NAME[name].prereq
            if not self._satisfied(prereq):
                raise InvalidError(f"needs {PREREQUISITES[prereq]} in the same match", name)
        return self.fields

    def action_context(self) -> actions_text.Context:
        return actions_text.Context(self.ports, self._exact("ip_proto"), self._satisfied("vlan"))

    def _put(self, entry: Field, value: int, mask: int | None, token: str) -> None:
        if mask == 0:
            return
        if self.fields.setdefault(entry.name, (value, mask)) != (value, mask):
            raise InvalidError(f"contradicts another {entry.name} in the same match", token)

    def _exact(self, name: str) -> int | None:
        value, mask = self.fields.get(name, (None, None))
        return value if mask is None else None

    def _satisfied(self, prereq: str) -> bool:
        eth_type, ip_proto = self._exact("eth_type"), self._exact("ip_proto")
        icmp6 = eth_type == 0x86dd and ip_proto == 58 and self._exact("icmpv6_type")
        over_ip = ip_proto if eth_type in (0x0800, 0x86dd) else None
        match prereq:
            case "vlan":
                return bool(self.fields.get("vlan_vid", (0, None))[0] & VLAN_PRESENT)
            case "ip":
                return eth_type in (0x0800, 0x86dd)
            case "ipv4" | "ipv6" | "arp" | "pbb":
                return eth_type == {"ipv4": 0x0800, "ipv6": 0x86dd, "arp": 0x0806, "pbb": 0x88e7}[prereq]
            case "mpls":
                return eth_type in (0x8847, 0x8848)
            case "tcp" | "udp" | "sctp":
                return over_ip == {"tcp": 6, "udp": 17, "sctp": 132}[prereq]
            case "icmpv4":
                return eth_type == 0x0800 and ip_proto == 1
            case "icmpv6":
                return eth_type == 0x86dd and ip_proto == 58
            case "nd":
                return icmp6 in (135, 136)
            case "nd_sol" | "nd_adv":
                return icmp6 == {"nd_sol": 135, "nd_adv": 136}[prereq]
            case "in_port":
                return "in_port" in self.fields
        return True

    # -- words whose field depends on the protocol: (field, is a TOS byte)

    def _late_address(self, name: str) -> tuple[Field, bool]:
        end = name[-3:]
        eth_type = self._exact("eth_type")
        if eth_type == 0x0800:
            return BY_NAME[f"ipv4_{end}"], False
        if eth_type in (0x0806, 0x8035):
            return BY_NAME["arp_spa" if end == "src" else "arp_tpa"], False
        raise InvalidError("needs ip or arp in the same match", name)

    def _late_transport(self, name: str) -> tuple[Field, bool]:
        end = name[-3:]
        for transport in ("tcp", "udp", "sctp"):
            if self._satisfied(transport):
                return BY_NAME[f"{transport}_{end}"], False
        if self._satisfied("icmpv4"):
            return BY_NAME["icmpv4_type" if end == "src" else "icmpv4_code"], False
        raise InvalidError("needs tcp, udp or sctp in the same match", name)

    def _late_icmp(self, name: str) -> tuple[Field, bool]:
        return BY_NAME[f"icmpv{6 if self._exact('ip_proto') == 58 else 4}_{name[5:]}"], False

    def _late_protocol(self, name: str) -> tuple[Field, bool]:
        return BY_NAME["arp_op" if self._exact("eth_type") in (0x0806, 0x8035) else "ip_proto"], False

    def _late_tos(self, name: str) -> tuple[Field, bool]:
        return BY_NAME["ip_dscp"], True

    # -- VLANs: OpenFlow 1.0's and Open vSwitch's words for vlan_vid and vlan_pcp

    def _vlan_id(self, name: str, value: str) -> None:
        if parse_number(value, 0xffff, name) == 0xffff:
            self._put(BY_NAME["vlan_vid"], 0, None, name)
        else:
            vid = parse_number(value, 4095, name)
            if self._any_vlan():
                del self.fields["vlan_vid"]
            self._put(BY_NAME["vlan_vid"], VLAN_PRESENT | vid, None, name)

    def _vlan_priority(self, name: str, value: str) -> None:
        if "vlan_vid" not in self.fields:
            self._put(BY_NAME["vlan_vid"], VLAN_PRESENT, VLAN_PRESENT, name)
        self._put(BY_NAME["vlan_pcp"], parse_number(value, 7, name), None, name)

    def _vlan_tci(self, name: str, value: str) -> None:
        tci_text, slash, mask_text = value.partition("/")
        tci = parse_number(tci_text, 0xffff, name)
        mask = parse_number(_value(name, mask_text), 0xffff, name) if slash else 0xffff
        if not slash and tci == 0:
            mask = 0x1fff       # no tag: the priority that is not there can't be matched
        if mask & 0xe000 not in (0, 0xe000):
            raise InvalidError("OpenFlow 1.3 matches all of the priority or none of it", name)
        if mask & 0x1fff:
            vid_mask = mask & 0x1fff
            self._put(BY_NAME["vlan_vid"], tci & vid_mask, None if vid_mask == 0x1fff else vid_mask, name)
        if mask & 0xe000:
            self._put(BY_NAME["vlan_pcp"], tci >> 13, None, name)

    def _any_vlan(self) -> bool:
        return self.fields.get("vlan_vid") == (VLAN_PRESENT, VLAN_PRESENT)


LATE = {
    "nw_src": _MatchBuilder._late_address, "nw_dst": _MatchBuilder._late_address,
    "tp_src": _MatchBuilder._late_transport, "tp_dst": _MatchBuilder._late_transport,
    "icmp_type": _MatchBuilder._late_icmp, "icmp_code": _MatchBuilder._late_icmp,
    "nw_proto": _MatchBuilder._late_protocol, "nw_tos": _MatchBuilder._late_tos,
}
VLAN_WORDS = {"dl_vlan": _MatchBuilder._vlan_id, "dl_vlan_pcp": _MatchBuilder._vlan_priority,
              "vlan_tci": _MatchBuilder._vlan_tci}
