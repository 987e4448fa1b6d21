"""A small model of the switch, written from the OpenFlow 1.3.5 specification and from nothing in the datapath: packets are
layers, not bytes; every checksum is computed from scratch; a lookup is a walk over all rules."""
from __future__ import annotations

import copy
import struct
from dataclasses import dataclass, field

from vswitch.openflow import actions as of

CONTROLLER, IN_PORT, NORMAL, FLOOD, ALL = 0xfffffffd, 0xfffffff8, 0xfffffffa, 0xfffffffb, 0xfffffffc
PRESENT = 0x1000


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


@dataclass
class Packet:
    eth_dst: int
    eth_src: int
    vlans: list[tuple[int, int]] = field(default_factory=list)     # (TPID, TCI), outermost first
    mpls: list[list[int]] = field(default_factory=list)            # [ethertype, label, tc, ttl], outermost first
    eth_type: int = 0x88b5          # of the payload below all labels
    ip: dict[str, int] = field(default_factory=dict)               # src, dst, dscp, ecn, proto, ttl, flabel, fragment
    l4: dict[str, int] = field(default_factory=dict)               # src, dst, or type, code
    arp: dict[str, int] = field(default_factory=dict)              # op, sha, spa, tha, tpa
    payload: bytes = b""
    padding: bytes = b""            # behind everything, to 60 bytes: what a popped header leaves

    # -- to bytes

    def _transport(self, src: bytes, dst: bytes) -> bytes:
        if self.ip.get("fragment"):
            return self.payload
        proto, v6 = self.ip["proto"], len(src) == 16
        length = {6: 20, 17: 8, 1: 8, 58: 8}.get(proto, 0) + len(self.payload)
        pseudo = src + dst + (struct.pack("!IxxxB", length, proto) if v6 else struct.pack("!xBH", proto, length))
        if proto == 6:
            head = struct.pack("!HHIIBBHHH", self.l4["src"], self.l4["dst"], 1, 2, 0x50, 0x18, 512, 0, 0)
            c = checksum(pseudo + head + self.payload)
            return head[:16] + struct.pack("!H", c) + head[18:] + self.payload
        if proto == 17:
            head = struct.pack("!HHHH", self.l4["src"], self.l4["dst"], length, 0)
            c = checksum(pseudo + head + self.payload) or 0xffff
            return head[:6] + struct.pack("!H", c) + self.payload
        if proto in (1, 58):
            head = struct.pack("!BBHI", self.l4["type"], self.l4["code"], 0, 7)
            c = checksum((pseudo if v6 else b"") + head + self.payload)
            return head[:2] + struct.pack("!H", c) + head[4:] + self.payload
        return self.payload

    def _network(self) -> bytes:
        ip = self.ip
        if self.eth_type == 0x0800:
            src, dst = ip["src"].to_bytes(4, "big"), ip["dst"].to_bytes(4, "big")
            body = self._transport(src, dst)
            head = struct.pack("!BBHHHBBH", 0x45, ip["dscp"] << 2 | ip["ecn"], 20 + len(body), 9,
                               0x2005 if ip.get("fragment") else 0x4000, ip["ttl"], ip["proto"], 0) + src + dst
            return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body
        if self.eth_type == 0x86dd:
            src, dst = ip["src"].to_bytes(16, "big"), ip["dst"].to_bytes(16, "big")
            body = self._transport(src, dst)
            word = 6 << 28 | ip["dscp"] << 22 | ip["ecn"] << 20 | ip["flabel"]
            return struct.pack("!IHBB", word, len(body), ip["proto"], ip["ttl"]) + src + dst + body
        if self.eth_type == 0x0806:
            a = self.arp
            return (struct.pack("!HHBBH", 1, 0x0800, 6, 4, a["op"]) + a["sha"].to_bytes(6, "big")
                    + a["spa"].to_bytes(4, "big") + a["tha"].to_bytes(6, "big") + a["tpa"].to_bytes(4, "big") + self.payload)
        return self.payload

    def serialise(self) -> bytes:
        out = self.eth_dst.to_bytes(6, "big") + self.eth_src.to_bytes(6, "big")
        for tpid, tci in self.vlans:
            out += struct.pack("!HH", tpid, tci)
        if self.mpls:
            out += struct.pack("!H", self.mpls[0][0])
            for i, (_, label, tc, ttl) in enumerate(self.mpls):
                out += struct.pack("!I", label << 12 | tc << 9 | (i == len(self.mpls) - 1) << 8 | ttl)
        else:
            out += struct.pack("!H", self.eth_type)
        return out + self._network() + self.padding

    def pad(self) -> None:
        self.padding += bytes(max(0, 60 - len(self.serialise())))

    # -- what a rule can match

    def fields(self) -> dict[str, int]:
        f = {"eth_dst": self.eth_dst, "eth_src": self.eth_src, "vlan_vid": 0,
             "eth_type": self.mpls[0][0] if self.mpls else self.eth_type}
        if self.vlans:
            tci = self.vlans[0][1]
            f |= {"vlan_vid": tci & 0xfff | PRESENT, "vlan_pcp": tci >> 13}
        if self.mpls:
            _, label, tc, _ = self.mpls[0]
            return f | {"mpls_label": label, "mpls_tc": tc, "mpls_bos": int(len(self.mpls) == 1)}
        if self.eth_type == 0x0806:
            a = self.arp
            return f | {"arp_op": a["op"], "arp_spa": a["spa"], "arp_tpa": a["tpa"], "arp_sha": a["sha"], "arp_tha": a["tha"]}
        if self.eth_type not in (0x0800, 0x86dd):
            return f
        ip, v = self.ip, "ipv4" if self.eth_type == 0x0800 else "ipv6"
        f |= {f"{v}_src": ip["src"], f"{v}_dst": ip["dst"], "ip_dscp": ip["dscp"], "ip_ecn": ip["ecn"],
              "ip_proto": ip["proto"]}
        if v == "ipv6":
            f["ipv6_flabel"] = ip["flabel"]
        l4 = {"src": 0, "dst": 0, "type": 0, "code": 0} if ip.get("fragment") else self.l4
        name = {6: "tcp", 17: "udp"}.get(ip["proto"])
        if name:
            f |= {f"{name}_src": l4["src"], f"{name}_dst": l4["dst"]}
        elif ip["proto"] == (1 if v == "ipv4" else 58):
            icmp = "icmpv4" if v == "ipv4" else "icmpv6"
            f |= {f"{icmp}_type": l4["type"], f"{icmp}_code": l4["code"]}
        return f

    # -- what an action can change

    def set_field(self, name: str, value: int) -> None:
        prefix, _, last = name.partition("_")
        if name in ("eth_dst", "eth_src"):
            setattr(self, name, value)
        elif name == "vlan_vid":
            self.vlans[0] = (self.vlans[0][0], self.vlans[0][1] & 0xf000 | value & 0xfff)
        elif name == "vlan_pcp":
            self.vlans[0] = (self.vlans[0][0], self.vlans[0][1] & 0x1fff | value << 13)
        elif prefix == "mpls":
            self.mpls[0][{"label": 1, "tc": 2}[last]] = value
        elif prefix in ("ipv4", "ipv6", "ip"):
            self.ip[last] = value
        elif prefix == "arp":
            self.arp[last] = value
        elif not self.ip.get("fragment"):
            self.l4[last] = value


@dataclass
class Rule:
    table: int
    priority: int
    match: dict[str, tuple[int, int | None]]
    instructions: tuple
    cookie: int
    packets: int = 0
    bytes: int = 0

    def matches(self, fields: dict[str, int]) -> bool:
        for name, (value, mask) in self.match.items():
            if name not in fields:
                return False
            if fields[name] != value if mask is None else fields[name] & mask != value & mask:
                return False
        return True


class Dropped(Exception):
    pass


class Bridge:
    """`ports` that exist; `sent` gathers (port, frame); packet-ins gather under port CONTROLLER."""

    def __init__(self, ports: list[int]):
        self.ports, self.rules, self.macs = ports, [], {}

    def process(self, packet: Packet, in_port: int) -> list[tuple[int, bytes]]:
        p, sent, length = copy.deepcopy(packet), [], len(packet.serialise())
        metadata, action_set, table = 0, {}, 0
        try:
            while table is not None:
                fields = p.fields() | {"in_port": in_port, "metadata": metadata}
                rule = max((r for r in self.rules if r.table == table and r.matches(fields)),
                           key=lambda r: r.priority, default=None)
                if rule is None:
                    return sent
                rule.packets += 1
                rule.bytes += length
                table = None
                by_type = {type(i): i for i in rule.instructions}
                if i := by_type.get(of.ApplyActions):
                    for action in i.actions:
                        self.act(action, p, in_port, sent)
                if of.ClearActions in by_type:
                    action_set = {}
                if i := by_type.get(of.WriteActions):
                    for action in i.actions:
                        action_set[self.set_key(action)] = action
                if i := by_type.get(of.WriteMetadata):
                    metadata = metadata & ~i.mask | i.metadata & i.mask
                if i := by_type.get(of.GotoTable):
                    table = i.table
            for key in sorted(action_set):
                self.act(action_set[key], p, in_port, sent)
        except Dropped:
            pass
        return sent

    ORDER = (of.PopMpls, of.PopVlan, of.PushMpls, of.PushVlan, of.DecNwTtl, of.SetNwTtl, of.SetField, of.Output)

    def set_key(self, action) -> tuple:
        """5.10: one action of a kind, set-field one a field, in this order."""
        return self.ORDER.index(type(action)), action.field if isinstance(action, of.SetField) else ""

    def act(self, action, p: Packet, in_port: int, sent: list) -> None:
        match action:
            case of.Output(port=port):
                self.output(port, p, in_port, sent)
            case of.SetField(field=name, value=value):
                p.set_field(name, value)
            case of.PushVlan(ethertype=tpid):
                p.vlans.insert(0, (tpid, p.vlans[0][1] if p.vlans else 0))
            case of.PopVlan():
                p.vlans.pop(0)
                p.pad()
            case of.PushMpls(ethertype=ethertype):
                outer = p.mpls[0] if p.mpls else [0, 0, 0, p.ip.get("ttl", 64)]
                p.mpls.insert(0, [ethertype, *outer[1:]])
            case of.PopMpls(ethertype=ethertype):
                p.mpls.pop(0)
                if p.mpls:
                    p.mpls[0][0] = ethertype
                p.pad()
            case of.SetNwTtl(ttl=ttl):
                p.ip["ttl"] = ttl
            case of.DecNwTtl():
                if p.ip["ttl"] <= 1:
                    sent.append((CONTROLLER, p.serialise()))
                    raise Dropped
                p.ip["ttl"] -= 1

    def output(self, port: int, p: Packet, in_port: int, sent: list) -> None:
        frame = p.serialise()
        if port == IN_PORT:
            sent.append((in_port, frame))
        elif port in (FLOOD, ALL):
            sent.extend((o, frame) for o in self.ports if o != in_port)
        elif port == CONTROLLER:
            sent.append((CONTROLLER, frame))
        elif port == NORMAL:
            vlan = p.vlans[0][1] & 0xfff if p.vlans else 0
            if not p.eth_src >> 40 & 1:
                self.macs[p.eth_src, vlan] = in_port
            to = None if p.eth_dst >> 40 & 1 else self.macs.get((p.eth_dst, vlan))
            if to is None:
                sent.extend((o, frame) for o in self.ports if o != in_port)
            elif to != in_port:
                sent.append((to, frame))
        elif port in self.ports and port != in_port:
            sent.append((port, frame))
