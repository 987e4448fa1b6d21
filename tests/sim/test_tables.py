"""What OpenFlow 1.3.5, 6.4 and 6.5, say of adding, changing, removing and timing out rules."""
import struct

import pytest
from simulation import ADD, DELETE, DELETE_STRICT, MODIFY, MODIFY_STRICT, Refused, Sim, flow_mod

from reference import CONTROLLER, Packet
from vswitch.openflow import actions as of
from vswitch.openflow.oxm import encode_match

SEND_FLOW_REM, CHECK_OVERLAP, RESET_COUNTS, NO_PKT_COUNTS = 1, 2, 4, 8
NOTHING = encode_match({})


def to(*ports, max_len=0xffff) -> bytes:
    return of.encode_instructions([of.ApplyActions(tuple(of.Output(p, max_len) for p in ports))])


def udp(dst_port=80, src=0x0a000001, ttl=64, **ip) -> Packet:
    return Packet(0x020000000002, 0x020000000001, eth_type=0x0800, payload=bytes(20), l4={"src": 5000, "dst": dst_port},
                  ip={"src": src, "dst": 0x0a000002, "dscp": 0, "ecn": 0, "proto": 17, "ttl": ttl, "flabel": 0} | ip)


def match_udp(dst_port: int) -> bytes:
    return encode_match({"eth_type": (0x0800, None), "ip_proto": (17, None), "udp_dst": (dst_port, None)})


@pytest.fixture
def sim():
    with Sim() as sim:
        sim.tenant()
        sim.bridge(miss_send_len=128)
        for port in (1, 2, 3):
            sim.port(port_no=port)
        yield sim


def sent(sim, frame: bytes, in_port: int = 1) -> list[int]:
    sim.inject(in_port, frame)
    return [port for port in (1, 2, 3) for _ in sim.collect(port)]


def test_highest_priority_wins_and_a_removed_rule_is_gone_at_once(sim):
    frame = udp().serialise()
    sim.flow_mod(flow_mod(NOTHING, to(2), priority=1))
    assert sent(sim, frame) == [2]
    sim.flow_mod(flow_mod(match_udp(80), to(3), priority=2))
    assert sent(sim, frame) == [3]
    sim.flow_mod(flow_mod(match_udp(80), command=DELETE_STRICT, priority=2))
    assert sent(sim, frame) == [2]


def test_strict_and_loose(sim):
    for i in range(4):
        sim.flow_mod(flow_mod(match_udp(80 + i), to(2), priority=10 + i, cookie=i))
    sim.flow_mod(flow_mod(match_udp(80), command=DELETE_STRICT, priority=9))
    assert len(sim.flow_stats()) == 4
    sim.flow_mod(flow_mod(encode_match({"eth_type": (0x0800, None)}), to(3), command=MODIFY))
    assert sent(sim, udp(82).serialise()) == [3]
    sim.flow_mod(flow_mod(encode_match({"eth_type": (0x0806, None)}), command=DELETE))
    assert len(sim.flow_stats()) == 4
    sim.flow_mod(flow_mod(NOTHING, command=DELETE, cookie=2, cookie_mask=2, table=0xff))
    assert sorted(sim.counters()) == [0, 1]
    sim.flow_mod(flow_mod(NOTHING, command=DELETE, out_port=2))
    assert sorted(sim.counters()) == [0, 1]
    sim.flow_mod(flow_mod(NOTHING, command=DELETE, out_port=3))
    assert sim.flow_stats() == []


def test_modify_keeps_counters_and_add_resets_them_if_asked(sim):
    sim.flow_mod(flow_mod(NOTHING, to(2), priority=1, cookie=1))
    frame = udp().serialise()
    sent(sim, frame)
    sim.flow_mod(flow_mod(NOTHING, to(3), command=MODIFY_STRICT, priority=1, cookie=99))
    assert sent(sim, frame) == [3]
    assert sim.counters() == {1: (2, 2 * len(frame))}, "modify leaves cookie and counters"
    sim.flow_mod(flow_mod(NOTHING, to(2), priority=1, cookie=2))
    assert sim.counters() == {2: (2, 2 * len(frame))}
    sim.flow_mod(flow_mod(NOTHING, to(2), priority=1, cookie=3, flags=RESET_COUNTS))
    assert sim.counters() == {3: (0, 0)}
    assert sent(sim, frame) == [2]
    assert sim.counters() == {3: (1, len(frame))}


def test_overlap_is_checked_when_asked(sim):
    sim.flow_mod(flow_mod(match_udp(80), to(2), priority=5))
    other = encode_match({"in_port": (1, None)})
    with pytest.raises(Refused) as refused:
        sim.flow_mod(flow_mod(other, to(3), priority=5, flags=CHECK_OVERLAP))
    assert (refused.value.of_type, refused.value.of_code) == (5, 3)
    sim.flow_mod(flow_mod(other, to(3), priority=6, flags=CHECK_OVERLAP))
    sim.flow_mod(flow_mod(match_udp(81), to(3), priority=5, flags=CHECK_OVERLAP))


def removed(sim) -> list[tuple[int, int, int]]:
    """cookie, reason, packets"""
    return [(struct.unpack_from("!Q", body)[0], body[10], struct.unpack_from("!Q", body, 24)[0])
            for _, body in sim.flows_removed()]


def test_timeouts(sim):
    sim.flow_mod(flow_mod(match_udp(80), to(2), priority=5, cookie=1, idle=10, flags=SEND_FLOW_REM))
    sim.flow_mod(flow_mod(match_udp(81), to(2), priority=5, cookie=2, hard=15))
    sim.flow_mod(flow_mod(match_udp(82), to(2), priority=5, cookie=3))
    for _ in range(3):
        sim.warp(9000)
        if sim.counters().get(1) is not None:
            sent(sim, udp(80).serialise())
    assert removed(sim) == [(2, 1, 0)], "hard timeout; the idle one is kept alive by its packets"
    sim.warp(9000)
    assert sorted(sim.counters()) == [1, 3]
    sim.warp(1500)
    assert removed(sim) == [(1, 0, 3)]
    assert sorted(sim.counters()) == [3]
    assert sent(sim, udp(80).serialise()) == []


def test_deleted_rules_are_told_when_they_asked_for_it(sim):
    sim.flow_mod(flow_mod(match_udp(80), to(2), priority=5, cookie=1, flags=SEND_FLOW_REM))
    sim.flow_mod(flow_mod(match_udp(81), to(2), priority=5, cookie=2))
    sim.flow_mod(flow_mod(NOTHING, command=DELETE, table=0xff))
    assert removed(sim) == [(1, 2, 0)]


def test_counters_not_kept_show_as_all_ones(sim):
    sim.flow_mod(flow_mod(NOTHING, to(2), priority=1, cookie=1, flags=NO_PKT_COUNTS))
    sent(sim, udp().serialise())
    assert sim.counters()[1][0] == 2**64 - 1


def packet_in(body: bytes):
    buffer_id, total_len, reason, table, cookie = struct.unpack_from("!IHBBQ", body)
    match_len = struct.unpack_from("!H", body, 18)[0]
    return buffer_id, total_len, reason, table, cookie, body[16 + (match_len + 7) // 8 * 8 + 2:]


def test_packet_in_is_cut_and_its_buffer_can_be_sent(sim):
    frame = udp().serialise()
    sim.flow_mod(flow_mod(NOTHING, to(CONTROLLER, max_len=20), cookie=7))
    sim.inject(1, frame)
    [(_, body)] = sim.packet_ins()
    buffer_id, total, reason, table, cookie, data = packet_in(body)
    assert (total, reason, table, cookie, data) == (len(frame), 0, 0, 7, frame[:20])
    sim.packet_out(b"", of.encode_actions([of.Output(3)]), in_port=1, buffer_id=buffer_id)
    assert sim.collect(3) == [frame]
    with pytest.raises(Refused) as refused:
        sim.packet_out(b"", of.encode_actions([of.Output(3)]), in_port=1, buffer_id=buffer_id)
    assert (refused.value.of_type, refused.value.of_code) == (1, 8)
    sim.inject(1, frame)
    buffer_id = packet_in(sim.packet_ins()[0][1])[0]
    sim.flow_mod(flow_mod(match_udp(80), to(2), priority=5, buffer_id=buffer_id))
    sim.inject(3, b"\xff" * 60)
    assert sim.collect(2) == [frame], "a flow-mod with a buffer sends it through the tables"


def test_flow_mod_with_an_unknown_buffer_changes_nothing(sim):
    with pytest.raises(Refused):
        sim.flow_mod(flow_mod(match_udp(80), to(2), priority=5, buffer_id=77))
    assert sim.flow_stats() == []


def test_packet_ins_are_bounded_and_their_loss_is_counted(sim):
    sim.flow_mod(flow_mod(NOTHING, to(CONTROLLER)))
    frame = udp().serialise()
    # Nobody takes them while the worker runs: they gather up to the bound.
    from vswitch._datapath import lib
    for _ in range(600):
        sim._check(lib.sim_inject(sim._sim, 1, 1, frame, len(frame), sim._error))
    lib.sim_run(sim._sim)
    taken = len(sim.packet_ins())
    assert taken == lib.DP_EVENT_BACKLOG
    assert sim.drops()["packet_in"] == 600 - taken


def test_ttl_that_runs_out_goes_to_the_controller(sim):
    match = encode_match({"eth_type": (0x0800, None)})
    sim.flow_mod(flow_mod(match, of.encode_instructions([of.ApplyActions((of.DecNwTtl(), of.Output(2)))]), priority=1))
    assert sent(sim, udp(ttl=2).serialise()) == [2]
    assert sent(sim, udp(ttl=1).serialise()) == []
    [(_, body)] = sim.packet_ins()
    assert packet_in(body)[2] == 2
    assert sim.drops()["ttl"] == 1


def test_quota_of_rules(sim):
    sim.tenant(max_rules=2)
    for i in range(2):
        sim.flow_mod(flow_mod(match_udp(i + 1), to(2), priority=1))
    with pytest.raises(Refused) as refused:
        sim.flow_mod(flow_mod(match_udp(9), to(2), priority=1))
    assert (refused.value.of_type, refused.value.of_code, refused.value.field) == (5, 1, "max_rules")
    sim.flow_mod(flow_mod(match_udp(1), to(3), priority=1))


def test_fragments_are_dropped_where_the_bridge_says_so(sim):
    sim.flow_mod(flow_mod(NOTHING, to(2)))
    fragment = udp(fragment=1).serialise()
    assert sent(sim, fragment) == [2]
    sim.bridge(miss_send_len=128, config_flags=1)
    assert sent(sim, fragment) == []
    assert sent(sim, udp().serialise()) == [2]
    assert sim.drops()["fragment"] == 1
