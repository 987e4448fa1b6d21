"""The programs that play an adversary's controller, against the real switch."""
import subprocess
import sys
from pathlib import Path

import pytest
from raw_controller import free_port
from running_daemon import Daemon, two_dummy_ports

from vswitch.openflow import flow_text

ROOT = Path(__file__).resolve().parents[2]


sys.path.append(str(ROOT))

from benchmarks.adversaries import load  # noqa: E402
from benchmarks.adversaries.controller import flow_mod  # noqa: E402


def test_its_messages_say_what_its_lines_say():
    for line in load("flow_mods")[0].flow_mods:
        command, rest = line.split(" ", 1)
        assert flow_mod(line)[8:] == flow_text.parse_flow_mod(rest, command)


@pytest.fixture(scope="module")
def tcp_port():
    return free_port()


@pytest.fixture(scope="module")
def controllers_port():
    return free_port()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, tcp_port, controllers_port):
    daemon = Daemon(tmp_path_factory.mktemp("vswitchd"), two_dummy_ports(
        fail_mode="secure", listen=(f"ptcp:{tcp_port}:127.0.0.1",), controllers=(f"tcp:127.0.0.1:{controllers_port}",)))
    yield daemon
    daemon.stop()


def play(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "benchmarks.adversaries", *arguments, "--seconds", "1"], cwd=ROOT, capture_output=True,
                          text=True, timeout=30)


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_flow_mods_are_taken_and_none_is_refused(daemon, tcp_port, kind):
    place = f"unix:{daemon.management()}" if kind == "unix" else f"tcp:127.0.0.1:{tcp_port}"
    played = play("flow_mods", "--controller", place)
    sent, _, errors, _ = played.stdout.split()
    assert int(sent) > 1000 and int(errors) == 0, played.stderr
    assert len(daemon.ofctl("dump-flows").splitlines()) > 10       # half of the rules are there at any moment


def test_the_switch_may_connect_to_it(daemon, controllers_port):
    sent, _, errors, _ = play("flow_mods", "--controller", f"ptcp:{controllers_port}").stdout.split()
    assert int(sent) > 100 and int(errors) == 0


def test_one_that_never_reads_stays_connected(daemon):
    assert play("packet_ins", "--controller", f"unix:{daemon.management()}").stdout == "0 flow-mods, 0 errors\n"


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_statistics_are_answered_and_none_is_refused(daemon, tcp_port, kind):
    rules = load("stats_requests")[0].rules
    for rule in rules[:20]:
        daemon.ofctl("add-flow", rule)
    place = f"unix:{daemon.management()}" if kind == "unix" else f"tcp:127.0.0.1:{tcp_port}"
    answers, _, errors, _ = play("stats_requests", "--controller", place).stdout.split()
    assert int(answers) > 100 and int(errors) == 0


def test_what_cannot_be(daemon):
    assert "neither unix:PATH" in play("flow_mods", "--controller", "nowhere").stderr
    assert "its controller does nothing" in play("masks", "--controller", "unix:/x").stderr
