"""The codec: every message both ways, os-ken as the other side in the directions that it has, framing and errors."""
import pytest
from hypothesis import given, strategies as st
from os_ken.ofproto import ofproto_v1_3, ofproto_v1_3_parser as osk

from vswitch.errors import OpenFlowError
from vswitch.openflow import messages as ofp
from vswitch.openflow.actions import ApplyActions, GotoTable, Meter, Output, SetField
from vswitch.openflow.codec import (MultipartWriter, decode, decode_multipart_entries, decode_multipart_request, encode,
                                    encode_error, frame, take_frames)
from vswitch.openflow.constants import ErrorType, Multipart, Type
from vswitch.openflow.table_features import Tables

MATCH = {"in_port": (3, None), "eth_type": (0x800, None), "ipv4_dst": (0x0a000000, 0xff000000)}
INSTRUCTIONS = [Meter(4), ApplyActions((SetField("eth_dst", 5), Output(2, 128))), GotoTable(7)]
PORT = ofp.PORT(port_no=1, hw_addr=b"\2\0\0\0\0\1", name="eth0", config=1, state=4, curr=8, advertised=16, supported=32,
                peer=64, curr_speed=1000, max_speed=2000)
BUCKET = ofp.BUCKET(weight=2, watch_port=3, watch_group=4, actions=[Output(1)])
BANDS = [ofp.BAND_DROP(rate=1, burst_size=2), ofp.BAND_DSCP(rate=3, burst_size=4, prec_level=1)]

SAMPLES = [
    (Type.HELLO, ofp.HELLO(elements=[ofp.VERSION_BITMAP(bitmaps=[0x10, 1])])),
    (Type.HELLO, ofp.HELLO(elements=[ofp.UNKNOWN_ELEMENT(type=9, data=b"abc"), ofp.VERSION_BITMAP(bitmaps=[0x12])])),
    (Type.ERROR, ofp.ERROR(type=1, code=6, data=b"offending")), (Type.ECHO_REQUEST, ofp.ECHO(data=b"x")),
    (Type.ECHO_REPLY, ofp.ECHO()), (Type.EXPERIMENTER, ofp.EXPERIMENTER(experimenter=1, exp_type=2, data=b"d")),
    (Type.FEATURES_REQUEST, ofp.EMPTY()), (Type.FEATURES_REPLY, ofp.FEATURES_REPLY(datapath_id=9, n_buffers=1, n_tables=254,
                                                                                   auxiliary_id=0, capabilities=7)),
    (Type.SET_CONFIG, ofp.SWITCH_CONFIG(flags=1, miss_send_len=99)),
    (Type.PACKET_IN, ofp.PACKET_IN(buffer_id=1, total_len=64, reason=1, table_id=2, cookie=3, match=MATCH, data=b"frame")),
    (Type.FLOW_REMOVED, ofp.FLOW_REMOVED(cookie=1, priority=2, reason=1, table_id=3, duration_sec=4, duration_nsec=5,
                                         idle_timeout=6, hard_timeout=7, packet_count=8, byte_count=9, match=MATCH)),
    (Type.PORT_STATUS, ofp.PORT_STATUS(reason=2, ports=[PORT])),
    (Type.PACKET_OUT, ofp.PACKET_OUT(in_port=1, actions=[Output(2), Output(3)], data=b"frame")),
    (Type.FLOW_MOD, ofp.FLOW_MOD(cookie=1, cookie_mask=2, table_id=3, command=1, idle_timeout=4, hard_timeout=5, flags=1,
                                 match=MATCH, instructions=INSTRUCTIONS)),
    (Type.GROUP_MOD, ofp.GROUP_MOD(command=1, type=2, group_id=3, buckets=[BUCKET, BUCKET])),
    (Type.PORT_MOD, ofp.PORT_MOD(port_no=1, hw_addr=b"123456", config=1, mask=5)),
    (Type.TABLE_MOD, ofp.TABLE_MOD(table_id=3, config=1)),
    (Type.METER_MOD, ofp.METER_MOD(command=0, flags=1, meter_id=2, bands=BANDS)),
    (Type.QUEUE_GET_CONFIG_REPLY, ofp.QUEUE_CONFIG_REPLY(port=1, queues=[ofp.QUEUE(queue_id=1, port=1, properties=[
        ofp.QUEUE_PROPERTY(property=1, data=b"\0\1\0\0\0\0\0\0")])])),
    (Type.ROLE_REQUEST, ofp.ROLE(role=2, generation_id=77)),
    (Type.SET_ASYNC, ofp.ASYNC(packet_in=1, packet_in_slave=2, port_status=3, port_status_slave=4, flow_removed=5)),
]


@pytest.mark.parametrize("type_, message", SAMPLES, ids=lambda v: v.name if isinstance(v, Type) else "")
def test_round_trip(type_, message):
    (got,) = take_frames(bytearray(encode(type_, 5, message)))
    assert (got.type, got.xid, decode(type_, got.body)) == (type_, 5, message)


ENTRIES = [
    (Multipart.DESC, ofp.DESC(mfr_desc="m", dp_desc="d")),
    (Multipart.FLOW, ofp.FLOW_STATS(table_id=1, priority=2, cookie=3, packet_count=4, match=MATCH, instructions=INSTRUCTIONS)),
    (Multipart.AGGREGATE, ofp.AGGREGATE_REPLY(packet_count=1, byte_count=2, flow_count=3)),
    (Multipart.TABLE, ofp.TABLE_STATS(table_id=1, active_count=2, lookup_count=3, matched_count=4)),
    (Multipart.PORT_STATS, ofp.PORT_STATS(port_no=1, rx_packets=2, duration_nsec=3)),
    (Multipart.QUEUE, ofp.QUEUE_STATS(port_no=1, queue_id=2)),
    (Multipart.GROUP, ofp.GROUP_STATS(group_id=1, buckets=[ofp.BUCKET_COUNTER(packet_count=1, byte_count=2)])),
    (Multipart.GROUP_DESC, ofp.GROUP_DESC(type=1, group_id=2, buckets=[BUCKET])),
    (Multipart.GROUP_FEATURES, ofp.GROUP_FEATURES(types=1, max_ff=2)),
    (Multipart.METER, ofp.METER_STATS(meter_id=1, bands=[ofp.BAND_COUNTER(packet_count=1)])),
    (Multipart.METER_CONFIG, ofp.METER_CONFIG(flags=1, meter_id=2, bands=BANDS)),
    (Multipart.METER_FEATURES, ofp.METER_FEATURES(max_meter=1, max_bands=2)),
    (Multipart.TABLE_FEATURES, ofp.TABLE_FEATURES(table_id=1, name="t", properties=[ofp.TABLE_PROPERTY(type=2, data=b"\1\2\3")])),
    (Multipart.PORT_DESC, PORT), (Multipart.EXPERIMENTER, ofp.MULTIPART_EXPERIMENTER(experimenter=1, data=b"x")),
]


@pytest.mark.parametrize("kind, entry", ENTRIES, ids=lambda v: v.name if isinstance(v, Multipart) else "")
def test_multipart_entries(kind, entry):
    data = entry.layout.encode(entry)
    again = [entry] if kind in (Multipart.EXPERIMENTER,) else [entry, entry]
    assert decode_multipart_entries(kind, data * len(again)) == again


class Datapath:
    ofproto, ofproto_parser = ofproto_v1_3, osk
    id, ports = 1, {}

    def set_xid(self, message):
        message.set_xid(5)


def by_os_ken(data: bytes):
    version, type_, length, xid = data[0], data[1], int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:8], "big")
    return osk.msg_parser(Datapath(), version, type_, length, xid, data)


# Not the hellos of SAMPLES: os-ken loops for ever on padding and on elements that it does not know.
FROM_SWITCH = [(Type.HELLO, ofp.HELLO(elements=[ofp.VERSION_BITMAP(bitmaps=[0x10])]))]
FROM_SWITCH += [s for s in SAMPLES if s[0] in (Type.ERROR, Type.FEATURES_REPLY, Type.PACKET_IN, Type.FLOW_REMOVED,
                                              Type.PORT_STATUS, Type.QUEUE_GET_CONFIG_REPLY)]


@pytest.mark.parametrize("type_, message", FROM_SWITCH, ids=lambda v: v.name if isinstance(v, Type) else "")
def test_os_ken_reads_what_the_switch_says(type_, message):
    parsed = by_os_ken(encode(type_, 5, message))
    names = {"PORT_STATUS": {"reason": "reason"}, "QUEUE_GET_CONFIG_REPLY": {"port": "port"}, "HELLO": {}}.get(
        type_.name, {n: n for n in message.__dataclass_fields__ if n not in ("match", "reserved")})
    for name in names:
        assert getattr(parsed, name) == getattr(message, name)
    if hasattr(message, "match"):
        assert {f.header >> 9 & 0x7f for f in parsed.match.fields} == {0, 5, 12}


@pytest.mark.parametrize("kind, entry", [e for e in ENTRIES if e[0] not in (Multipart.EXPERIMENTER, Multipart.METER_FEATURES)],
                         ids=lambda v: v.name if isinstance(v, Multipart) else "")
def test_os_ken_reads_multipart_replies(kind, entry):
    writer = MultipartWriter(kind, 5)
    assert list(writer.add([entry.layout.encode(entry)])) == []
    parsed = by_os_ken(writer.last()).body
    parsed = parsed[0] if isinstance(parsed, list) else parsed
    for name in entry.__dataclass_fields__:
        if isinstance(value := getattr(entry, name), int) and hasattr(parsed, name):
            assert getattr(parsed, name) == value or isinstance(getattr(parsed, name), list)


def test_os_ken_reads_table_features():
    (first, *_) = Tables().entries(4)
    writer = MultipartWriter(Multipart.TABLE_FEATURES, 5)
    list(writer.add([first]))
    (parsed,) = by_os_ken(writer.last()).body
    assert parsed.table_id == 0 and {p.type for p in parsed.properties} == {0, 2, 4, 6, 8, 10, 12, 14}


def requests():
    dp = Datapath()
    match = osk.OFPMatch(in_port=3, eth_type=0x800, ipv4_dst=("10.0.0.0", "255.0.0.0"))
    actions = [osk.OFPActionSetField(eth_dst="00:00:00:00:00:05"), osk.OFPActionOutput(2, 128)]
    yield osk.OFPFlowMod(dp, cookie=1, cookie_mask=2, table_id=3, command=1, idle_timeout=4, hard_timeout=5, flags=1,
                         out_port=0xffffffff, out_group=0xffffffff, match=match, instructions=[
                             osk.OFPInstructionMeter(4), osk.OFPInstructionActions(4, actions), osk.OFPInstructionGotoTable(7)])
    yield osk.OFPPacketOut(dp, 0xffffffff, 1, [osk.OFPActionOutput(2, 65535), osk.OFPActionOutput(3, 65535)], b"frame")
    yield osk.OFPGroupMod(dp, 1, 2, 3, [osk.OFPBucket(2, 3, 4, [osk.OFPActionOutput(1, 65535)])] * 2)
    yield osk.OFPPortMod(dp, 1, "31:32:33:34:35:36", 1, 5, 0)
    yield osk.OFPTableMod(dp, 3, 1)
    yield osk.OFPMeterMod(dp, 0, 1, 2, [osk.OFPMeterBandDrop(1, 2), osk.OFPMeterBandDscpRemark(3, 4, 1)])
    yield osk.OFPRoleRequest(dp, 2, 77)
    yield osk.OFPSetConfig(dp, 1, 99)
    yield osk.OFPExperimenter(dp, 1, 2, b"d")
    yield osk.OFPEchoRequest(dp, b"x")


EXPECTED = {s[0]: s[1] for s in SAMPLES}


@pytest.mark.parametrize("request_", list(requests()), ids=lambda r: type(r).__name__)
def test_what_os_ken_asks(request_):
    request_.set_xid(5)
    request_.serialize()
    (got,) = take_frames(bytearray(request_.buf))
    ours, expected = decode(got.type, got.body), EXPECTED[got.type]
    assert ours == expected


@pytest.mark.parametrize("request_", [
    osk.OFPDescStatsRequest(Datapath(), 0), osk.OFPFlowStatsRequest(Datapath(), match=osk.OFPMatch(in_port=1)),
    osk.OFPAggregateStatsRequest(Datapath(), 0, 255, 0xffffffff, 0xffffffff, 0, 0, osk.OFPMatch()),
    osk.OFPTableStatsRequest(Datapath(), 0), osk.OFPPortStatsRequest(Datapath(), 0, 1),
    osk.OFPQueueStatsRequest(Datapath(), 0, 1, 2), osk.OFPGroupStatsRequest(Datapath(), 0, 1),
    osk.OFPGroupDescStatsRequest(Datapath(), 0), osk.OFPGroupFeaturesStatsRequest(Datapath(), 0),
    osk.OFPMeterStatsRequest(Datapath(), 0, 1), osk.OFPMeterConfigStatsRequest(Datapath(), 0, 1),
    osk.OFPMeterFeaturesStatsRequest(Datapath(), 0), osk.OFPTableFeaturesStatsRequest(Datapath(), 0),
    osk.OFPPortDescStatsRequest(Datapath(), 0)], ids=lambda r: type(r).__name__)
def test_multipart_requests_of_os_ken(request_):
    request_.set_xid(5)
    request_.serialize()
    (got,) = take_frames(bytearray(request_.buf))
    outer = decode(got.type, got.body)
    decode_multipart_request(outer.type, outer.body)


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=40)), max_size=6),
       st.integers(1, 50))
def test_frames_cut_anywhere(sent, size):
    stream = b"".join(frame(*message) for message in sent)
    buffer, got = bytearray(), []
    for at in range(0, len(stream), size):
        buffer += stream[at:at + size]
        got += take_frames(buffer)
    assert [(f.type, f.xid, f.body) for f in got] == sent and not buffer


@given(st.sampled_from(list(Type)), st.binary(max_size=120))
def test_garbage_is_an_openflow_error(type_, body):
    try:
        decode(type_, body)
    except OpenFlowError:
        pass


def test_header_shorter_than_itself():
    with pytest.raises(OpenFlowError) as e:
        take_frames(bytearray(b"\4\0\0\7\0\0\0\0"))
    assert (e.value.of_type, e.value.of_code) == (1, 6)


@pytest.mark.parametrize("type_, size", [(t, n) for t in (Type.SET_CONFIG, Type.ROLE_REQUEST, Type.PORT_MOD, Type.TABLE_MOD,
                                                          Type.SET_ASYNC, Type.FEATURES_REQUEST) for n in (1, 3, 99)])
def test_wrong_length(type_, size):
    with pytest.raises(OpenFlowError) as e:
        decode(type_, bytes(size))
    assert (e.value.of_type, e.value.of_code) == (1, 6)


def test_error_carries_the_offending_message():
    offending = frame(Type.FLOW_MOD, 9, bytes(200))
    (got,) = take_frames(bytearray(encode_error(OpenFlowError(ErrorType.BAD_REQUEST, 6), offending, 9)))
    assert decode(got.type, got.body) == ofp.ERROR(type=1, code=6, data=offending)


def test_multipart_reply_is_split_under_64_kib():
    writer = MultipartWriter(Multipart.FLOW, 5)
    messages = list(writer.add([bytes([i]) * 30_000 for i in range(5)])) + [writer.last()]
    assert [m[10:12] for m in messages] == [b"\0\1", b"\0\1", b"\0\0"]
    assert all(len(m) <= 0xffff for m in messages)
