"""Learning, port configuration, patch ports, several workers, and that nothing passes between tenants."""
import pytest
from simulation import ADD, Refused, Sim, flow_mod

from reference import Packet
from vswitch._datapath import lib
from vswitch.openflow import actions as of
from vswitch.openflow.oxm import encode_match

A, B = 0x020000000001, 0x020000000002
PORT_DOWN, NO_RECV, NO_FLOOD, NO_FWD, NO_PACKET_IN = 1, 4, 16, 32, 64
STANDALONE = {"miss": lib.DP_MISS_NORMAL}


def frame(dst: int, src: int, vlan: int = 0) -> bytes:
    return Packet(dst, src, vlans=[(0x8100, vlan)] if vlan else [], payload=bytes(46)).serialise()


def sent(sim, in_port: int, data: bytes, ports=(1, 2, 3), bridge=1) -> list[int]:
    sim.inject(in_port, data, bridge)
    return [port for port in ports for _ in sim.collect(port, bridge)]


@pytest.fixture(params=[1, 3], ids=["one worker", "three workers"])
def sim(request):
    with Sim(workers=request.param) as sim:
        sim.tenant()
        sim.bridge(**STANDALONE)
        for port in (1, 2, 3):
            sim.port(port_no=port)
        yield sim


def test_learning_per_vlan_and_ageing(sim):
    assert sent(sim, 1, frame(B, A)) == [2, 3]
    assert sent(sim, 2, frame(A, B)) == [1]
    assert sent(sim, 1, frame(B, A)) == [2]
    assert sent(sim, 1, frame(B, A, vlan=7)) == [2, 3], "another VLAN learns for itself"
    assert sent(sim, 3, frame(A, B)) == [1], "B has moved"
    assert sent(sim, 1, frame(B, A)) == [3]
    assert sent(sim, 3, frame(B, A)) == [], "not back to where it came from"
    sim.warp(301_000)
    assert sent(sim, 1, frame(B, A)) == [2, 3]


def test_frames_to_reserved_addresses_stay(sim):
    assert sent(sim, 1, frame(0x0180c2000000, A)) == []
    assert not sim.collect(1)


def test_a_removed_port_is_forgotten(sim):
    sent(sim, 2, frame(A, B))
    sim.remove_port(1, 2)
    assert sent(sim, 1, frame(B, A), ports=(1, 3)) == [3]
    sim.port(port_no=2)
    assert sent(sim, 1, frame(B, A)) == [2, 3]


@pytest.mark.parametrize("port, config, expected", [(2, PORT_DOWN, [3]), (2, NO_FWD, [3]), (1, PORT_DOWN, []), (1, NO_RECV, []),
                                                    (2, NO_RECV, [2, 3]), (2, NO_FLOOD, [3]), (1, NO_FLOOD, [2, 3])])
def test_port_configuration(sim, port, config, expected):
    assert sent(sim, 1, frame(B, A)) == [2, 3]
    sim.modify_port(1, port, config, config)
    assert sent(sim, 1, frame(B, A)) == expected
    sim.modify_port(1, port, 0, config)
    assert sent(sim, 1, frame(B, A)) == [2, 3]


def test_flood_heeds_what_all_does_not(sim):
    """OpenFlow 1.0, 5.2.1: OFPPC_NO_FLOOD."""
    sim.modify_port(1, 3, NO_FLOOD, NO_FLOOD)
    for port, expected in ((0xfffffffb, [2]), (0xfffffffc, [2, 3]), (3, [3])):
        sim.flow_mod(flow_mod(encode_match(()), of.encode_instructions([of.ApplyActions((of.Output(port),))])))
        for _ in range(2):
            assert sent(sim, 1, frame(B, A)) == expected
    sim.flow_mod(flow_mod(encode_match(()), of.encode_instructions([of.ApplyActions((of.Output(0xfffffffa),))])))
    assert sent(sim, 1, frame(B, A)) == [2]


def test_no_packet_in(sim):
    to_controller = of.encode_instructions([of.ApplyActions((of.Output(0xfffffffd),))])
    sim.flow_mod(flow_mod(encode_match({}), to_controller))
    sent(sim, 1, frame(B, A))
    assert len(sim.packet_ins()) == 1
    sim.modify_port(1, 1, NO_PACKET_IN, NO_PACKET_IN)
    sent(sim, 1, frame(B, A))
    assert sim.packet_ins() == []


def patched(sim) -> None:
    """Bridge 2 with port 1, and a cable from bridge 1's port 10 to bridge 2's port 20."""
    sim.bridge(2, **STANDALONE)
    sim.port(2, 1)
    sim.port(1, 10, lib.DP_PORT_PATCH, peer_bridge=2, peer_port=20)
    sim.port(2, 20, lib.DP_PORT_PATCH, peer_bridge=1, peer_port=10)


def test_patch_ports(sim):
    patched(sim)
    data = frame(B, A)
    sim.inject(1, data)
    assert sim.collect(1, 2) == [data]
    assert sent(sim, 1, frame(A, B), bridge=2, ports=(1,)) == []
    assert sim.collect(1, 1) == [frame(A, B)], "learned across the patch"


def test_changes_for_the_peer_stay_with_the_peer(sim):
    patched(sim)
    actions = (of.Output(10), of.SetField("eth_dst", A), of.Output(3))
    sim.flow_mod(flow_mod(encode_match({"in_port": (1, None)}), of.encode_instructions([of.ApplyActions(actions)]), priority=1))
    sim.inject(1, frame(B, A))
    assert sim.collect(3) == [frame(A, A)]
    assert sim.collect(1, 2) == [frame(B, A)]


def test_a_loop_of_patches_ends(sim):
    patched(sim)
    sim.port(1, 11, lib.DP_PORT_PATCH, peer_bridge=2, peer_port=21)
    sim.port(2, 21, lib.DP_PORT_PATCH, peer_bridge=1, peer_port=11)
    sim.inject(1, frame(0xffffffffffff, A))
    assert len(sim.collect(2)) > 0


def test_no_patch_between_tenants(sim):
    sim.tenant(2)
    sim.bridge(3, tenant=2)
    with pytest.raises(Refused) as refused:
        sim.port(1, 10, lib.DP_PORT_PATCH, peer_bridge=3, peer_port=1)
    assert refused.value.field == "peer_bridge"


def test_the_same_addresses_in_two_tenants(sim):
    sim.tenant(2)
    sim.bridge(2, tenant=2, **STANDALONE)
    for port in (1, 2, 3):
        sim.port(2, port)
    for bridge in (1, 2):
        sent(sim, 2, frame(A, B), bridge=bridge)
        assert sent(sim, 1, frame(B, A), bridge=bridge) == [2]
    assert sent(sim, 3, frame(A, B), bridge=1) == [1]
    assert sent(sim, 1, frame(B, A), bridge=1) == [3]
    assert sent(sim, 1, frame(B, A), bridge=2) == [2], "the other tenant's has not moved"


def test_one_cached_decision_serves_all_flows_that_it_may():
    with Sim() as sim:
        sim.tenant()
        sim.bridge()
        for port in (1, 2):
            sim.port(port_no=port)
        rule = encode_match({"eth_type": (0x0800, None), "ipv4_dst": (0x0a000000, 0xff000000)})
        sim.flow_mod(flow_mod(rule, of.encode_instructions([of.ApplyActions((of.Output(2),))]), command=ADD, priority=1))
        for i in range(500):
            ip = {"src": i, "dst": 0x0a000000 + i, "dscp": 0, "ecn": 0, "proto": 17, "ttl": 64, "flabel": 0}
            packet = Packet(A, B, eth_type=0x0800, ip=ip, l4={"src": 1000 + i, "dst": i})
            sim.inject(1, packet.serialise())
        assert len(sim.collect(2)) == 500
        cache = sim.cache()
        assert (cache.megaflows, cache.masks, cache.misses) == (1, 1, 1)
