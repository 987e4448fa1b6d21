"""A tenant's firewall on Ryu's API (OpenFlow 1.3): who may talk to whom stands in a small YAML file, all else is dropped.

    allow:
      - {from: 10.0.0.0/24, to: 10.0.0.9, proto: tcp, port: 443}
      - {from: "02:00:00:00:00:01", to: "02:00:00:00:00:02"}

`from` and `to` are an IPv4 or IPv6 network or an Ethernet address (left out: anybody), `proto` is tcp, udp, icmp or any,
`port` is the destination's, 1..65535. Answers pass the other way. ARP and neighbour discovery always pass. The file's name
is in TENANT_FIREWALL_RULES (tenant_firewall.yaml when it isn't set); it is read when the app starts.
"""
import ipaddress
import os
import re

import yaml
from ryu.base import app_manager
from ryu.controller import ofp_event
from ryu.controller.handler import CONFIG_DISPATCHER, set_ev_cls
from ryu.ofproto import ofproto_v1_3

MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
PROTOCOLS = {"tcp": (6, 6), "udp": (17, 17), "icmp": (1, 58), "any": (None, None)}   # over IPv4, over IPv6
ETH_TYPES = {4: 0x0800, 6: 0x86dd}
ALWAYS = ({"eth_type": 0x0806},
          *({"eth_type": 0x86dd, "ip_proto": 58, "icmpv6_type": kind} for kind in (133, 134, 135, 136)))


class RulesError(ValueError):
    """Names the rule, the key and what is wrong."""


def read_rules(text):
    """The matches (dicts of OXM fields) of what may pass, answers included."""
    try:
        root = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise RulesError(" ".join(str(error).split())) from None
    if not isinstance(root, dict) or set(root) - {"allow"}:
        raise RulesError("the file holds one key, allow, and a list of rules below it")
    matches = []
    for index, rule in enumerate(root.get("allow") or []):
        matches += rule_matches(rule, f"allow[{index}]")
    return matches


def rule_matches(rule, where):
    if not isinstance(rule, dict):
        raise RulesError(f"{where}: must be a mapping")
    unknown = set(rule) - {"from", "to", "proto", "port"}
    if unknown:
        raise RulesError(f"{where}.{sorted(map(str, unknown))[0]}: unknown key")
    proto, port = rule.get("proto", "any"), rule.get("port")
    if proto not in PROTOCOLS:
        raise RulesError(f"{where}.proto: {proto!r} is none of {', '.join(PROTOCOLS)}")
    if port is not None and (type(port) is not int or not 1 <= port <= 65535):
        raise RulesError(f"{where}.port: {port!r} is not a port number, 1..65535")
    if port is not None and proto not in ("tcp", "udp"):
        raise RulesError(f"{where}.port: only tcp and udp have ports")
    source, destination = (end(rule.get(key), f"{where}.{key}") for key in ("from", "to"))
    versions = {address.version for address in (source, destination) if isinstance(address, NETWORKS)}
    if len(versions) > 1:
        raise RulesError(f"{where}: from and to are of different IP versions")
    if not versions:
        versions = {None} if proto == "any" else {4, 6}
    matches = []
    for version in sorted(versions, key=str):
        matches.append(one_way(version, source, destination, proto, "dst", port))
        matches.append(one_way(version, destination, source, proto, "src", port))
    return matches


NETWORKS = (ipaddress.IPv4Network, ipaddress.IPv6Network)


def end(value, where):
    """None, an Ethernet address or a network."""
    if value is None:
        return None
    if isinstance(value, str) and MAC.fullmatch(value):
        return value
    try:
        return ipaddress.ip_network(value if isinstance(value, str) else "", strict=False)
    except ValueError:
        raise RulesError(f"{where}: {value!r} is neither an IP network nor an Ethernet address (quote it)") from None


def one_way(version, source, destination, proto, port_end, port):
    match = {}
    if version is not None:
        match["eth_type"] = ETH_TYPES[version]
    for address, side in ((source, "src"), (destination, "dst")):
        if isinstance(address, str):
            match[f"eth_{side}"] = address
        elif address is not None:
            match[f"ipv{version}_{side}"] = (str(address.network_address), str(address.netmask))
    number = PROTOCOLS[proto][0 if version == 4 else 1]
    if number is not None:
        match["ip_proto"] = number
    if port is not None:
        match[f"{proto}_{port_end}"] = port
    return match


class TenantFirewall(app_manager.RyuApp):
    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        path = os.environ.get("TENANT_FIREWALL_RULES", "tenant_firewall.yaml")
        with open(path, encoding="utf-8") as file:
            self.matches = read_rules(file.read())
        self.logger.info("%s: %d ways are open", path, len(self.matches))

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def connected(self, event):
        datapath = event.msg.datapath
        ofproto, parser = datapath.ofproto, datapath.ofproto_parser
        datapath.send_msg(parser.OFPFlowMod(
            datapath=datapath, command=ofproto.OFPFC_DELETE, table_id=ofproto.OFPTT_ALL, out_port=ofproto.OFPP_ANY,
            out_group=ofproto.OFPG_ANY, match=parser.OFPMatch(), instructions=[]))
        forward = [parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, [parser.OFPActionOutput(ofproto.OFPP_NORMAL)])]
        for match in ALWAYS:
            self.send_rule(datapath, 200, match, forward)
        for match in self.matches:
            self.send_rule(datapath, 100, match, forward)
        self.send_rule(datapath, 0, {}, [])
        datapath.send_msg(parser.OFPBarrierRequest(datapath))
        self.logger.info("switch %016x has the rules", datapath.id)

    def send_rule(self, datapath, priority, match, instructions):
        parser = datapath.ofproto_parser
        datapath.send_msg(parser.OFPFlowMod(datapath=datapath, priority=priority, match=parser.OFPMatch(**match),
                                            instructions=instructions))
