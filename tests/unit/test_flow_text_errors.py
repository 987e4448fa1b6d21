"""Rules that are wrong: the error names the token."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vswitch.errors import InvalidError
from vswitch.openflow import flow_text

BAD = [
    # text, command, the token, a part of the reason
    ("ip,nw_dst=10.0.0.0/24", "add", "actions", "missing"),
    ("foo=1,actions=drop", "add", "foo", "unknown field"),
    ("foo,actions=drop", "add", "foo", "unknown keyword"),
    ("ip,nw_dst=10.0.0.300,actions=drop", "add", "nw_dst", "IPv4"),
    ("ip,nw_dst=10.0.0.0/33,actions=drop", "add", "nw_dst", "out of range"),
    ("ipv6,ipv6_dst=1.2.3.4,actions=drop", "add", "ipv6_dst", "IPv6"),
    ("nw_dst=10.0.0.1,actions=drop", "add", "nw_dst", "needs ip or arp"),
    ("tcp_dst=80,actions=drop", "add", "tcp_dst", "needs tcp"),
    ("udp,tcp_dst=80,actions=drop", "add", "tcp_dst", "needs tcp"),
    ("ip,tp_dst=80,actions=drop", "add", "tp_dst", "needs tcp, udp or sctp"),
    ("vlan_pcp=3,actions=drop", "add", "vlan_pcp", "VLAN"),
    ("tcp,tcp_dst=65536,actions=drop", "add", "tcp_dst", "out of range"),
    ("tcp,udp,actions=drop", "add", "udp", "contradicts"),
    ("ip,ip,actions=drop", "add", "ip", "twice"),
    ("dl_src=1:2:3:4:5,actions=drop", "add", "dl_src", "Ethernet"),
    ("dl_vlan=4096,actions=drop", "add", "dl_vlan", "out of range"),
    ("ip,nw_tos=33,actions=drop", "add", "nw_tos", "ECN"),
    ("in_port=nope,actions=drop", "add", "in_port", "no port"),
    ("priority=65536,actions=drop", "add", "priority", "out of range"),
    ("priority=,actions=drop", "add", "priority", "no value"),
    ("priority=-1,actions=drop", "add", "priority", "out of range"),
    ("table=255,actions=drop", "add", "table", "out of range"),
    ("cookie=1/1,actions=drop", "add", "cookie", "mask"),
    ("out_port=1,actions=drop", "add", "out_port", "deletion"),
    ("idle_timeout=x,actions=drop", "add", "idle_timeout", "not a number"),
    ("send_flow_rem=1,actions=drop", "add", "send_flow_rem", "no value"),
    ("ip,actions=drop", "delete", "actions", "takes none"),
    ("priority=1,ip", "delete", "priority", "strict"),
    ("actions=resubmit(,1)", "add", "resubmit", "unknown action"),
    ("actions=output", "add", "output", "needs an argument"),
    ("actions=output:nope", "add", "output", "no port"),
    ("actions=set_field:1", "add", "set_field", "VALUE"),
    ("actions=set_field:1->nope", "add", "set_field", "unknown field"),
    ("actions=set_field:1->metadata", "add", "set_field", "can't be set"),
    ("ip,actions=set_field:10.0.0.0/8->ip_dst", "add", "set_field", "without a mask"),
    ("ip,actions=set_field:x->ip_dst", "add", "set_field ip_dst", "IPv4"),
    ("actions=mod_tp_dst:5", "add", "mod_tp_dst", "tcp"),
    ("actions=mod_vlan_vid:5000", "add", "mod_vlan_vid", "out of range"),
    ("actions=push_vlan:0x800", "add", "push_vlan", "none of"),
    ("actions=pop_vlan:3", "add", "pop_vlan", "no argument"),
    ("actions=output:1,drop", "add", "drop", "accompanied"),
    ("actions=goto_table:2,output:1", "add", "apply_actions", "before goto_table"),
    ("actions=goto_table:2,goto_table:3", "add", "goto_table", "twice"),
    ("table=5,actions=goto_table:5", "add", "goto_table", "after"),
    ("actions=goto_table:254", "add", "goto_table", "out of range"),
    ("actions=write_actions(output:1", "add", "actions", "without its )"),
    ("actions=write_actions(goto_table:1)", "add", "goto_table", "not an action"),
    ("actions=controller(reason=no_match)", "add", "controller", "reason"),
    ("actions=write_metadata:zz", "add", "write_metadata", "not a number"),
    ("actions=meter:", "add", "meter", "needs an argument"),
    ("actions=)", "add", "actions", "without its ("),
    ("x" * 70000, "add", "flow", "longer"),
]


@pytest.mark.parametrize("text, command, token, reason", BAD, ids=[case[0][:40] + " " + case[1] for case in BAD])
def test_the_error_names_the_token(text, command, token, reason):
    with pytest.raises(InvalidError) as caught:
        flow_text.parse_flow_mod(text, command)
    assert caught.value.field == token
    assert reason in caught.value.reason


@given(st.text(alphabet="ipvtcudsrnw_lao=,:/()0123456789abcdefx->. ", max_size=80))
def test_any_text_is_a_rule_or_an_invalid_error(text):
    for command in ("add", "delete_strict"):
        try:
            body = flow_text.parse_flow_mod(text + (",actions=drop" if command == "add" else ""), command)
        except InvalidError:
            continue
        assert len(body) % 8 == 0


@given(st.text(alphabet="outpclremsdf_gn:,()0123456789x->/ ", max_size=60))
def test_any_actions_are_actions_or_an_invalid_error(text):
    try:
        flow_text.parse_actions(text)
    except InvalidError:
        pass


def test_port_names():
    ports = {"web-1": 7, "vx": 9}
    by_name = flow_text.parse_flow_mod("in_port=web-1,actions=output:vx,web-1", ports=ports.get)
    assert by_name == flow_text.parse_flow_mod("in_port=7,actions=output:9,output:7")
    assert flow_text.parse_actions("vx", ports.get) == flow_text.parse_actions("output:9")


def test_a_dump_filter_covers_all_tables_unless_it_names_one():
    assert flow_text.parse_stats_request("")[0] == 255
    assert flow_text.parse_stats_request("table=3,ip,out_port=2")[0] == 3
    assert flow_text.parse_flow_mod("", "delete")[16] == 255
