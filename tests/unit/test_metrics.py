"""What Prometheus reads: names, units, labels; and what it reads while the datapath is away."""
import asyncio
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from vswitch.errors import InvalidError, UnavailableError
from vswitch.metrics.server import serve_metrics
from vswitch.model.objects import Bridge, ControllerStatus, Port, Tenant


@pytest.fixture
async def scrape(double):
    await double.add_tenant(Tenant("red", weight=300))
    await double.add_bridge(Bridge("br", "red"))
    await double.add_port(Port("p1", "br", "dummy"))
    double.controllers = lambda: [ControllerStatus("br", "tcp:127.0.0.1", False, 0, "", "refused")]
    server = serve_metrics(double, "127.0.0.1:0")

    async def read():
        def get():
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
                return answer.read().decode()
        text = await asyncio.to_thread(get)
        return {family.name: family for family in text_string_to_metric_families(text)}
    yield read
    await server.stop()


def sample(found, name, **labels):
    family = found.get(name) or found[name.removesuffix("_total")]
    values = [s.value for s in family.samples if s.name == name and labels.items() <= s.labels.items()]
    assert len(values) == 1, (name, labels, values)
    return values[0]


async def test_values(scrape):
    found = await scrape()
    assert sample(found, "vswitch_datapath_up") == 1
    assert sample(found, "vswitch_tenant_weight", tenant="red") == 300
    of_red = {"tenant": "red", "worker": "0"}
    assert sample(found, "vswitch_tenant_cpu_seconds_total", stage="rx", **of_red) == 0.25
    assert sample(found, "vswitch_tenant_receive_packets_total", **of_red) == 1000
    assert sample(found, "vswitch_tenant_transmit_bytes_total", **of_red) == 57600
    assert sample(found, "vswitch_tenant_lookups_total", answer="exact_match", **of_red) == 800
    assert sample(found, "vswitch_tenant_lookups_total", answer="tables", **of_red) == 10
    assert sample(found, "vswitch_tenant_dropped_packets_total", reason="no_rule", **of_red) == 100
    assert sample(found, "vswitch_worker_cpu_seconds_total", worker="0", use="idle") == 0.5
    assert sample(found, "vswitch_worker_longest_stretch_seconds", worker="0") == 2e-6
    port = {"tenant": "red", "bridge": "br", "port": "p1"}
    assert sample(found, "vswitch_port_receive_packets_total", **port) == 7
    assert sample(found, "vswitch_port_up", **port) == 1
    assert sample(found, "vswitch_controller_connected", tenant="red", bridge="br", target="tcp:127.0.0.1") == 0


async def test_stretch_is_a_histogram(double, scrape):
    usage = double.usage()
    usage.workers[0].stretch = [0] * 10 + [3, 2] + [0] * 27 + [1]
    double.usage = lambda: usage
    buckets = {float(s.labels["le"]): s.value for s in (await scrape())["vswitch_worker_stretch_seconds"].samples
               if s.name.endswith("_bucket")}
    assert len(buckets) == 40
    assert (buckets[1024e-9], buckets[2048e-9], buckets[4096e-9], buckets[float("inf")]) == (0, 3, 5, 6)
    assert list(buckets.values()) == sorted(buckets.values())


async def test_names_say_their_unit(scrape):
    for name, family in (await scrape()).items():
        assert name.startswith("vswitch_") and family.documentation, name
        if family.type == "counter":
            assert all(s.name.endswith("_total") for s in family.samples)
    assert not [name for name in await scrape() if "cycles" in name]


async def test_without_a_datapath(double, scrape):
    def away():
        raise UnavailableError("the datapath is away")
    double.usage = away
    found = await scrape()
    assert sample(found, "vswitch_datapath_up") == 0
    assert sample(found, "vswitch_tenant_weight", tenant="red") == 300
    assert "vswitch_tenant_cpu_seconds" not in found and "vswitch_port_up" not in found


@pytest.mark.parametrize("address", ["", "9100", ":9100", "localhost:", "localhost:70000", "localhost:http"])
async def test_bad_addresses(double, address):
    with pytest.raises(InvalidError, match="metrics.address"):
        serve_metrics(double, address)


async def test_taken_address(double):
    server = serve_metrics(double, "127.0.0.1:0")
    try:
        with pytest.raises(UnavailableError, match="can't listen"):
            serve_metrics(double, f"127.0.0.1:{server.port}")
    finally:
        await server.stop()
