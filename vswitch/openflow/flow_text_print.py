"""Rules as ovs-ofctl's dump-flows prints them."""
from __future__ import annotations

from collections.abc import Callable

from vswitch.openflow.flow_text_fields import PORT_FIELDS, PORT_WORDS, PRINTED, PROTOCOLS, print_masked, print_value
from vswitch.openflow.flow_text_wire import FLAGS, OFPP_CONTROLLER, Action, FieldValue, Instruction, Rule, RuleStats

PortNames = Callable[[int], str | None]     # a port's name by its number, None where there is none

RESERVED = {number: word.upper() for word, number in PORT_WORDS.items() if word != "none"}
VLAN_PRESENT = 0x1000
TRANSPORT_PROTOCOLS = {1, 6, 17, 132, 58}

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


def format_match(match: list[FieldValue], names: PortNames | None = None) -> str:
    """The fields, "" for a match of everything."""
    values = {item.field.name: item for item in match}
    words = []
    word, covered = _protocol(values)
    if word:
        words.append(word)
    for name in sorted(values.keys() - covered, key=PLACE.__getitem__):
        words += _format_field(values[name], values, names)
    return ",".join(words)


def _protocol(values: dict[str, FieldValue]) -> tuple[str, set[str]]:
    ethernet = values.get("eth_type")
    if ethernet is None:
        return "", set()
    proto = values.get("ip_proto")
    for word, (eth_type, ip_proto) in PROTOCOLS.items():
        if eth_type == ethernet.value and proto and proto.value == ip_proto and ip_proto in TRANSPORT_PROTOCOLS:
            return word, {"eth_type", "ip_proto"}
    for word, (eth_type, ip_proto) in PROTOCOLS.items():
        if eth_type == ethernet.value and ip_proto is None:
            return word, {"eth_type"}
    return "", set()


def _format_field(item: FieldValue, values: dict[str, FieldValue], names: PortNames | None) -> list[str]:
    name = item.field.name
    if name == "vlan_vid":
        return _format_vlan(item, "vlan_pcp" in values)
    if name == "vlan_pcp":
        return [f"dl_vlan_pcp={item.value}"]
    if name in PORT_FIELDS:
        return [f"{name}={format_port(item.value, names)}"]
    if name == "ip_dscp":
        return [f"nw_tos={item.value << 2}"]
    return [f"{MATCH_NAMES.get(name, name)}={print_masked(item.field, item.value, item.mask)}"]


def _format_vlan(item: FieldValue, with_pcp: bool) -> list[str]:
    if item.mask is None:
        if item.value & VLAN_PRESENT:
            return [f"dl_vlan={item.value & 0xfff}"]
        return [f"vlan_tci={item.value:#06x}/0x1fff"]
    if with_pcp and (item.value, item.mask) == (VLAN_PRESENT, VLAN_PRESENT):
        return []       # dl_vlan_pcp says it
    return [f"vlan_tci={item.value:#06x}/{item.mask:#06x}"]


def format_action(action: Action, names: PortNames | None = None) -> str:
    match action.name:
        case "output":
            if action.value == OFPP_CONTROLLER:
                return f"CONTROLLER:{action.max_len}"
            if action.value in RESERVED:
                return RESERVED[action.value]
            return f"output:{format_port(action.value, names)}"
        case "set_field":
            entry, value, mask = action.target
            text = print_value(entry, value) if mask is None else print_masked(entry, value, mask)
            return f"set_field:{text}->{PRINTED.get(entry.name, entry.name)}"
        case "push_vlan" | "push_mpls" | "pop_mpls" | "push_pbb":
            return f"{action.name}:0x{action.value:04x}"
        case "set_mpls_ttl":
            return f"set_mpls_ttl({action.value})"
        case "set_nw_ttl":
            return f"mod_nw_ttl:{action.value}"
        case "dec_nw_ttl":
            return "dec_ttl"
        case "set_queue" | "group":
            return f"{action.name}:{action.value}"
    return action.name


def format_actions(actions, names: PortNames | None = None) -> str:
    return ",".join(format_action(action, names) for action in actions)


def format_instructions(instructions: list[Instruction], names: PortNames | None = None) -> str:
    words = []
    for instruction in instructions:
        match instruction.name:
            case "apply_actions":
                words += [format_action(action, names) for action in instruction.actions]
            case "write_actions":
                words.append(f"write_actions({format_actions(instruction.actions, names) or 'drop'})")
            case "write_metadata":
                mask = "" if instruction.mask == (1 << 64) - 1 else f"/{instruction.mask:#x}"
                words.append(f"write_metadata:{instruction.value:#x}{mask}")
            case "clear_actions":
                words.append("clear_actions")
            case _:
                words.append(f"{instruction.name}:{instruction.value}")
    return ",".join(words) or "drop"


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
