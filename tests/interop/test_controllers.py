"""Our apps and Ryu's own, unmodified, on os-ken and on Ryu 4.34: they start, shake hands and do their work.

Ryu's environment is $VSWITCH_RYU_ENV or build/ryu (controllers/ryu_env.sh build/ryu makes it); what needs it is skipped where
there is none.
"""
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from openflow_peer import FEATURES_REQUEST, FLOW_MOD, HELLO, MULTIPART_REQUEST, PACKET_OUT, Peer

ROOT = Path(__file__).resolve().parents[2]
RYU_ENV = Path(os.environ.get("VSWITCH_RYU_ENV", ROOT / "build" / "ryu"))
needs_ryu = pytest.mark.skipif(not (RYU_ENV / "bin" / "python").exists(), reason="needs controllers/ryu_env.sh build/ryu")
PLATFORMS = ["os-ken", pytest.param("ryu", marks=needs_ryu)]

ONE, TWO = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def start(tmp_path):
    """Starts a controller; returns the switch's end of its session and the file of its log."""
    running, peers = [], []

    def start(*arguments, **environment):
        port = free_port()
        log = tmp_path / "log"
        with log.open("w") as file:
            running.append(subprocess.Popen(
                [sys.executable, "-P", "-m", "vswitch.controllers.runner", "--port", str(port), "--ryu-env", str(RYU_ENV),
                 *arguments], stdout=file, stderr=file, env={**os.environ, **environment}))
        try:
            peers.append(Peer(port))
            peers[-1].expect(HELLO)
            peers[-1].expect(FEATURES_REQUEST)
        except OSError:
            pytest.fail(log.read_text())
        return peers[-1], log

    yield start
    for peer in peers:
        peer.close()
    for process in running:
        process.send_signal(signal.SIGKILL)
        process.wait(10)


def output_port(packet_out: bytes) -> int:
    return struct.unpack_from("!I", packet_out, 16 + 4)[0]


def learns(peer) -> None:
    """What a learning switch does when one and two talk."""
    assert struct.unpack_from("!H", peer.expect(FLOW_MOD), 22)[0] == 0        # priority of the rule for unknown packets
    peer.packet_in(1, TWO + ONE + b"\x08\x00" + bytes(46))
    assert output_port(peer.expect(PACKET_OUT)) == 0xfffffffb
    peer.packet_in(2, ONE + TWO + b"\x08\x00" + bytes(46))
    rule = peer.expect(FLOW_MOD)
    assert ONE in rule and TWO in rule and rule[17] == 0
    assert output_port(peer.expect(PACKET_OUT)) == 1


@pytest.mark.parametrize("platform", PLATFORMS)
def test_learning_switch(start, platform):
    peer, _ = start("--on", platform, "learning_switch")
    learns(peer)


@needs_ryu
@pytest.mark.parametrize("platform", PLATFORMS)
def test_ryus_own_simple_switch_13_unmodified(start, platform):
    peer, _ = start("--on", platform, "ryu.app.simple_switch_13")
    learns(peer)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_tenant_firewall(start, platform, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("allow: [{from: 10.0.0.0/24, to: 10.0.0.2, proto: tcp, port: 443}]\n")
    peer, _ = start("--on", platform, "tenant_firewall", TENANT_FIREWALL_RULES=str(rules))
    mods = [peer.expect(FLOW_MOD) for _ in range(1 + 5 + 2 + 1)]
    assert mods[0][17] == 3                                                    # first all rules go
    there, back = [mod for mod in mods if struct.unpack_from("!H", mod, 22)[0] == 100]
    assert bytes([10, 0, 0, 2]) in there and bytes.fromhex("80001c02 01bb") in there      # tcp_dst 443
    assert bytes.fromhex("80001a02 01bb") in back                                          # tcp_src 443
    assert struct.unpack_from("!H", mods[-1], 22)[0] == 0 and len(mods[-1]) == 48          # all else is dropped


@pytest.mark.parametrize("platform", PLATFORMS)
def test_flow_stats_monitor(start, platform):
    peer, log = start("--on", platform, "flow_stats_monitor", FLOW_STATS_INTERVAL="0.2")
    kinds = {struct.unpack_from("!H", peer.expect(MULTIPART_REQUEST))[0] for _ in range(8)}
    assert {1, 4} <= kinds
    assert "1 rules" in log.read_text() and "port 1: in" in log.read_text()


@pytest.mark.parametrize("text, message", [
    ("allow: [{frm: 10.0.0.1}]", "allow[0].frm: unknown key"),
    ("allow: [{from: 10.0.0.999}]", "allow[0].from: '10.0.0.999' is neither"),
    ("allow: [{proto: tcp}, {proto: gre}]", "allow[1].proto"),
    ("allow: [{proto: tcp, port: 0}]", "allow[0].port"),
    ("allow: [{port: 80}]", "only tcp and udp have ports"),
    ("allow: [{from: 10.0.0.1, to: '::1'}]", "different IP versions"),
    ("deny: []", "one key, allow"),
])
def test_a_wrong_rules_file_names_the_key(tmp_path, text, message):
    rules = tmp_path / "rules.yaml"
    rules.write_text(text)
    done = subprocess.run([sys.executable, "-P", "-m", "vswitch.controllers.runner", "--port", str(free_port()),
                           "tenant_firewall"], capture_output=True, text=True, timeout=30,
                          env={**os.environ, "TENANT_FIREWALL_RULES": str(rules)})
    assert done.returncode != 0 and message in done.stderr


@pytest.mark.parametrize("arguments, message", [
    (["no_such_app"], "there is no module no_such_app"),
    (["missing.py"], "there is no file missing.py"),
    (["--port", "0", "learning_switch"], "out of range"),
    (["--on", "ryu", "--ryu-env", "/nonexistent", "learning_switch"], "ryu_env.sh"),
])
def test_what_can_not_be_started(arguments, message):
    done = subprocess.run([sys.executable, "-P", "-m", "vswitch.controllers.runner", *arguments], capture_output=True,
                          text=True, timeout=30)
    assert done.returncode != 0 and message in done.stderr
