"""Egress tables (OpenFlow 1.5.1, 5.1 and 5.12) in process: table 100 is the first."""
import struct

import pytest
from openflow_bodies import apply, bucket, clear, goto, group, group_action, match, output, oxm, write
from simulation import Refused, Sim, flow_mod

EGRESS = 100
IN_PORT, NORMAL, FLOOD, CONTROLLER = 0xfffffff8, 0xfffffffa, 0xfffffffb, 0xfffffffd
SET_SRC = struct.pack("!HHI6s2x", 25, 16, 0x80000806, b"\2\0\0\0\0\x77")
BAD_ACTION, BAD_TYPE, BAD_INSTRUCTION, BAD_TABLE = 2, 0, 3, 2


def frame(dst=2, src=1):
    return struct.pack("!6s6sH", b"\2\0\0\0\0" + bytes([dst]), b"\2\0\0\0\0" + bytes([src]), 0x9999) + bytes(46)


def to(port):
    """A match on the port that the packet is about to leave through."""
    return match(oxm(0x8000, 43, struct.pack("!I", port)))


@pytest.fixture
def sim():
    with Sim() as sim:
        sim.tenant()
        sim.bridge(egress_table=EGRESS)
        for port in (1, 2, 3, 4):
            sim.port(port_no=port)
        yield sim


def sent(sim, data, port=1):
    sim.inject(port, data)
    return {out: frames for out in (1, 2, 3, 4) if (frames := sim.collect(out))}


def pass_on(sim):
    """Whatever reaches the egress tables leaves as it is."""
    sim.flow_mod(flow_mod(match(), table=EGRESS))


@pytest.mark.parametrize("how", [apply, write])
def test_a_rule_of_the_port_changes_what_leaves_there(sim, how):
    sim.flow_mod(flow_mod(match(), apply(output(2), output(3))))
    sim.flow_mod(flow_mod(to(2), how(SET_SRC), table=EGRESS, priority=1))
    pass_on(sim)
    for _ in range(2):              # walked, then from the cache
        assert sent(sim, frame()) == {2: [frame()[:6] + b"\2\0\0\0\0\x77" + frame()[12:]], 3: [frame()]}


def test_a_miss_drops_the_copy_for_that_port_alone(sim):
    sim.flow_mod(flow_mod(match(), apply(output(2), output(3))))
    sim.flow_mod(flow_mod(to(3), table=EGRESS))
    for _ in range(2):
        assert sent(sim, frame()) == {3: [frame()]}


def test_clear_actions_drops(sim):
    sim.flow_mod(flow_mod(match(), apply(output(2), output(3))))
    sim.flow_mod(flow_mod(to(2), clear(), table=EGRESS, priority=1))
    pass_on(sim)
    assert sent(sim, frame()) == {3: [frame()]}


def test_later_egress_tables_and_copies_from_there(sim):
    sim.flow_mod(flow_mod(match(), write(output(2))))
    sim.flow_mod(flow_mod(match(), apply(output(4)) + goto(EGRESS + 5), table=EGRESS))
    sim.flow_mod(flow_mod(to(2), apply(SET_SRC), table=EGRESS + 5))
    for _ in range(2):
        assert sent(sim, frame()) == {2: [frame()[:6] + b"\2\0\0\0\0\x77" + frame()[12:]], 4: [frame()]}


def test_the_ingress_action_set_is_not_the_egress_one(sim):
    """What table 0 writes is done once, before the egress tables; the packet goes on as it was for the next output."""
    sim.flow_mod(flow_mod(match(), write(SET_SRC, output(2))))
    sim.flow_mod(flow_mod(match(oxm(0x8000, 4, b"\2\0\0\0\0\x77")), table=EGRESS))
    assert sent(sim, frame()) == {2: [frame()[:6] + b"\2\0\0\0\0\x77" + frame()[12:]]}


def test_metadata_reaches_the_egress_tables(sim):
    written = struct.pack("!HH4xQQ", 2, 24, 7, 0xff)
    sim.flow_mod(flow_mod(match(), written + apply(output(2)) + goto(1)))
    sim.flow_mod(flow_mod(match(), apply(output(3)), table=1))
    sim.flow_mod(flow_mod(match(oxm(0x8000, 2, struct.pack("!Q", 7))), table=EGRESS))
    assert sent(sim, frame()) == {3: [frame()]}     # apply-actions come before write-metadata (5.5)


@pytest.mark.parametrize("port", [FLOOD, NORMAL])
def test_a_flood_is_a_walk_for_each_port(sim, port):
    sim.flow_mod(flow_mod(match(), apply(output(port))))
    sim.flow_mod(flow_mod(to(3), apply(SET_SRC), table=EGRESS, priority=2))
    sim.flow_mod(flow_mod(to(4), clear(), table=EGRESS, priority=2))
    pass_on(sim)
    changed = frame()[:6] + b"\2\0\0\0\0\x77" + frame()[12:]
    for _ in range(2):
        assert sent(sim, frame()) == {2: [frame()], 3: [changed]}
    assert sent(sim, frame(), 2) == {1: [frame()], 3: [changed]}


def test_normal_learns(sim):
    sim.flow_mod(flow_mod(match(), apply(output(NORMAL))))
    pass_on(sim)
    assert sent(sim, frame(dst=2, src=1), 1) == {2: [frame(2, 1)], 3: [frame(2, 1)], 4: [frame(2, 1)]}
    assert sent(sim, frame(dst=1, src=2), 2) == {1: [frame(1, 2)]}
    assert sent(sim, frame(dst=2, src=1), 1) == {2: [frame(2, 1)]}


def test_in_port_and_the_port_it_came_from(sim):
    sim.flow_mod(flow_mod(match(oxm(0x8000, 0, struct.pack("!I", 1))), apply(output(1), output(IN_PORT))))
    pass_on(sim)
    for _ in range(2):
        assert sent(sim, frame()) == {1: [frame()]}


def test_groups_lead_into_the_egress_tables(sim):
    sim.group_mod(group(1, bucket(output(2), id=0), bucket(output(3), id=1), type=1))       # select
    sim.flow_mod(flow_mod(match(), apply(group_action(1))))
    sim.flow_mod(flow_mod(match(), apply(SET_SRC), table=EGRESS))
    for i in range(10):
        found = sent(sim, frame(src=i))
        assert len(found) == 1 and all(frames[0][6:12] == b"\2\0\0\0\0\x77" for frames in found.values())


def test_packet_outs_go_through_them_too(sim):
    sim.flow_mod(flow_mod(to(2), apply(SET_SRC), table=EGRESS))
    sim.packet_out(frame(), output(2) + output(3))
    assert sim.collect(2) == [frame()[:6] + b"\2\0\0\0\0\x77" + frame()[12:]] and sim.collect(3) == []


def test_the_controller_is_no_port(sim):
    sim.flow_mod(flow_mod(match(), apply(output(CONTROLLER))))
    sim.inject(1, frame())
    assert len(sim.packet_ins()) == 1


@pytest.mark.parametrize("actions", [output(2), group_action(1)])
def test_an_egress_rule_may_not_write_another_port(sim, actions):
    sim.group_mod(group(1, bucket(output(2), id=0)))
    with pytest.raises(Refused) as refused:
        sim.flow_mod(flow_mod(match(), write(actions), table=EGRESS))
    assert (refused.value.of_type, refused.value.of_code) == (BAD_ACTION, BAD_TYPE)
    sim.flow_mod(flow_mod(match(), apply(actions), table=EGRESS))


def test_goto_does_not_lead_from_ingress_to_egress(sim):
    with pytest.raises(Refused) as refused:
        sim.flow_mod(flow_mod(match(), goto(EGRESS)))
    assert (refused.value.of_type, refused.value.of_code) == (BAD_INSTRUCTION, BAD_TABLE)
    sim.flow_mod(flow_mod(match(), goto(EGRESS - 1)))
    sim.flow_mod(flow_mod(match(), goto(EGRESS + 1), table=EGRESS))


def test_rules_from_before_there_were_egress_tables(sim):
    sim.bridge(egress_table=0)
    sim.flow_mod(flow_mod(match(), goto(EGRESS)))
    sim.flow_mod(flow_mod(match(), write(output(2)), table=EGRESS))
    assert sent(sim, frame()) == {2: [frame()]}
    sim.bridge(egress_table=EGRESS)
    assert sent(sim, frame()) == {}
    sim.bridge(egress_table=0)
    assert sent(sim, frame()) == {2: [frame()]}


def test_the_table_must_be_one(sim):
    with pytest.raises(Refused, match="egress_table: 254"):
        sim.bridge(egress_table=254)
