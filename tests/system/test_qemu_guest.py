"""A QEMU guest on a bridge, beside a container on the same bridge and another behind VXLAN on a second host.

QEMU opens a tap of its own and the switch takes it as a `netdev` port: frames of both carry a virtio-net header, so the
guest's partial checksums and large segments pass. A tap that the switch made can't serve both: two programs that open one tap
(IFF_MULTI_QUEUE) are two queues of its same end, and what one writes never arrives at the other.
"""
import hashlib
import os
import re
import sys

import pytest
from hosts import Lab, Switch, wait_for
from qemu_guest import OFFLOADS, Guest

MIB = 1 << 20
AMOUNT = 200 * MIB
GUEST, NEAR, FAR = "10.0.0.10", "10.0.0.1", "10.0.0.2"
CONFIG = """
vtep: {{local4: 192.0.2.{host}}}
tenants:
  red:
    bridges:
      br:
        ports:
          c0: {{kind: tap, port_no: 1}}
          vx: {{kind: vxlan, port_no: 2, vni: 1001, remotes: [192.0.2.{other}]}}
          {guest}
"""
GUEST_PORT = "vm: {kind: netdev, port_no: 3, ifname: guest0}"
# Prints the SHA-256 of what is at a URL.
GET = ("import hashlib, sys, urllib.request\n"
       "h = hashlib.sha256(); r = urllib.request.urlopen(sys.argv[1], timeout=30)\n"
       "while b := r.read(1 << 20): h.update(b)\n"
       "print(h.hexdigest())")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


class Site:
    def __init__(self, directory):
        self.lab = Lab(f"vsqemu{os.getpid()}-", directory)
        self.blob = directory / "served" / "blob"
        self.blob.parent.mkdir()
        try:
            self._build(directory)
        except BaseException:
            self.lab.close()
            raise

    def _build(self, directory):
        hosts = [self.lab.namespace(f"host{number}") for number in (1, 2)]
        self.lab.link(hosts[0], "underlay", hosts[1], "underlay", mtu=1600)
        hosts[0].without_ipv6()         # QEMU's tap is a device of the host's: its stack must have nothing to say there
        for number, host in enumerate(hosts, 1):
            host.ip("address", "add", f"192.0.2.{number}/24", "dev", "underlay")
        self.guest = Guest(hosts[0], "guest0", "02:00:00:00:00:10", directory)
        self.guest.run(f"ip address add {GUEST}/24 dev eth0 && ip link set eth0 up")
        self.containers = []
        self.switches = []
        for number, host in enumerate(hosts, 1):
            config = directory / f"host{number}.yaml"
            config.write_text(CONFIG.format(host=number, other=3 - number, guest=GUEST_PORT if number == 1 else ""))
            switch = Switch(host, f"switch{number}")
            switch.apply(config)
            container = self.lab.namespace(f"container{number}")
            container.adopt(host, "c0", f"10.0.0.{number}/24")
            container.start(f"http{number}", sys.executable, "-P", "-m", "http.server", "80", "--directory", self.blob.parent)
            wait_for("the container's HTTP server", lambda: ":80 " in container.run("ss", "-Hltn"))
            self.containers.append(container)
            self.switches.append(switch)
        self.guest.run("mkdir /tmp/www && httpd -h /tmp/www")

    def guest_port(self):
        return self.switches[0].counters("br", "vm")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("guest"))
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
