"""Match fields as ovs-ofctl writes them: names, values, masks, what they presuppose."""
from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from vswitch.datapath.fields import Field
from vswitch.errors import InvalidError

Resolver = Callable[[str], int | None]      # a port's number by its name, None where there is none

# Open vSwitch's other names for one field whatever the rest of the match says (ovs-fields(7)).
ALIASES = {
    "dl_src": "eth_src", "dl_dst": "eth_dst", "dl_type": "eth_type", "nw_ecn": "ip_ecn", "ip_src": "ipv4_src",
    "ip_dst": "ipv4_dst", "icmp_type": "icmpv4_type", "icmp_code": "icmpv4_code", "ipv6_label": "ipv6_flabel",
    "nd_target": "ipv6_nd_target", "nd_sll": "ipv6_nd_sll", "nd_tll": "ipv6_nd_tll", "tun_id": "tunnel_id",
}

# How dump-flows and set_field name a field where that is not its OXM name.
PRINTED = {
    "ipv4_src": "ip_src", "ipv4_dst": "ip_dst", "icmpv4_type": "icmp_type", "icmpv4_code": "icmp_code",
    "ipv6_flabel": "ipv6_label", "ipv6_nd_target": "nd_target", "ipv6_nd_sll": "nd_sll", "ipv6_nd_tll": "nd_tll",
    "tunnel_id": "tun_id", "ip_ecn": "nw_ecn",
}

# A word that stands for an Ethernet type and an IP protocol.
PROTOCOLS = {
    "ip": (0x0800, None), "ipv6": (0x86dd, None), "arp": (0x0806, None), "rarp": (0x8035, None),
    "mpls": (0x8847, None), "mplsm": (0x8848, None), "icmp": (0x0800, 1), "tcp": (0x0800, 6), "udp": (0x0800, 17),
    "sctp": (0x0800, 132), "icmp6": (0x86dd, 58), "tcp6": (0x86dd, 6), "udp6": (0x86dd, 17), "sctp6": (0x86dd, 132),
}

FLAGS = {"send_flow_rem": 1, "check_overlap": 2, "reset_counts": 4, "no_packet_counts": 8, "no_byte_counts": 16}

PORT_WORDS = {"in_port": 0xfffffff8, "table": 0xfffffff9, "normal": 0xfffffffa, "flood": 0xfffffffb, "all": 0xfffffffc,
              "controller": 0xfffffffd, "local": 0xfffffffe, "any": 0xffffffff, "none": 0xffffffff}

MAC_FIELDS = {"eth_src", "eth_dst", "arp_sha", "arp_tha", "ipv6_nd_sll", "ipv6_nd_tll"}
IPV4_FIELDS = {"ipv4_src", "ipv4_dst", "arp_spa", "arp_tpa", "tun_src", "tun_dst"}
IPV6_FIELDS = {"ipv6_src", "ipv6_dst", "ipv6_nd_target", "tun_ipv6_src", "tun_ipv6_dst"}
HEX_FIELDS = {"metadata", "tunnel_id", "eth_type", "ipv6_exthdr", "pbb_isid"}
PORT_FIELDS = {"in_port", "in_phy_port"}

_MAC = re.compile(r"[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}")


def parse_number(text: str, limit: int, token: str) -> int:
    """A number 0..limit, decimal or with 0x; InvalidError names `token`."""
    try:
        number = int(text, 0) if text.lower().startswith("0x") else int(text, 10)
    except ValueError:
        raise InvalidError(f"{text!r} is not a number", token) from None
    if not 0 <= number <= limit or not text[0].isalnum():
        raise InvalidError(f"{text} is out of range, 0..{limit if limit < 0x10000 else hex(limit)}", token)
    return number


def parse_mac(text: str, token: str) -> int:
    if not _MAC.fullmatch(text):
        raise InvalidError(f"{text!r} is not an Ethernet address", token)
    return int.from_bytes(bytes(int(octet, 16) for octet in text.split(":")), "big")


def parse_port(text: str, ports: Resolver | None, token: str) -> int:
    """A port's number, reserved word, or name that `ports` knows."""
    if text.lower() in PORT_WORDS:
        return PORT_WORDS[text.lower()]
    if text[:1].isdigit() and not (ports and ports(text)):
        return parse_number(text, 0xffffffff, token)
    number = ports(text.strip('"')) if ports else None
    if number is None:
        raise InvalidError(f"there is no port {text!r}", token)
    return number


def parse_value(entry: Field, text: str, token: str, ports: Resolver | None = None) -> int:
    """One value of a field, without a mask."""
    if not text:
        raise InvalidError("has no value", token)
    if entry.name in MAC_FIELDS:
        return parse_mac(text, token)
    if entry.name in IPV4_FIELDS or entry.name in IPV6_FIELDS:
        version, kind = (4, ipaddress.IPv4Address) if entry.name in IPV4_FIELDS else (6, ipaddress.IPv6Address)
        try:
            return int(kind(text))
        except ValueError:
            raise InvalidError(f"{text!r} is not an IPv{version} address", token) from None
    if entry.name in PORT_FIELDS:
        return parse_port(text, ports, token)
    return parse_number(text, entry.full_mask, token)


def parse_masked(entry: Field, text: str, token: str, ports: Resolver | None = None) -> tuple[int, int | None]:
    """A value with an optional /mask or, for IP addresses, /prefix. Bits outside the mask are cleared; a mask of ones is
    None; a mask of 0 stays 0."""
    value_text, slash, mask_text = text.partition("/")
    value = parse_value(entry, value_text, token, ports)
    if not slash:
        return value, None
    ones = entry.full_mask
    addresses = entry.name in IPV4_FIELDS or entry.name in IPV6_FIELDS
    if addresses and mask_text.isdecimal():
        length = parse_number(mask_text, entry.bits, token)
        mask = ones ^ (ones >> length)
    else:
        mask = parse_value(entry, mask_text, token)
    if mask == ones:
        return value, None
    if not entry.maskable and mask:
        raise InvalidError("takes no mask", token)
    return value & mask, mask


def print_value(entry: Field, value: int) -> str:
    if entry.name in MAC_FIELDS:
        return ":".join(f"{octet:02x}" for octet in value.to_bytes(6, "big"))
    if entry.name in IPV4_FIELDS:
        return str(ipaddress.IPv4Address(value))
    if entry.name in IPV6_FIELDS:
        return str(ipaddress.IPv6Address(value))
    if entry.name == "eth_type":
        return f"0x{value:04x}"
    if entry.name == "ipv6_flabel":
        return f"0x{value:05x}"
    if entry.name in HEX_FIELDS:
        return f"{value:#x}"
    return str(value)


def print_masked(entry: Field, value: int, mask: int | None) -> str:
    if mask is None:
        return print_value(entry, value)
    ones = entry.full_mask
    if entry.name in IPV4_FIELDS or entry.name in IPV6_FIELDS:
        inverse = mask ^ ones
        if inverse & (inverse + 1) == 0:
            return f"{print_value(entry, value)}/{mask.bit_count()}"
        return f"{print_value(entry, value)}/{print_value(entry, mask)}"
    if entry.name in MAC_FIELDS or entry.name == "ipv6_flabel":
        return f"{print_value(entry, value)}/{print_value(entry, mask)}"
    return f"{value:#x}/{mask:#x}"
