"""A QEMU guest on a bridge, beside a container on the same bridge and another behind VXLAN on a second host.

Attached in several ways, all with virtio-net headers on every frame, so that the guest's partial checksums and large segments
pass. Either QEMU opens a tap of its own, which the switch takes as a `netdev` port; or the switch makes a `tap` port, and
QEMU opens a macvtap on it. Opening the switch's own tap beside it (IFF_MULTI_QUEUE) can't work: the two are queues of the
same end then, and what one writes never arrives at the other. Or over vhost-user, QEMU or the switch listening.
"""
import hashlib
import os
import re
import stat
import sys

import pytest
from hosts import Lab, Switch, wait_for
from qemu_guest import OFFLOADS, Guest, tap_backend, vhost_user_backend

MIB = 1 << 20
AMOUNT = 200 * MIB
GUEST, NEAR, FAR = "10.0.0.10", "10.0.0.1", "10.0.0.2"
MAC = "02:00:00:00:00:10"
CONFIG = """
vtep: {{local4: 192.0.2.{host}}}
tenants:
  red:
    bridges:
      br:
        ports:
          c0: {{kind: tap, port_no: 1}}
          vx: {{kind: vxlan, port_no: 2, vni: 1001, remotes: [192.0.2.{other}]}}
"""
# Prints the SHA-256 of what is at a URL.
GET = ("import hashlib, sys, urllib.request\n"
       "h = hashlib.sha256(); r = urllib.request.urlopen(sys.argv[1], timeout=30)\n"
       "while b := r.read(1 << 20): h.update(b)\n"
       "print(h.hexdigest())")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


def qemus_own_tap(host, switch, directory):
    guest = Guest(host, tap_backend("ifname=guest0,script=no,downscript=no,vnet_hdr=on"), MAC, directory)
    switch.cli("port", "add", "br", "vm", "--kind", "netdev", "--ifname", "guest0")
    return guest


def macvtap_on_a_tap_port(host, switch, directory):
    switch.cli("port", "add", "br", "vm", "--kind", "tap", "--ifname", "guest0", "--mac", MAC)
    host.ip("link", "add", "link", "guest0", "name", "macvtap0", "type", "macvtap", "mode", "passthru")
    host.ip("link", "set", "macvtap0", "up")
    major, minor = map(int, host.run("sh", "-c", "cat /sys/class/net/macvtap0/macvtap/tap*/dev").split(":"))
    os.mknod(directory / "macvtap", 0o600 | stat.S_IFCHR, os.makedev(major, minor))
    descriptor = os.open(directory / "macvtap", os.O_RDWR)
    try:
        return Guest(host, tap_backend(f"fd={descriptor}"), MAC, directory, (descriptor,))
    finally:
        os.close(descriptor)


# QEMU 7.2 ends with a segmentation fault when an emulated guest (TCG) unmasks a vector of a vhost device.
NO_MSI_X = ",vectors=0"


def vhost_user(host, switch, directory):
    switch.cli("port", "add", "br", "vm", "--kind", "vhost-user", "--socket", str(directory / "vm.sock"))
    return Guest(host, vhost_user_backend(directory / "vm.sock"), MAC, directory, card=NO_MSI_X)


def vhost_user_two_queues(host, switch, directory):
    """QEMU listens, the switch connects; two pairs of queues."""
    switch.cli("port", "add", "br", "vm", "--kind", "vhost-user", "--socket", str(directory / "vm.sock"), "--mode", "client",
               "--queues", "2")
    return Guest(host, vhost_user_backend(directory / "vm.sock", server=True, queues=2), MAC, directory, cpus=2,
                 card=",mq=on" + NO_MSI_X)


def vhost_user_packed_rings(host, switch, directory):
    switch.cli("port", "add", "br", "vm", "--kind", "vhost-user", "--socket", str(directory / "vm.sock"))
    return Guest(host, vhost_user_backend(directory / "vm.sock"), MAC, directory, card=",packed=on" + NO_MSI_X)


class Site:
    def __init__(self, directory, attach):
        self.attach = attach
        self.lab = Lab(f"vsqemu{os.getpid()}-", directory)
        self.blob = directory / "served" / "blob"
        self.blob.parent.mkdir()
        try:
            self._build(directory, attach)
        except BaseException:
            self.lab.close()
            raise

    def _build(self, directory, attach):
        hosts = [self.lab.namespace(f"host{number}") for number in (1, 2)]
        self.lab.link(hosts[0], "underlay", hosts[1], "underlay", mtu=1600)
        hosts[0].without_ipv6()         # the guest's tap is a device of the host's, whose stack must say nothing there
        for number, host in enumerate(hosts, 1):
            host.ip("address", "add", f"192.0.2.{number}/24", "dev", "underlay")
        self.containers = []
        self.switches = []
        for number, host in enumerate(hosts, 1):
            config = directory / f"host{number}.yaml"
            config.write_text(CONFIG.format(host=number, other=3 - number))
            switch = Switch(host, f"switch{number}")
            switch.apply(config)
            container = self.lab.namespace(f"container{number}")
            container.adopt(host, "c0", f"10.0.0.{number}/24")
            container.start(f"http{number}", sys.executable, "-P", "-m", "http.server", "80", "--directory", self.blob.parent)
            wait_for("the container's HTTP server", lambda: ":80 " in container.run("ss", "-Hltn"))
            self.containers.append(container)
            self.switches.append(switch)
        self.guest = attach(hosts[0], self.switches[0], directory)
        self.guest.run(f"ip address add {GUEST}/24 dev eth0 && ip link set eth0 up")
        self.guest.run("mkdir /tmp/www && httpd -h /tmp/www")

    def guest_port(self):
        return self.switches[0].counters("br", "vm")


@pytest.fixture(scope="module", params=[qemus_own_tap, macvtap_on_a_tap_port, vhost_user, vhost_user_two_queues, vhost_user_packed_rings], ids=lambda attach: attach.__name__)
def site(request, tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("guest"), request.param)
    yield site
    site.lab.close()


def test_the_guest_has_its_offloads(site):
    assert site.guest.offloads() == set(OFFLOADS)


@pytest.mark.parametrize("address", [NEAR, FAR], ids=["same bridge", "behind VXLAN"])
def test_ping(site, address):
    printed = site.guest.run(f"ping -c 10 -i 0.2 -W 2 {address}")
    assert "10 packets received" in printed, printed
    print(re.search("round-trip.*", printed)[0])


@pytest.mark.parametrize("number, address", [(0, NEAR), (1, FAR)], ids=["same bridge", "behind VXLAN"])
def test_200_mib_both_ways(site, number, address):
    """Down to the guest, compared there; the guest serves what it has got, and the container compares that, too."""
    site.blob.write_bytes(os.urandom(AMOUNT))
    wanted = hashlib.sha256(site.blob.read_bytes()).hexdigest()
    start = site.guest_port()
    site.guest.run(f"rm -f www/blob; wget -q -O www/blob http://{address}/blob", timeout=80)
    middle = site.guest_port()
    assert site.guest.run("sha256sum www/blob", timeout=60).split()[0] == wanted
    got = site.containers[number].run(sys.executable, "-P", "-c", GET, f"http://{GUEST}/blob", timeout=80).strip()
    end = site.guest_port()
    assert got == wanted
    for direction, before, after in (("tx", start, middle), ("rx", middle, end)):
        packets = after[f"{direction}_packets"] - before[f"{direction}_packets"]
        size = (after[f"{direction}_bytes"] - before[f"{direction}_bytes"]) / packets
        print(f"{address} {direction}: {size:.0f} bytes a packet")
        # From VXLAN come packets as they were on the wire; all else is large segments, which the MTU would not allow.
        assert size > 3000 or (direction, address) == ("tx", FAR)
