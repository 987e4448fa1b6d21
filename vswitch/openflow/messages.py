"""The messages of OpenFlow 1.3.5, both directions, as layouts (section 7). Members carry the names of the specification's
structs, without their common prefix. Most are other versions' too; what differs is in port_messages.py and its likes, and
message_table.py has them all by version."""
from __future__ import annotations

from vswitch.openflow.constants import OFP_NO_BUFFER, OFPG_ANY, OFPP_ANY, OFPP_CONTROLLER
from vswitch.openflow.layout import ActionsPart, InstructionsPart, Layout, Many, MatchPart, Numbers, OneOf, Rest

EMPTY = Layout("Empty")

# -- hello, errors, echo, experimenter (7.5)
VERSION_BITMAP = Layout("VersionBitmap", "H type=1, H length", align=8, bitmaps=Numbers("I"))
UNKNOWN_ELEMENT = Layout("UnknownElement", "H type, H length", align=8, data=Rest())
HELLO = Layout("Hello", elements=OneOf({1: VERSION_BITMAP}, UNKNOWN_ELEMENT))
ERROR = Layout("ErrorMessage", "H type, H code", data=Rest())
ECHO = Layout("Echo", data=Rest())
EXPERIMENTER = Layout("Experimenter", "I experimenter, I exp_type", data=Rest())

# -- features and configuration (7.3.1, 7.3.2)
FEATURES_REPLY = Layout("FeaturesReply", "Q datapath_id, I n_buffers, B n_tables, B auxiliary_id, 2x, I capabilities,"
                        " I reserved")
SWITCH_CONFIG = Layout("SwitchConfig", "H flags, H miss_send_len")

# -- what the switch tells (7.4)
PORT = Layout("PortDesc", "I port_no, 4x, 6s hw_addr, 2x, 16z name, I config, I state, I curr, I advertised, I supported,"
              " I peer, I curr_speed, I max_speed")
PACKET_IN = Layout("PacketIn", "I buffer_id, H total_len, B reason, B table_id, Q cookie", match=MatchPart(),
                   data=Rest(padding=2))
FLOW_REMOVED = Layout("FlowRemoved", "Q cookie, H priority, B reason, B table_id, I duration_sec, I duration_nsec,"
                      " H idle_timeout, H hard_timeout, Q packet_count, Q byte_count", match=MatchPart())
PORT_STATUS = Layout("PortStatus", "B reason, 7x", ports=Many(PORT))

# -- what changes the switch (7.3.4, 7.3.7)
PACKET_OUT = Layout("PacketOut", f"I buffer_id={OFP_NO_BUFFER:#x}, I in_port={OFPP_CONTROLLER:#x}, H actions_len, 6x",
                    actions=ActionsPart("actions_len"), data=Rest())
FLOW_MOD = Layout("FlowMod", "Q cookie, Q cookie_mask, B table_id, B command, H idle_timeout, H hard_timeout,"
                  f" H priority=0x8000, I buffer_id={OFP_NO_BUFFER:#x}, I out_port={OFPP_ANY:#x},"
                  f" I out_group={OFPG_ANY:#x}, H flags, 2x", match=MatchPart(), instructions=InstructionsPart())
BUCKET = Layout("Bucket", f"H length, H weight, I watch_port={OFPP_ANY:#x}, I watch_group={OFPG_ANY:#x}, 4x",
                actions=ActionsPart())
GROUP_MOD = Layout("GroupMod", "H command, B type, x, I group_id", buckets=Many(BUCKET))
PORT_MOD = Layout("PortModMessage", "I port_no, 4x, 6s hw_addr, 2x, I config, I mask, I advertise, 4x")
TABLE_MOD = Layout("TableMod", "B table_id, 3x, I config")
BAND_DROP = Layout("BandDrop", "H type=1, H length, I rate, I burst_size, 4x")
BAND_DSCP = Layout("BandDscpRemark", "H type=2, H length, I rate, I burst_size, B prec_level, 3x")
BAND_UNKNOWN = Layout("BandUnknown", "H type, H length, I rate, I burst_size", data=Rest())
BANDS = OneOf({1: BAND_DROP, 2: BAND_DSCP}, BAND_UNKNOWN)
METER_MOD = Layout("MeterMod", "H command, H flags, I meter_id", bands=BANDS)

# -- roles and asynchronous messages (7.3.9, 7.3.10)
ROLE = Layout("RoleMessage", "I role, 4x, Q generation_id")
ASYNC = Layout("AsyncConfig", "I packet_in, I packet_in_slave, I port_status, I port_status_slave, I flow_removed,"
               " I flow_removed_slave")

# -- queues (7.2.2, 7.3.6)
QUEUE_PROPERTY = Layout("QueueProperty", "H property, H length, 4x", data=Rest())
QUEUE = Layout("PacketQueue", "I queue_id, I port, H length, 6x", properties=Many(QUEUE_PROPERTY))
QUEUE_CONFIG_REQUEST = Layout("QueueConfigRequest", "I port, 4x")
QUEUE_CONFIG_REPLY = Layout("QueueConfigReply", "I port, 4x", queues=Many(QUEUE))

# -- multipart (7.3.5)
MULTIPART = Layout("MultipartMessage", "H type, H flags, 4x", body=Rest())
DESC = Layout("Desc", "256z mfr_desc, 256z hw_desc, 256z sw_desc, 32z serial_num, 256z dp_desc")
FLOW_REQUEST = Layout("FlowRequest", f"B table_id=0xff, 3x, I out_port={OFPP_ANY:#x}, I out_group={OFPG_ANY:#x}, 4x,"
                      " Q cookie, Q cookie_mask", match=MatchPart())
FLOW_STATS = Layout("FlowStats", "H length, B table_id, x, I duration_sec, I duration_nsec, H priority, H idle_timeout,"
                    " H hard_timeout, H flags, 4x, Q cookie, Q packet_count, Q byte_count", match=MatchPart(),
                    instructions=InstructionsPart())
AGGREGATE_REPLY = Layout("AggregateReply", "Q packet_count, Q byte_count, I flow_count, 4x")
TABLE_STATS = Layout("TableStats", "B table_id, 3x, I active_count, Q lookup_count, Q matched_count")
PORT_REQUEST = Layout("PortRequest", f"I port_no={OFPP_ANY:#x}, 4x")
PORT_STATS = Layout("PortStats", "I port_no, 4x, Q rx_packets, Q tx_packets, Q rx_bytes, Q tx_bytes, Q rx_dropped,"
                    " Q tx_dropped, Q rx_errors, Q tx_errors, Q rx_frame_err, Q rx_over_err, Q rx_crc_err, Q collisions,"
                    " I duration_sec, I duration_nsec")
QUEUE_REQUEST = Layout("QueueRequest", f"I port_no={OFPP_ANY:#x}, I queue_id=0xffffffff")
QUEUE_STATS = Layout("QueueStats", "I port_no, I queue_id, Q tx_bytes, Q tx_packets, Q tx_errors, I duration_sec,"
                     " I duration_nsec")
GROUP_REQUEST = Layout("GroupRequest", "I group_id=0xfffffffc, 4x")
BUCKET_COUNTER = Layout("BucketCounter", "Q packet_count, Q byte_count")
GROUP_STATS = Layout("GroupStats", "H length, 2x, I group_id, I ref_count, 4x, Q packet_count, Q byte_count,"
                     " I duration_sec, I duration_nsec", buckets=Many(BUCKET_COUNTER))
GROUP_DESC = Layout("GroupDesc", "H length, B type, x, I group_id", buckets=Many(BUCKET))
GROUP_FEATURES = Layout("GroupFeatures", "I types, I capabilities, I max_all, I max_select, I max_indirect, I max_ff,"
                        " I actions_all, I actions_select, I actions_indirect, I actions_ff")
METER_REQUEST = Layout("MeterRequest", "I meter_id=0xffffffff, 4x")
BAND_COUNTER = Layout("BandCounter", "Q packet_count, Q byte_count")
METER_STATS = Layout("MeterStats", "I meter_id, H length, 6x, I flow_count, Q packet_in_count, Q byte_in_count,"
                     " I duration_sec, I duration_nsec", bands=Many(BAND_COUNTER))
METER_CONFIG = Layout("MeterConfig", "H length, H flags, I meter_id", bands=BANDS)
METER_FEATURES = Layout("MeterFeatures", "I max_meter, I band_types, I capabilities, B max_bands, B max_color, 2x")
TABLE_PROPERTY = Layout("TableProperty", "H type, H length", align=8, data=Rest())
TABLE_FEATURES = Layout("TableFeatures", "H length, B table_id, 5x, 32z name, Q metadata_match, Q metadata_write, I config,"
                        " I max_entries", properties=Many(TABLE_PROPERTY))
MULTIPART_EXPERIMENTER = Layout("MultipartExperimenter", "I experimenter, I exp_type", data=Rest())
