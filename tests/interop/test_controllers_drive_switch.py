"""Ryu's own simple_switch_13 and our apps drive a bridge of the real vswitchd, through dummy ports: no root needed."""
import os
import shutil
import subprocess
import sys
import time

import pytest

from test_controllers import PLATFORMS, RYU_ENV, free_port, needs_ryu

from vswitch.cli.client import Client
from vswitch.datapath.launcher import find_executable
from vswitch.errors import NotFoundError, VswitchError

try:
    find_executable()
except NotFoundError:
    pytest.skip("needs vswitch-datapath (install the package)", allow_module_level=True)

ONE, TWO = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
IPV4 = bytes.fromhex("08004500001c000000004011") + bytes.fromhex("0000c0a80001c0a80002000100020008") + bytes(2)


class Site:
    """vswitchd with one bridge of dummy ports p1, p2, p3, and its controller."""

    """`command` makes another controller's command line of the port; without it ours run `arguments`."""

    def __init__(self, directory, arguments, environment=None, command=None):
        self.directory = directory
        self.port = free_port()
        self.log = directory / "log"
        file = self.log.open("w")
        config = directory / "site.yaml"
        config.write_text("tenants: {red: {bridges: {br: {dpid: 7, fail_mode: secure, controllers: ['tcp:127.0.0.1:%d'], ports: "
                          "{p1: {kind: dummy, port_no: 1}, p2: {kind: dummy, port_no: 2}, p3: {kind: dummy, port_no: 3}}}}}}"
                          % self.port)
        self.processes = [
            subprocess.Popen(command(self.port) if command else [
                sys.executable, "-P", "-m", "vswitch.controllers.runner", "--port", str(self.port), "--ryu-env", str(RYU_ENV),
                *arguments], stdout=file, stderr=file, env=environment),
            subprocess.Popen([sys.executable, "-P", "-m", "vswitch.daemon.main", "--state", str(directory / "state"), "--run",
                              str(directory / "run"), "--config", str(config), "--stop-datapath"], stdout=file, stderr=file)]
        self.client = Client(f"unix:{directory}/run/api.sock", None, False)

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()

    def until(self, what, seconds=30):
        """The first true value of what()."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if value := what():
                    return value
            except VswitchError:
                pass
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def rules(self):
        return [entry.text for reply in self.client.stream("FlowService.ReadFlows", bridge="br", as_text=True)
                for entry in reply.entries]

    def send(self, port, frame):
        self.client.call("PortService.Inject", bridge="br", port=port, frames=[frame])

    def sent(self, port):
        return list(self.client.call("PortService.Collect", bridge="br", port=port).frames)


@pytest.fixture
def site(tmp_path):
    sites = []

    def start(*arguments, environment=None, command=None):
        sites.append(Site(tmp_path, arguments, environment, command))
        return sites[-1]

    yield start
    for one in sites:
        one.stop()


@pytest.mark.parametrize("app", ["learning_switch", pytest.param("ryu.app.simple_switch_13", marks=needs_ryu)])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_learning_app_drives_the_bridge(site, platform, app):
    site = site("--on", platform, app)
    site.until(lambda: [rule for rule in site.rules() if "priority=0" in rule and "CONTROLLER" in rule])
    learns(site)


@needs_ryu
@pytest.mark.parametrize("version", ["", "_12", "_14", "_15"])
def test_ryus_own_sample_app_of_each_version(site, version):
    site = site("--on", "ryu", f"ryu.app.simple_switch{version}")
    site.until(lambda: any(c.connected for c in site.client.call("BridgeService.ListControllers", bridge="br").controllers))
    if version in ("_14", "_15"):      # before 1.3 a miss goes to the controller by itself
        site.until(lambda: [rule for rule in site.rules() if "priority=0" in rule and "CONTROLLER" in rule])
    learns(site)


@pytest.mark.skipif(not shutil.which("ovs-testcontroller"), reason="needs ovs-testcontroller")
def test_open_vswitchs_test_controller(site, tmp_path):
    site = site(command=lambda port: ["ovs-testcontroller", f"ptcp:{port}:127.0.0.1", f"--unixctl={tmp_path}/controller.ctl"])
    site.until(lambda: any(c.connected for c in site.client.call("BridgeService.ListControllers", bridge="br").controllers))
    learns(site)


def learns(site):
    there, back = TWO + ONE + IPV4, ONE + TWO + IPV4
    site.send("p1", there)
    assert site.until(lambda: site.sent("p2")) == [there] and site.until(lambda: site.sent("p3")) == [there]    # flooded
    site.send("p2", back)
    assert site.until(lambda: site.sent("p1")) == [back]
    assert site.sent("p3") == []                                                                           # learned
    [rule] = site.until(lambda: [rule for rule in site.rules() if "dl_dst" in rule])
    assert "in_port=p2" in rule and rule.endswith("actions=output:p1")


def test_the_firewall_app_lets_through_what_its_file_says(site, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("allow: [{from: 192.168.0.1, to: 192.168.0.2, proto: udp, port: 2}]\n")
    site = site("tenant_firewall", environment={**os.environ, "TENANT_FIREWALL_RULES": str(rules)})
    site.until(lambda: len(site.rules()) == 8)
    site.send("p1", TWO + ONE + IPV4[:24] + b"\0\3" + IPV4[26:])      # to port 3: dropped
    site.send("p1", TWO + ONE + IPV4)
    assert site.until(lambda: site.sent("p2")) == [TWO + ONE + IPV4]
