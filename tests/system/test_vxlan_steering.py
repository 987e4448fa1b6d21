"""A host whose only card is the tunnels' uplink: the port takes the tunnels, and the host stays reachable at its own address on the card."""
import os
import re

import pytest
from hosts import Failure, Lab, Switch, ping, wait_for
from tcp_transfer import transfer
from vswitch.errors import InvalidError

CONFIG = """
vtep: {{{family}: "{near}", uplink: under/card{device}}}
tenants:
  infra:
    bridges:
      under:
        ports:
          card: {{kind: netdev, ifname: eth0, xdp_mode: {mode}, steering: vtep}}
  red:
    bridges:
      br:
        ports:
          c0: {{kind: tap, ifname: {tap}, mtu: 1400}}
          vx: {{kind: vxlan, vni: 1001, remotes: ["{far}"]}}
"""
HOSTS4, HOSTS6 = ("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")
OWN4, OWN6 = ("192.0.2.101", "192.0.2.102"), ("2001:db8::101", "2001:db8::102")
INSIDE = ("10.0.0.1", "10.0.0.2")
AMOUNT = 20 << 20

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


class Site:
    """Two hosts on one link, each with a switch and a container. `own`: the tunnel end points have addresses beside the hosts'."""

    def __init__(self, directory, mode="best-effort", v6=False, own=False):
        self.lab = Lab(f"vsst{os.getpid()}-", directory)
        try:
            self._build(directory, mode, v6, own)
        except BaseException:
            self.lab.close()
            raise

    def _build(self, directory, mode, v6, own):
        self.hosts = [self.lab.namespace(f"host{i}") for i in range(2)]
        self.lab.link(self.hosts[0], "eth0", self.hosts[1], "eth0", 1500)
        self.ends = (OWN6 if v6 else OWN4) if own else (HOSTS6 if v6 else HOSTS4)
        self.switches, self.containers = [], []
        for i, host in enumerate(self.hosts):
            host.ip("address", "add", f"{HOSTS4[i]}/24", "dev", "eth0")
            host.ip("address", "add", f"{HOSTS6[i]}/64", "dev", "eth0", "nodad")
            self.switches.append(Switch(host, f"switch{i}"))
            config = directory / f"config{i}.yaml"
            config.write_text(CONFIG.format(family="local6" if v6 else "local4", near=self.ends[i], far=self.ends[1 - i], mode=mode,
                                            device="" if own else ", uplink_device: eth0", tap=f"c{i}"))
            self.switches[i].apply(config)
            container = self.lab.namespace(f"container{i}")
            container.without_ipv6()
            container.adopt(host, f"c{i}", f"{INSIDE[i]}/24")
            self.containers.append(container)

    def card(self, i=0):
        return self.switches[i].client.call("PortService.GetPort", bridge="under", name="card")

    def left(self, i=0):
        """Packets that were left to the kernel."""
        return sum(int(n) for text in self.card(i).detail.values() for n in re.findall(r"(\d+) left to the kernel", text))

    def reaches(self):
        return bool(ping(self.containers[0], INSIDE[1], count=1, wait=0.5))


@pytest.mark.parametrize("mode, v6, own", [("best-effort", False, False), ("best-effort", True, False), ("best-effort", False, True),
                                            ("best-effort", True, True), ("generic", False, False), ("off", False, False),
                                            ("off", True, False), ("off", False, True)])
def test_tunnels_are_the_switchs_and_the_rest_is_the_hosts(site, mode, v6, own):
    """ARP, neighbour discovery, ping and TCP between the hosts are their kernels', beside ping and TCP through the tunnel."""
    site = site(mode, v6, own)
    if mode == "generic":              # with a native program there, the kernel sees to that
        for host in site.hosts:
            host.run("ethtool", "-K", "eth0", "tso", "off", "gso", "off")
    assert site.card().detail["io"] == ("af_packet" if mode == "off" else "af_xdp") and "fallback" not in site.card().detail
    wait_for("the first echo", site.reaches)
    rx, left = site.card().counters["rx_packets"], site.left()
    assert len(ping(site.containers[0], INSIDE[1])) == 20
    assert site.card().counters["rx_packets"] - rx >= 20 and site.left() - left < 20
    transfer(site.containers[0], site.containers[1], INSIDE[1], AMOUNT)
    transfer(site.containers[1], site.containers[0], INSIDE[0], AMOUNT)
    assert site.card().counters["rx_bytes"] > AMOUNT
    rx, left = site.card().counters["rx_packets"], site.left()
    for there in (HOSTS4[1], HOSTS6[1]):
        assert len(ping(site.hosts[0], there, count=5)) == 5
        transfer(site.hosts[0], site.hosts[1], there, AMOUNT)
    assert site.left() > left and site.card().counters["rx_packets"] - rx < 10
    assert unreachables(site.hosts) == 0           # nobody was told that nobody listens
    site.switches[0].cli("port", "show", "under", "card")


def unreachables(hosts):
    """ICMP errors that the kernels sent, for datagrams that came to a port without a listener."""
    total = 0
    for host in hosts:
        names, values = (line.split()[1:] for line in host.run("cat", "/proc/net/snmp").splitlines() if line.startswith("Icmp:"))
        total += int(values[names.index("OutDestUnreachs")])
        total += sum(int(line.split()[1]) for line in host.run("cat", "/proc/net/snmp6").splitlines()
                     if line.startswith("Icmp6OutDestUnreachs"))
    return total


@pytest.mark.parametrize("mode", ["best-effort", "off"])
def test_the_end_points_changes_are_followed(site, mode):
    site = site(mode)
    wait_for("the first echo", site.reaches)
    for i, port in ((0, 4790), (1, 4790)):
        site.switches[i].cli("vtep", "set", "--udp-port", port)
    wait_for("the other port", site.reaches)
    for i in range(2):                 # addresses of the other family, which broadcasts lead to
        site.switches[i].cli("vtep", "set", "--local4", "", "--local6", HOSTS6[i])
        site.switches[i].cli("port", "set", "br", "vx", "--remote", HOSTS6[1 - i])
        site.containers[i].ip("neighbour", "flush", "dev", "eth0")
    wait_for("IPv6", site.reaches)
    rx = site.card().counters["rx_packets"]
    for i in range(2):
        site.switches[i].cli("vtep", "set", "--uplink", "", "--uplink-device", "")
    wait_for("the kernel's sockets", site.reaches)
    assert len(ping(site.containers[0], INSIDE[1], count=10)) == 10 and site.card().counters["rx_packets"] - rx < 5
    for i in range(2):
        site.switches[i].cli("vtep", "set", "--uplink", "under/card", "--uplink-device", "eth0")
    wait_for("the uplink", site.reaches)
    rx = site.card().counters["rx_packets"]
    assert len(ping(site.containers[0], INSIDE[1], count=10)) == 10 and site.card().counters["rx_packets"] - rx >= 10


@pytest.mark.parametrize("mode", ["best-effort", "off"])
def test_a_port_that_is_no_uplink_takes_nothing(site, mode):
    site = site(mode)
    wait_for("the first echo", site.reaches)
    site.switches[0].cli("vtep", "set", "--uplink", "under/another")
    rx = site.card().counters["rx_packets"]
    assert not site.reaches() and len(ping(site.hosts[0], HOSTS4[1], count=5)) == 5
    assert site.card().counters["rx_packets"] == rx
    site.switches[0].cli("vtep", "set", "--uplink", "under/card")
    wait_for("the uplink", site.reaches)
    site.switches[0].cli("port", "set", "under", "card", "--mtu", "1450")          # the port is made anew
    wait_for("the new port", site.reaches)
    assert len(ping(site.hosts[0], HOSTS4[1], count=5)) == 5


def test_bad_settings_name_the_field(site):
    site = site("off")
    with pytest.raises(Failure, match="port.steering"):
        site.switches[0].cli("port", "add", "br", "t", "--kind", "tap", "--steering", "vtep")
    with pytest.raises(InvalidError, match="port.steering"):
        site.switches[0].client.call("PortService.SetPort", bridge="under", name="card", steering="some")
