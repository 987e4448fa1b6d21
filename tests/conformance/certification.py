"""The Ryu certification suite's cases of OpenFlow 1.3, as the os-ken wheel carries them, read without its tester switch.

A case is rules and packets: what goes in at the port that the suite calls target_recv, and what must come out at target_send_1,
come to the controller, or be counted as a table miss.
"""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import os_ken.tests.switch
from os_ken.lib.packet import arp, ethernet, icmp, icmpv6, ipv4, ipv6, mpls, pbb, sctp, tcp, udp, vlan
from os_ken.ofproto import ofproto_parser, ofproto_protocol

SUITE = Path(os_ken.tests.switch.__file__).parent / "of13"
RECV, SEND_1, SEND_2 = 1, 2, 3
PORTS = {"target_recv": RECV, "target_send_1": SEND_1, "target_send_2": SEND_2}
# What the cases' packets are written with; two names stand for other classes than elsewhere, as in the suite's tester.
NAMES = {name: value for module in (arp, ethernet, icmp, icmpv6, ipv4, ipv6, mpls, pbb, sctp, tcp, udp, vlan)
         for name, value in vars(module).items() if isinstance(value, type) and value.__module__ == module.__name__}
NAMES |= {"ipv6option": ipv6.option, "icmpv6echo": icmpv6.echo, "echo": icmp.echo}


@dataclass
class Case:
    file: str
    description: str
    messages: list                     # serialised OpenFlow 1.3 messages
    packets: list[dict] = field(default_factory=list)   # "in", and one of "out", "packet_in", "table_miss"


def _frame(lines: list[str]) -> bytes:
    built = eval("/".join(lines), dict(NAMES))     # the suite's own notation is Python
    built.serialize()
    return bytes(built.data)


def _name_ports(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "OFPActionOutput" and inner.get("port") in PORTS:
                inner["port"] = PORTS[inner["port"]]
            if key == "OXMTlv" and inner.get("field") == "in_port" and inner.get("value") in PORTS:
                inner["value"] = PORTS[inner["value"]]
            _name_ports(inner)
    elif isinstance(value, list):
        for inner in value:
            _name_ports(inner)


def cases(category: str) -> list[Case]:
    """Cases below of13/CATEGORY, throughput measurements left out."""
    found = []
    for path in sorted((SUITE / category).rglob("*.json")):
        for test in json.loads(path.read_text(encoding="utf-8")):
            if isinstance(test, str):
                continue
            _name_ports(test)
            protocol = ofproto_protocol.ProtocolDesc(4)
            protocol.set_xid = lambda message: message.set_xid(0)
            messages = []
            for description in test["prerequisite"]:
                message = ofproto_parser.ofp_msg_from_jsondict(protocol, description)
                message.serialize()
                messages.append(bytes(message.buf))
            case = Case(str(path.relative_to(SUITE)), test["description"], messages)
            for step in test["tests"]:
                if not isinstance(step["ingress"], list):
                    continue
                one = {"in": _frame(step["ingress"])}
                for theirs, ours in (("egress", "out"), ("PACKET_IN", "packet_in")):
                    if theirs in step:
                        one[ours] = _frame(step[theirs])
                if "table-miss" in step:
                    one["table_miss"] = step["table-miss"]
                case.packets.append(one)
            found.append(case)
    return found
