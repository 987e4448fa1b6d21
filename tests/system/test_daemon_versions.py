"""Each OpenFlow version on the bridge's management socket: what ovs-ofctl asks and prints, and what bad messages are answered
with, in that version's numbers."""
import struct

import pytest
from raw_controller import Controller, free_port
from running_daemon import OFCTL, Daemon, two_dummy_ports

from vswitch.openflow import group_messages as group, messages as ofp, port_messages as port, rule_messages as rule
from vswitch.openflow import session_messages as said, table_messages as table
from vswitch.openflow.actions import GotoTable
from vswitch.openflow.codec import decode_multipart_entries, frame
from vswitch.openflow.constants import Multipart, Role, Type
from vswitch.openflow.versions import NICIRA, OF10, OF11, OF12, OF13, OF14, OF15, WIRE_TYPES, Version

VERSIONS = [f"OpenFlow1{i}" for i in range(6)]
NUMBERS = dict(zip(VERSIONS, Version))
FRAME = bytes.fromhex("ffffffffffff020000000001" + "0800" + "00" * 46)


@pytest.fixture(scope="module")
def tcp_port():
    return free_port()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, tcp_port):
    daemon = Daemon(tmp_path_factory.mktemp("vswitchd"),
                    two_dummy_ports(fail_mode="secure", listen=(f"ptcp:{tcp_port}:127.0.0.1",)))
    yield daemon
    daemon.stop()


ofctl = pytest.mark.skipif(OFCTL is None, reason="ovs-ofctl is not installed")


@ofctl
@pytest.mark.parametrize("version", VERSIONS)
class TestOfctl:
    def test_show(self, daemon, version):
        shown = daemon.ofctl("show", version=version)
        assert "dpid:0000000000001234" in shown and "n_tables:254" in shown and "1(p1)" in shown and "2(p2)" in shown

    def test_rules(self, daemon, version):
        daemon.ofctl("del-flows", version=version)
        daemon.ofctl("add-flow", "priority=7,udp,nw_dst=10.0.0.0/8,actions=mod_dl_dst:02:00:00:00:00:09,output:2", version=version)
        shown = daemon.ofctl("dump-flows", version=version)
        assert "priority=7,udp,nw_dst=10.0.0.0/8" in shown and "output:2" in shown and "02:00:00:00:00:09" in shown
        daemon.ofctl("mod-flows", "udp,nw_dst=10.0.0.0/8,actions=output:1", version=version)
        assert "actions=output:1" in daemon.ofctl("dump-flows", version=version)
        assert "flow_count=1" in daemon.ofctl("dump-aggregate", version=version)
        daemon.ofctl("del-flows", "udp", version=version)
        assert "flow_count=0" in daemon.ofctl("dump-aggregate", version=version)

    @pytest.mark.parametrize("command, expect", [
        ("dump-desc", "DP Description: br"), ("dump-ports", "port  1: rx pkts=0"), ("dump-ports-desc", "2(p2): addr:"),
        ("dump-tables", "table 0"), ("queue-stats", "0 queues"), ("get-frags", "normal")])
    def test_reads(self, daemon, version, command, expect):
        assert expect in daemon.ofctl(command, version=version)

    def test_one_port(self, daemon, version):
        assert "port  2: rx" in (shown := daemon.ofctl("dump-ports", "2", version=version)) and "1 ports" in shown

    def test_port_mod(self, daemon, version):
        daemon.ofctl("mod-port", "p1", "no-forward", version=version)
        assert "NO_FWD" in daemon.ofctl("show", version=version).split("1(p1)")[1].split("2(p2)")[0]
        daemon.ofctl("mod-port", "p1", "forward", version=version)
        assert "NO_FWD" not in daemon.ofctl("show", version=version)

    def test_packet_out(self, daemon, version):
        async def collect(client):
            return await client.collect(1, 2)
        daemon.ask(collect)
        daemon.ofctl("packet-out", f"in_port=1 packet={FRAME.hex()} actions=output:2", version=version)
        assert daemon.ask(collect) == [FRAME]

    def test_groups(self, daemon, version):
        daemon.ofctl("add-group", "group_id=7,type=select,bucket=weight:3,actions=output:1,bucket=weight:5,actions=output:2",
                     version=version)
        shown = daemon.ofctl("dump-groups", version=version)
        assert "group_id=7,type=select" in shown and "weight:5" in shown and "output:2" in shown
        assert "group_id=7" in daemon.ofctl("dump-group-stats", version=version)
        daemon.ofctl("mod-group", "group_id=7,type=all,bucket=actions=output:1", version=version)
        assert "type=all" in daemon.ofctl("dump-groups", version=version)
        assert "Select" in daemon.ofctl("dump-group-features", version=version).title()
        daemon.ofctl("del-groups", version=version)
        assert "group_id" not in daemon.ofctl("dump-groups", version=version)

    def test_meters(self, daemon, version):
        if NUMBERS[version] < OF13:
            return              # earlier versions have none
        daemon.ofctl("add-meter", "meter=3,kbps,burst,stats,band=type=drop,rate=1000,burst_size=100", version=version)
        assert "meter=3" in (shown := daemon.ofctl("dump-meters", version=version)) and "rate=1000" in shown
        assert "meter:3" in daemon.ofctl("meter-stats", version=version)
        daemon.ofctl("del-meters", version=version)
        assert "meter=3" not in daemon.ofctl("dump-meters", version=version)

    def test_bundle(self, daemon, version, tmp_path):
        if NUMBERS[version] < OF13:
            return              # ovs-ofctl then sends the rules one by one
        daemon.ofctl("del-flows", version=version)
        rules = tmp_path / "rules"
        rules.write_text("".join(f"priority={i},udp,tp_dst={i},actions=output:2\n" for i in range(1, 301)))
        daemon.ofctl("--bundle add-flows", str(rules), version=version)
        assert "flow_count=300" in daemon.ofctl("dump-aggregate", version=version)
        rules.write_text("priority=1000,arp,actions=output:2\npriority=1001,ip,actions=output:99999999\nudp,actions=group:7\n")
        with pytest.raises(AssertionError):
            daemon.ofctl("--bundle add-flows", str(rules), version=version)
        assert "flow_count=300" in daemon.ofctl("dump-aggregate", version=version)
        daemon.ofctl("del-flows", version=version)


@ofctl
def test_reads_of_some_versions(daemon):
    assert "table 253" in daemon.ofctl("dump-table-features", version="OpenFlow15")
    daemon.ofctl("mod-table", "1", "evict", version="OpenFlow14")
    daemon.ofctl("mod-table", "1", "vacancy:20,80", version="OpenFlow14")
    described = daemon.ofctl("dump-table-desc", version="OpenFlow15").split("table 1:")[1].split("table 2:")[0]
    assert "eviction=on" in described and "vacancy=on vacancy_down=20% vacancy_up=80%" in described
    daemon.ofctl("mod-table", "1", "noevict", version="OpenFlow15")
    daemon.ofctl("mod-table", "1", "novacancy", version="OpenFlow15")
    described = daemon.ofctl("dump-table-desc", version="OpenFlow14").split("table 1:")[1].split("table 2:")[0]
    assert "eviction=off" in described and "vacancy=off" in described


def body(layout, **members) -> bytes:
    return layout.encode(layout(**members))


def asks(kind: int, data: bytes = b"", flags: int = 0) -> bytes:
    return struct.pack("!HH4x", kind, flags) + data


# version, canonical type, body, (type, code)
BAD = [
    (OF10, Type.PORT_MOD, body(port.PORT_MOD10, port_no=9), (4, 0)),
    (OF10, Type.PORT_MOD, body(port.PORT_MOD10, port_no=1, hw_addr=b"\2\3\4\5\6\7"), (4, 1)),
    (OF10, Type.PORT_MOD, bytes(23), (1, 6)), (OF10, Type.MULTIPART_REQUEST, struct.pack("!HH", 6, 0), (1, 2)),
    (OF10, Type.MULTIPART_REQUEST, struct.pack("!H", 0), (1, 6)), (OF10, Type.MULTIPART_REQUEST, struct.pack("!HHI", 0, 0, 0), (1, 6)),
    (OF10, Type.QUEUE_GET_CONFIG_REQUEST, struct.pack("!H2x", 9), (5, 0)),
    (OF10, Type.MULTIPART_REQUEST, struct.pack("!HHH2xI", 5, 0, 1, 3), (5, 1)),
    (OF10, Type.EXPERIMENTER, struct.pack("!I", 7), (1, 3)), (OF10, Type.EXPERIMENTER, struct.pack("!II", NICIRA, 99), (1, 4)),
    (OF10, Type.EXPERIMENTER, struct.pack("!II", NICIRA, 10), (1, 6)),
    (OF10, Type.EXPERIMENTER, struct.pack("!III", NICIRA, 16, 9), (1, 5)),
    (OF10, Type.FLOW_MOD, bytes(63), (1, 6)), (OF10, Type.FLOW_MOD, body(rule.FLOW_MOD10, command=9), (3, 4)),
    (OF10, Type.SET_CONFIG, struct.pack("!HH", 8, 128), (1, 5)),
    (OF11, Type.FLOW_MOD, bytes(127), (1, 6)), (OF11, Type.TABLE_MOD, struct.pack("!B3xI", 254, 0), (8, 0)),
    (OF11, Type.MULTIPART_REQUEST, asks(8), (1, 2)), (OF11, Type.PORT_MOD, body(ofp.PORT_MOD, port_no=1, config=2, mask=2), (7, 2)),
    (OF11, Type.GROUP_MOD, body(group.GROUP_MOD11, command=9), (1, 5)),
    (OF12, Type.ROLE_REQUEST, body(ofp.ROLE, role=9), (11, 2)), (OF12, Type.MULTIPART_REQUEST, asks(9), (1, 2)),
    (OF12, Type.GROUP_MOD, body(group.GROUP_MOD11, command=3), (6, 11)),
    (OF14, Type.PORT_MOD, body(port.PORT_MOD14, port_no=9), (7, 0)),
    (OF14, Type.PORT_MOD, body(port.PORT_MOD14, port_no=1, properties=[port.PORT_MOD14_ETHERNET(advertise=1)]), (7, 3)),
    (OF14, Type.PORT_MOD, body(port.PORT_MOD14, port_no=1, properties=[port.PORT_MOD14_OPTICAL()]), (14, 0)),
    (OF14, Type.PORT_MOD, body(port.PORT_MOD14, port_no=1) + struct.pack("!HHI", 9, 8, 0), (14, 0)),
    (OF14, Type.PORT_MOD, body(port.PORT_MOD14, port_no=1) + struct.pack("!HHI", 0xffff, 12, 1) + bytes(8), (14, 5)),
    (OF14, Type.PORT_MOD, body(port.PORT_MOD14, port_no=1) + struct.pack("!HHI", 0, 99, 0), (14, 1)),
    (OF14, Type.PORT_MOD, body(port.PORT_MOD14, port_no=1) + struct.pack("!HHI", 0, 8, 0) * 2, (14, 4)),
    (OF14, Type.TABLE_MOD, body(table.TABLE_MOD14, config=16), (8, 1)),
    (OF14, Type.TABLE_MOD, body(table.TABLE_MOD14, properties=[table.EVICTION(flags=8)]), (14, 2)),
    (OF14, Type.TABLE_MOD, body(table.TABLE_MOD14, properties=[table.VACANCY(vacancy_down=50, vacancy_up=20)]), (14, 2)),
    (OF14, Type.SET_ASYNC, body(said.ASYNC14, properties=[said.ASYNC_MASK(type=1, mask=1 << 20)]), (15, 0)),
    (OF14, Type.SET_ASYNC, body(said.ASYNC15, properties=[said.ASYNC_MASK(type=13, mask=1)]), (14, 0)),
    (OF14, Type.MULTIPART_REQUEST, asks(17), (1, 2)), (OF14, Type.MULTIPART_REQUEST, asks(15, struct.pack("!II", 1, 4)), (9, 1)),
    (OF14, Type.MULTIPART_REQUEST, asks(16, body(rule.MONITOR_REQUEST, monitor_id=1, command=7)), (16, 4)),
    (OF14, Type.MULTIPART_REQUEST, asks(16, body(rule.MONITOR_REQUEST, monitor_id=1, command=1)), (16, 3)),
    (OF14, Type.MULTIPART_REQUEST, asks(16, body(rule.MONITOR_REQUEST, monitor_id=1, flags=0x80)), (16, 5)),
    (OF14, Type.MULTIPART_REQUEST, asks(16, body(rule.MONITOR_REQUEST, monitor_id=1, flags=2, table_id=254)), (16, 6)),
    (OF14, Type.BUNDLE_CONTROL, body(said.BUNDLE_CONTROL14, bundle_id=1, type=4), (17, 2)),
    (OF14, Type.BUNDLE_CONTROL, body(said.BUNDLE_CONTROL14, bundle_id=1, type=9), (17, 6)),
    (OF14, Type.BUNDLE_CONTROL, body(said.BUNDLE_CONTROL14, bundle_id=1, type=0, flags=4), (17, 7)),
    (OF14, Type.BUNDLE_ADD_MESSAGE, struct.pack("!I2xH", 1, 0) + bytes(7), (17, 8)),
    (OF14, Type.ROLE_STATUS, bytes(16), (1, 1)),
    (OF15, Type.ROLE_REQUEST, body(said.ROLE15, role=4), (11, 2)),
    (OF15, Type.PACKET_OUT, body(rule.PACKET_OUT15), (1, 11)),
    (OF15, Type.PACKET_OUT, body(rule.PACKET_OUT15, match=bytes.fromhex("0001000a80000a0208000000000000000000")[:16]), (1, 17)),
    (OF15, Type.MULTIPART_REQUEST, asks(13, struct.pack("!I4x", 99)), (1, 11)),
    (OF15, Type.MULTIPART_REQUEST, asks(12, body(table.TABLE_FEATURES15, table_id=1, command=9)), (13, 9)),
    (OF15, Type.MULTIPART_REQUEST, asks(12, body(table.TABLE_FEATURES15, table_id=254, command=1)), (13, 0)),
    (OF15, Type.MULTIPART_REQUEST, asks(12, body(table.TABLE_FEATURES15, table_id=1, command=1, max_entries=1 << 30)), (13, 7)),
    (OF15, Type.MULTIPART_REQUEST, asks(19, struct.pack("!I4x", 4)), (1, 16)),
    (OF15, Type.GROUP_MOD, body(group.GROUP_MOD15, command=9), (6, 11)),
]


@pytest.mark.parametrize("version, type_, data, error", BAD, ids=lambda v: v.name if isinstance(v, (Type, Version)) else None)
def test_refused(daemon, tcp_port, version, type_, data, error):
    controller = Controller.to(tcp_port, version=version)
    assert controller.refused(WIRE_TYPES[version][type_], data) == error
    controller.barrier()
    controller.close()


@pytest.mark.parametrize("version", Version)
def test_types_that_the_version_has_not(daemon, tcp_port, version):
    controller = Controller.to(tcp_port, version=version)
    for wire in set(range(40)) - set(WIRE_TYPES[version].values()):
        assert controller.refused(wire) == (1, 1)
    for type_ in (Type.FEATURES_REPLY, Type.PACKET_IN, Type.FLOW_REMOVED, Type.PORT_STATUS, Type.BARRIER_REPLY):
        assert controller.refused(WIRE_TYPES[version][type_]) == (1, 1)
    assert controller.refused(Type.ECHO_REQUEST, version=version % 6 + 1) == (1, 0)
    controller.close()


def test_errors_of_extensions(daemon, tcp_port):
    """An error that 1.3 has no number for is ONF's, in 1.0 Nicira's."""
    controller = Controller.to(tcp_port, version=OF13)
    xid = controller.send_raw(Type.EXPERIMENTER, struct.pack("!IIIHH", 0x4f4e4600, 2300, 1, 4, 0))
    assert struct.unpack_from("!HHI", controller.answer(xid).body) == (0xffff, 2302, 0x4f4e4600)
    controller.close()
    controller = Controller.to(tcp_port, version=OF10)
    xid = controller.send_raw(Type.EXPERIMENTER, struct.pack("!III", NICIRA, 10, 9))
    assert struct.unpack_from("!HHIHH", controller.answer(xid).body) == (0xb0c2, 0, NICIRA, 1, 513)
    controller.close()


def test_nicira_role(daemon, tcp_port):
    first, second = Controller.to(tcp_port, version=OF10), Controller.to(tcp_port, version=OF14)
    xid = first.send_raw(Type.EXPERIMENTER, struct.pack("!III", NICIRA, 10, 1))
    assert first.answer(xid).body == struct.pack("!III", NICIRA, 11, 1)
    second.ask(Type.ROLE_REQUEST, ofp.ROLE(role=Role.MASTER, generation_id=1), Type.ROLE_REPLY)
    assert first.refused(Type.FLOW_MOD, body(rule.FLOW_MOD10)) == (1, 5)
    first.send_raw(Type.EXPERIMENTER, struct.pack("!III", NICIRA, 10, 1))
    status = second.wait(Type.ROLE_STATUS)
    assert (status.role, status.reason, status.generation_id) == (Role.SLAVE, 0, 1)
    first.close(), second.close()


def test_short_ids(daemon, tcp_port):
    first, second = Controller.to(tcp_port, version=OF15), Controller.to(tcp_port, version=OF15)
    assert first.ask(Type.ROLE_REQUEST, said.ROLE15(role=Role.EQUAL, short_id=5), Type.ROLE_REPLY).short_id == 5
    assert second.refused(Type.ROLE_REQUEST, body(said.ROLE15, role=Role.EQUAL, short_id=5)) == (11, 4)
    status = first.ask(Type.MULTIPART_REQUEST, ofp.MULTIPART(type=Multipart.CONTROLLER_STATUS), Type.MULTIPART_REPLY)
    entries = decode_multipart_entries(Multipart.CONTROLLER_STATUS, status.body, OF15)
    assert sorted(entry.short_id for entry in entries) == [5, 0xffff] and all(e.channel_status == 0 for e in entries)
    first.close(), second.close()


def test_async_properties(daemon, tcp_port):
    controller = Controller.to(tcp_port, version=OF15)
    controller.send(Type.SET_ASYNC, said.ASYNC15(properties=[said.ASYNC_MASK(type=1, mask=0b100),
                                                             said.ASYNC_MASK(type=14, mask=0b10)]))
    masks = {p.type: p.mask for p in controller.ask(Type.GET_ASYNC_REQUEST, None, Type.GET_ASYNC_REPLY).properties}
    assert masks[1] == 0b100 and masks[14] == 0b10 and masks[3] == 0b111 and len(masks) == 16
    controller.close()


def test_a_packet_out_of_no_port(daemon, tcp_port):
    """1.0 asks only for OFPP_NONE where there is none (5.3.6), and its controllers leave it 0, too."""
    controller = Controller.to(tcp_port, version=OF10)

    async def collect(client):
        return await client.collect(1, 2)
    daemon.ask(collect)
    for in_port in (0xffff, 0):
        controller.send_raw(13, struct.pack("!IHH", 0xffffffff, in_port, 8) + struct.pack("!HHHH", 0, 8, 2, 0xffff) + FRAME)
    xid = controller.send(Type.BARRIER_REQUEST)
    while (got := controller.next()).xid != xid:
        assert got.type != Type.ERROR
    assert daemon.ask(collect) == [FRAME, FRAME]
    controller.close()


def test_request_in_parts(daemon, tcp_port):
    controller = Controller.to(tcp_port)
    entry = table.TABLE_FEATURES[OF13].encode(ofp.TABLE_FEATURES(table_id=0, name="first"))
    others = b"".join(table.TABLE_FEATURES[OF13].encode(ofp.TABLE_FEATURES(table_id=i)) for i in range(1, 254))
    controller.sock.sendall(frame(Type.MULTIPART_REQUEST, 77, asks(12, entry, flags=1))
                            + frame(Type.MULTIPART_REQUEST, 77, asks(12, others)))
    reply = controller.answer(77)
    assert reply.kind == Type.MULTIPART_REPLY
    first = decode_multipart_entries(Multipart.TABLE_FEATURES, reply.body[8:])[0]
    assert (first.table_id, first.name) == (0, "first")
    controller.close()


def test_parts_that_are_too_many_or_late(daemon, tcp_port):
    controller = Controller.to(tcp_port, version=OF14)
    part = frame(Type.MULTIPART_REQUEST, 5, asks(12, bytes(60_000), flags=1), OF14)
    controller.sock.sendall(part * 18)
    error = ofp.ERROR.decode(controller.answer(5).body)
    assert (error.type, error.code) == (1, 13)
    controller.sock.sendall(frame(Type.MULTIPART_REQUEST, 6, asks(12, bytes(8), flags=1), OF14))
    error = ofp.ERROR.decode(controller.answer(6).body)
    assert (error.type, error.code) == (1, 14)
    controller.close()


def test_table_features(daemon, tcp_port):
    """1.5: a table is taken out of the pipeline and put back; rules can't be added to it meanwhile."""
    controller = Controller.to(tcp_port, version=OF15)

    def change(command: int, **members) -> None:
        entry = table.TABLE_FEATURES15(table_id=9, command=command, **members)
        controller.ask(Type.MULTIPART_REQUEST, ofp.MULTIPART(type=Multipart.TABLE_FEATURES,
                                                             body=table.TABLE_FEATURES15.encode(entry)), Type.MULTIPART_REPLY)

    change(1, name="nine")
    change(3)
    assert controller.refused(Type.FLOW_MOD, body(rule.FLOW_MOD14, table_id=9)) == (5, 2)
    change(2)
    controller.send(Type.FLOW_MOD, rule.FLOW_MOD14(table_id=9))
    controller.send(Type.FLOW_MOD, rule.FLOW_MOD14(table_id=9, command=3))
    controller.barrier()
    controller.close()


def test_first_egress_table(daemon, tcp_port):
    """1.5: a controller makes table 9 the first egress table (7.3.5.18.1), and packets that leave walk it."""
    controller = Controller.to(tcp_port, version=OF15)

    def change(table_id: int, features: int) -> list:
        entry = table.TABLE_FEATURES15.encode(table.TABLE_FEATURES15(table_id=table_id, command=1, features=features))
        message = controller.answer(controller.send_raw(Type.MULTIPART_REQUEST, asks(12, entry)))
        if message.kind == Type.ERROR:
            error = ofp.ERROR.decode(message.body)
            return [error.type, error.code]
        (told,) = table.TABLE_FEATURES_REQUEST[OF15].decode(message.body[8:]).tables
        return [told.table_id, told.features]

    async def passes(client):
        await client.collect(1, 2)
        await client.inject(1, 1, FRAME)
        for _ in range(100):
            if frames := await client.collect(1, 2):
                return frames
        return []

    daemon.ofctl("add-flow", "table=0,actions=output:2")
    assert daemon.ask(passes) == [FRAME]
    assert change(0, 16) == [13, 8] and change(9, 64) == [13, 8]        # OFPTFFC_BAD_FEATURES
    assert change(9, 0b10011) == [9, 0b10011]
    assert daemon.ask(passes) == []
    assert controller.refused(Type.FLOW_MOD, body(rule.FLOW_MOD14, instructions=[GotoTable(9)])) == (3, 2)
    daemon.ofctl("add-flow", "table=9,actions=mod_dl_src:02:00:00:00:00:09", version="OpenFlow15")
    assert daemon.ask(passes) == [FRAME[:6] + b"\2\0\0\0\0\x09" + FRAME[12:]]
    assert change(9, 0b11) == [9, 0b11]
    assert daemon.ask(passes) == [FRAME]
    daemon.ofctl("del-flows")
    controller.close()


def test_a_miss_is_told_to_those_whose_version_has_no_rules_for_it(daemon, tcp_port):
    """1.0 to 1.2: what no rule knows goes to the controller, unless its table is to drop it or to pass it on (1.2, A.3.3)."""
    daemon.ofctl("del-flows")
    old, new = Controller.to(tcp_port, version=OF12), Controller.to(tcp_port, version=OF14)
    for controller in (old, new):
        controller.barrier()

    async def inject(client):
        await client.inject(1, 1, FRAME)

    def told() -> bool:
        while not old.quiet(0.05):
            pass
        daemon.ask(inject)
        try:
            return old.wait(Type.PACKET_IN, 0.3).reason == 0
        except TimeoutError:
            return False

    def table_mod(table_id: int, config: int) -> None:
        old.send(Type.TABLE_MOD, ofp.TABLE_MOD(table_id=table_id, config=config))
        old.barrier()

    daemon.wait_for(told)
    assert new.quiet()
    table_mod(0, 2)                     # drop
    assert not told()
    table_mod(0, 1)                     # continue: to table 1, which tells
    assert told()
    daemon.ofctl("add-flow", "table=1,actions=output:2")
    assert not told()
    assert old.refused(Type.TABLE_MOD, body(ofp.TABLE_MOD, table_id=0, config=3)) == (8, 1)
    daemon.ofctl("del-flows")
    table_mod(0xff, 0)
    assert told()
    old.close()
    new.barrier()
    new.close()


def test_packet_in_forms(daemon, tcp_port):
    """The same packet as each version tells it."""
    daemon.ofctl("add-flow", "table=0,cookie=7,priority=1,actions=controller")
    controllers = {version: Controller.to(tcp_port, version=version) for version in Version}
    nicira = Controller.to(tcp_port, version=OF10)
    nicira.send_raw(Type.EXPERIMENTER, struct.pack("!III", NICIRA, 16, 2))
    for controller in (*controllers.values(), nicira):
        controller.barrier()

    async def inject(client):
        await client.inject(1, 1, FRAME)
    daemon.ask(inject)
    for version, controller in controllers.items():
        told = controller.wait(Type.PACKET_IN)
        assert told.data == FRAME and told.total_len == len(FRAME)
        assert (told.in_port if version <= OF11 else told.match["in_port"][0]) == 1
        controller.close()
    while (message := nicira.next()).kind != Type.EXPERIMENTER:
        pass
    assert message.body[:8] == struct.pack("!II", NICIRA, 30) and FRAME in message.body
    nicira.close()
    daemon.ofctl("del-flows")
