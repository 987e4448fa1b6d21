"""TCP segments that a tunnel brings become large ones on their way into a container's tap, and are left alone elsewhere."""
import os

import pytest
from hosts import Lab, Switch, ping, wait_for
from tcp_transfer import transfer

CONFIG = """
vtep: {{{family}: "{near}", uplink: under/wire}}
tenants:
  infra:
    bridges:
      under:
        ports:
          wire: {{kind: netdev, mtu: 1600, xdp_mode: {mode}}}
  red:
    bridges:
      br:
        ports:
          c0: {{kind: tap, port_no: 1}}
          c1: {{kind: netdev, port_no: 2, xdp_mode: native}}
          vx: {{kind: vxlan, port_no: 3, vni: 1001, remotes: ["{far}"]}}
"""
OUTER4, OUTER6 = ("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")
INNER4, INNER6 = ("10.0.0.1", "10.0.0.2", "10.0.0.3"), ("fd00::1", "fd00::2", "fd00::3")
AMOUNT = 30 << 20

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


class Site:
    """`far` has a kernel vxlan device, and sends segments that are cut and summed as on a wire; `first` is behind a tap, `second` behind
    a veth that the switch has by AF_XDP."""

    def __init__(self, directory, mode="best-effort", outer=OUTER4):
        self.lab = Lab(f"vsmg{os.getpid()}-", directory)
        try:
            self._build(directory, mode, outer)
        except BaseException:
            self.lab.close()
            raise

    def _build(self, directory, mode, outer):
        ours, self.far, self.first, self.second = (self.lab.namespace(name) for name in ("ours", "far", "first", "second"))
        self.lab.link(ours, "wire", self.far, "eth0", 1600)
        self.lab.link(ours, "c1", self.second, "eth0", 1500)
        self.far.run("ethtool", "-K", "eth0", "tso", "off", "gso", "off", "tx", "off")
        self.switch = Switch(ours, "switch")
        config = directory / "config.yaml"
        v6 = ":" in outer[0]
        config.write_text(CONFIG.format(family="local6" if v6 else "local4", near=outer[0], far=outer[1], mode=mode))
        self.switch.apply(config)
        self.far.ip("address", "add", f"{outer[1]}/{64 if v6 else 24}", "dev", "eth0", *(("nodad",) if v6 else ()))
        self.far.ip("link", "add", "vx", "mtu", 1500, "type", "vxlan", "id", 1001, "dstport", 4789, "local", outer[1], "remote", outer[0],
                    "dev", "eth0")
        self.first.adopt(ours, "c0")
        for namespace, device, i in ((self.first, "eth0", 0), (self.far, "vx", 1), (self.second, "eth0", 2)):
            namespace.ip("address", "add", f"{INNER4[i]}/24", "dev", device)
            namespace.ip("address", "add", f"{INNER6[i]}/64", "dev", device, "nodad")
            namespace.ip("link", "set", device, "up")
        wait_for("the first echo", lambda: ping(self.far, INNER4[0], count=1, wait=0.5))

    def counted(self):
        return self.switch.counters("br", "vx")


def csum_errors(namespace):
    names, values = (line.split()[1:] for line in namespace.run("cat", "/proc/net/snmp").splitlines() if line.startswith("Tcp:"))
    return int(values[names.index("InCsumErrors")])


@pytest.mark.parametrize("mode, outer", [("best-effort", OUTER4), ("best-effort", OUTER6), ("off", OUTER4)])
def test_segments_go_in_as_one(site, mode, outer):
    site = site(mode, outer)
    for inner in (INNER4, INNER6):
        before = site.counted()
        transfer(site.far, site.first, inner[0], AMOUNT)
        after = site.counted()
        packets, merged = (after[name] - before[name] for name in ("rx_packets", "rx_merged"))
        assert merged > packets / 20 and packets + merged > AMOUNT / 1448, (packets, merged)
    assert csum_errors(site.first) == 0


def test_a_receiver_that_takes_none_gets_none(site):
    site = site()
    before = site.counted()["rx_merged"]
    transfer(site.far, site.second, INNER4[2], AMOUNT)
    assert site.counted()["rx_merged"] - before < AMOUNT / 1448 / 100      # a broadcast in between goes to both
    transfer(site.far, site.first, INNER4[0], AMOUNT)
    assert site.counted()["rx_merged"] > before
