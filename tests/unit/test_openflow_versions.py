"""Messages of every OpenFlow version: round trips, os-ken as the other side where it knows the message, negotiation, errors."""
import importlib
import re
import struct

import pytest
from hypothesis import given, settings, strategies as st

from vswitch.datapath.records import PortRecord
from vswitch.errors import OpenFlowError
from vswitch.openflow import convert, error_map, group_messages as group, messages as ofp, port_messages as port
from vswitch.openflow import queue_messages as queue, session_messages as said, table_messages as table
from vswitch.openflow.async_config import KINDS, Wishes, decode_async, encode_async, no_wishes
from vswitch.openflow.codec import (MultipartWriter, decode, encode, encode_hello, message_frame, negotiate, take_frames)
from vswitch.openflow.constants import (BadMatch, BadProperty, BadRequest, BundleFailed, ErrorType, FlowModFailed,
                                        GroupModFailed, Multipart, PortModFailed, Type)
from vswitch.openflow.layout import Layout
from vswitch.openflow.message_table import ENTRIES, MESSAGES, REQUESTS
from vswitch.openflow.native import STANDARD, match_in
from vswitch.openflow.table_features import Tables
from vswitch.openflow.versions import OF10, OF11, OF12, OF13, OF14, OF15, TYPES, WIRE_TYPES, Version

OS_KEN = {OF10: "v1_0", OF12: "v1_2", OF13: "v1_3", OF14: "v1_4", OF15: "v1_5"}
RECORD = PortRecord(bridge=1, port_no=3, kind=5, config=1, state=4, speed_kbps=10_000_000, mac=b"\2\0\0\0\0\3", name="eth3",
                    reason=2)


def parser(version):
    return importlib.import_module(f"os_ken.ofproto.ofproto_{OS_KEN[version]}_parser")


def ofproto(version):
    return importlib.import_module(f"os_ken.ofproto.ofproto_{OS_KEN[version]}")


class Datapath:
    id, ports = 1, {}

    def __init__(self, version):
        self.ofproto, self.ofproto_parser = ofproto(version), parser(version)

    def set_xid(self, message):
        message.set_xid(5)


def read(version, data: bytes):
    """What os-ken makes of a whole message."""
    return parser(version).msg_parser(Datapath(version), data[0], data[1], int.from_bytes(data[2:4], "big"),
                                      int.from_bytes(data[4:8], "big"), data)


def asked(request):
    """What we make of os-ken's message: the canonical type and the decoded body."""
    request.set_xid(5)
    request.serialize()
    (message,) = take_frames(bytearray(request.buf))
    return message.kind, decode(message.kind, message.body, message.version)


# -- every layout by itself

def all_layouts():
    seen = set()
    for tables in (MESSAGES, REQUESTS, ENTRIES):
        for version, layouts in tables.items():
            for name, layout in layouts.items():
                if id(layout) not in seen:
                    seen.add(id(layout))
                    yield pytest.param(layout, id=f"{layout.name}-{version}-{name.name}")


@pytest.mark.parametrize("layout", list(all_layouts()))
@settings(max_examples=25)
@given(data=st.data())
def test_round_trip(layout, data):
    values = {}
    for name, (code, size) in numbers(layout).items():
        values[name] = data.draw(st.binary(min_size=size, max_size=size) if code == "s" else
                                 st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=size - 1) if code == "z"
                                 else st.integers(0, (1 << 8 * size) - 1))
    message = layout(**values)
    encoded = layout.encode(message)
    assert layout.decode_at(encoded, 0, len(encoded))[0] == message


def numbers(layout: Layout) -> dict[str, tuple[str, int]]:
    """Name → code and size of the plain members of a layout, from what it packs."""
    sizes = {"B": 1, "H": 2, "I": 4, "Q": 8}
    found, kinds = {}, iter(re.findall(r"(\d*)([BHIQsx])", layout._struct.format))
    names = iter(layout._names)
    for count, code in kinds:
        if code == "x":
            continue
        name = next(names)
        if name == "length" or name in layout._sized or name == "type" and layout.name.startswith("Match"):
            continue
        found[name] = ("z" if name in layout._texts else code, int(count or 1) if code == "s" else sizes[code])
    return found


@pytest.mark.parametrize("version", Version)
@settings(max_examples=200)
@given(type_=st.sampled_from(list(Type)), body=st.binary(max_size=160))
def test_garbage_is_an_openflow_error(version, type_, body):
    try:
        decode(type_, body, version)
    except OpenFlowError as e:
        error_map.encode_error_body(version, e, body)


# -- os-ken reads what the switch says

@pytest.mark.parametrize("version", OS_KEN)
def test_ports(version):
    said_ = read(version, message_frame(version, Type.PORT_STATUS, 5, port.encode_port_status(version, RECORD)))
    desc = said_.desc
    speed = ofproto(version).OFPPF_10GB_FD
    curr = desc.properties[0].curr if version >= OF14 else desc.curr
    assert (said_.reason, desc.port_no, desc.hw_addr, desc.config, curr) == (2, 3, "02:00:00:00:00:03", 1, speed)
    assert desc.name.rstrip(b"\0") == b"eth3" and desc.state == (0 if version == OF10 else 4)


COUNTERS = list(range(1, 13))


@pytest.mark.parametrize("version", OS_KEN)
def test_port_stats(version):
    entry = port._STATS.pack(3, *COUNTERS, 77, 88)
    writer = MultipartWriter(Multipart.PORT_STATS, 5, version)
    list(writer.add(port.port_stats(version, entry)))
    (stats,) = read(version, writer.last()).body
    names = ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_dropped", "tx_dropped", "rx_errors", "tx_errors")
    assert [getattr(stats, name) for name in names] == COUNTERS[:8] and stats.port_no == 3
    rest = stats.properties[0] if version >= OF14 else stats
    assert [getattr(rest, n) for n in ("rx_frame_err", "rx_over_err", "rx_crc_err", "collisions")] == COUNTERS[8:]
    if version >= OF13:
        assert (stats.duration_sec, stats.duration_nsec) == (77, 88)


@pytest.mark.parametrize("version", OS_KEN)
def test_features(version):
    layout = said.FEATURES_REPLY[version]
    members = {"ports": [port.port_desc(version, RECORD)]} if version < OF13 else {"auxiliary_id": 3}
    got = read(version, encode(Type.FEATURES_REPLY, 5, layout(datapath_id=9, n_buffers=256, n_tables=254, capabilities=7,
                                                              **members), version))
    assert (got.datapath_id, got.n_buffers, got.n_tables, got.capabilities) == (9, 256, 254, 7)
    assert got.auxiliary_id == 3 if version >= OF13 else set(got.ports) == {3}


@pytest.mark.parametrize("version", [OF10, OF12, OF13, OF14, OF15])
def test_table_stats(version):
    writer = MultipartWriter(Multipart.TABLE, 5, version)
    entry = table.table_stats(version, (4, 5, 6, 7), 1000)
    list(writer.add([entry.layout.encode(entry)]))
    (stats,) = read(version, writer.last()).body
    assert (stats.table_id, stats.active_count, stats.lookup_count, stats.matched_count) == (4, 5, 6, 7)
    if version < OF13:
        assert stats.max_entries == 1000 and stats.name.rstrip(b"\0") == b"table4"


@pytest.mark.parametrize("version", [OF13, OF14, OF15])
def test_table_features(version):
    (entry, *_) = Tables().entries(version)
    writer = MultipartWriter(Multipart.TABLE_FEATURES, 5, version)
    list(writer.add([entry]))
    (features,) = read(version, writer.last()).body
    kinds = {0, 2, 4, 6, 8, 10, 12, 14}
    assert features.table_id == 0 and {p.type for p in features.properties} >= kinds
    assert Tables().checked(version, decode_features(version, entry))[0].disabled == set(range(1, 254))


def decode_features(version, data):
    return table.TABLE_FEATURES_REQUEST[version].decode(data).tables


def test_table_features_that_tables_have_not():
    base = table.TABLE_FEATURES[OF13].decode(Tables().entry(OF13, 3))

    def refused(**change):
        entry = table.TABLE_FEATURES[OF13].decode(Tables().entry(OF13, 3))
        for name, value in change.items():
            setattr(entry, name, value)
        with pytest.raises(OpenFlowError) as e:
            Tables().checked(OF13, [table.TABLE_FEATURES[OF13].decode(Tables().entry(OF13, 0)), entry])
        return e.value.of_type, e.value.of_code

    assert refused(table_id=254) == (13, 0) and refused(table_id=0) == (13, 0)
    assert refused(max_entries=1 << 31) == (13, 7)
    unknown = ofp.TABLE_PROPERTY(type=8, data=b"\x80\0\xfe\4")
    assert refused(properties=[p for p in base.properties if p.type != 8] + [unknown]) == (14, 2)
    assert refused(properties=base.properties + [base.properties[0]]) == (14, 4)
    assert refused(properties=base.properties + [ofp.TABLE_PROPERTY(type=99, data=b"")]) == (14, 0)
    with pytest.raises(OpenFlowError):
        Tables().checked(OF13, [base])      # table 0 is to go


def test_the_first_egress_table():
    def decoded(egress):
        return decode_features(OF15, b"".join(Tables().entries(OF15, egress)))

    tables = decoded(100)
    assert [entry.table_id for entry in tables if entry.features & 16] == [100]
    following = [{p.type: p.data for p in entry.properties}[2] for entry in tables]
    assert following[7] == bytes(range(8, 100)) and following[99] == b"" and following[100] == bytes(range(101, 254))
    assert Tables().checked(OF15, tables)[1] == 100 and Tables().checked(OF15, decoded(0), 100)[1] == 0
    one = table.TABLE_FEATURES15(table_id=3, command=1)
    assert Tables().checked(OF15, [one], 100)[1] == 100 and Tables().checked(OF15, [one], 3)[1] == 0
    with pytest.raises(OpenFlowError, match="both"):
        Tables().checked(OF15, [table.TABLE_FEATURES15(table_id=i, command=1, features=16) for i in (3, 4)])
    with pytest.raises(OpenFlowError, match="first egress table"):
        Tables().checked(OF15, [table.TABLE_FEATURES15(table_id=100, command=3)], 100)


@pytest.mark.parametrize("version", [OF14, OF15])
def test_table_desc(version):
    entry = table.TABLE_DESC(table_id=3, config=12, properties=[table.EVICTION(flags=7), table.VACANCY(
        vacancy_down=20, vacancy_up=80, vacancy=50)])
    writer = MultipartWriter(Multipart.TABLE_DESC, 5, version)
    list(writer.add([table.TABLE_DESC.encode(entry)]))
    (desc,) = read(version, writer.last()).body
    assert (desc.table_id, desc.config, desc.properties[0].flags, desc.properties[1].vacancy_up) == (3, 12, 7, 80)


@pytest.mark.parametrize("version", [OF10, OF12, OF13])
def test_queue_config(version):
    body = queue.encode_config(version, 3, [queue.Queue(3, 7, 100, 500)])
    got = read(version, message_frame(version, Type.QUEUE_GET_CONFIG_REPLY, 5, body))
    (told,) = got.queues
    assert got.port == 3 and told.queue_id == 7 and told.properties[0].rate == 100
    assert len(told.properties) == (1 if version == OF10 else 2)


@pytest.mark.parametrize("version", OS_KEN)
def test_queue_stats(version):
    entry = ofp.QUEUE_STATS.encode(ofp.QUEUE_STATS(port_no=3, queue_id=7, tx_bytes=1, tx_packets=2, tx_errors=3, duration_sec=4))
    writer = MultipartWriter(Multipart.QUEUE, 5, version)
    list(writer.add(queue.queue_stats(version, entry)))
    (stats,) = read(version, writer.last()).body
    assert (stats.port_no, stats.queue_id, stats.tx_bytes, stats.tx_packets, stats.tx_errors) == (3, 7, 1, 2, 3)


@pytest.mark.parametrize("version", [OF14, OF15])
def test_queue_desc(version):
    writer = MultipartWriter(Multipart.QUEUE_DESC, 5, version)
    list(writer.add([queue.encode_desc(queue.Queue(3, 7, None, 500))]))
    (desc,) = read(version, writer.last()).body
    assert (desc.port_no, desc.queue_id, desc.properties[0].type, desc.properties[0].rate) == (3, 7, 2, 500)


OUTPUT = bytes.fromhex("0000001000000002ffe5000000000000")
GROUP = group.GROUP_DESC15(type=1, group_id=9, buckets=[
    group.BUCKET15(bucket_id=0, actions=OUTPUT, properties=[group.WEIGHT(weight=5)]),
    group.BUCKET15(bucket_id=1, actions=OUTPUT, properties=[group.WEIGHT(weight=7), group.WATCH_PORT(watch=4)])])


@pytest.mark.parametrize("version", [OF12, OF13, OF14])
def test_group_desc(version):
    """os-ken's parser of 1.5 takes a bucket's neighbour for its properties."""
    writer = MultipartWriter(Multipart.GROUP_DESC, 5, version)
    list(writer.add([group.group_desc(version, group.GROUP_DESC15.encode(GROUP))]))
    (desc,) = read(version, writer.last()).body
    assert (desc.type, desc.group_id, len(desc.buckets)) == (1, 9, 2)
    assert [(b.weight, b.watch_port, b.actions[0].port) for b in desc.buckets] == [(5, 0xffffffff, 2), (7, 4, 2)]


@pytest.mark.parametrize("version", [OF12, OF13, OF14])
def test_group_mod_to_the_switch_and_back(version):
    osk = parser(version)
    actions = [osk.OFPActionOutput(2, 0xffe5)]
    request = osk.OFPGroupMod(Datapath(version), 0, 1, 9, [osk.OFPBucket(weight=5, watch_port=0xffffffff,
                              watch_group=0xffffffff, actions=actions), osk.OFPBucket(weight=7, watch_port=4,
                              watch_group=0xffffffff, actions=actions)])
    request.set_xid(5)
    request.serialize()
    body = bytes(request.buf[8:])
    canonical = group.group_mod(version, body)
    message = group.GROUP_MOD15.decode(canonical)
    assert (message.command, message.type, message.group_id) == (0, 1, 9) and message.buckets == GROUP.buckets
    assert group.group_mod_out(version, canonical) == body


@pytest.mark.parametrize("version", [OF12, OF13, OF14])
def test_group_stats(version):
    entry = ofp.GROUP_STATS.encode(ofp.GROUP_STATS(group_id=9, ref_count=2, packet_count=3, byte_count=4, duration_sec=5,
                                                   buckets=[ofp.BUCKET_COUNTER(packet_count=6, byte_count=7)]))
    writer = MultipartWriter(Multipart.GROUP, 5, version)
    list(writer.add([group.group_stats(version, entry)]))
    (stats,) = read(version, writer.last()).body
    assert (stats.group_id, stats.ref_count, stats.packet_count, stats.byte_count) == (9, 2, 3, 4)
    counters = stats.bucket_stats if hasattr(stats, "bucket_stats") else stats.bucket_counters
    assert (counters[0].packet_count, counters[0].byte_count) == (6, 7)


PACKET_IN = ofp.PACKET_IN.encode(ofp.PACKET_IN(buffer_id=7, total_len=64, reason=4, table_id=2, cookie=3,
                                               match={"in_port": (5, None)}, data=b"frame"))


@pytest.mark.parametrize("version", OS_KEN)
def test_packet_in(version):
    got = read(version, message_frame(version, Type.PACKET_IN, 5, convert.packet_in(version, convert.STANDARD, PACKET_IN)))
    assert (got.buffer_id, got.total_len, got.data) == (7, 64, b"frame")
    assert got.reason == (4 if version >= OF14 else 1)      # out of a group: to earlier versions, an action
    assert (got.in_port if version == OF10 else got.match["in_port"]) == 5


REMOVED = ofp.FLOW_REMOVED.encode(ofp.FLOW_REMOVED(
    cookie=1, priority=2, reason=5, table_id=3, duration_sec=4, duration_nsec=5, idle_timeout=6, hard_timeout=7,
    packet_count=8, byte_count=9, match={"eth_type": (0x800, None)}))


@pytest.mark.parametrize("version", OS_KEN)
def test_flow_removed(version):
    got = read(version, message_frame(version, Type.FLOW_REMOVED, 5, convert.flow_removed(version, REMOVED)))
    assert (got.cookie, got.priority, got.idle_timeout) == (1, 2, 6)
    assert got.reason == (5 if version >= OF14 else 2)      # an eviction: to earlier versions, a deletion
    if version == OF15:
        assert dict(got.stats.items())["packet_count"] == 8 and got.stats["duration"] == (4, 5)
    else:
        assert (got.packet_count, got.byte_count, got.duration_sec, got.duration_nsec) == (8, 9, 4, 5)


@pytest.mark.parametrize("version", [OF14, OF15])
def test_events_of_14(version):
    status = said.ROLE_STATUS(role=3, reason=0, generation_id=9)
    got = read(version, encode(Type.ROLE_STATUS, 5, status, version))
    assert (got.role, got.reason, got.generation_id) == (3, 0, 9)
    desc = table.TABLE_DESC(table_id=3, config=8, properties=[table.VACANCY(vacancy_down=1, vacancy_up=2, vacancy=3)])
    got = read(version, encode(Type.TABLE_STATUS, 5, table.TABLE_STATUS(reason=3, table=desc), version))
    assert (got.reason, got.table.table_id, got.table.properties[0].vacancy) == (3, 3, 3)
    request = message_frame(version, Type.METER_MOD, 7, ofp.METER_MOD.encode(ofp.METER_MOD(command=2, meter_id=4)))
    got = read(version, encode(Type.REQUESTFORWARD, 5, said.REQUESTFORWARD(request=request), version))
    assert got.request.meter_id == 4


# -- what os-ken asks

@pytest.mark.parametrize("version", OS_KEN)
def test_port_mod(version):
    osk, dp = parser(version), Datapath(version)
    if version < OF14:
        request = osk.OFPPortMod(dp, 3, "02:00:00:00:00:03", 0x20, 0x21, 0)
    else:
        request = osk.OFPPortMod(dp, 3, "02:00:00:00:00:03", 0x20, 0x21, [osk.OFPPortModPropEthernet(0, advertise=0)])
    request.set_xid(5)
    request.serialize()
    change = port.port_mod(version, bytes(request.buf[8:]))
    assert (change.port_no, change.mac, change.config, change.mask) == (3, b"\2\0\0\0\0\3", 0x20, 0x21)


@pytest.mark.parametrize("version", [OF12, OF13, OF14, OF15])
def test_roles_and_async(version):
    osk, dp = parser(version), Datapath(version)
    if version == OF15:
        request = osk.OFPRoleRequest(dp, 2, 7, 77)
    else:
        request = osk.OFPRoleRequest(dp, 2, 77)
    kind, body = asked(request)
    assert (kind, body.role, body.generation_id) == (Type.ROLE_REQUEST, 2, 77)
    assert version < OF15 or body.short_id == 7
    if version == OF13:
        kind, body = asked(osk.OFPSetAsync(dp, [1, 2], [3, 4], [5, 6]))
        assert (kind, body) == (Type.SET_ASYNC, ofp.ASYNC(packet_in=1, packet_in_slave=2, port_status=3, port_status_slave=4,
                                                          flow_removed=5, flow_removed_slave=6))
    elif version >= OF14:
        kind, body = asked(osk.OFPSetAsync(dp, [osk.OFPAsyncConfigPropReasons(type_=5, mask=3)]))
        assert (kind, body.properties[0].type, body.properties[0].mask) == (Type.SET_ASYNC, 5, 3)


@pytest.mark.parametrize("version", [OF14, OF15])
def test_bundles_and_monitors(version):
    osk, dp = parser(version), Datapath(version)
    kind, body = asked(osk.OFPBundleCtrlMsg(dp, 7, 4, 3, []))
    assert (kind, body.bundle_id, body.type, body.flags) == (Type.BUNDLE_CONTROL, 7, 4, 3)
    inner = osk.OFPPortMod(dp, 3, "02:00:00:00:00:03", 0, 0, [])
    kind, body = asked(osk.OFPBundleAddMsg(dp, 7, 3, inner, []))
    assert (kind, body.bundle_id, body.flags) == (Type.BUNDLE_ADD_MESSAGE, 7, 3) and body.message[1] == 16
    match = osk.OFPMatch(eth_type=0x800)
    kind, body = asked(osk.OFPFlowMonitorRequest(dp, 0, 9, 1, 2, 31, 4, 0, match))
    (monitor,) = REQUESTS[version][Multipart.FLOW_MONITOR].decode(body.body).monitors
    assert (monitor.monitor_id, monitor.out_port, monitor.out_group, monitor.flags, monitor.table_id) == (9, 1, 2, 31, 4)


def test_bundle_time():
    osk, dp = parser(OF15), Datapath(OF15)
    when = osk.OFPTime(seconds=5, nanoseconds=6)
    _, body = asked(osk.OFPBundleCtrlMsg(dp, 7, 4, 4, [osk.OFPBundlePropTime(1, None, when)]))
    assert (body.properties[0].seconds, body.properties[0].nanoseconds) == (5, 6)


@pytest.mark.parametrize("version", [OF13, OF14, OF15])
def test_table_mod(version):
    osk, dp = parser(version), Datapath(version)
    if version == OF13:
        request = osk.OFPTableMod(dp, 3, 1)
    else:
        request = osk.OFPTableMod(dp, 3, 12, [osk.OFPTableModPropVacancy(type_=3, vacancy_down=20, vacancy_up=80, vacancy=0)])
    kind, body = asked(request)
    assert (kind, body.table_id) == (Type.TABLE_MOD, 3)
    assert version == OF13 or (body.properties[0].vacancy_down, body.properties[0].vacancy_up) == (20, 80)


# -- asynchronous configuration

def test_async_of_one_version_in_another():
    wishes = decode_async(OF13, ofp.ASYNC.encode(ofp.ASYNC(packet_in=0b10, flow_removed=0b100, port_status_slave=1)), no_wishes())
    assert wishes.wants("packet_in", 4, slave=False) and not wishes.wants("packet_in", 0, slave=False)
    assert wishes.wants("flow_removed", 5, slave=False) and wishes.wants("port_status", 0, slave=True)
    assert ofp.ASYNC.decode(encode_async(OF13, wishes)).packet_in == 0b10


@given(st.dictionaries(st.integers(0, 15), st.integers(0, 3)))
def test_async_properties(masks):
    layout = said.ASYNC15
    body = layout.encode(layout(properties=[said.ASYNC_MASK(type=k, mask=m if KINDS[k // 2] not in ("table_status",) else 8 * m)
                                            for k, m in masks.items()]))
    wishes = decode_async(OF15, body, Wishes())
    told = {p.type: p.mask for p in layout.decode(encode_async(OF15, wishes)).properties}
    before = {p.type: p.mask for p in layout.decode(encode_async(OF15, Wishes())).properties}
    assert told == before | {k: m if k // 2 != 4 else 8 * m for k, m in masks.items()}


# -- negotiation and numbers

@pytest.mark.parametrize("ours, theirs, agreed", [
    ((1, 4, 6), (1, 4), 4), ((1, 2, 3, 4, 5, 6), (2, 3), 3), ((4,), (5, 6), None), ((1, 4), (1,), 1), ((1,), (1, 4, 5), 1)])
def test_negotiation(ours, theirs, agreed):
    (hello,) = take_frames(bytearray(encode_hello(1, theirs)))
    assert negotiate(hello, ours) == agreed
    (back,) = take_frames(bytearray(encode_hello(1, ours)))
    assert negotiate(back, theirs) == agreed


@pytest.mark.parametrize("version, type_, code, number", [
    (OF10, ErrorType.FLOW_MOD_FAILED, FlowModFailed.TABLE_FULL, (3, 0)), (OF10, ErrorType.FLOW_MOD_FAILED, FlowModFailed.OVERLAP, (3, 1)),
    (OF10, ErrorType.PORT_MOD_FAILED, PortModFailed.BAD_PORT, (4, 0)), (OF11, ErrorType.PORT_MOD_FAILED, PortModFailed.BAD_PORT, (7, 0)),
    (OF10, ErrorType.BAD_REQUEST, BadRequest.IS_SLAVE, (1, 5)), (OF12, ErrorType.BAD_REQUEST, BadRequest.IS_SLAVE, (1, 10)),
    (OF13, ErrorType.BAD_PROPERTY, BadProperty.BAD_LEN, (13, 3)), (OF14, ErrorType.BAD_PROPERTY, BadProperty.BAD_LEN, (14, 1)),
    (OF11, ErrorType.GROUP_MOD_FAILED, GroupModFailed.LOOP, (6, 7)), (OF13, ErrorType.BAD_MATCH, BadMatch.DUP_FIELD, (4, 10)),
    (OF12, ErrorType.METER_MOD_FAILED, 3, (1, 5))])
def test_error_numbers(version, type_, code, number):
    got = error_map.error_number(version, type_, code)
    assert (got.type, got.code) == number and not got.experimenter


CODES = {ErrorType.BAD_REQUEST: BadRequest, ErrorType.BAD_MATCH: BadMatch, ErrorType.FLOW_MOD_FAILED: FlowModFailed,
         ErrorType.GROUP_MOD_FAILED: GroupModFailed, ErrorType.PORT_MOD_FAILED: PortModFailed,
         ErrorType.BAD_PROPERTY: BadProperty, ErrorType.BUNDLE_FAILED: BundleFailed}


@pytest.mark.parametrize("version", OS_KEN)
def test_errors_have_types_that_the_version_knows(version):
    known = {value for name, value in vars(ofproto(version)).items() if name.startswith("OFPET_")}
    for type_, codes in CODES.items():
        for code in codes:
            number = error_map.error_number(version, type_, code)
            assert number.experimenter or number.type in known, (type_, code)


def test_bundle_errors_of_13_are_onfs():
    error = OpenFlowError(ErrorType.BUNDLE_FAILED, BundleFailed.MSG_FAILED)
    assert error_map.encode_error_body(OF13, error, b"x") == bytes.fromhex("ffff0909" "4f4e4600") + b"x"
    assert error_map.encode_error_body(OF14, error, b"x") == bytes.fromhex("0011000d") + b"x"


@pytest.mark.parametrize("version", OS_KEN)
def test_message_numbers(version):
    """Against os-ken's OFPT_* of the version."""
    renamed = {"VENDOR": "EXPERIMENTER", "STATS_REQUEST": "MULTIPART_REQUEST", "STATS_REPLY": "MULTIPART_REPLY"}
    theirs = {renamed.get(name[5:], name[5:]): value for name, value in vars(ofproto(version)).items()
              if name.startswith("OFPT_")}
    ours = {type_.name: wire for type_, wire in WIRE_TYPES[version].items()}
    assert {name: wire for name, wire in theirs.items() if name in Type.__members__} == ours
    assert set(MESSAGES[version]) == set(TYPES[version].values())


@pytest.mark.parametrize("version, match", [
    (OF10, lambda kind, code: struct.pack("!IH6s6sHBxHBB2xIIHH", (1 << 22) - 1 & ~(1 << 4 | 1 << 5 | 1 << 6 | 1 << 7), 0, bytes(6), bytes(6), 0,
                                          0, 0x800, 0, 1, 0, 0, kind, code)),
    (OF11, lambda kind, code: struct.pack("!HHII6s6s6s6sHBxHBBIIIIHHIB3xQQ", 0, 88, 0, 0x3ff & ~(8 | 32 | 64 | 128), bytes(6), b"\xff" * 6,
                                          bytes(6), b"\xff" * 6, 0, 0, 0x800, 0, 1, 0, 0xffffffff, 0, 0xffffffff, kind, code, 0, 0, 0,
                                          2 ** 64 - 1))])
def test_icmp_types_and_codes_beyond_a_byte_are_refused(version, match):
    """They stand in 16 bits before 1.2; cut off, they would match other packets than were asked for."""
    assert match_in(version, STANDARD, match(8, 255))
    for wrong, field in ((match(0x108, 0), "icmp_type"), (match(8, 0x100), "icmp_code")):
        with pytest.raises(OpenFlowError, match="is not in 0..255") as refused:
            match_in(version, STANDARD, wrong)
        assert refused.value.field == field
