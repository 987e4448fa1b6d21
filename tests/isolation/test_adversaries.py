"""Claims of time protection, on the virtual clock on which work takes time: no noise, so the figures are always the same."""
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))

from benchmarks.adversaries import load_all  # noqa: E402
from benchmarks.adversaries.frames import udp  # noqa: E402
from benchmarks.isolation import CORE, MS, beside, capacity  # noqa: E402
from benchmarks.lab import Lab, Source, summary, victim  # noqa: E402

ADVERSARIES = {adversary.name: adversary for adversary in load_all()}


@pytest.fixture(scope="module")
def open_loop():
    each = capacity()
    return lambda: victim(interval_ns=each / CORE, poisson=True)


@pytest.mark.parametrize("name", ADVERSARIES)
def test_a_victim_within_its_share_loses_nothing_and_waits_for_slices(open_loop, name):
    alone = beside("wfq", open_loop, None, 5 * MS)
    on = beside("wfq", open_loop, ADVERSARIES[name], 5 * MS)
    assert on["loss"] == 0 and on["accounted"] == 1
    assert on["longest_us"] <= 2
    # One that comes and goes within its own share may be three slices ahead, and then takes its own.
    assert on["max_us"] - alone["max_us"] <= (4 * 1.4 if name == "bursts" else 3)


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


def test_cpu_max_holds_on_an_idle_core():
    with Lab() as lab:
        lab.tenant(1, cpu_max_ppm=100_000)
        source = Source(1, [udp()], interval_ns=50)
        lab.run([source], 20 * MS)
        assert source.cycles / (20 * MS) == pytest.approx(0.1, abs=0.01)
