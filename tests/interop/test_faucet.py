"""Faucet (PyPI) as the controller: it programs a pipeline of many tables, checks what the switch can do, and learns hosts.

Its environment is $VSWITCH_FAUCET_ENV or build/faucet (controllers/faucet_env.sh makes it)."""
import os
import struct
from pathlib import Path

import pytest

from test_controllers_drive_switch import Site

ENV = Path(os.environ.get("VSWITCH_FAUCET_ENV", Path(__file__).resolve().parents[2] / "build" / "faucet"))
pytestmark = pytest.mark.skipif(not (ENV / "bin" / "faucet").exists(), reason="needs controllers/faucet_env.sh build/faucet")

CONFIG = """\
vlans: {office: {vid: 100}}
dps:
  sw1:
    dp_id: 7
    hardware: Open vSwitch
    interfaces:
      1: {native_vlan: office}
      2: {native_vlan: office}
      3: {native_vlan: office, acl_in: no_web}
acls:
  no_web:
    - rule: {dl_type: 0x800, nw_proto: 6, tcp_dst: 80, actions: {allow: 0}}
    - rule: {actions: {allow: 1}}
"""
ONE, TWO, THREE = (b"\2\0\0\0\0" + bytes([i]) for i in (1, 2, 3))


def tcp(dst, src, port):
    ip = struct.pack("!BBHHHBBHII", 0x45, 0, 40, 0, 0, 64, 6, 0, 0x0a000000 | src[5], 0x0a000000 | dst[5])
    return dst + src + b"\x08\x00" + ip + struct.pack("!HHIIBBHHH", 999, port, 0, 0, 0x50, 2, 0, 0, 0) + bytes(6)


def test_faucet_drives_the_bridge(tmp_path):
    (tmp_path / "faucet.yaml").write_text(CONFIG)
    environment = {
        **os.environ, "PATH": f"{ENV}/bin:{os.environ['PATH']}", "FAUCET_CONFIG": str(tmp_path / "faucet.yaml"),
        "FAUCET_LOG": str(tmp_path / "faucet.log"), "FAUCET_EXCEPTION_LOG": str(tmp_path / "faucet_exception.log"),
        "FAUCET_PROMETHEUS_PORT": "0"}
    site = Site(tmp_path, (), environment, lambda port: [
        str(ENV / "bin" / "faucet"), "--verbose", f"--ryu-ofp-tcp-listen-port={port}", "--ryu-ofp-listen-host=127.0.0.1"])
    try:
        site.until(lambda: len(site.rules()) > 20, 60)
        there, back = tcp(TWO, ONE, 80), tcp(ONE, TWO, 80)
        # Not learned yet: flooded; each host's first packet teaches where it is.
        site.send("p1", there)
        assert site.until(lambda: site.sent("p2")) == [there]
        site.sent("p3")
        site.until(lambda: [rule for rule in site.rules() if "02:00:00:00:00:01" in rule and "dl_dst" in rule], 20)
        site.send("p2", back)
        assert site.until(lambda: site.sent("p1")) == [back]
        assert site.sent("p3") == []
        # The ACL of port 3.
        site.send("p3", tcp(ONE, THREE, 80))
        site.send("p3", tcp(ONE, THREE, 81))
        assert site.until(lambda: site.sent("p1")) == [tcp(ONE, THREE, 81)]
        exceptions = tmp_path / "faucet_exception.log"
        assert not exceptions.exists() or not exceptions.read_text()
    finally:
        site.stop()
