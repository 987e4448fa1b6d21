"""VXLAN as raw frames on an uplink port, with the Linux kernel's vxlan device on the other end of a tap."""
import json
import os

import pytest
from hosts import Failure, Lab, Switch, ping, wait_for
from tcp_transfer import transfer

CONFIG = """
vtep: {{local4: 192.0.2.1, uplink: under/wire, udp_checksum: {checksum}}}
tenants:
  infra:
    bridges:
      under:
        ports:
          wire: {{kind: tap, mtu: 1600}}
          host: {{kind: tap, mtu: 1600}}
  red:
    bridges:
      br:
        ports:
          c0: {{kind: tap, port_no: 1}}
          vx: {{kind: vxlan, port_no: 2, vni: 1001, remotes: [192.0.2.2]}}
"""
NEAR, FAR = "10.0.0.1", "10.0.0.2"
AMOUNT = 100 << 20

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


class Site:
    def __init__(self, directory, checksum):
        self.lab = Lab(f"vsup{os.getpid()}-", directory)
        try:
            self._build(directory, checksum)
        except BaseException:
            self.lab.close()
            raise

    def _build(self, directory, checksum):
        ours, self.kernel, self.container = (self.lab.namespace(name) for name in ("ours", "kernel", "container"))
        config = directory / "config.yaml"
        config.write_text(CONFIG.format(checksum=str(checksum).lower()))
        self.switch = Switch(ours, "switch")
        self.switch.apply(config)
        self.kernel.adopt(ours, "wire", "192.0.2.2/24")
        self.kernel.ip("link", "add", "vx", "mtu", 1500, "type", "vxlan", "id", 1001, "dstport", 4789, "local", "192.0.2.2",
                       "remote", "192.0.2.1", "dev", "eth0", *(("udpcsum",) if checksum else ()))
        self.kernel.ip("address", "add", f"{FAR}/24", "dev", "vx")
        self.kernel.ip("link", "set", "vx", "up")
        self.container.adopt(ours, "c0", f"{NEAR}/24")
        self.other = self.lab.namespace("other")
        self.other.adopt(ours, "host", "192.0.2.3/24")


@pytest.fixture(scope="module", params=[False, True], ids=["no-checksum", "checksum"])
def site(request, tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("uplink"), request.param)
    yield site
    site.lab.close()


def test_ping(site):
    ping(site.container, FAR, count=3)      # the first may be what ARP is asked for
    assert len(ping(site.container, FAR)) == 20
    assert len(ping(site.kernel, NEAR)) == 20


def test_a_full_frame_passes_unfragmented(site):
    assert "3 received" in site.container.run("ping", "-c", 3, "-i", 0.1, "-M", "do", "-s", 1472, FAR)


def test_tcp_to_the_kernel(site):
    print(f"{transfer(site.container, site.kernel, FAR, AMOUNT):.2f} Gbit/s")


def test_tcp_from_the_kernel(site):
    print(f"{transfer(site.kernel, site.container, NEAR, AMOUNT):.2f} Gbit/s")


def test_the_rest_of_the_uplink_is_its_bridges(site):
    assert len(ping(site.other, "192.0.2.2", count=5)) >= 4


def test_time_of_receiving_is_the_vnis_tenants(site):
    before = tunnel_cycles(site)
    ping(site.kernel, NEAR)
    after = tunnel_cycles(site)
    assert after["red"] > before["red"]
    assert after["infra"] == before["infra"]


def tunnel_cycles(site):
    return {row["tenant"]: int(row["cycles"].get("tunnel", 0)) for row in json.loads(site.switch.cli("--json", "stats", "tenants"))}


def test_a_remote_that_nobody_answers_for_is_told(site):
    site.switch.cli("port", "set", "br", "vx", "--remote", "192.0.2.77", "--no-learning")
    assert ping(site.container, FAR, count=2, wait=0.2) == []
    assert "no_neighbour" in site.switch.cli("stats", "tenants")


def test_bad_uplinks_name_the_field(site):
    for value, field in (("nonsense", "vtep.uplink"), ("under/", "vtep.uplink")):
        with pytest.raises(Failure, match=field):
            site.switch.cli("vtep", "set", "--uplink", value)
    with pytest.raises(Failure, match="vtep.local4"):
        site.switch.cli("vtep", "set", "--local4", "0.0.0.0")


def test_without_its_port_nothing_goes(site):
    site.switch.cli("port", "set", "br", "vx", "--remote", "192.0.2.2", "--learning")
    wait_for("the tunnel", lambda: ping(site.container, FAR, count=1, wait=0.5))
    site.switch.cli("port", "del", "under", "wire")
    assert ping(site.container, FAR, count=2, wait=0.2) == []
