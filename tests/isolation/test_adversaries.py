"""Claims of time protection, on the virtual clock on which work takes time: no noise, so the figures are always the same."""
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))

from benchmarks.adversaries import load_all  # noqa: E402
from benchmarks.adversaries.encapsulated import through_tunnel  # noqa: E402
from benchmarks.adversaries.frames import udp  # noqa: E402
from benchmarks.isolation import CORE, INFRA, MS, VNI, beside, capacity, half_a_core, over_uplink, useful_per_core  # noqa: E402
from benchmarks.lab import FAR, NEAR, Lab, Source, summary, victim  # noqa: E402

ADVERSARIES = {adversary.name: adversary for adversary in load_all()}


@pytest.fixture(scope="module")
def each_ns():
    return capacity()


@pytest.fixture(scope="module")
def open_loop(each_ns):
    return lambda: victim(interval_ns=each_ns / CORE, poisson=True)


@pytest.mark.parametrize("name", ADVERSARIES)
def test_a_victim_within_its_share_loses_nothing_and_waits_for_no_slice(open_loop, each_ns, name):
    alone = beside("wfq", open_loop, None, 5 * MS)
    on = beside("wfq", open_loop, ADVERSARIES[name], 5 * MS)
    assert on["loss"] == 0 and on["accounted"] == 1
    assert on["longest_us"] <= 2
    assert on["max_us"] - alone["max_us"] <= 3
    if name == "bursts":        # as light as the victim: fair schedulers that don't see what waits make it 2.9 and 3.9 times (benchmarks/ideal_fair.py)
        assert on["p99_us"] <= 1.3 * alone["p99_us"] and on["p999_us"] <= 1.7 * alone["p999_us"]
        return
    assert on["p99_us"] <= 1.25 * alone["p99_us"] + 0.01 and on["p999_us"] <= 1.5 * alone["p999_us"]


def test_flow_mods_are_carried_out_meanwhile(open_loop):
    """Its controller's are, all of them, as fast as that core can."""
    with Lab() as lab:
        lab.tenant(1)
        sources = [open_loop(), *lab.adversary(2, ADVERSARIES["flow-mods"])]
        lab.run(sources, 5 * MS)
        done, refused = lab.churned()
        assert done >= 5 * MS / 2000 and not refused


def test_without_protection_it_is_another_story(open_loop):
    """The experiment can fail: the same, without."""
    off = beside("none", open_loop, ADVERSARIES["masks"], 5 * MS)
    assert off["loss"] > 0.5 and off["longest_us"] > 1000


def test_shares_follow_weights_whatever_packets_cost():
    with Lab() as lab:
        sources = lab.adversary(1, ADVERSARIES["tables"], weight=100)
        for id, weight in ((2, 200), (3, 400)):
            lab.tenant(id, weight)
            sources.append(Source(id, [udp()], outstanding=200))
        lab.run(sources, 10 * MS)
        total = sum(source.cycles for source in sources)
        for source, part in zip(sources, (1 / 7, 2 / 7, 4 / 7)):
            assert source.cycles / total == pytest.approx(part, rel=0.01)


def test_waking_all_the_time_takes_nothing_from_a_tenant_that_never_sleeps():
    with Lab() as lab:
        for id in (1, 2):
            lab.tenant(id)
        busy, waker = Source(1, [udp()], outstanding=200), Source(2, [udp()], interval_ns=250)
        lab.run([busy, waker], 10 * MS)
        assert busy.cycles / (10 * MS) >= 0.495


def test_idle_tenants_cost_nothing():
    found = []
    for tenants in (10, 300):
        with Lab() as lab:
            for id in range(1, tenants + 1):
                lab.tenant(id)
            sources = [Source(id, [udp()], outstanding=32, keep=id == 1) for id in range(1, 11)]
            lab.run(sources, 5 * MS)
            found.append((summary(sources[0])["p99_us"], sum(source.delivered for source in sources)))
    assert found[0] == found[1]


def test_bursty_tenants_share_a_core(each_ns):
    found = useful_per_core(each_ns, 0.25, 5)
    assert found["ratio"] >= 3.5 and found["lost"] == 0
    assert useful_per_core(each_ns, 1.0, 5)["ratio"] < 1       # the experiment can fail: all at once ask for 1.6 cores


@pytest.fixture(scope="module")
def uplink_each_ns():
    return 5 * MS / over_uplink("wfq", 0, None, 5 * MS)["delivered"]


@pytest.mark.parametrize("name", ["ramp", "small packets", "tuple space 7360"])
def test_an_adversary_behind_the_same_uplink(uplink_each_ns, name):
    alone = over_uplink("wfq", uplink_each_ns, None, 5 * MS)
    on = over_uplink("wfq", uplink_each_ns, ADVERSARIES[name], 5 * MS)
    assert on["loss"] == 0 and on["delivered"] >= on["offered"] - 1     # which may have come at the end
    assert on["max_us"] - alone["max_us"] <= 5 and on["longest_us"] <= 2


def test_what_is_nobodys_is_charged_to_nobody_else(uplink_each_ns):
    """VNIs that no tenant has, at the shared uplink."""
    alone = over_uplink("wfq", uplink_each_ns, None, 5 * MS)
    on = over_uplink("wfq", uplink_each_ns, ADVERSARIES["encapsulated"], 5 * MS, tunnel=False)
    assert on["loss"] == 0 and on["max_us"] - alone["max_us"] <= 5
    assert on["victim_cycles"] <= 1.01 * alone["victim_cycles"]
    assert on["infra_cycles"] > 2 * alone["infra_cycles"]


def test_a_tunnel_s_vni_from_elsewhere_is_not_that_tunnel_s_packet(uplink_each_ns):
    """The victim's VNI, through a port of the adversary's own."""
    alone = over_uplink("wfq", uplink_each_ns, None, 5 * MS)
    on = over_uplink("wfq", uplink_each_ns, ADVERSARIES["foreign VNI"], 5 * MS, inside=True)
    assert on["victim_received"] in (on["offered"], on["offered"] - 1) and on["loss"] == 0
    assert on["victim_cycles"] <= 1.01 * alone["victim_cycles"] and on["evil_cycles"] > 2 * MS


def test_a_ramp_behind_the_same_uplink_for_long(uplink_each_ns):
    """Long enough for each cost of the ramp to meet the victim's queue."""
    alone = over_uplink("wfq", uplink_each_ns, None, 50 * MS)
    assert over_uplink("wfq", uplink_each_ns, ADVERSARIES["ramp"], 50 * MS)["max_us"] - alone["max_us"] <= 10


def test_without_protection_a_shared_uplink_is_another_story(uplink_each_ns):
    assert over_uplink("none", uplink_each_ns, ADVERSARIES["ramp"], 5 * MS)["p99_us"] > 1000


def test_an_overloaded_tunnel_is_received_no_faster_than_it_is_served(uplink_each_ns):
    """What the uplink's tenant takes in for a tenant that can't have it was received for nothing."""
    with Lab() as lab:
        lab.uplink(INFRA)
        lab.tenant(1, vni=VNI)
        source = Source(INFRA, through_tunnel(VNI, [udp(size=76)], FAR, NEAR), interval_ns=uplink_each_ns / 2)
        lab.run([source], 10 * MS)
        assert source.delivered * uplink_each_ns / (10 * MS) >= 0.95


def test_cpu_max_holds_on_an_idle_core():
    with Lab() as lab:
        lab.tenant(1, cpu_max_ppm=100_000)
        source = Source(1, [udp()], interval_ns=50)
        lab.run([source], 20 * MS)
        assert source.cycles / (20 * MS) == pytest.approx(0.1, abs=0.01)
