"""Random rules and random packets: the cached datapath, the walk through the tables without caches, and the reference model
agree on ports, bytes and counters, also while rules change between packets.

VSWITCH_DIFFERENTIAL_PACKETS says how many packets in all (default 100,000).
"""
from __future__ import annotations

import os
import random

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import reference as ref
from reference import Bridge, Packet, Rule
from simulation import ADD, DELETE, DELETE_STRICT, MODIFY_STRICT, Sim, flow_mod
from vswitch.openflow import actions as of
from vswitch.openflow.oxm import encode_match

PACKETS = int(os.environ.get("VSWITCH_DIFFERENTIAL_PACKETS", "100000"))
PER_EXAMPLE = 250
PORTS = [1, 2, 3, 4]
TABLES = 4

MACS = [0x020000000001, 0x020000000002, 0x020000000003, 0x01005e000001]
IP4 = [0x0a000001, 0x0a000002, 0x0a000102, 0xc0a80001]
IP6 = [0xfd00 << 112 | 1, 0xfd00 << 112 | 2, 0xfd00 << 112 | 1 << 64]
L4 = [80, 443, 5000, 5001]
VIDS = [1, 2, 100]


def random_packet(r: random.Random) -> Packet:
    p = Packet(r.choice(MACS), r.choice(MACS[:3]), payload=bytes(r.randrange(256) for _ in range(r.choice((0, 1, 18, 60)))))
    for _ in range(r.choice((0, 0, 0, 1, 1, 2))):
        p.vlans.append((0x8100, r.choice(VIDS) | r.randrange(8) << 13))
    kind = r.choice(("ipv4", "ipv4", "ipv6", "arp", "other", "mpls"))
    if kind == "arp":
        p.eth_type = 0x0806
        p.arp = {"op": r.choice((1, 2)), "sha": r.choice(MACS), "spa": r.choice(IP4), "tha": r.choice(MACS), "tpa": r.choice(IP4)}
        return p
    if kind == "other":
        p.payload = p.payload.ljust(46, b"\x5a")
        return p
    v6 = kind == "ipv6"
    p.eth_type = 0x86dd if v6 else 0x0800
    proto = r.choice((6, 17, 58 if v6 else 1, 132 if v6 else 47))
    p.ip = {"src": r.choice(IP6 if v6 else IP4), "dst": r.choice(IP6 if v6 else IP4), "dscp": r.choice((0, 10, 46)),
            "ecn": r.randrange(4), "proto": proto, "ttl": r.choice((1, 2, 64, 255)), "flabel": r.choice((0, 5))}
    if not v6 and r.random() < 0.1:
        p.ip["fragment"] = 1
    if proto in (6, 17):
        p.l4 = {"src": r.choice(L4), "dst": r.choice(L4)}
    elif proto in (1, 58):
        p.l4 = {"type": r.choice((0, 8, 128)), "code": r.choice((0, 3))}
    elif proto == 132:
        p.payload = p.payload[:4]      # too short to be SCTP: no ports
    if kind == "mpls":
        for _ in range(r.choice((1, 1, 2))):
            p.mpls.append([0x8847, r.choice((16, 17, 1000)), r.randrange(8), r.choice((2, 64))])
    return p


def random_match(r: random.Random) -> dict:
    """Some of the fields of a packet that could come, so that matches do happen; the prerequisites with them."""
    f, match = random_packet(r).fields(), {}
    if r.random() < 0.3:
        match["in_port"] = (r.choice(PORTS), None)
    if r.random() < 0.2:
        match["metadata"] = (r.randrange(4), 3)
    for name in ("eth_dst", "eth_src"):
        if r.random() < 0.3:
            match[name] = (f[name], None) if r.random() < 0.7 else (f[name] & 0xffff, 0xffff)
    deep = r.random() < 0.75
    if deep:
        match["eth_type"] = (f["eth_type"], None)
    if r.random() < 0.4:
        match["vlan_vid"] = (f["vlan_vid"], None) if r.random() < 0.7 else (f["vlan_vid"] & 0x1000, 0x1000)
        if match["vlan_vid"][0] & 0x1000 and r.random() < 0.4:
            match["vlan_pcp"] = (f["vlan_pcp"], None)
    if not deep:
        return match
    if "ip_proto" in f:
        v = "ipv4" if f["eth_type"] == 0x0800 else "ipv6"
        for name in ("ip_dscp", "ip_ecn", "ip_proto"):
            if r.random() < (0.6 if name == "ip_proto" else 0.15):
                match[name] = (f[name], None)
        for name in (f"{v}_src", f"{v}_dst"):
            if r.random() < 0.4:
                bits = 32 if v == "ipv4" else 128
                mask = (1 << bits) - (1 << r.choice((0, 1, 8, bits - 8)))
                match[name] = (f[name] & mask, None if mask == (1 << bits) - 1 else mask)
        for name in f:
            if "ip_proto" in match and name.split("_")[0] in ("tcp", "udp", "icmpv4", "icmpv6") and f[name] and r.random() < 0.5:
                match[name] = (f[name], None)
    else:
        for name in f:
            if name.split("_")[0] in ("arp", "mpls") and r.random() < 0.35:
                match[name] = (f[name], None)
    return match


ORDER = ("in_port", "metadata", "eth_dst", "eth_src", "eth_type", "vlan_vid", "vlan_pcp", "ip_dscp", "ip_ecn", "ip_proto")


def canonical(match: dict) -> dict:
    return dict(sorted(match.items(), key=lambda item: ORDER.index(item[0]) if item[0] in ORDER else len(ORDER)))


def random_actions(r: random.Random, match: dict, written: bool) -> tuple:
    """Actions that the match allows (7.2.5: consistency), in an order that keeps them allowed."""
    actions, tagged = [], match.get("vlan_vid", (0, 0))[0] & 0x1000
    eth_type = match.get("eth_type", (0, 0))[0]
    settable = ["eth_dst", "eth_src"]
    if eth_type in (0x0800, 0x86dd):
        v = "ipv4" if eth_type == 0x0800 else "ipv6"
        settable += [f"{v}_src", f"{v}_dst", "ip_dscp", "ip_ecn"] + (["ipv6_flabel"] if v == "ipv6" else [])
        if match.get("ip_proto", (0, 0))[0] in (6, 17):
            name = "tcp" if match["ip_proto"][0] == 6 else "udp"
            settable += [f"{name}_src", f"{name}_dst"]
        if match.get("ip_proto", (0, 0))[0] == (1 if v == "ipv4" else 58):
            settable += [("icmpv4" if v == "ipv4" else "icmpv6") + "_type"]
    if eth_type == 0x0806:
        settable += ["arp_op", "arp_spa", "arp_tpa", "arp_sha", "arp_tha"]
    if eth_type == 0x8847:
        settable += ["mpls_label", "mpls_tc"]
    if tagged:
        settable += ["vlan_vid", "vlan_pcp"]
    values = {"eth_dst": MACS, "eth_src": MACS[:3], "ipv4_src": IP4, "ipv4_dst": IP4, "ipv6_src": IP6, "ipv6_dst": IP6,
              "ip_dscp": [0, 34], "ip_ecn": [0, 3], "ipv6_flabel": [0, 0xabcde], "arp_op": [1, 2], "arp_spa": IP4,
              "arp_tpa": IP4, "arp_sha": MACS, "arp_tha": MACS, "mpls_label": [16, 99], "mpls_tc": [0, 7],
              "vlan_vid": [0x1000 | v for v in VIDS], "vlan_pcp": [0, 7], "icmpv4_type": [0, 8], "icmpv6_type": [128, 129]}
    for name in r.sample(settable, r.randrange(min(3, len(settable)) + 1)):
        actions.append(of.SetField(name, r.choice(values.get(name, L4))))
    if eth_type in (0x0800, 0x86dd) and r.random() < 0.3:
        actions.append(of.DecNwTtl() if r.random() < 0.7 else of.SetNwTtl(9))
    if r.random() < 0.4 and not written:
        actions.append(of.Output(r.choice((*PORTS, ref.FLOOD, ref.CONTROLLER, ref.IN_PORT, ref.NORMAL))))
    change = r.random()
    if change < 0.15 and tagged and not (written and any(isinstance(a, of.SetField) and "vlan" in a.field for a in actions)):
        actions.append(of.PopVlan())
    elif change < 0.3:
        actions.append(of.PushVlan())
    elif change < 0.4 and eth_type in (0x0800, 0x8847) and not written:
        # Not onto IPv6: whoever pops the last label says IPv4, and the reference believes it.
        actions.append(of.PushMpls())
    elif change < 0.5 and eth_type == 0x8847 and match.get("mpls_bos") and not written:
        actions.append(of.PopMpls(0x0800 if match["mpls_bos"][0] else 0x8847))
    actions.append(of.Output(r.choice((*PORTS, *PORTS, 9, ref.FLOOD, ref.CONTROLLER, ref.IN_PORT, ref.NORMAL))))
    return tuple(actions)


def random_instructions(r: random.Random, table: int, match: dict) -> tuple:
    instructions = []
    if r.random() < 0.6:
        instructions.append(of.ApplyActions(random_actions(r, match, False)))
    if r.random() < 0.1:
        instructions.append(of.ClearActions())
    changed = instructions and any(isinstance(a, (of.PopVlan, of.PushMpls, of.PopMpls)) for i in instructions
                                   if isinstance(i, of.ApplyActions) for a in i.actions)
    if r.random() < 0.4 and not changed:
        instructions.append(of.WriteActions(random_actions(r, {}, True)))
    if r.random() < 0.3:
        instructions.append(of.WriteMetadata(r.randrange(4), r.choice((1, 3))))
    if table < TABLES - 1 and r.random() < 0.6:
        instructions.append(of.GotoTable(r.randrange(table + 1, TABLES)))
    return tuple(instructions)


class Three:
    """The three implementations, told the same things. Only one Sim can live in a process at a time, so two are kept in one:
    bridge 1 of a tenant with caches, and a second run without."""

    def __init__(self):
        self.bridge, self.log, self.cookie = Bridge(PORTS), [], 0

    def add(self, r: random.Random) -> None:
        table, match = r.randrange(TABLES) if r.random() < 0.6 else 0, canonical(random_match(r))
        # The highest priority is unique, or it would be undefined which rule matches (5.3).
        self.cookie += 1
        priority = r.randrange(1, 4) * 10000 + self.cookie if r.random() < 0.9 else 0
        if priority == 0:
            match = {}
        instructions = random_instructions(r, table, match)
        self.bridge.rules = [x for x in self.bridge.rules
                             if (x.table, x.priority, x.match) != (table, priority, match)]
        self.bridge.rules.append(Rule(table, priority, match, instructions, self.cookie))
        self.log.append(flow_mod(encode_match(match), of.encode_instructions(instructions), command=ADD, table=table,
                                 priority=priority, cookie=self.cookie, flags=4))

    def change(self, r: random.Random) -> None:
        if not self.bridge.rules:
            return
        rule = r.choice(self.bridge.rules)
        kind = r.random()
        if kind < 0.4:
            rule.instructions = random_instructions(r, rule.table, rule.match)
            self.log.append(flow_mod(encode_match(rule.match), of.encode_instructions(rule.instructions),
                                     command=MODIFY_STRICT, table=rule.table, priority=rule.priority))
        elif kind < 0.8:
            self.bridge.rules.remove(rule)
            self.log.append(flow_mod(encode_match(rule.match), command=DELETE_STRICT, table=rule.table, priority=rule.priority))
        else:
            self.bridge.rules = [x for x in self.bridge.rules if x.cookie != rule.cookie]
            self.log.append(flow_mod(encode_match({}), command=DELETE, table=0xff, cookie=rule.cookie,
                                     cookie_mask=0xffffffffffffffff))


def scenario(seed: int, churn: float) -> tuple[list, list, dict]:
    """What is done (flow-mods and packets in order), what the model sent for each packet, and the model's counters."""
    r, three = random.Random(seed), Three()
    for _ in range(r.randrange(1, 25)):
        three.add(r)
    steps, expected = [], []
    flows = [(random_packet(r), r.choice(PORTS)) for _ in range(40)]
    for _ in range(PER_EXAMPLE):
        if r.random() < churn:
            three.add(r) if r.random() < 0.5 else three.change(r)
        steps.extend(("mod", body) for body in three.log)
        three.log.clear()
        packet, port = r.choice(flows) if r.random() < 0.8 else (random_packet(r), r.choice(PORTS))
        steps.append(("packet", port, packet.serialise()))
        expected.append(sorted(three.bridge.process(packet, port)))
    return steps, expected, {x.cookie: (x.packets, x.bytes) for x in three.bridge.rules}


def run(steps: list, caches: bool) -> tuple[list, dict]:
    results = []
    with Sim(caches=caches) as sim:
        sim.tenant()
        sim.bridge(miss_send_len=0xffff)
        for port in PORTS:
            sim.port(port_no=port)
        for kind, *rest in steps:
            if kind == "mod":
                sim.flow_mod(rest[0])
                continue
            sim.inject(rest[0], rest[1])
            sent = [(port, frame) for port in PORTS for frame in sim.collect(port)]
            for _, body in sim.packet_ins():
                match_len = int.from_bytes(body[18:20], "big")
                sent.append((ref.CONTROLLER, body[16 + (match_len + 7) // 8 * 8 + 2:]))
            results.append(sorted(sent))
        return results, sim.counters()


@settings(max_examples=max(1, PACKETS // PER_EXAMPLE), suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**48), churn=st.sampled_from((0.0, 0.02, 0.3)))
@example(seed=4907461, churn=0.0)       # a port set in a later fragment, and matched in a later table
def test_three_agree(seed, churn):
    steps, expected, counters = scenario(seed, churn)
    for caches in (True, False):
        results, counted = run(steps, caches)
        for i, (got, want) in enumerate(zip(results, expected, strict=True)):
            assert got == want, f"packet {i}, caches {caches}"
        assert counted == counters, f"caches {caches}"
