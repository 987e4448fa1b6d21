"""VXLAN with the Linux kernel's vxlan device on the other end, over IPv4 and IPv6."""
import os

import pytest
from hosts import Lab, Switch, ping, wait_for
from tcp_transfer import transfer

CONFIG = """
vtep: {{{local}: "{address}"}}
tenants:
  red:
    bridges:
      br:
        ports:
          c0: {{kind: tap, port_no: 1}}
          vx: {{kind: vxlan, port_no: 2, vni: 1001, remotes: ["{remote}"]}}
"""
UNDERLAYS = {"IPv4": ("local4", "192.0.2.1", "192.0.2.2", 24), "IPv6": ("local6", "2001:db8::1", "2001:db8::2", 64)}
NEAR, FAR = "10.0.0.1", "10.0.0.2"
AMOUNT = 200 << 20

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


class Site:
    """Our switch with a container on one host; on the other a vxlan device of the kernel's with an address of its own."""

    def __init__(self, directory, underlay):
        self.lab = Lab(f"vsvx{os.getpid()}-", directory)
        try:
            self._build(directory, *UNDERLAYS[underlay])
        except BaseException:
            self.lab.close()
            raise

    def _build(self, directory, local, address, remote, prefix):
        ours, kernel = self.lab.namespace("ours"), self.lab.namespace("kernel")
        # 1,500 bytes and VXLAN's headers, with IPv6's outside, fit into the underlay.
        self.lab.link(ours, "underlay", kernel, "underlay", mtu=1600)
        for host, own in ((ours, address), (kernel, remote)):
            host.ip("address", "add", f"{own}/{prefix}", "dev", "underlay", *(("nodad",) if ":" in own else ()))
        kernel.ip("link", "add", "vx", "mtu", 1500, "type", "vxlan", "id", 1001, "dstport", 4789, "local", remote,
                  "remote", address, "dev", "underlay")
        kernel.ip("address", "add", f"{FAR}/24", "dev", "vx")
        kernel.ip("link", "set", "vx", "up")
        config = directory / "config.yaml"
        config.write_text(CONFIG.format(local=local, address=address, remote=remote))
        self.switch = Switch(ours, "switch")
        self.switch.apply(config)
        self.container = self.lab.namespace("container")
        self.container.adopt(ours, "c0", f"{NEAR}/24")
        self.kernel = kernel


@pytest.fixture(scope="module", params=UNDERLAYS)
def site(request, tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("vxlan"), request.param)
    yield site
    site.lab.close()


def test_ping(site):
    assert len(ping(site.container, FAR)) == 20
    assert len(ping(site.kernel, NEAR)) == 20


def test_a_full_frame_passes_unfragmented(site):
    printed = site.container.run("ping", "-c", 3, "-i", 0.1, "-M", "do", "-s", 1472, FAR)
    assert "3 received" in printed


def test_tcp_to_the_kernel(site):
    print(f"{transfer(site.container, site.kernel, FAR, AMOUNT):.2f} Gbit/s")


def test_tcp_from_the_kernel(site):
    print(f"{transfer(site.kernel, site.container, NEAR, AMOUNT):.2f} Gbit/s")


def test_both_ends_have_learned_the_other(site):
    ping(site.container, FAR, count=1)
    near = site.container.run("cat", "/sys/class/net/eth0/address").strip()
    assert wait_for("the kernel's entry", lambda: near in site.kernel.run("bridge", "fdb", "show", "dev", "vx"))
    far = site.kernel.run("cat", "/sys/class/net/vx/address").strip()
    assert far in site.switch.cli("mac", "list", "br")


def test_a_rule_names_the_remote(site, request):
    """Without a flood list and without learning, nothing leaves; with the tunnel's destination set by a rule, it does."""
    _, _, remote, _ = UNDERLAYS[request.node.callspec.params["site"]]
    field = "tun_ipv6_dst" if ":" in remote else "tun_dst"
    site.switch.cli("port", "set", "br", "vx", "--remote", "", "--no-learning")
    assert ping(site.container, FAR, count=2, wait=0.2) == []
    site.switch.cli("flow", "add", "br", "priority=5,in_port=2,actions=output:1")
    site.switch.cli("flow", "add", "br", f"priority=5,in_port=1,actions=set_field:{remote}->{field},output:2")
    assert len(ping(site.container, FAR, count=5)) == 5
