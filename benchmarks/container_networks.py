"""Ways to connect two containers: our switch, Open vSwitch's userspace datapath without and with TSO, the Linux bridge."""
from __future__ import annotations

import subprocess
from pathlib import Path

from hosts import Lab, Namespace, Switch, wait_for

ADDRESSES = ("10.0.0.1", "10.0.0.2")
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
CONFIG = """
tenants:
  red:
    bridges:
      br:
        ports:
          c1: {kind: tap, port_no: 1}
          c2: {kind: tap, port_no: 2}
"""


class Network:
    """A host and two containers on one bridge of it; a subclass makes the devices c1 and c2 in the host."""
    name = ""

    def __init__(self, lab: Lab, label: str):
        self.host = lab.namespace(label)
        self.host.without_ipv6()
        self.containers: list[Namespace] = []
        self._connect(lab, lab.directory / label)
        for number, address in enumerate(ADDRESSES, 1):
            container = lab.namespace(f"{label}{number}")
            container.without_ipv6()
            container.adopt(self.host, f"c{number}", f"{address}/24")
            self.containers.append(container)

    def _connect(self, lab: Lab, directory: Path) -> None:
        raise NotImplementedError


class Ours(Network):
    name = "this switch, taps"

    def _connect(self, lab: Lab, directory: Path) -> None:
        config = lab.directory / "ours.yaml"
        config.write_text(CONFIG)
        Switch(self.host, "ours").apply(config)


class OpenVswitch(Network):
    name = "Open vSwitch userspace, taps"
    settings: tuple[str, ...] = ()

    def _connect(self, lab: Lab, directory: Path) -> None:
        directory.mkdir()
        subprocess.run(["ovsdb-tool", "create", directory / "conf.db", SCHEMA], check=True)
        database = f"unix:{directory}/db.sock"
        self.host.start(f"ovsdb-server-{directory.name}", "ovsdb-server", directory / "conf.db", f"--remote=p{database}",
                        f"--unixctl={directory}/ovsdb.ctl")
        wait_for("ovsdb-server", (directory / "db.sock").exists)
        vsctl = ("ovs-vsctl", f"--db={database}", "--timeout=10")
        self.host.run(*vsctl, "--no-wait", "init")
        for setting in self.settings:
            self.host.run(*vsctl, "--no-wait", "set", "Open_vSwitch", ".", f"other_config:{setting}")
        self.host.start(f"ovs-vswitchd-{directory.name}", "ovs-vswitchd", database, f"--unixctl={directory}/vswitchd.ctl")
        self.host.run(*vsctl, "add-br", "br", "--", "set", "bridge", "br", "datapath_type=netdev")
        for port in ("c1", "c2"):
            self.host.run(*vsctl, "add-port", "br", port, "--", "set", "interface", port, "type=tap")
            wait_for(f"Open vSwitch's {port}", (lambda port: lambda: port in self.host.ip("-br", "link"))(port))


class OpenVswitchTso(OpenVswitch):
    name = "Open vSwitch userspace with TSO, taps"
    settings = ("userspace-tso-enable=true",)


class LinuxBridge(Network):
    name = "Linux bridge, veth"

    def _connect(self, lab: Lab, directory: Path) -> None:
        self.host.ip("link", "add", "name", "br", "type", "bridge")
        self.host.ip("link", "set", "dev", "br", "up")
        for number in (1, 2):
            self.host.ip("link", "add", f"v{number}", "type", "veth", "peer", "name", f"c{number}")
            self.host.ip("link", "set", f"v{number}", "master", "br", "up")


NETWORKS = {"ours": Ours, "ovs": OpenVswitch, "ovs-tso": OpenVswitchTso, "bridge": LinuxBridge}
