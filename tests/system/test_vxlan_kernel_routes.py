"""VXLAN through an uplink port over IPv4 and IPv6, with the kernel's vxlan device on the other end: remotes that the switch asks for itself,
and remotes that it reaches by the kernel's routes and neighbours."""
import os
import time

import pytest
from hosts import Failure, Lab, Switch, ping, wait_for
from tcp_transfer import transfer

CONFIG = """
vtep: {vtep}
tenants:
  infra:
    bridges:
      under:
        ports:
          wire: {{kind: {wire}, mtu: 1600}}
          host: {{kind: tap, mtu: 1600}}
  red:
    bridges:
      br:
        ports:
          c0: {{kind: tap, port_no: 1}}
          vx: {{kind: vxlan, port_no: 2, vni: 1001, remotes: ["{remote}"]}}
"""
NEAR, FAR = "10.0.0.1", "10.0.0.2"
NEAR4, FAR4, NEAR6, FAR6 = "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"
BEYOND = "198.51.100.2"            # an address of the far end that only a route leads to
AMOUNT = 30 << 20

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


class Site:
    """`far` has a kernel vxlan device over its eth0, the other end of port `wire`. With `device`, tap `host` has the near addresses."""

    def __init__(self, directory, device, near, far, wire="tap"):
        self.lab = Lab(f"vskr{os.getpid()}-", directory)
        try:
            self._build(directory, device, near, far, wire)
        except BaseException:
            self.lab.close()
            raise

    def _build(self, directory, device, near, far, wire):
        self.ours, self.far, self.container = (self.lab.namespace(name) for name in ("ours", "far", "container"))
        v6 = ":" in near
        vtep = f'{{{"local6" if v6 else "local4"}: "{near}", uplink: under/wire{", uplink_device: host" if device else ""}}}'
        config = directory / "config.yaml"
        config.write_text(CONFIG.format(vtep=vtep, remote=far, wire=wire))
        if wire != "tap":
            self.lab.link(self.ours, "wire", self.far, "eth0", 1600)
        self.switch = Switch(self.ours, "switch")
        self.switch.apply(config)
        if wire == "tap":
            self.far.adopt(self.ours, "wire")
        size = 64 if v6 else 24
        for address in (FAR4 + "/24", FAR6 + "/64"):
            self.far.ip("address", "add", address, "dev", "eth0", *(("nodad",) if ":" in address else ()))
        if device:
            self.ours.ip("address", "add", f"{near}/{size}", "dev", "host", *(("nodad",) if v6 else ()))
            self.ours.ip("link", "set", "host", "up")
        self.far.ip("link", "add", "vx", "mtu", 1500, "type", "vxlan", "id", 1001, "dstport", 4789, "local", far,
                    "remote", near, "dev", "eth0")
        self.far.ip("address", "add", f"{FAR}/24", "dev", "vx")
        self.far.ip("link", "set", "vx", "up")
        self.container.adopt(self.ours, "c0", f"{NEAR}/24")

    def reaches(self):
        return bool(ping(self.container, FAR, count=1, wait=0.5))

    def drops(self, reason):
        usage = self.switch.client.call("StatsService.GetUsage")
        return sum(account.drops[reason] for worker in usage.workers for account in worker.accounts)

    def detail(self):
        return dict(self.switch.client.call("PortService.GetPort", bridge="br", name="vx").detail)


@pytest.mark.parametrize("near, far", [(NEAR4, FAR4), (NEAR6, FAR6)], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("device", [False, True], ids=["own", "kernel"])
def test_traffic_both_ways(site, device, near, far):
    site = site(device, near, far)
    wait_for("the first echo", site.reaches)
    assert len(ping(site.container, FAR)) == 20 and len(ping(site.far, NEAR)) == 20
    assert "3 received" in site.container.run("ping", "-c", 3, "-i", 0.1, "-M", "do", "-s", 1472, FAR)
    transfer(site.container, site.far, FAR, AMOUNT)
    transfer(site.far, site.container, NEAR, AMOUNT)
    assert site.far.ip("-o", "link", "show", "eth0").split("link/ether ")[1].split()[0] in site.detail()[f"neighbour.{far}"]


def test_an_uplink_over_afxdp(site):
    site = site(False, NEAR4, FAR4, wire="netdev, xdp_mode: best-effort")
    assert dict(site.switch.client.call("PortService.GetPort", bridge="under", name="wire").detail)["io"] == "af_xdp"
    wait_for("the first echo", site.reaches)
    transfer(site.container, site.far, FAR, AMOUNT)
    transfer(site.far, site.container, NEAR, AMOUNT)


def test_a_gateways_route_is_followed(site):
    site = site(True, NEAR4, BEYOND)
    site.far.ip("address", "add", f"{BEYOND}/32", "dev", "lo")
    assert not site.reaches() and not site.reaches()
    wait_for("the reason", lambda: site.reaches() or site.drops("no_route"))
    assert site.detail()[f"neighbour.{BEYOND}"] == "no route"
    site.ours.ip("route", "add", "198.51.100.0/24", "via", FAR4)
    wait_for("the route", site.reaches)
    assert site.detail()[f"neighbour.{BEYOND}"].startswith(f"via {FAR4} ")
    before = site.drops("no_neighbour")
    site.ours.ip("route", "replace", "198.51.100.0/24", "via", "192.0.2.99")       # whom nobody is
    wait_for("the change", lambda: not site.reaches() and site.drops("no_neighbour") > before)
    site.ours.ip("route", "replace", "198.51.100.0/24", "via", FAR4)
    wait_for("the route again", site.reaches)
    before = site.drops("no_route")
    site.ours.ip("route", "del", "198.51.100.0/24")
    wait_for("its end", lambda: not site.reaches() and site.drops("no_route") > before)


def test_a_neighbours_change_is_followed(site):
    site = site(True, NEAR4, FAR4)
    wait_for("the first echo", site.reaches)
    right = site.detail()[f"neighbour.{FAR4}"].split(",")[0]
    site.ours.ip("neighbour", "replace", FAR4, "lladdr", "02:00:00:00:00:77", "dev", "host", "nud", "permanent")
    wait_for("the entry", lambda: site.detail()[f"neighbour.{FAR4}"].startswith("02:00:00:00:00:77"))
    assert not site.reaches()
    site.ours.ip("neighbour", "del", FAR4, "dev", "host")
    wait_for("the kernel's answer", site.reaches)
    assert site.detail()[f"neighbour.{FAR4}"].startswith(right)
    site.far.ip("link", "set", "eth0", "address", "02:00:00:00:00:88")             # without a word: the kernel finds out by probing
    site.ours.ip("neighbour", "flush", "dev", "host")
    wait_for("the new address", lambda: site.reaches() and site.detail()[f"neighbour.{FAR4}"].startswith("02:00:00:00:00:88"))


def test_the_device_may_come_and_go(site):
    site = site(True, NEAR4, FAR4)
    wait_for("the first echo", site.reaches)
    site.ours.ip("link", "set", "host", "down")
    wait_for("the end", lambda: not site.reaches())
    site.ours.ip("link", "set", "host", "up")
    wait_for("the way back", site.reaches)
    site.switch.cli("vtep", "set", "--uplink-device", "later")
    assert not site.reaches()
    assert "which there is not" in site.detail()["uplink_device"]
    site.ours.ip("link", "add", "later", "type", "veth", "peer", "name", "latest")
    wait_for("it", lambda: "which there is not" not in site.detail()["uplink_device"])
    site.switch.cli("vtep", "set", "--uplink-device", "host")
    wait_for("the way back", site.reaches)


def test_neighbour_solicitations_are_answered_and_bad_ones_are_not_believed(site):
    site = site(False, NEAR6, FAR6)
    wait_for("the first echo", site.reaches)
    site.far.ip("neighbour", "flush", "dev", "eth0")
    assert len(ping(site.container, FAR, count=5)) >= 4
    assert NEAR6 in site.far.ip("-6", "neighbour", "show", "dev", "eth0")
    told = site.detail()[f"neighbour.{FAR6}"].split(",")[0]
    site.far.run("python3", "-c", LIE, FAR6, NEAR6)
    time.sleep(0.3)
    assert site.detail()[f"neighbour.{FAR6}"].split(",")[0] == told


# A neighbour advertisement with another address and a hop limit that says it has passed a router, and one with a wrong checksum.
LIE = """
import socket, struct, sys
def sum16(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
target, to = (socket.inet_pton(socket.AF_INET6, a) for a in sys.argv[1:])
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("eth0", 0))
for limit, wrong in ((254, 0), (255, 1)):
    body = struct.pack("!BBHI", 136, 0, 0, 0x60000000) + target + bytes([2, 1]) + bytes.fromhex("020000000066")
    check = sum16(target + to + struct.pack("!II", len(body), 58) + body) ^ wrong
    body = body[:2] + struct.pack("!H", check) + body[4:]
    raw.send(bytes.fromhex("ffffffffffff02000000006686dd") + struct.pack("!IHBB", 0x60000000, len(body), 58, limit) + target + to + body)
"""


def test_bad_settings_name_the_field(site):
    site = site(True, NEAR4, FAR4)
    for value in ("longer-than-a-device", "a/b"):
        with pytest.raises(Failure, match="vtep.uplink_device"):
            site.switch.cli("vtep", "set", "--uplink-device", value)
    with pytest.raises(Failure, match="vtep.uplink_device"):
        site.switch.cli("vtep", "set", "--uplink", "")
