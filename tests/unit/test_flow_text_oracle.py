"""Our reading and printing of rules, beside ovs-ofctl's own."""
import re
import shutil
import struct
import subprocess

import pytest

from vswitch.openflow import flow_text
from vswitch.openflow.flow_text_print import format_match, format_stats
from vswitch.openflow.flow_text_rule import RuleStats, read_flow_mod

from switch_double import flow_stats

pytestmark = pytest.mark.skipif(shutil.which("ovs-ofctl") is None, reason="needs ovs-ofctl (openvswitch-common)")

FLOWS = [
    "actions=drop",
    "priority=0,actions=",
    "priority=100,ip,nw_dst=10.0.0.0/24,actions=set_field:10.0.0.9->ip_dst,output:2",
    "priority=65535,in_port=3,actions=NORMAL",
    "in_port=LOCAL,actions=IN_PORT,local,all,flood,group:4",
    "tcp,tp_dst=80,dl_vlan=5,dl_vlan_pcp=3,metadata=0x5/0xff,tun_id=7,in_port=3,nw_tos=32,nw_ecn=1 "
    "actions=mod_vlan_vid:7,mod_tp_dst:99,mod_nw_dst:1.2.3.4,mod_nw_tos:4,dec_ttl,mod_nw_ttl:4,CONTROLLER:100,controller",
    "table=3,cookie=0x5,idle_timeout=9,send_flow_rem,arp,arp_op=1,arp_spa=1.2.3.4,"
    "dl_src=00:11:22:33:44:55/ff:ff:ff:00:00:00,actions=meter:5,write_actions(set_queue:3,output:2),"
    "write_metadata:1/2,goto_table:9",
    "mpls,mpls_label=5,mpls_bos=1,mpls_tc=2 actions=pop_mpls:0x800,push_mpls:0x8847,dec_mpls_ttl,normal",
    "icmp6,icmp_type=135,nd_target=::1,ipv6_src=fe80::/64,ipv6_label=5,vlan_tci=0x1000/0x1000 actions=clear_actions",
    "icmp6,icmpv6_type=136,nd_tll=00:00:00:00:00:01 actions=drop",
    "vlan_vid=0x1005/0x1007,actions=drop",
    "vlan_vid=0x1005,actions=drop",
    "dl_vlan=0xffff,actions=push_vlan:0x8100,set_field:0x1005->vlan_vid,output:1",
    "dl_vlan=0xffff,actions=mod_vlan_vid:5,output:1",
    "dl_vlan_pcp=3,actions=pop_vlan,output:1",
    "vlan_vid=0x1000/0x1000,vlan_pcp=3,actions=strip_vlan",
    "dl_type=0x88e7,actions=drop",
    "udp6,udp_dst=5 actions=mod_tp_src:7,output:2",
    "tcp6,tcp_src=5 actions=output:2",
    "sctp,sctp_dst=36412,actions=drop",
    "icmp,icmp_type=8,icmp_code=0 actions=output:1",
    "ip,nw_proto=47,nw_src=1.2.3.4/255.0.255.0 actions=set_queue:4,output:LOCAL,set_field:1->tun_id,set_field:2->nw_ecn",
    "ip,ip_dscp=8,nw_frag=no,actions=drop".replace("nw_frag=no,", ""),
    "arp,arp_tpa=10.0.0.0/8,arp_sha=00:00:00:00:00:01,arp_tha=00:00:00:00:00:02,actions=set_field:2->arp_op,"
    "set_field:10.1.1.1->arp_spa,in_port",
    "rarp,actions=drop",
    "arp,nw_src=1.2.3.4,nw_proto=2,actions=drop",
    "tun_src=1.2.3.4,tun_dst=5.6.7.8/24,actions=set_field:9.9.9.9->tun_dst,set_field:77->tun_id,output:4",
    "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=flood",
    "dl_src=0:1:2:3:4:5,actions=mod_dl_src:00:00:00:00:00:07,mod_dl_dst:00:00:00:00:00:08,output:1",
    "ipv6,ipv6_dst=2001:db8::/32,ipv6_src=::1,actions=set_field:2001:db8::9->ipv6_dst,dec_ttl,2",
    "ip,actions=mod_nw_src:10.9.9.9,mod_nw_ecn:3,output:3",
    "cookie=0x123456789abcdef0,hard_timeout=60,priority=7,actions=goto_table:250",
    "metadata=0x10/0xf0,actions=write_metadata:0x123",
    "reset_counts,no_packet_counts,actions=output:1",
    "tcp,nw_src=0.0.0.0/0,tcp_dst=443,actions=CONTROLLER:128",
    "ip,nw_dst=10.1.2.3/8,actions=drop",
    "actions=output:1,clear_actions,write_actions(output:2,set_field:00:00:00:00:00:09->eth_dst),goto_table:2",
    "ip actions=controller(max_len=77)",
    "duration=5.5s, table=2, n_packets=4, n_bytes=9, idle_age=3, priority=5,udp,tp_src=53 actions=drop",
    "mplsm,mpls_label=1048575,actions=set_field:77->mpls_label,output:1",
    "tun_id=0x5/0xf,actions=drop",
]


def ovs(*arguments, text=None) -> str:
    done = subprocess.run(["ovs-ofctl", "-O", "OpenFlow13", *arguments], capture_output=True, text=True, input=text)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ovs_reading(flow: str) -> str:
    """ovs-ofctl's flow_mod of a text, as it prints it."""
    return ovs("parse-flow", flow).partition("OFPT_FLOW_MOD (OF1.3) (xid=0x1): ")[2].strip()


def printed(body: bytes, tmp_path) -> str:
    """Our flow_mod, as ovs-ofctl prints it."""
    message = struct.pack("!BBHI", 4, 14, 8 + len(body), 1) + body
    return ovs("ofp-print", message.hex()).partition("(xid=0x1): ")[2].strip()


@pytest.mark.parametrize("flow", FLOWS)
def test_reads_as_ovs_ofctl_does(flow, tmp_path):
    assert printed(flow_text.parse_flow_mod(flow), tmp_path) == ovs_reading(flow)


@pytest.mark.parametrize("flow", FLOWS)
def test_dumps_as_ovs_ofctl_does(flow):
    _, rule = read_flow_mod(flow_text.parse_flow_mod(flow))
    entry = flow_stats(rule)
    body = struct.pack("!HHxxxx", 1, 0) + entry
    theirs = ovs("ofp-print", (struct.pack("!BBHI", 4, 19, 8 + len(body), 1) + body).hex()).splitlines()[-1].strip()
    assert flow_text.format_flow_stats(entry) == theirs


@pytest.mark.parametrize("flow", FLOWS)
def test_what_is_printed_reads_back(flow):
    first = flow_text.parse_flow_mod(flow)
    _, rule = read_flow_mod(first)
    assert flow_text.parse_flow_mod(flow_text.format_flow_rule(flow_stats(rule))) == first
    assert flow_text.parse_flow_mod(format_stats(RuleStats(rule, 5, 1, 1))) == first
    assert not re.search(r"\b0x0+/", format_match(rule.match)) or "vlan_tci" in format_match(rule.match)
