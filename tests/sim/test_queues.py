"""Queues of ports (OpenFlow 1.5.1, 7.3.5.10) in process, on the virtual clock: what leaves is within 2 % of the rates."""
import struct

import pytest
from openflow_bodies import apply, match, output, oxm
from simulation import Refused, Sim, flow_mod

SIZE = 1000
BITS = SIZE * 8


def set_queue(number):
    return struct.pack("!HHI", 21, 8, number)


def frame(kind):
    """A frame of ethertype 0x9900 + kind."""
    return b"\2\0\0\0\0\2\2\0\0\0\0\1" + struct.pack("!H", 0x9900 + kind) + bytes(SIZE - 14)


@pytest.fixture
def sim():
    """Frames of kind N go to port 2 through queue N."""
    with Sim() as sim:
        sim.tenant()
        sim.bridge()
        for port in (1, 2):
            sim.port(port_no=port)
        for kind in range(4):
            sim.flow_mod(flow_mod(match(oxm(0x8000, 5, struct.pack("!H", 0x9900 + kind))), apply(set_queue(kind), output(2))))
        yield sim


def send(sim, milliseconds, **per_ms):
    """kbit/s that came out, by kind, of so many packets of each kind a millisecond."""
    count = dict.fromkeys(per_ms, 0)
    for _ in range(milliseconds):
        for kind, n in per_ms.items():
            for _ in range(n):
                sim.inject(1, frame(int(kind[1])))
        for got in sim.collect(2):
            count[f"k{got[13]}"] += 1
        sim.warp(1)
    return {kind: n * BITS / milliseconds for kind, n in count.items()}


def settled(sim, **per_ms):
    send(sim, 2000, **per_ms)       # the bursts, and what they owe
    return send(sim, 2000, **per_ms)


def test_a_ports_rate(sim):
    sim.queues(2, max_kbps=10_000)
    assert settled(sim, k0=3)["k0"] == pytest.approx(10_000, rel=0.02)
    assert sim.drops()["queue"] > 0
    sim.queues(2)
    assert settled(sim, k0=3)["k0"] == 24_000


def test_a_queues_max(sim):
    sim.queues(2, (1, 0, 4000), (2, 0, 0))
    got = settled(sim, k1=2, k2=2)
    assert got["k1"] == pytest.approx(4000, rel=0.02) and got["k2"] == 16_000


def test_min_rates_hold_whatever_the_others_send(sim):
    sim.queues(2, (1, 6000, 0), (2, 2000, 0), (3, 0, 0), max_kbps=10_000)
    got = settled(sim, k1=1, k2=1, k3=6)
    assert got["k1"] >= 6000 * 0.98 and got["k2"] >= 2000 * 0.98
    assert sum(got.values()) == pytest.approx(10_000, rel=0.03)


def test_what_min_rates_leave_others_use(sim):
    sim.queues(2, (1, 6000, 0), (2, 0, 0), max_kbps=10_000)
    assert settled(sim, k2=4)["k2"] == pytest.approx(10_000, rel=0.02)


def test_packets_of_no_queue_are_queue_0s(sim):
    sim.queues(2, (0, 0, 2000), (1, 0, 0))
    got = settled(sim, k0=1, k1=1, k3=1)
    assert got["k0"] + got["k3"] == pytest.approx(2000, rel=0.02) and got["k1"] == 8000
    packets, octets, dropped = sim.queue_stats(2)[0]
    assert packets + dropped == 8000 and octets == packets * SIZE and dropped > 3000


def test_counters_stay_with_the_queues_that_stay(sim):
    sim.queues(2, (1, 0, 0), (2, 0, 0))
    send(sim, 10, k1=1)
    sim.queues(2, (1, 0, 5000), (3, 0, 0))
    assert sim.queue_stats(2) == {1: (10, 10 * SIZE, 0), 3: (0, 0, 0)}


@pytest.mark.parametrize("queues, reason", [
    ([(2, 0, 0), (1, 0, 0)], "rising"), ([(1, 0, 0), (1, 0, 0)], "twice"), ([(0xffffffff, 0, 0)], "0xffffffff"),
    ([(1, 500, 400)], "min 500 kbit/s is above max 400"), ([(i, 0, 0) for i in range(257)], "more than 256")])
def test_refusals_change_nothing(sim, queues, reason):
    sim.queues(2, (7, 1, 2), max_kbps=9)
    with pytest.raises(Refused, match=reason):
        sim.queues(2, *queues)
    assert list(sim.queue_stats(2)) == [7]
