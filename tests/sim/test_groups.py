"""Groups (OpenFlow 1.3.5, 5.6; 1.5.1, 5.10, 7.3.4.3) in process."""
import struct

import pytest
from openflow_bodies import (GROUP_ALL, GROUP_FF, GROUP_INDIRECT, GROUP_SELECT, apply, bucket, group, group_action, match, output,
                             write)
from simulation import Refused, Sim, flow_mod
from vswitch._datapath import lib

FAILED = 6
SET_DST = struct.pack("!HHI6s2x", 25, 16, 0x80000606, b"\2\0\0\0\0\x77")


def frame(i=0):
    return struct.pack("!6s6sH", b"\2\0\0\0\0\2", b"\2\0\0\0" + i.to_bytes(2, "big"), 0x9999) + bytes(46)


@pytest.fixture
def sim():
    with Sim() as sim:
        sim.tenant()
        sim.bridge()
        for port in (1, 2, 3, 4):
            sim.port(port_no=port)
        yield sim


def to_group(sim, number=1, how=apply):
    sim.flow_mod(flow_mod(match(), how(group_action(number)), cookie=7))


def sent(sim, data):
    sim.inject(1, data)
    return {port: sim.collect(port) for port in (2, 3, 4)}


@pytest.mark.parametrize("how", [apply, write])
def test_all_gives_each_bucket_a_copy(sim, how):
    sim.group_mod(group(1, bucket(SET_DST, output(2), id=0), bucket(output(3), id=1)))
    to_group(sim, how=how)
    for _ in range(2):
        assert sent(sim, frame()) == {2: [b"\2\0\0\0\0\x77" + frame()[6:]], 3: [frame()], 4: []}


def test_the_packet_goes_on_unchanged_after_a_group(sim):
    sim.group_mod(group(1, bucket(SET_DST, output(2))))
    sim.flow_mod(flow_mod(match(), apply(group_action(1), output(3))))
    for _ in range(2):
        assert sent(sim, frame()) == {2: [b"\2\0\0\0\0\x77" + frame()[6:]], 3: [frame()], 4: []}


def test_in_an_action_set_the_group_decides_instead_of_output(sim):
    sim.group_mod(group(1, bucket(output(2))))
    sim.flow_mod(flow_mod(match(), write(group_action(1), output(3))))
    assert sent(sim, frame()) == {2: [frame()], 3: [], 4: []}


def test_a_buckets_actions_are_a_set(sim):
    sim.group_mod(group(1, bucket(output(2), SET_DST)))
    to_group(sim)
    assert sent(sim, frame())[2] == [b"\2\0\0\0\0\x77" + frame()[6:]]


@pytest.mark.parametrize("weights", [(1, 1), (1, 3), (2, 1)])
def test_select_shares_by_weight_and_keeps_flows(sim, weights):
    sim.group_mod(group(1, bucket(output(2), id=0, weight=weights[0]), bucket(output(3), id=1, weight=weights[1]),
                        type=GROUP_SELECT))
    to_group(sim)
    n, first = 2000, 0
    for i in range(n):
        ports = [p for p, frames in sent(sim, frame(i)).items() if frames]
        assert len(ports) == 1
        assert [p for p, frames in sent(sim, frame(i)).items() if frames] == ports
        first += ports == [2]
    share = weights[0] / sum(weights)
    assert abs(first - n * share) < 5 * (n * share * (1 - share)) ** 0.5
    assert sim.cache().megaflows == 1           # one decision serves all of the group's flows


def test_a_bucket_that_goes_moves_only_its_own_flows(sim):
    sim.group_mod(group(1, *(bucket(output(p), id=p, weight=1) for p in (2, 3, 4)), type=GROUP_SELECT))
    to_group(sim)
    before = {i: [p for p, f in sent(sim, frame(i)).items() if f] for i in range(300)}
    sim.group_mod(group(1, command=5, at=4, type=GROUP_SELECT))
    for i, ports in before.items():
        now = [p for p, f in sent(sim, frame(i)).items() if f]
        assert now == ports if ports != [4] else now in ([2], [3])


def test_weight_0_gets_nothing(sim):
    sim.group_mod(group(1, bucket(output(2), id=0, weight=0), bucket(output(3), id=1, weight=1), type=GROUP_SELECT))
    to_group(sim)
    assert all(sent(sim, frame(i))[2] == [] for i in range(50))


def test_fast_failover_follows_the_ports_at_once(sim):
    sim.group_mod(group(1, bucket(output(2), id=0, port=2), bucket(output(3), id=1, port=3), type=GROUP_FF))
    to_group(sim)
    assert sent(sim, frame())[2] == [frame()]
    sim.modify_port(1, 2, 1, 1)
    assert sent(sim, frame()) == {2: [], 3: [frame()], 4: []}
    sim.modify_port(1, 2, 0, 1)
    assert sent(sim, frame())[2] == [frame()]
    sim.modify_port(1, 2, 1, 1)
    sim.modify_port(1, 3, 1, 1)
    assert sent(sim, frame()) == {2: [], 3: [], 4: []}


def test_fast_failover_watches_groups(sim):
    sim.group_mod(group(9, bucket(output(2), port=2), type=GROUP_FF))
    sim.group_mod(group(1, bucket(group_action(9), id=0, group=9), bucket(output(3), id=1, port=3), type=GROUP_FF))
    to_group(sim)
    assert sent(sim, frame())[2] == [frame()]
    sim.modify_port(1, 2, 1, 1)
    assert sent(sim, frame())[3] == [frame()]


def test_chains_and_loops(sim):
    sim.group_mod(group(1, bucket(output(2))))
    sim.group_mod(group(2, bucket(group_action(1)), bucket(output(3), id=1)))
    to_group(sim, 2)
    assert sent(sim, frame()) == {2: [frame()], 3: [frame()], 4: []}
    for body in (group(1, bucket(group_action(2)), command=1), group(1, bucket(group_action(1)), command=1)):
        with pytest.raises(Refused) as refused:
            sim.group_mod(body)
        assert (refused.value.of_type, refused.value.of_code) == (FAILED, 7)
    with pytest.raises(Refused) as refused:
        sim.group_mod(group(1, command=2))
    assert (refused.value.of_type, refused.value.of_code) == (FAILED, 9)     # group 2 forwards to it


def test_chains_that_would_multiply_without_end_are_cut(sim):
    sim.group_mod(group(1, *(bucket(output(2), id=i) for i in range(16))))
    for n in range(2, 10):
        sim.group_mod(group(n, *(bucket(group_action(n - 1), id=i) for i in range(16))))
    to_group(sim, 9)
    sim.inject(1, frame())
    assert sim.drops()["loop"] == 1


def test_counters(sim):
    sim.group_mod(group(1, bucket(output(2)), bucket(output(3), id=1)))
    to_group(sim)
    for _ in range(3):
        sent(sim, frame())
    stats = sim.tell(lib.DP_GROUP_STATS, 1)
    assert struct.unpack_from("!HxxIIxxxxQQ", stats) == (72, 1, 1, 3, 3 * 60)
    assert struct.unpack_from("!QQQQ", stats, 40) == (3, 180, 3, 180)
    sim.group_mod(group(1, bucket(output(2)), command=1))
    assert struct.unpack_from("!QQ", sim.tell(lib.DP_GROUP_STATS, 1), 16) == (3, 180)


def test_told_as_it_came(sim):
    body = group(5, bucket(output(2), id=3, weight=2), bucket(SET_DST, output(3), id=1, weight=5), type=GROUP_SELECT)
    sim.group_mod(body)
    desc = sim.tell(lib.DP_GROUP_DESC, 5)
    assert desc[2] == GROUP_SELECT and desc[16:] == body[16:]


def test_inserted_and_removed_buckets(sim):
    sim.group_mod(group(1, bucket(output(2), id=1), bucket(output(3), id=2)))
    sim.group_mod(group(1, bucket(output(4), id=3), command=3, at=1))
    ids = [struct.unpack_from("!I", sim.tell(lib.DP_GROUP_DESC, 1), 16 + 4 + 24 * i)[0] for i in range(3)]
    assert ids == [1, 3, 2]
    sim.group_mod(group(1, command=5, at=0xfffffffd))
    assert len(sim.tell(lib.DP_GROUP_DESC, 1)) == 16 + 48


def test_deleting_a_group_takes_its_rules_along(sim):
    sim.group_mod(group(1, bucket(output(2))))
    sim.flow_mod(flow_mod(match(), apply(group_action(1)), cookie=7, flags=1))
    sim.group_mod(group(1, command=2))
    assert sim.flow_stats() == []
    [(_, removed)] = sim.flows_removed()
    assert removed[10] == 3


NO = struct.pack("!HHI", 99, 8, 0)


@pytest.mark.parametrize("body, code", [
    (group(1, bucket(output(2)), type=9), (FAILED, 10)),
    (group(1, bucket(output(2)), command=9), (FAILED, 11)),
    (group(0xffffff01, bucket(output(2))), (FAILED, 1)),
    (group(2, bucket(output(2))), (FAILED, 0)),
    (group(3, bucket(output(2)), command=1), (FAILED, 8)),
    (group(1, bucket(output(2)), bucket(output(3), id=1), type=GROUP_INDIRECT), (FAILED, 1)),
    (group(1, bucket(output(2), weight=2), type=GROUP_ALL), (FAILED, 1)),
    (group(1, bucket(output(2), port=2), type=GROUP_ALL), (FAILED, 6)),
    (group(1, bucket(output(2)), type=GROUP_FF), (FAILED, 1)),
    (group(1, bucket(output(2), port=0), type=GROUP_FF), (FAILED, 13)),
    (group(1, bucket(output(2)), bucket(output(3))), (FAILED, 16)),
    (group(2, command=5, at=77), (FAILED, 15)),
    (group(1, bucket(NO)), (2, 0)),
    (group(1, bucket(group_action(77))), (2, 9)),
    (group(1, struct.pack("!HHI", 24, 64, 0) + output(2)), (FAILED, 12)),
    (group(1)[:10], (1, 6)),
])
def test_what_is_wrong_is_refused(sim, body, code):
    sim.group_mod(group(2, bucket(output(3), id=5)))
    with pytest.raises(Refused) as refused:
        sim.group_mod(body)
    assert (refused.value.of_type, refused.value.of_code) == code
    assert sim.tell(lib.DP_GROUP_DESC, 1) == b""
    assert len(sim.tell(lib.DP_GROUP_DESC, 2)) == 40


def test_a_rule_needs_its_group(sim):
    with pytest.raises(Refused) as refused:
        to_group(sim, 77)
    assert (refused.value.of_type, refused.value.of_code) == (2, 9)
