"""Open vSwitch's actions and registers (ovs-actions(7), ovs-fields(7)), written by os-ken and carried out in process."""
import struct

import pytest
from os_ken.ofproto import ofproto_protocol
from os_ken.ofproto import ofproto_v1_3_parser as of
from simulation import Refused, Sim

PROTOCOL = ofproto_protocol.ProtocolDesc(4)
PROTOCOL.set_xid = lambda message: message.set_xid(0)
IN_PORT, CONTROLLER = 0xfffffff8, 0xfffffffd
ETH = bytes.fromhex("020000000002" "020000000001")


def ipv4(src="10.0.0.1", dst="10.0.0.2", proto=17, sport=1000, dport=2000, ttl=64, flags=0x10):
    address = b"".join(bytes(map(int, a.split("."))) for a in (src, dst))
    l4 = struct.pack("!HHHH", sport, dport, 8, 0) if proto == 17 else \
        struct.pack("!HHIIBBHHH", sport, dport, 0, 0, 0x50, flags, 0, 0, 0)
    return ETH + b"\x08\x00" + struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(l4), 0, 0, ttl, proto, 0) + address + l4


UDP, TCP = ipv4(), ipv4(proto=6)


def add(sim, actions=(), table=0, priority=1, match=None, instructions=(), cookie=0, **more):
    inst = [of.OFPInstructionActions(4, list(actions))] if actions else []
    message = of.OFPFlowMod(PROTOCOL, table_id=table, priority=priority, match=of.OFPMatch(**(match or {})), cookie=cookie,
                            instructions=[*inst, *instructions], **more)
    message.serialize()
    sim.flow_mod(bytes(message.buf)[8:])


def output(port):
    return of.OFPActionOutput(port)


def load(field, value, first=0, last=None, bits=32):
    return of.NXActionRegLoad(bits_of(first, bits - 1 if last is None else last), field, value)


def bits_of(first, last):
    return first << 6 | (last - first)


def sent(sim, frame, in_port=1):
    sim.inject(in_port, frame)
    return {port: sim.collect(port) for port in (1, 2, 3)}


@pytest.fixture
def bridge():
    with Sim() as sim:
        sim.tenant()
        sim.bridge(miss_send_len=128)
        for port in (1, 2, 3):
            sim.port(port_no=port)
        yield sim


def test_registers_are_matched_after_resubmit(bridge):
    add(bridge, [load("reg3", 0x1234), of.NXActionResubmitTable(IN_PORT & 0xffff, 5)])
    add(bridge, [output(2)], table=5, match={"reg3": 0x1234})
    add(bridge, [output(3)], table=5, match={"reg3": 0x1235})
    for _ in range(3):
        assert sent(bridge, UDP)[2] == [UDP]


def test_resubmit_goes_on_with_the_list_and_counts(bridge):
    add(bridge, [of.NXActionResubmitTable(IN_PORT & 0xffff, 5), output(3)])
    add(bridge, [output(2)], table=5)
    assert sent(bridge, UDP) == {1: [], 2: [UDP], 3: [UDP]}


def test_resubmit_as_if_from_another_port(bridge):
    add(bridge, [of.NXActionResubmitTable(7, 5), of.NXActionResubmitTable(IN_PORT & 0xffff, 6)])
    add(bridge, [output(2)], table=5, match={"in_port": 7})
    add(bridge, [output(3)], table=6, match={"in_port": 1})
    assert sent(bridge, UDP) == {1: [], 2: [UDP], 3: [UDP]}


def test_resubmit_without_end_is_dropped(bridge):
    add(bridge, [of.NXActionResubmitTable(IN_PORT & 0xffff, 0), output(2)])
    sent(bridge, UDP)
    assert bridge.drops()["loop"] == 1


def test_move_and_partial_load(bridge):
    add(bridge, [of.NXActionRegMove("eth_src", "eth_dst", 48), load("eth_src", 0x99, 0, 7), output(2)])
    [frame] = sent(bridge, UDP)[2]
    assert frame[:6] == UDP[6:12] and frame[6:12] == UDP[6:11] + b"\x99"


def test_each_value_of_a_moved_field_is_its_own_decision(bridge):
    add(bridge, [of.NXActionRegMove("ipv4_src", "reg0", 32), of.NXActionResubmitTable(IN_PORT & 0xffff, 1)],
        match={"eth_type": 0x0800})
    add(bridge, [output(2)], table=1, match={"reg0": 0x0a000001})
    add(bridge, [output(3)], table=1, match={"reg0": 0x0a000009})
    for _ in range(2):
        assert sent(bridge, UDP)[2] == [UDP]
        other = ipv4(src="10.0.0.9")
        assert sent(bridge, other)[3] == [other]


def test_stack(bridge):
    add(bridge, [load("reg0", 2), of.NXActionStackPush("reg0", 0, 31), load("reg0", 3), of.NXActionStackPop("reg1", 0, 31),
                 of.NXActionOutputReg(bits_of(0, 31), "reg1", 65535)])
    assert sent(bridge, UDP) == {1: [], 2: [UDP], 3: []}


def test_output_to_where_it_came_from_by_loading_in_port(bridge):
    add(bridge, [of.NXActionRegLoad(bits_of(0, 15), "in_port_nxm", 0), output(1)])
    assert sent(bridge, UDP)[1] == [UDP]


def test_exit_ends_all_lists(bridge):
    add(bridge, [of.NXActionResubmitTable(IN_PORT & 0xffff, 5), output(3)])
    add(bridge, [output(2), of.NXActionExit(), output(3)], table=5)
    assert sent(bridge, UDP) == {1: [], 2: [UDP], 3: []}


def test_conjunction(bridge):
    for n, src in enumerate(("10.0.0.1", "10.0.0.9")):
        add(bridge, [of.NXActionConjunction(0, 2, 5)], priority=10, match={"eth_type": 0x0800, "ipv4_src": src})
    for dst in ("10.0.0.2", "10.0.0.8"):
        add(bridge, [of.NXActionConjunction(1, 2, 5)], priority=10, match={"eth_type": 0x0800, "ipv4_dst": dst})
    add(bridge, [output(2)], priority=10, match={"conj_id": 5})
    add(bridge, [output(3)], priority=1)
    for _ in range(2):
        for src, dst, port in (("10.0.0.1", "10.0.0.2", 2), ("10.0.0.9", "10.0.0.8", 2), ("10.0.0.1", "10.0.0.3", 3),
                               ("10.0.0.3", "10.0.0.8", 3)):
            frame = ipv4(src, dst)
            assert sent(bridge, frame)[port] == [frame], (src, dst)


def test_a_conjunction_loses_against_a_higher_rule(bridge):
    add(bridge, [of.NXActionConjunction(0, 2, 5)], priority=10, match={"eth_type": 0x0800, "ipv4_src": "10.0.0.1"})
    add(bridge, [of.NXActionConjunction(1, 2, 5)], priority=10, match={"eth_type": 0x0800, "ipv4_dst": "10.0.0.2"})
    add(bridge, [output(2)], priority=10, match={"conj_id": 5})
    add(bridge, [output(3)], priority=11, match={"eth_type": 0x0800, "ip_proto": 17})
    assert sent(bridge, UDP)[3] == [UDP]
    assert sent(bridge, TCP)[2] == [TCP]


def test_learn_makes_the_way_back(bridge):
    learn = of.NXActionLearn(table_id=10, priority=7, specs=[
        of.NXFlowSpecMatch(src=("eth_src_nxm", 0), dst=("eth_dst_nxm", 0), n_bits=48),
        of.NXFlowSpecOutput(src=("in_port_nxm", 0), dst="", n_bits=16)], hard_timeout=300)
    add(bridge, [learn, of.NXActionResubmitTable(IN_PORT & 0xffff, 10)])
    add(bridge, [output(3)], table=10, priority=0)
    assert sent(bridge, UDP)[3] == [UDP]
    back = UDP[6:12] + UDP[:6] + UDP[12:]
    assert sent(bridge, back, in_port=2)[1] == [back]
    assert sum(1 for e in bridge.flow_stats() if e[2] == 10) == 3


def test_learning_the_same_again_changes_nothing(bridge):
    learn = of.NXActionLearn(table_id=10, specs=[of.NXFlowSpecMatch(src=("eth_src_nxm", 0), dst=("eth_dst_nxm", 0), n_bits=48),
                                                 of.NXFlowSpecLoad(src=7, dst=("reg0", 0), n_bits=32)])
    add(bridge, [learn, output(2)])
    for _ in range(5):
        assert sent(bridge, UDP)[2] == [UDP]
    assert sum(1 for e in bridge.flow_stats() if e[2] == 10) == 1


def test_what_was_learned_goes_with_the_rule(bridge):
    learn = of.NXActionLearn(table_id=10, cookie=99, flags=2, specs=[
        of.NXFlowSpecMatch(src=("eth_src_nxm", 0), dst=("eth_dst_nxm", 0), n_bits=48)])
    add(bridge, [learn, output(2)])
    sent(bridge, UDP)
    assert [e[2] for e in bridge.flow_stats()] == [0, 10]
    bridge.flow_mod(struct.pack("!QQBBHHHIIIH2x", 0, 0, 0, 3, 0, 0, 0, 0xffffffff, 0xffffffff, 0xffffffff, 0)
                    + struct.pack("!HH4x", 1, 4))
    assert bridge.flow_stats() == []


def learn2(limit, *, cookie=77, flags=4, fin=(0, 0), table=10, result=0x00010004, bit=3):
    """Open vSwitch's learn2: eth_dst = eth_src into `table`; reg0[bit] tells whether the rule is there. os-ken has no such action."""
    head = struct.pack("!HHHHQHBxHHIHH", 45, 0, 0, 5, cookie, flags, table, *fin, limit, bit if flags & 4 else 0, 0)
    spec = struct.pack("!HIHIH", 48, 0x00000406, 0, 0x00000206, 0)
    body = head + (struct.pack("!I", result) if flags & 4 else b"") + spec
    return of.OFPActionExperimenterUnknown(0x2320, body + b"\0" * (-len(body) % 8))


def from_source(number):
    return UDP[:6] + b"\2\0\0\0\1" + bytes([number]) + UDP[12:]


def learned(bridge):
    return [e for e in bridge.flow_stats() if e[2] == 10]


def by_result(bridge, action):
    """Port 2 where the rule is there, port 3 where the limit forbade it."""
    add(bridge, [action, of.NXActionResubmitTable(IN_PORT & 0xffff, 20)])
    add(bridge, [output(2)], table=20, priority=2, match={"reg0": (8, 8)})
    add(bridge, [output(3)], table=20, priority=1)


def test_learn_keeps_its_limit_and_tells(bridge):
    by_result(bridge, learn2(2))
    for number, port in ((1, 2), (2, 2), (3, 3), (1, 2), (3, 3), (2, 2)):
        frame = from_source(number)
        assert sent(bridge, frame)[port] == [frame], number
    assert len(learned(bridge)) == 2


def test_a_learned_rule_that_goes_makes_room(bridge):
    by_result(bridge, learn2(1))
    first, second = from_source(1), from_source(2)
    assert sent(bridge, first)[2] and sent(bridge, second)[3]
    bridge.flow_mod(struct.pack("!QQBBHHHIIIH2x", 0, 0, 10, 3, 0, 0, 0, 0xffffffff, 0xffffffff, 0xffffffff, 0)
                    + struct.pack("!HH4x", 1, 4))
    assert sent(bridge, second)[2] and sent(bridge, first)[3]
    assert len(learned(bridge)) == 1


def test_a_limit_counts_all_rules_with_the_cookie(bridge):
    add(bridge, [output(1)], table=10, cookie=77, match={"in_port": 9})
    add(bridge, [output(1)], table=10, cookie=78, match={"in_port": 8})
    by_result(bridge, learn2(2))
    assert sent(bridge, from_source(1))[2] and sent(bridge, from_source(2))[3]
    # Another cookie for it: there is room again.
    add(bridge, [output(1)], table=10, cookie=79, match={"in_port": 9})
    assert sent(bridge, from_source(2))[2]


def test_packets_that_come_together_do_not_pass_the_limit(bridge):
    add(bridge, [learn2(3, flags=0), output(2)])
    for number in range(20):
        bridge.inject(1, from_source(number), run=False)
    sent(bridge, UDP)
    assert len(learned(bridge)) == 3


def test_limits_of_rules_that_are_gone_are_forgotten(bridge):
    for cookie in range(200):
        add(bridge, [learn2(5, cookie=cookie, flags=0), output(2)])       # each in the last one's place
    for cookie in range(63):
        add(bridge, [learn2(5, cookie=1000 + cookie, flags=0), output(2)], match={"eth_type": 0x1000 + cookie})
    with pytest.raises(Refused, match="limits for 64 cookies already"):
        add(bridge, [learn2(5, cookie=5000, flags=0), output(2)], match={"eth_type": 0x2000})


@pytest.mark.parametrize(("action", "why"), [
    (lambda: learn2(1, result=0x0001fe04), "result_dst"),
    (lambda: learn2(1, bit=32), "reg0"),
    (lambda: learn2(1, result=0x00014A04), "can't be written"),
    (lambda: learn2(1, flags=8), "flags 0x8"),
    (lambda: of.NXActionLearn(table_id=10, flags=4, specs=[of.NXFlowSpecMatch(src=1, dst=("reg0", 0), n_bits=32)]), "flags 0x4")])
def test_a_limit_that_makes_no_sense_is_refused(bridge, action, why):
    with pytest.raises(Refused, match=why):
        add(bridge, [action(), output(2)])
    assert bridge.flow_stats() == []


def test_what_was_learned_within_a_limit_goes_with_the_rule(bridge):
    add(bridge, [learn2(5, flags=2), output(2)])
    sent(bridge, UDP)
    assert len(learned(bridge)) == 1
    bridge.flow_mod(struct.pack("!QQBBHHHIIIH2x", 0, 0, 0, 3, 0, 0, 0, 0xffffffff, 0xffffffff, 0xffffffff, 0)
                    + struct.pack("!HH4x", 1, 4))
    assert bridge.flow_stats() == []


def test_a_learned_rule_ends_with_its_connection(bridge):
    add(bridge, [learn2(0, flags=0, fin=(10, 20)), output(2)])
    sent(bridge, UDP)
    [entry] = learned(bridge)
    assert struct.pack("!HHIHHH", 0xffff, 16, 0x2320, 19, 10, 20) in entry


def test_controller_gives_registers_and_userdata(bridge):
    add(bridge, [load("reg2", 77), of.NXActionController2(max_len=64, controller_id=0, reason=1, userdata=b"hello")],
        cookie=5)
    sent(bridge, UDP)
    [(_, body)] = bridge.packet_ins()
    assert struct.pack("!II", 0x00010404, 77) in body and body.endswith(UDP)


def test_clone_leaves_the_packet_alone(bridge):
    # os-ken has no clone action: experimenter 0x2320, subtype 42, actions from byte 16 on.
    inner = struct.pack("!HHI6s2x", 25, 16, 0x80000606, b"\2\0\0\0\0\x77") + struct.pack("!HHIH6x", 0, 16, 2, 0)
    clone = struct.pack("!HHIH6x", 0xffff, 16 + len(inner), 0x2320, 42) + inner
    actions = clone + struct.pack("!HHIH6x", 0, 16, 3, 0)
    body = struct.pack("!QQBBHHHIIIH2x", 0, 0, 0, 0, 0, 0, 1, 0xffffffff, 0xffffffff, 0xffffffff, 0) \
        + struct.pack("!HH4x", 1, 4) + struct.pack("!HH4x", 4, 8 + len(actions)) + actions
    bridge.flow_mod(body)
    for _ in range(2):
        out = sent(bridge, UDP)
        assert out[3] == [UDP] and out[2] == [b"\2\0\0\0\0\x77" + UDP[6:]]


def test_output_truncated(bridge):
    add(bridge, [of.NXActionOutputTrunc(2, 20), output(3)])
    for _ in range(2):
        assert sent(bridge, UDP) == {1: [], 2: [UDP[:20]], 3: [UDP]}


def test_multipath_spreads_flows_and_keeps_each(bridge):
    multipath = struct.pack("!HHIHHH2xHHI2xHI", 0xffff, 32, 0x2320, 10, 4, 50, 1, 1, 0, 0 << 6 | 31, 0x00010004)
    resubmit = struct.pack("!HHIHHB3x", 0xffff, 16, 0x2320, 14, 0xfff8, 1)
    actions = multipath + resubmit
    body = struct.pack("!QQBBHHHIIIH2x", 0, 0, 0, 0, 0, 0, 1, 0xffffffff, 0xffffffff, 0xffffffff, 0) \
        + struct.pack("!HH4x", 1, 4) + struct.pack("!HH4x", 4, 8 + len(actions)) + actions
    bridge.flow_mod(body)
    add(bridge, [output(2)], table=1, match={"reg0": 0})
    add(bridge, [output(3)], table=1, match={"reg0": 1})
    ports = {}
    for i in range(64):
        frame = ipv4(src=f"10.0.1.{i}")
        for _ in range(2):
            out = sent(bridge, frame)
            [port] = [p for p in (2, 3) if out[p]]
            assert ports.setdefault(i, port) == port
    assert 12 < sum(p == 2 for p in ports.values()) < 52


def test_bundle_skips_dead_ports(bridge):
    bundle = of.NXActionBundle(0, 0, 0, 0x00000002, 0, 0, 0,
                               [2, 3])
    add(bridge, [bundle])
    assert sent(bridge, UDP)[2] == [UDP]
    bridge.modify_port(1, 2, 1, 1)
    assert sent(bridge, UDP)[3] == [UDP]


@pytest.mark.parametrize("action, why", [
    (struct.pack("!HHIHHIQ", 0xffff, 24, 0x2320, 7, 0 << 6 | 7, 0x00010004, 256), (2, 5)),      # load: value of 9 bits in 8
    (struct.pack("!HHIHHIQ", 0xffff, 24, 0x2320, 7, 30 << 6 | 7, 0x00010004, 1), (2, 14)),      # beyond the field
    (struct.pack("!HHIHHIQ", 0xffff, 24, 0x2320, 7, 0 << 6 | 7, 0x00017e04, 1), (2, 13)),       # no such field
    (struct.pack("!HHIHHB3x", 0xffff, 16, 0x2320, 999, 0, 0), (2, 3)),                           # no such action
    (struct.pack("!HHIHHB3x", 0xffff, 16, 0x9999, 1, 0, 0), (2, 2)),                             # no such experimenter
    (struct.pack("!HHIH6x8x", 0xffff, 24, 0x2320, 17), (2, 1)),                                  # exit of 24 bytes
    (struct.pack("!HHIHBBI", 0xffff, 16, 0x2320, 34, 3, 2, 1), (2, 5)),                          # clause 4 of 2
])
def test_what_is_wrong_is_refused(bridge, action, why):
    body = struct.pack("!QQBBHHHIIIH2x", 0, 0, 0, 0, 0, 0, 1, 0xffffffff, 0xffffffff, 0xffffffff, 0) \
        + struct.pack("!HH4x", 1, 4) + struct.pack("!HH4x", 4, 8 + len(action)) + action
    with pytest.raises(Refused) as refused:
        bridge.flow_mod(body)
    assert (refused.value.of_type, refused.value.of_code) == why
    assert bridge.flow_stats() == []
