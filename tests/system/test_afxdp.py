"""netdev ports through AF_XDP, on veths between a switch's namespace and two containers."""
import os
import signal
import socket
import struct

import pytest
from hosts import Failure, Lab, Switch, ping, wait_for
from tcp_transfer import transfer

CONFIG = """
tenants:
  red:
    bridges:
      br:
        ports:
          one: {{kind: netdev, ifname: v1, port_no: 1, xdp_mode: {mode}{more}}}
          two: {{kind: netdev, ifname: v2, port_no: 2, xdp_mode: {mode}{more}}}
          tap: {{kind: tap, ifname: t0, port_no: 3}}
"""
ADDRESSES = {"one": "10.0.0.1", "two": "10.0.0.2", "three": "10.0.0.3"}
AMOUNT = 30 << 20

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


class Site:
    """Containers `one` and `two` behind veths with `queues` queues, `three` on a tap."""

    def __init__(self, directory, mode="best-effort", queues=1, more="", workers=1):
        self.lab = Lab(f"vsxd{os.getpid()}-", directory)
        try:
            self.host = self.lab.namespace("host")
            for number, name in enumerate(("one", "two"), 1):
                container = self.lab.namespace(name)
                container.without_ipv6()
                self.host.ip("link", "add", f"v{number}", "numrxqueues", queues, "numtxqueues", queues, "type", "veth", "peer",
                             "name", "eth0", "numrxqueues", queues, "numtxqueues", queues, "netns", container.name)
                container.ip("address", "add", f"{ADDRESSES[name]}/24", "dev", "eth0")
                container.ip("link", "set", "eth0", "up")
                setattr(self, name, container)
            self.config = directory / "config.yaml"
            self.config.write_text(CONFIG.format(mode=mode, more=more))
            self.switch = Switch(self.host, "switch", "--workers", workers)
            self.switch.apply(self.config)
            self.three = self.lab.namespace("three")
            self.three.adopt(self.host, "t0", f"{ADDRESSES['three']}/24")
        except BaseException:
            self.lab.close()
            raise

    def detail(self, port="one"):
        return dict(self.switch.client.call("PortService.GetPort", bridge="br", name=port).detail)

    def program(self, device="v1"):
        return "prog/xdp" in self.host.ip("link", "show", device)

    def drops(self, reason):
        usage = self.switch.client.call("StatsService.GetUsage")
        return sum(account.drops[reason] for worker in usage.workers for account in worker.accounts)


@pytest.fixture
def site(tmp_path):
    sites = []

    def make(**options):
        sites.append(Site(tmp_path, **options))
        return sites[0]
    yield make
    for made in sites:
        made.lab.close()


@pytest.mark.parametrize("mode, program", [("best-effort", "native"), ("native", "native"), ("generic", "generic")])
def test_traffic_both_ways(site, mode, program):
    """The containers' stacks leave checksums to their device, and check those that arrive: TCP moves only if all are right."""
    site = site(mode=mode)
    assert site.detail()["io"] == "af_xdp" and site.detail()["program"] == program
    assert site.detail()["queue.0"].startswith("copy")
    if mode == "generic":              # with a native program there, the kernel sees to that
        for container in (site.one, site.two):
            container.run("ethtool", "-K", "eth0", "tso", "off")
    assert len(ping(site.one, ADDRESSES["two"])) == 20
    for sender, receiver in (("one", "two"), ("one", "three"), ("three", "one")):
        transfer(getattr(site, sender), getattr(site, receiver), ADDRESSES[receiver], AMOUNT)
    assert sum(checksum_errors(namespace) for namespace in (site.one, site.two, site.three)) == 0
    counters = site.switch.counters("br", "one")
    assert counters["rx_bytes"] > 2 * AMOUNT and counters["tx_bytes"] > AMOUNT


def test_checksums_that_the_sender_computes_too(site):
    site = site()
    site.one.run("ethtool", "-K", "eth0", "tx", "off")
    transfer(site.one, site.two, ADDRESSES["two"], AMOUNT)
    transfer(site.one, site.three, ADDRESSES["three"], AMOUNT)
    assert checksum_errors(site.two) + checksum_errors(site.three) == 0


def checksum_errors(namespace):
    names, values = (line.split()[1:] for line in namespace.run("cat", "/proc/net/snmp").splitlines() if line.startswith("Tcp:"))
    return int(values[names.index("InCsumErrors")])


def test_a_socket_a_queue(site):
    site = site(queues=4, workers=2)
    queues = {name: text for name, text in site.detail().items() if name.startswith("queue.")}
    assert sorted(queues) == [f"queue.{i}" for i in range(4)]
    assert {text.split("worker ")[1][0] for text in queues.values()} == {"0", "1"}
    for _ in range(3):
        transfer(site.one, site.two, ADDRESSES["two"], AMOUNT)
        transfer(site.two, site.one, ADDRESSES["one"], AMOUNT)


def test_busy_polling(site):
    site = site(more=", busy_poll: 20")
    for device in ("v1", "v2"):
        for name, value in (("napi_defer_hard_irqs", 2), ("gro_flush_timeout", 200000)):
            site.host.run("sh", "-c", f"echo {value} >/sys/class/net/{device}/{name}")
    assert site.detail()["busy_poll"] == "20 microseconds"
    transfer(site.one, site.two, ADDRESSES["two"], AMOUNT)
    transfer(site.two, site.one, ADDRESSES["one"], AMOUNT)


def test_what_cant_be_had_falls_back_with_its_reason(site):
    site = site(mode="native-with-zerocopy")
    detail = site.detail()
    assert detail["io"] == "af_packet" and "queue 0: bind" in detail["fallback"], detail
    assert "fallback" in site.switch.cli("port", "show", "br", "one")
    assert not site.program()
    transfer(site.one, site.two, ADDRESSES["two"], AMOUNT)
    site.switch.cli("port", "set", "br", "one", "--xdp-mode", "native")
    assert site.detail()["io"] == "af_xdp" and site.program()
    site.switch.cli("port", "set", "br", "one", "--xdp-mode", "off")
    assert site.detail() == {"io": "af_packet"} and not site.program()
    site.switch.cli("port", "set", "br", "one", "--xdp-mode", "native", "--mtu", "9000")
    assert "fallback" in site.detail()
    assert len(ping(site.one, ADDRESSES["two"])) == 20


def test_another_users_program_stays(site):
    site = site(mode="off")
    attach = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import xdp_pass; xdp_pass.hold(sys.argv[1])"
    holder = site.host.start("holder", "python3", "-c", attach, "v1")
    wait_for("the other program", site.program)
    site.switch.cli("port", "set", "br", "one", "--xdp-mode", "best-effort")
    assert site.detail()["fallback"] == "the interface has another XDP program"
    assert site.program()
    holder.kill()
    holder.wait()


def test_frames_too_long_are_dropped_and_counted(site):
    site = site()
    site.three.ip("link", "set", "eth0", "mtu", 3000)
    site.switch.cli("port", "set", "br", "tap", "--mtu", "3000")
    site.three = site.lab.namespace("three-again")
    site.three.adopt(site.host, "t0", "10.0.0.3/24")
    with socket_in(site.three) as raw:
        for length, passes in ((1500, True), (1501, True), (1800, False), (2900, False)):
            before, sent = site.drops("too_long"), site.switch.counters("br", "one")["tx_packets"]
            raw.send(bytes.fromhex("ffffffffffff020000000009") + struct.pack("!H", 0x88b5) + bytes(length))
            if length == 1501:         # up to two tags' length is a tagged frame's due
                continue
            wait_for("its end", lambda: site.drops("too_long") > before or site.switch.counters("br", "one")["tx_packets"] > sent)
            assert (site.drops("too_long") == before) == passes, length


class socket_in:
    """A raw socket on a namespace's eth0."""

    def __init__(self, namespace):
        self.path = f"/run/netns/{namespace.name}"

    def __enter__(self):
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(self.path, os.O_RDONLY)
        try:
            enter(there)
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self.socket.bind(("eth0", 0))
        finally:
            enter(here)
            os.close(here)
            os.close(there)
        return self.socket

    def __exit__(self, *_):
        self.socket.close()


def enter(descriptor):
    import ctypes
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


def test_a_killed_datapath_leaves_no_program_and_its_successor_forwards(site):
    site = site()
    assert len(ping(site.one, ADDRESSES["two"])) == 20
    pid = site.switch.client.call("SwitchService.GetInfo").pid
    os.kill(pid, signal.SIGKILL)
    wait_for("the successor", lambda: site.switch._is_up() and
             site.switch.client.call("SwitchService.GetInfo").pid not in (0, pid), 15)
    wait_for("its ports", lambda: site.detail().get("io") == "af_xdp", 15)
    assert len(wait_for("traffic", lambda: ping(site.one, ADDRESSES["two"], count=5))) == 5
    transfer(site.one, site.two, ADDRESSES["two"], AMOUNT)


def test_the_program_goes_with_its_port_and_with_the_datapath(site):
    site = site()
    assert site.program("v1") and site.program("v2")
    site.switch.cli("port", "del", "br", "one")
    assert not site.program("v1") and site.program("v2")
    site.switch.process.terminate()
    site.switch.process.wait(10)
    wait_for("its end", lambda: not site.program("v2"))


def test_bad_settings_name_the_field(site):
    site = site(mode="off")
    for words, field in ((("--busy-poll", "20"), "port.busy_poll"),):
        with pytest.raises(Failure, match=field):
            site.switch.cli("port", "set", "br", "one", *words)
    with pytest.raises(Failure, match="port.xdp_mode"):
        site.switch.cli("port", "set", "br", "tap", "--xdp-mode", "native")
