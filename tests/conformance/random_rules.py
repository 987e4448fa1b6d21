"""Random well-formed rules, made by os-ken's classes, and what os-ken reads of them."""
from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable

from os_ken.ofproto.ofproto_protocol import ProtocolDesc

NO_BUFFER = 0xffffffff
FLOW_MOD = 14


def _masked(r: random.Random, bits: int) -> tuple[int, int]:
    mask = r.randrange(1, (1 << bits) - 1)
    return r.getrandbits(bits) & mask, mask


def _mac(n: int) -> str:
    return ":".join(f"{b:02x}" for b in n.to_bytes(6, "big"))


def _ip4(n: int) -> str:
    return ".".join(str(b) for b in n.to_bytes(4, "big"))


def _ip6(n: int) -> str:
    return str(ipaddress.IPv6Address(n))


def _maybe_masked(r: random.Random, bits: int, text: Callable) -> object:
    if r.random() < 0.5:
        return text(r.getrandbits(bits))
    value, mask = _masked(r, bits)
    return text(value), text(mask)


def random_fields(r: random.Random, version: int) -> dict:
    """Of an OFPMatch: fields with their prerequisites (1.3.5, 7.2.3.8)."""
    found: dict = {}
    if r.random() < 0.5:
        found["in_port"] = r.choice((1, 2))
    if r.random() < 0.3:
        found["metadata"] = _masked(r, 64)
    if r.random() < 0.3 and version >= 4:
        found["tunnel_id"] = r.getrandbits(64)
    for name in ("eth_src", "eth_dst"):
        if r.random() < 0.3:
            found[name] = _maybe_masked(r, 48, _mac)
    if r.random() < 0.3:
        found["vlan_vid"] = 0x1000 | r.getrandbits(12)
        if r.random() < 0.5:
            found["vlan_pcp"] = r.getrandbits(3)
    kind = r.choice(("", "ip", "ip", "ip6", "arp", "mpls"))
    if kind in ("ip", "ip6"):
        found["eth_type"] = 0x800 if kind == "ip" else 0x86dd
        text, bits, prefix = (_ip4, 32, "ipv4") if kind == "ip" else (_ip6, 128, "ipv6")
        for name in (f"{prefix}_src", f"{prefix}_dst"):
            if r.random() < 0.5:
                found[name] = _maybe_masked(r, bits, text)
        if r.random() < 0.3:
            found["ip_dscp"] = r.getrandbits(6)
        if r.random() < 0.3:
            found["ip_ecn"] = r.getrandbits(2)
        if kind == "ip6" and r.random() < 0.3:
            found["ipv6_flabel"] = r.getrandbits(20)
        protocol = r.choice((None, 6, 17, 132, 1 if kind == "ip" else 58))
        if protocol is not None:
            found["ip_proto"] = protocol
            names = {6: ("tcp_src", "tcp_dst"), 17: ("udp_src", "udp_dst"), 132: ("sctp_src", "sctp_dst"),
                     1: ("icmpv4_type", "icmpv4_code"), 58: ("icmpv6_type", "icmpv6_code")}[protocol]
            for name in names:
                if r.random() < 0.6:
                    found[name] = r.getrandbits(16 if protocol in (6, 17, 132) else 8)
    elif kind == "arp":
        found["eth_type"] = 0x806
        if r.random() < 0.5:
            found["arp_op"] = r.getrandbits(16)
        for name in ("arp_spa", "arp_tpa"):
            if r.random() < 0.5:
                found[name] = _maybe_masked(r, 32, _ip4)
        if r.random() < 0.3:
            found["arp_sha"] = _maybe_masked(r, 48, _mac)
    elif kind == "mpls":
        found["eth_type"] = r.choice((0x8847, 0x8848))
        if r.random() < 0.7:
            found["mpls_label"] = r.getrandbits(20)
        if r.random() < 0.4:
            found["mpls_tc"] = r.getrandbits(3)
        if version >= 4 and r.random() < 0.4:
            found["mpls_bos"] = r.getrandbits(1)
    return found


def random_actions(r: random.Random, d: ProtocolDesc, fields: dict) -> list:
    p, o, found = d.ofproto_parser, d.ofproto, []
    ethernet = fields.get("eth_type")
    for _ in range(r.choice((0, 1, 1, 2, 3, 5))):
        choices = [lambda: p.OFPActionOutput(r.choice((1, 2, o.OFPP_CONTROLLER, o.OFPP_FLOOD, o.OFPP_IN_PORT)), r.getrandbits(15)),
                   lambda: p.OFPActionSetField(eth_src=_mac(r.getrandbits(48))),
                   lambda: p.OFPActionSetField(eth_dst=_mac(r.getrandbits(48))),
                   lambda: p.OFPActionSetQueue(r.getrandbits(8)), lambda: p.OFPActionGroup(1)]
        if ethernet == 0x800:
            choices += [lambda: p.OFPActionSetField(ipv4_src=_ip4(r.getrandbits(32))),
                        lambda: p.OFPActionSetNwTtl(r.randrange(1, 256)), p.OFPActionDecNwTtl]
        if ethernet == 0x86dd:
            choices += [lambda: p.OFPActionSetField(ipv6_dst=_ip6(r.getrandbits(128))), p.OFPActionDecNwTtl]
        for name in ("tcp", "udp", "sctp"):
            if f"{name}_dst" in fields or f"{name}_src" in fields:
                choices.append(lambda name=name: p.OFPActionSetField(**{f"{name}_dst": r.getrandbits(16)}))
        if ethernet in (0x8847, 0x8848):
            choices += [lambda: p.OFPActionSetField(mpls_label=r.getrandbits(20)), lambda: p.OFPActionSetMplsTtl(r.randrange(1, 256))]
        found.append(r.choice(choices)())
    if r.random() < 0.2:
        found.append(p.OFPActionPushVlan(r.choice((0x8100, 0x88a8))))
    return found


def random_instructions(r: random.Random, d: ProtocolDesc, fields: dict, table: int) -> list:
    p, o = d.ofproto_parser, d.ofproto
    found = []
    if r.random() < 0.6:
        found.append(p.OFPInstructionActions(o.OFPIT_APPLY_ACTIONS, random_actions(r, d, fields)))
    if r.random() < 0.3:
        found.append(p.OFPInstructionActions(o.OFPIT_WRITE_ACTIONS, random_actions(r, d, fields)))
    if r.random() < 0.3:
        value, mask = _masked(r, 64)
        found.append(p.OFPInstructionWriteMetadata(value, mask))
    if r.random() < 0.4:
        found.append(p.OFPInstructionGotoTable(r.randrange(table + 1, 254)))
    return found


def random_rule(r: random.Random, d: ProtocolDesc, cookie: int):
    """A flow-mod that adds one, of its own priority, so that it replaces none."""
    p, o = d.ofproto_parser, d.ofproto
    if o.OFP_VERSION == 1:
        fields: dict = {"in_port": r.choice((1, 2))} if r.random() < 0.5 else {}
        if r.random() < 0.3:
            fields["dl_src"] = r.getrandbits(48).to_bytes(6, "big")
        if r.random() < 0.3:
            fields["dl_vlan"] = r.getrandbits(12)
        if r.random() < 0.6:
            fields |= {"dl_type": 0x800, "nw_proto": r.choice((6, 17)), "nw_src": _ip4(r.getrandbits(32)), "tp_dst": r.getrandbits(16)}
        actions = [r.choice((lambda: p.OFPActionOutput(r.choice((1, 2, o.OFPP_FLOOD, o.OFPP_CONTROLLER)), r.getrandbits(15)),
                             lambda: p.OFPActionSetDlSrc(_mac(r.getrandbits(48))), lambda: p.OFPActionVlanVid(r.getrandbits(12)),
                             lambda: p.OFPActionSetNwTos(r.getrandbits(6) << 2), lambda: p.OFPActionSetTpDst(r.getrandbits(16)),
                             p.OFPActionStripVlan))() for _ in range(r.choice((0, 1, 2, 3)))]
        if any(isinstance(a, (p.OFPActionSetNwTos, p.OFPActionSetTpDst)) for a in actions) and "dl_type" not in fields:
            actions = []
        return p.OFPFlowMod(d, match=p.OFPMatch(**fields), cookie=cookie, command=o.OFPFC_ADD, priority=cookie & 0x7fff,
                            idle_timeout=r.getrandbits(15) | 256, actions=actions)
    fields, table = random_fields(r, o.OFP_VERSION), r.randrange(253)
    return p.OFPFlowMod(d, cookie=cookie, table_id=table, command=o.OFPFC_ADD, priority=cookie & 0xffff,
                        idle_timeout=r.getrandbits(15) | 256, hard_timeout=r.getrandbits(15) | 256, buffer_id=NO_BUFFER,
                        out_port=o.OFPP_ANY, out_group=o.OFPG_ANY, flags=r.choice((0, o.OFPFF_SEND_FLOW_REM)),
                        match=p.OFPMatch(**fields), instructions=random_instructions(r, d, fields, table))


def _wildcards(bits: int) -> int:
    """1.0's, where 32 to 63 ignored bits of an address are all the same (1.0.1, 5.2.3)."""
    for shift in (8, 14):
        if (ignored := bits >> shift & 63) > 32:
            bits -= ignored - 32 << shift
    return bits


def told(d: ProtocolDesc, rule) -> tuple:
    """What a flow-mod or an entry of flow statistics says that must be the same in both, by os-ken's reading."""
    if d.ofproto.OFP_VERSION == 1:
        return (rule.cookie, rule.priority, rule.idle_timeout, _wildcards(rule.match.wildcards), str(rule.match).rpartition(",")[0],
                str(rule.actions))
    match = sorted((name, value) for name, value in rule.match.items())
    return (rule.cookie, rule.priority, rule.table_id, rule.idle_timeout, rule.hard_timeout, str(match),
            str([i.to_jsondict() for i in rule.instructions]))


def read_back(d: ProtocolDesc, message) -> tuple:
    """The same of a message that is about to be sent: by way of its bytes, so that os-ken fills in what it fills in."""
    if d.ofproto.OFP_VERSION == 1:
        return told(d, message)
    data = bytes(message.buf)
    return told(d, d.ofproto_parser.OFPFlowMod.parser(d, d.ofproto.OFP_VERSION, FLOW_MOD, len(data), message.xid, bytearray(data)))
