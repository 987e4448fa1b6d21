"""Meters (OpenFlow 1.3.5, 5.7, 7.3.4.5) in process, on the virtual clock."""
import struct

import pytest
from openflow_bodies import apply, drop_band, goto, match, meter, meter_instruction, output, remark_band
from simulation import Refused, Sim, flow_mod
from vswitch._datapath import lib

KBPS, PKTPS, BURST = 1, 2, 4
FAILED = 12


@pytest.fixture
def sim():
    with Sim() as sim:
        sim.tenant()
        sim.bridge()
        for port in (1, 2):
            sim.port(port_no=port)
        yield sim


def ipv4(dscp=10, size=1500):
    header = struct.pack("!BBHHHBBHII", 0x45, dscp << 2, size - 14, 0, 0, 64, 17, 0, 0x0a000001, 0x0a000002)
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xffff) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + header[12:]
    return b"\2\0\0\0\0\2\2\0\0\0\0\1\x08\0" + header + struct.pack("!HHHH", 1, 2, size - 34, 0) + bytes(size - 42)


def metered(sim, number=1):
    sim.flow_mod(flow_mod(match(), meter_instruction(number) + apply(output(2)), cookie=5))


def passed(sim, frame, milliseconds, every):
    """Packets that came out of those sent, one each so many milliseconds."""
    count = 0
    for _ in range(0, milliseconds, every):
        sim.inject(1, frame)
        count += len(sim.collect(2))
        sim.warp(every)
    return count


@pytest.mark.parametrize("flags, rate, per_packet", [(KBPS, 1000, 1500 * 8 / 1000), (PKTPS, 100, 1), (KBPS, 333, 12), (PKTPS, 7, 1)])
def test_a_policed_flow_is_within_2_percent_of_its_rate(sim, flags, rate, per_packet):
    sim.meter_mod(meter(1, drop_band(rate), flags=flags))
    metered(sim)
    passed(sim, ipv4(), 2000, 2)                # what the burst lets through at first
    milliseconds = 60_000 if rate < 50 else 20_000
    count = passed(sim, ipv4(), milliseconds, 2)
    assert abs(count * per_packet / (rate * milliseconds / 1000) - 1) <= 0.02


def test_below_its_rate_nothing_is_dropped(sim):
    sim.meter_mod(meter(1, drop_band(1000), flags=KBPS))
    metered(sim)
    assert passed(sim, ipv4(), 2000, 20) == 100     # 600 kbit/s


def test_a_burst_passes_whole(sim):
    sim.meter_mod(meter(1, drop_band(100, burst=50), flags=PKTPS | BURST))
    metered(sim)
    for _ in range(80):
        sim.inject(1, ipv4())
    assert 50 <= len(sim.collect(2)) <= 51


def test_remark_raises_the_drop_precedence(sim):
    sim.meter_mod(meter(1, remark_band(100, 1), flags=PKTPS | BURST))
    metered(sim)
    for _ in range(200):
        sim.inject(1, ipv4(dscp=10))            # AF11
    dscps = [f[15] >> 2 for f in sim.collect(2)]
    assert dscps[0] == 10 and dscps[-1] == 12 and set(dscps) == {10, 12}
    frames_sum = sum(struct.unpack("!10H", ipv4(dscp=12)[14:34]))
    assert frames_sum % 0xffff == 0


def test_the_band_of_the_highest_rate_that_is_exceeded_applies(sim):
    sim.meter_mod(meter(1, remark_band(100, 1, burst=10), drop_band(300, burst=30), flags=PKTPS | BURST))
    metered(sim)
    for _ in range(100):
        sim.inject(1, ipv4())
    dscps = [f[15] >> 2 for f in sim.collect(2)]
    assert dscps.count(10) in (10, 11) and 29 <= len(dscps) <= 31


def test_what_a_meter_drops_counts_in_no_later_table(sim):
    sim.meter_mod(meter(1, drop_band(1), flags=PKTPS))
    sim.flow_mod(flow_mod(match(), meter_instruction(1) + goto(1), cookie=1))
    sim.flow_mod(flow_mod(match(), apply(output(2)), cookie=2, table=1))
    for _ in range(50):
        sim.inject(1, ipv4())
    out = len(sim.collect(2))
    counters = sim.counters()
    assert counters[1][0] == 50 and counters[2][0] == out < 10
    assert sim.drops()["meter"] == 50 - out


def test_tables_behind_see_the_new_dscp(sim):
    sim.meter_mod(meter(1, remark_band(1, 2, burst=1), flags=PKTPS | BURST))
    sim.flow_mod(flow_mod(match(), meter_instruction(1) + goto(1), cookie=1))
    af13 = struct.pack("!IH", 0x80000a02, 0x0800) + struct.pack("!IB", 0x80001001, 14)
    sim.flow_mod(flow_mod(match(af13), apply(output(2)), cookie=2, table=1))
    for _ in range(20):
        sim.inject(1, ipv4(dscp=10))
    assert len(sim.collect(2)) >= 17


def test_statistics(sim):
    sim.meter_mod(meter(1, drop_band(1), flags=PKTPS))
    metered(sim)
    for _ in range(10):
        sim.inject(1, ipv4())
    out = len(sim.collect(2))
    stats = sim.tell(lib.DP_METER_STATS, 1)
    assert struct.unpack_from("!IH6xIQQ", stats) == (1, 56, 1, 10, 15000)
    assert struct.unpack_from("!QQ", stats, 40) == (10 - out, (10 - out) * 1500)


@pytest.mark.parametrize("flags", [0, KBPS, PKTPS, KBPS | BURST, PKTPS | 8])
def test_told_as_it_came(sim, flags):
    body = meter(3, drop_band(1000, 500), remark_band(10, 2, 7), flags=flags)
    sim.meter_mod(body)
    assert sim.tell(lib.DP_METER_CONFIG, 3) == struct.pack("!HHI", 40, flags, 3) + body[8:]


def test_deleting_a_meter_takes_its_rules_along(sim):
    sim.meter_mod(meter(1, drop_band(1)))
    sim.flow_mod(flow_mod(match(), meter_instruction(1) + apply(output(2)), cookie=5, flags=1))
    sim.meter_mod(meter(0xffffffff, command=2))
    assert sim.flow_stats() == []
    assert sim.flows_removed()[0][1][10] == 4


@pytest.mark.parametrize("body, code", [
    (meter(2, drop_band(1)), (FAILED, 1)),
    (meter(0, drop_band(1)), (FAILED, 2)),
    (meter(0xffff0001, drop_band(1)), (FAILED, 2)),
    (meter(9, drop_band(1), command=1), (FAILED, 3)),
    (meter(1, drop_band(1), command=7), (FAILED, 4)),
    (meter(1, drop_band(1), flags=3), (FAILED, 5)),
    (meter(1, drop_band(1), flags=16), (FAILED, 5)),
    (meter(1, drop_band(0)), (FAILED, 6)),
    (meter(1, struct.pack("!HHII4x", 9, 16, 1, 1)), (FAILED, 8)),
    (meter(1, remark_band(1, 0)), (FAILED, 9)),
    (meter(1, *[drop_band(1)] * 9), (FAILED, 11)),
    (meter(1)[:6], (1, 6)),
    (meter(1) + b"\0\1\0\x40", (1, 6)),
])
def test_what_is_wrong_is_refused(sim, body, code):
    sim.meter_mod(meter(2, drop_band(1)))
    with pytest.raises(Refused) as refused:
        sim.meter_mod(body)
    assert (refused.value.of_type, refused.value.of_code) == code
    assert sim.tell(lib.DP_METER_CONFIG, 1) == b""


def test_a_rule_needs_its_meter(sim):
    with pytest.raises(Refused) as refused:
        metered(sim, 77)
    assert (refused.value.of_type, refused.value.of_code) == (FAILED, 3)
