"""A tap with several queues: the kernel spreads flows over them, workers share them, and nothing is lost or reordered."""
import pytest
from containers import two_containers
from hosts import ping
from tcp_transfer import transfer

CONFIG = """
tenants:
  red:
    bridges:
      br:
        ports:
          c1: {kind: tap, queues: 4}
          c2: {kind: tap, queues: 2}
"""


@pytest.fixture
def lab(tmp_path):
    with two_containers(tmp_path, "vstq", CONFIG, "--workers", "2") as lab:
        yield lab


def test_transfers_over_several_queues(lab):
    assert len(ping(lab.one, "10.0.0.2", 5)) == 5
    assert "qdisc mq" in lab.one.ip("-d", "link", "show", "eth0")
    for _ in range(4):
        transfer(lab.one, lab.two, "10.0.0.2", 20 << 20)
        transfer(lab.two, lab.one, "10.0.0.1", 20 << 20)
    received = sum(lab.switch.counters("br", port)["rx_bytes"] for port in ("c1", "c2"))
    assert received > 8 * 20 << 20
