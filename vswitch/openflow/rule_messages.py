"""Messages that hold rules, matches or actions, in the versions that differ from 1.3: packet-in and -out, flow-mod,
flow-removed, flow statistics and monitors. Actions are bytes: convert.py knows what they mean."""
from __future__ import annotations

from vswitch.openflow import messages as ofp
from vswitch.openflow.constants import OFP_NO_BUFFER, OFPG_ANY, OFPP_ANY, OFPP_CONTROLLER
from vswitch.openflow.layout import InstructionsPart, Layout, MatchPart, One, OneOf, RawMatch, Rest
from vswitch.openflow.versions import OF10, OF11, OF12, OF13, OF14, OF15

# -- matches without OXM (1.0: 5.2.3; 1.1: A.2.3)
MATCH10 = Layout("Match10", "I wildcards=0x3fffff, H in_port, 6s dl_src, 6s dl_dst, H dl_vlan, B dl_vlan_pcp, x, H dl_type,"
                 " B nw_tos, B nw_proto, 2x, I nw_src, I nw_dst, H tp_src, H tp_dst")
MATCH11 = Layout("Match11", "H type=0, H length, I in_port, I wildcards=0x3ff, 6s dl_src, 6s dl_src_mask, 6s dl_dst,"
                 " 6s dl_dst_mask, H dl_vlan, B dl_vlan_pcp, x, H dl_type, B nw_tos, B nw_proto, I nw_src, I nw_src_mask,"
                 " I nw_dst, I nw_dst_mask, H tp_src, H tp_dst, I mpls_label, B mpls_tc, 3x, Q metadata, Q metadata_mask")
_NO_BUFFER = f"I buffer_id={OFP_NO_BUFFER:#x}"

# -- packet-in
PACKET_IN10 = Layout("PacketIn10", "I buffer_id, H total_len, H in_port, B reason, x", data=Rest())
PACKET_IN11 = Layout("PacketIn11", "I buffer_id, I in_port, I in_phy_port, H total_len, B reason, B table_id", data=Rest())
PACKET_IN12 = Layout("PacketIn12", "I buffer_id, H total_len, B reason, B table_id", match=MatchPart(), data=Rest(padding=2))
PACKET_IN = {OF10: PACKET_IN10, OF11: PACKET_IN11, OF12: PACKET_IN12, OF13: ofp.PACKET_IN, OF14: ofp.PACKET_IN,
             OF15: ofp.PACKET_IN}

# -- packet-out
PACKET_OUT10 = Layout("PacketOut10", f"{_NO_BUFFER}, H in_port=0xffff, H actions_len", actions=Rest(length_in="actions_len"),
                      data=Rest())
PACKET_OUT11 = Layout("RawPacketOut", f"{_NO_BUFFER}, I in_port={OFPP_CONTROLLER:#x}, H actions_len, 6x",
                      actions=Rest(length_in="actions_len"), data=Rest())
PACKET_OUT15 = Layout("PacketOut15", f"{_NO_BUFFER}, H actions_len, 2x", match=RawMatch(),
                      actions=Rest(length_in="actions_len"), data=Rest())
PACKET_OUT = {OF10: PACKET_OUT10, OF11: PACKET_OUT11, OF12: PACKET_OUT11, OF13: PACKET_OUT11, OF14: PACKET_OUT11,
              OF15: PACKET_OUT15}

# -- flow-mod
_RULE = "H idle_timeout, H hard_timeout, H priority=0x8000"
FLOW_MOD10 = Layout("FlowMod10", f"40s match, Q cookie, H command, {_RULE}, {_NO_BUFFER}, H out_port=0xffff, H flags",
                    actions=Rest())
FLOW_MOD11 = Layout("FlowMod11", f"Q cookie, Q cookie_mask, B table_id, B command, {_RULE}, {_NO_BUFFER},"
                    f" I out_port={OFPP_ANY:#x}, I out_group={OFPG_ANY:#x}, H flags, 2x", match=One(MATCH11),
                    instructions=Rest())
FLOW_MOD14 = Layout("FlowMod14", f"Q cookie, Q cookie_mask, B table_id, B command, {_RULE}, {_NO_BUFFER},"
                    f" I out_port={OFPP_ANY:#x}, I out_group={OFPG_ANY:#x}, H flags, H importance", match=MatchPart(),
                    instructions=InstructionsPart())
FLOW_MOD = {OF10: FLOW_MOD10, OF11: FLOW_MOD11, OF12: ofp.FLOW_MOD, OF13: ofp.FLOW_MOD, OF14: FLOW_MOD14, OF15: FLOW_MOD14}

# -- flow-removed
_LASTED = "I duration_sec, I duration_nsec, H idle_timeout"
FLOW_REMOVED10 = Layout("FlowRemoved10", f"40s match, Q cookie, H priority, B reason, x, {_LASTED}, 2x, Q packet_count,"
                        " Q byte_count")
FLOW_REMOVED11 = Layout("FlowRemoved11", f"Q cookie, H priority, B reason, B table_id, {_LASTED}, 2x, Q packet_count,"
                        " Q byte_count", match=One(MATCH11))
STATS15 = Layout("OxsStats", "H reserved, H length", align=8, fields=Rest())
FLOW_REMOVED15 = Layout("FlowRemoved15", "B table_id, B reason, H priority, H idle_timeout, H hard_timeout, Q cookie",
                        match=MatchPart(), stats=One(STATS15))
FLOW_REMOVED = {OF10: FLOW_REMOVED10, OF11: FLOW_REMOVED11, OF12: ofp.FLOW_REMOVED, OF13: ofp.FLOW_REMOVED,
                OF14: ofp.FLOW_REMOVED, OF15: FLOW_REMOVED15}

# -- flow and aggregate statistics
FLOW_REQUEST10 = Layout("FlowRequest10", "40s match, B table_id=0xff, x, H out_port=0xffff")
FLOW_REQUEST11 = Layout("FlowRequest11", f"B table_id=0xff, 3x, I out_port={OFPP_ANY:#x}, I out_group={OFPG_ANY:#x}, 4x,"
                        " Q cookie, Q cookie_mask", match=One(MATCH11))
FLOW_REQUEST = {OF10: FLOW_REQUEST10, OF11: FLOW_REQUEST11, OF12: ofp.FLOW_REQUEST, OF13: ofp.FLOW_REQUEST,
                OF14: ofp.FLOW_REQUEST, OF15: ofp.FLOW_REQUEST}
_COUNTED = "Q cookie, Q packet_count, Q byte_count"
FLOW_STATS10 = Layout("FlowStats10", "H length, B table_id, x, 40s match, I duration_sec, I duration_nsec, H priority,"
                      f" H idle_timeout, H hard_timeout, 6x, {_COUNTED}", actions=Rest())
FLOW_STATS11 = Layout("FlowStats11", "H length, B table_id, x, I duration_sec, I duration_nsec, H priority, H idle_timeout,"
                      f" H hard_timeout, 6x, {_COUNTED}", match=One(MATCH11), instructions=Rest())
FLOW_STATS14 = Layout("FlowStats14", "H length, B table_id, x, I duration_sec, I duration_nsec, H priority, H idle_timeout,"
                      f" H hard_timeout, H flags, H importance, 2x, {_COUNTED}", match=MatchPart(),
                      instructions=InstructionsPart())
FLOW_DESC15 = Layout("FlowDesc", "H length, 2x, B table_id, x, H priority, H idle_timeout, H hard_timeout, H flags,"
                     " H importance, Q cookie", match=MatchPart(), stats=One(STATS15), instructions=InstructionsPart())
FLOW_STATS15 = Layout("FlowStats15", "H length, 2x, B table_id, B reason, H priority", match=MatchPart(), stats=One(STATS15))
FLOW_STATS = {OF10: FLOW_STATS10, OF11: FLOW_STATS11, OF12: ofp.FLOW_STATS, OF13: ofp.FLOW_STATS, OF14: FLOW_STATS14,
              OF15: FLOW_DESC15}
AGGREGATE = {OF15: STATS15, **dict.fromkeys((OF10, OF11, OF12, OF13, OF14), ofp.AGGREGATE_REPLY)}

# -- flow monitors (1.4.1: 7.3.5.17)
MONITOR_REQUEST = Layout("MonitorRequest", f"I monitor_id, I out_port={OFPP_ANY:#x}, I out_group={OFPG_ANY:#x}, H flags,"
                         " B table_id=0xff, B command", match=RawMatch())
UPDATE_FULL = Layout("UpdateFull", "H length, H event, B table_id, B reason, H idle_timeout, H hard_timeout, H priority, 4x,"
                     " Q cookie", match=MatchPart(), instructions=InstructionsPart())
UPDATE_ABBREV = Layout("UpdateAbbrev", "H length, H event=4, I xid")
UPDATE_PAUSED = Layout("UpdatePaused", "H length, H event=5, 4x")
UPDATES = OneOf({4: UPDATE_ABBREV, 5: UPDATE_PAUSED, 6: UPDATE_PAUSED}, UPDATE_FULL, type_at=2)
