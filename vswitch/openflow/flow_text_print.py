"""Rules as ovs-ofctl's dump-flows prints them."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from vswitch.datapath.fields import BY_NAME
from vswitch.openflow.actions import (Action, ApplyActions, ClearActions, CopyTtlIn, CopyTtlOut, DecMplsTtl, DecNwTtl,
                                      ExperimenterAction, ExperimenterInstruction, GotoTable, Group, Instruction, Meter,
                                      Output, PopMpls, PopPbb, PopVlan, PushMpls, PushPbb, PushVlan, SetField, SetMplsTtl,
                                      SetNwTtl, SetQueue, StatTrigger, WriteActions, WriteMetadata)
from vswitch.openflow.constants import OFPP_CONTROLLER
from vswitch.openflow.flow_text_fields import (FLAGS, PORT_FIELDS, PORT_WORDS, PRINTED, PROTOCOLS, print_masked, print_value)
from vswitch.openflow.flow_text_rule import FieldMatch, Rule, RuleStats

PortNames = Callable[[int], str | None]     # a port's name by its number, None where there is none

RESERVED = {number: word.upper() for word, number in PORT_WORDS.items() if word != "none"}
VLAN_PRESENT = 0x1000

# The order in which dump-flows prints a match, after the protocol's word.
ORDER = ("tunnel_id", "tun_src", "tun_dst", "tun_ipv6_src", "tun_ipv6_dst", "metadata", "in_port", "in_phy_port",
         "vlan_vid", "vlan_pcp", "eth_src", "eth_dst", "eth_type", "ipv6_src", "ipv6_dst", "ipv6_flabel", "ipv4_src",
         "ipv4_dst", "arp_spa", "arp_tpa", "ip_proto", "arp_op", "arp_sha", "arp_tha", "ip_dscp", "ip_ecn", "ipv6_exthdr",
         "mpls_label", "mpls_tc", "mpls_bos", "pbb_isid", "icmpv4_type", "icmpv4_code", "icmpv6_type", "icmpv6_code",
         "ipv6_nd_target", "ipv6_nd_sll", "ipv6_nd_tll", "tcp_src", "tcp_dst", "udp_src", "udp_dst", "sctp_src",
         "sctp_dst")
PLACE = {name: place for place, name in enumerate(ORDER)}

MATCH_NAMES = {
    **PRINTED, "ipv4_src": "nw_src", "ipv4_dst": "nw_dst", "eth_src": "dl_src", "eth_dst": "dl_dst", "eth_type": "dl_type",
    "ip_proto": "nw_proto", "icmpv6_type": "icmp_type", "icmpv6_code": "icmp_code",
    **{f"{transport}_{end}": f"tp_{end}" for transport in ("tcp", "udp", "sctp") for end in ("src", "dst")},
}


def format_port(number: int, names: PortNames | None) -> str:
    if number in RESERVED:
        return RESERVED[number]
    return (names and names(number)) or str(number)


def format_match(match: FieldMatch, names: PortNames | None = None) -> str:
    """The fields, "" for a match of everything."""
    words = []
    word, covered = _protocol(match)
    if word:
        words.append(word)
    for name in sorted(match.keys() - covered, key=PLACE.__getitem__):
        words += _format_field(name, *match[name], match, names)
    return ",".join(words)


def _protocol(match: FieldMatch) -> tuple[str, set[str]]:
    eth_type, _ = match.get("eth_type", (None, None))
    ip_proto, _ = match.get("ip_proto", (None, None))
    for word, protocols in PROTOCOLS.items():
        if ip_proto is not None and protocols == (eth_type, ip_proto):
            return word, {"eth_type", "ip_proto"}
    for word, protocols in PROTOCOLS.items():
        if protocols == (eth_type, None):
            return word, {"eth_type"}
    return "", set()


def _format_field(name: str, value: int, mask: int | None, match: FieldMatch, names: PortNames | None) -> list[str]:
    if name == "vlan_vid":
        return _format_vlan(value, mask, "vlan_pcp" in match)
    if name == "vlan_pcp":
        return [f"dl_vlan_pcp={value}"]
    if name in PORT_FIELDS:
        return [f"{name}={format_port(value, names)}"]
    if name == "ip_dscp":
        return [f"nw_tos={value << 2}"]
    return [f"{MATCH_NAMES.get(name, name)}={print_masked(BY_NAME[name], value, mask)}"]


def _format_vlan(value: int, mask: int | None, with_pcp: bool) -> list[str]:
    if mask is None:
        if value & VLAN_PRESENT:
            return [f"dl_vlan={value & 0xfff}"]
        return [f"vlan_tci={value:#06x}/0x1fff"]
    if with_pcp and (value, mask) == (VLAN_PRESENT, VLAN_PRESENT):
        return []       # dl_vlan_pcp says it
    return [f"vlan_tci={value:#06x}/{mask:#06x}"]


def format_action(action: Action, names: PortNames | None = None) -> str:
    match action:
        case Output(port, max_len):
            if port == OFPP_CONTROLLER:
                return f"CONTROLLER:{max_len}"
            return RESERVED.get(port) or f"output:{format_port(port, names)}"
        case SetField(name, value):
            return f"set_field:{print_value(BY_NAME[name], value)}->{PRINTED.get(name, name)}"
        case ExperimenterAction(experimenter, data):
            return f"experimenter({experimenter:#x},{data.hex()})"
    return SIMPLE_ACTIONS[type(action)].format(action)


SIMPLE_ACTIONS = {
    CopyTtlOut: "copy_ttl_out", CopyTtlIn: "copy_ttl_in", SetMplsTtl: "set_mpls_ttl({0.ttl})", DecMplsTtl: "dec_mpls_ttl",
    PushVlan: "push_vlan:0x{0.ethertype:04x}", PopVlan: "pop_vlan", PushMpls: "push_mpls:0x{0.ethertype:04x}",
    PopMpls: "pop_mpls:0x{0.ethertype:04x}", SetQueue: "set_queue:{0.queue}", SetNwTtl: "mod_nw_ttl:{0.ttl}",
    DecNwTtl: "dec_ttl", PushPbb: "push_pbb:0x{0.ethertype:04x}", PopPbb: "pop_pbb", Group: "group:{0.group}",
}


def format_actions(actions: Iterable[Action], names: PortNames | None = None) -> str:
    return ",".join(format_action(action, names) for action in actions)


def format_instructions(instructions: Iterable[Instruction], names: PortNames | None = None) -> str:
    words = []
    for instruction in instructions:
        match instruction:
            case ApplyActions(actions):
                words += [format_action(action, names) for action in actions]
            case WriteActions(actions):
                words.append(f"write_actions({format_actions(actions, names) or 'drop'})")
            case WriteMetadata(metadata, mask):
                words.append(f"write_metadata:{metadata:#x}" + ("" if mask == (1 << 64) - 1 else f"/{mask:#x}"))
            case ClearActions():
                words.append("clear_actions")
            case Meter(number):
                words.append(f"meter:{number}")
            case GotoTable(number):
                words.append(f"goto_table:{number}")
            case StatTrigger():
                words.append(f"stat_trigger({_format_trigger(instruction)})")
            case ExperimenterInstruction(experimenter, data):
                words.append(f"experimenter({experimenter:#x},{data.hex()})")
    return ",".join(words) or "drop"


def _format_trigger(trigger: StatTrigger) -> str:
    words = []
    for name in ("duration", "idle_time", "flows", "packets", "bytes"):
        value = getattr(trigger, name)
        if value is not None:
            words.append(f"{name}={Decimal(value) / 1_000_000_000 if name in ('duration', 'idle_time') else value}")
    words += [word for word in ("periodic", "only_first") if getattr(trigger, word)]
    return ",".join(words)


def _flag_words(flags: int) -> list[str]:
    return [word for word, bit in FLAGS.items() if flags & bit]


def _match_words(rule: Rule, names: PortNames | None) -> str:
    match = format_match(rule.match, names)
    if rule.priority == 0x8000:
        return match
    return f"priority={rule.priority},{match}" if match else f"priority={rule.priority}"


def format_rule(rule: Rule, names: PortNames | None = None) -> str:
    """A rule alone, as flow_text.parse_flow_mod takes it back: nothing in it changes while packets pass."""
    words = [f"table={rule.table_id}"]
    if rule.cookie:
        words.append(f"cookie={rule.cookie:#x}")
    if rule.idle_timeout:
        words.append(f"idle_timeout={rule.idle_timeout}")
    if rule.hard_timeout:
        words.append(f"hard_timeout={rule.hard_timeout}")
    words += _flag_words(rule.flags)
    words.append(f"priority={rule.priority}")
    match = format_match(rule.match, names)
    if match:
        words.append(match)
    return f"{','.join(words)} actions={format_instructions(rule.instructions, names)}"


def format_stats(stats: RuleStats, names: PortNames | None = None) -> str:
    """A line of dump-flows."""
    rule = stats.rule
    seconds, milliseconds = divmod(stats.duration_nsec // 10**6, 1000)
    fraction = f".{milliseconds:03d}" if milliseconds else ""
    words = [f"cookie={rule.cookie:#x}", f"duration={seconds}{fraction}s", f"table={rule.table_id}",
             f"n_packets={stats.packets}", f"n_bytes={stats.bytes}"]
    if rule.idle_timeout:
        words.append(f"idle_timeout={rule.idle_timeout}")
    if rule.hard_timeout:
        words.append(f"hard_timeout={rule.hard_timeout}")
    line = " ".join(filter(None, (*_flag_words(rule.flags), _match_words(rule, names),
                                  f"actions={format_instructions(rule.instructions, names)}")))
    return f"{', '.join(words)}, {line}"
