"""From a packet that no rule knows to the controller's packet-out: an os-ken application that sends every packet on, behind this
switch and behind Open vSwitch (userspace datapath), in rounds. Needs root.
"""
from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "demo")]

from hosts import Lab, Switch, wait_for  # noqa: E402

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
APP = """
from os_ken.base import app_manager
from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.ofproto import ofproto_v1_3


class Hub(app_manager.OSKenApp):
    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def features(self, ev):
        d = ev.msg.datapath
        p, o = d.ofproto_parser, d.ofproto
        d.send_msg(p.OFPFlowMod(d, priority=0, match=p.OFPMatch(), instructions=[p.OFPInstructionActions(
            o.OFPIT_APPLY_ACTIONS, [p.OFPActionOutput(o.OFPP_CONTROLLER, o.OFPCML_NO_BUFFER)])]))

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def packet_in(self, ev):
        m, d = ev.msg, ev.msg.datapath
        p, o = d.ofproto_parser, d.ofproto
        port = m.match["in_port"]
        d.send_msg(p.OFPPacketOut(d, buffer_id=o.OFP_NO_BUFFER, in_port=port, actions=[p.OFPActionOutput(3 - port)], data=m.data))
"""


def ours(lab: Lab, host) -> None:
    config = lab.directory / "ours.yaml"
    config.write_text("tenants: {red: {bridges: {br: {fail_mode: secure, controllers: ['tcp:127.0.0.1:6653'], ports: "
                      "{c1: {kind: tap, port_no: 1}, c2: {kind: tap, port_no: 2}}}}}}\n")
    Switch(host, "ours").apply(config)


def ovs(lab: Lab, host) -> None:
    directory = lab.directory / "ovs"
    directory.mkdir()
    subprocess.run(["ovsdb-tool", "create", directory / "conf.db", SCHEMA], check=True)
    database = f"unix:{directory}/db.sock"
    environment = os.environ | {"OVS_RUNDIR": str(directory)}
    host.start("ovsdb-server", "ovsdb-server", directory / "conf.db", f"--remote=p{database}", f"--unixctl={directory}/o.ctl",
               env=environment)
    wait_for("ovsdb-server", (directory / "db.sock").exists)
    vsctl = ("ovs-vsctl", f"--db={database}", "--timeout=20")
    host.run(*vsctl, "--no-wait", "init")
    host.start("ovs-vswitchd", "ovs-vswitchd", database, f"--unixctl={directory}/v.ctl", env=environment)
    host.run(*vsctl, "add-br", "br", "--", "set", "bridge", "br", "datapath_type=netdev", "fail_mode=secure")
    for number, port in enumerate(("c1", "c2"), 1):
        host.run(*vsctl, "add-port", "br", port, "--", "set", "interface", port, "type=tap", f"ofport_request={number}")
    host.run(*vsctl, "set-controller", "br", "tcp:127.0.0.1:6653")


def inside(count: int) -> None:
    """In the namespace: round trips in microseconds, one a line."""
    ends = []
    for device in ("c1", "c2"):
        Path(f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6").write_text("1")
        subprocess.run(["ip", "link", "set", device, "up"], check=True)
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x9999))
        end.bind((device, 0))
        end.settimeout(1)
        ends.append(end)
    for i in range(count + 50):
        frame = b"\2\0\0\0\0\2\2\0\0\0\0\1\x99\x99" + i.to_bytes(4, "big") + bytes(42)
        start = time.perf_counter()
        ends[0].send(frame)
        try:
            while ends[1].recv(2000)[14:18] != frame[14:18]:
                pass
        except TimeoutError:
            continue
        if i >= 50:
            print((time.perf_counter() - start) * 1e6)
        time.sleep(0.001)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(options.count)
        return 0
    for name, start in (("this switch", ours), ("Open vSwitch", ovs)):
        with tempfile.TemporaryDirectory(prefix="vswitch-rtt-") as directory:
            lab = Lab("vsrtt-", Path(directory))
            lab.remove_leftovers()
            try:
                host = lab.namespace("host")
                (lab.directory / "hub_app.py").write_text(APP)
                host.start("controller", sys.executable, "-P", "-m", "vswitch.controllers.runner", "--port", "6653",
                           lab.directory / "hub_app.py")
                start(lab, host)
                wait_for("taps", lambda: "c2" in host.ip("-br", "link"))
                time.sleep(5)
                times = sorted(map(float, host.run(sys.executable, "-P", __file__, "--inside", "--count", options.count,
                                                   timeout=120).split()))
                print(f"{name}: {len(times)} round trips, p50 {statistics.median(times):.0f} us, "
                      f"p99 {times[len(times) * 99 // 100]:.0f} us")
            finally:
                lab.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
