"""The command line against a server in another thread: what it prints, and how it refuses."""
import asyncio
import contextlib
import io
import json
import re
import subprocess
import sys

import pytest
import yaml

from vswitch.cli.main import main
from vswitch.config.show import show

FRAME = "ffffffffffff0200000000010800" + "00" * 46


@pytest.fixture
def vswitch(server, capsys, monkeypatch):
    def run(*arguments, text=None, code=0):
        stdin = io.BytesIO((text or "").encode())
        stdin.name = "<stdin>"
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stdin))
        exit_code = 0
        try:
            main(["--server", server, *arguments])
        except SystemExit as done:
            exit_code = done.code or 0
        out, err = capsys.readouterr()
        assert exit_code == code, err
        assert (err == "") == (code == 0), err
        if code == 1:
            assert err.startswith("vswitch: ") and err.count("\n") == 1
        return out if code == 0 else err

    return run


@pytest.fixture
def bridge(vswitch):
    vswitch("tenant", "add", "red", "--weight", "200")
    vswitch("bridge", "add", "br", "--tenant", "red", "--dpid", "00000000000000ff", "--controller", "tcp:127.0.0.1")
    vswitch("port", "add", "br", "p1", "--kind", "dummy")
    vswitch("port", "add", "br", "vx", "--kind", "vxlan", "--vni", "7", "--remote", "192.0.2.1", "--no-learning")
    return vswitch


def test_objects(bridge):
    vswitch = bridge
    assert vswitch("tenant", "list").splitlines()[1].split()[:3] == ["red", "1", "200"]
    vswitch("tenant", "set", "red", "--cpu-max", "0.5")
    assert json.loads(vswitch("--json", "tenant", "show", "red"))["cpu_max"] == 0.5
    assert "0xff" in vswitch("bridge", "show", "br")
    vswitch("bridge", "set", "br", "--fail-mode", "secure", "--controller", "")
    shown = json.loads(vswitch("--json", "bridge", "list"))[0]
    assert (shown["fail_mode"], shown["controllers"], shown["dpid"]) == ("secure", [], 255)
    assert [line.split()[2] for line in vswitch("port", "list").splitlines()[1:]] == ["p1", "vx"]
    vswitch("port", "set", "br", "vx", "--remote", "192.0.2.2", "--remote", "192.0.2.3", "--learning")
    vx = json.loads(vswitch("--json", "port", "show", "br", "vx"))["port"]
    assert (vx["remotes"], vx["learning"], vx["vni"]) == (["192.0.2.2", "192.0.2.3"], True, 7)
    vswitch("vtep", "set", "--local4", "192.0.2.9")
    vswitch("vtep", "set", "--udp-port", "4790")
    assert json.loads(vswitch("--json", "vtep", "show")) == {"local4": "192.0.2.9", "local6": "", "udp_port": 4790,
                                                                    "uplink": "", "udp_checksum": False, "uplink_device": ""}
    vswitch("port", "inject", "br", "p1", FRAME)
    assert vswitch("port", "collect", "br", "p1").strip() == FRAME
    vswitch("port", "del", "br", "vx")
    vswitch("bridge", "del", "br")
    vswitch("tenant", "del", "red")
    assert json.loads(vswitch("--json", "tenant", "list")) == []


def test_rules(bridge, tmp_path):
    vswitch = bridge
    vswitch("flow", "add", "br", "priority=100,in_port=p1,actions=output:vx", "actions=drop")
    file = tmp_path / "rules"
    file.write_text("# comment\n\ntable=1,ip actions=normal   # tail\n")
    vswitch("flow", "add", "br", "-f", str(file))
    vswitch("flow", "add", "br", "-", text="table=2,arp,actions=flood\n")
    rules = [line.partition("n_bytes=180, ")[2] for line in vswitch("flow", "dump", "br").splitlines()]
    assert rules == ["actions=drop", "priority=100,in_port=p1 actions=output:vx", "ip actions=NORMAL", "arp actions=FLOOD"]
    vswitch("flow", "mod", "br", "table=1,ip,actions=drop")
    assert "ip actions=drop" in vswitch("flow", "dump", "br", "table=1")
    assert vswitch("flow", "dump", "br", "--aggregate") == "packet_count=12 byte_count=720 flow_count=4\n"
    vswitch("flow", "replace", "br", "table=1,ip,actions=drop", "cookie=5,priority=9,udp,tp_dst=53,actions=p1")
    assert len(json.loads(vswitch("--json", "flow", "dump", "br"))) == 2
    vswitch("flow", "del", "br", "--strict", "table=1,ip")
    vswitch("flow", "del", "br", "cookie=5/-1")
    assert vswitch("flow", "dump", "br") == ""
    vswitch("flow", "add", "br", "actions=drop")
    vswitch("flow", "del", "br", "--all")
    assert vswitch("flow", "dump", "br") == ""


def test_replace_touches_the_difference_alone(bridge, double):
    bridge("flow", "add", "br", "in_port=1,actions=2", "in_port=2,actions=1")
    kept = next(iter(double.rules["br"].values()))
    bridge("flow", "replace", "br", "in_port=p1,actions=vx", "in_port=2,actions=drop")
    assert next(iter(double.rules["br"].values())) is kept and len(double.rules["br"]) == 2


def test_looking(bridge):
    vswitch = bridge
    assert "connected    yes" in vswitch("info")
    assert vswitch("mac", "list", "br").splitlines()[0] == "MAC                VLAN  PORT  AGE"
    vswitch("mac", "flush", "br")
    assert "60 bytes" in vswitch("trace", "br", "p1", FRAME)
    assert json.loads(vswitch("--json", "trace", "br", "LOCAL", FRAME))["text"].startswith("in_port 4294967294")
    vswitch("packet-out", "br", "output:vx,p1", FRAME, "--in-port", "p1")
    assert vswitch("bridge", "controllers").startswith("BRIDGE")
    for what in ("workers", "tenants", "ports"):
        assert json.loads(vswitch("--json", "stats", what)) and len(vswitch("stats", what).splitlines()) > 1
    assert json.loads(vswitch("--json", "stats", "tables", "br"))[0]["lookups"] == 10


def test_top(vswitch):
    plain = vswitch("top", "--once", "--interval", "0.05")
    assert plain.splitlines()[1].split() == ["red", "50", "500000", "1000", "64000", "10", "5", "0", "blue=5.0",
                                              "rx=25.0", "tx=25.0", "no_rule=100"]
    assert plain.splitlines()[4].split()[:4] == ["0", "50", "50", "0"]
    sample = json.loads(vswitch("--json", "top", "--interval", "0.05"))
    assert sum(sample["workers"][0][part] for part in ("tenants_percent", "idle_percent", "system_percent")) == 100


def test_configuration(vswitch, tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text("tenants: {red: {bridges: {br: {dpid: 5, ports: {p1: {kind: dummy}}, flows: ['actions=p1']}}}}")
    vswitch("config", "check", str(file))
    assert vswitch("config", "diff", str(file)).splitlines()[0] == "+ tenant red"
    assert [change["action"] for change in json.loads(vswitch("--json", "config", "apply", str(file)))] == ["add"] * 4
    shown = vswitch("config", "show")
    assert vswitch("config", "diff", "-", text=shown) == ""
    assert "flows" not in yaml.safe_load(vswitch("config", "show", "--no-flows"))["tenants"]["red"]["bridges"]["br"]
    assert json.loads(vswitch("--json", "config", "show")) == yaml.safe_load(shown)


def test_events(server, vswitch):
    watch = subprocess.Popen([sys.executable, "-P", "-m", "vswitch.cli.main", "--server", server, "event", "watch", "--kind",
                              "tenant", "--count", "1"], stdout=subprocess.PIPE, text=True)
    printed, added = "", 0
    while not printed:          # it says nothing of when it begins to watch
        assert added < 30
        vswitch("tenant", "add", f"red{added}")
        added += 1
        with contextlib.suppress(subprocess.TimeoutExpired):
            printed = watch.communicate(timeout=1)[0]
    assert re.fullmatch(r"tenant added red\d+\n", printed)


BAD = [
    (["tenant", "add", "red"], "tenant.name: "),
    (["tenant", "add", "x", "--weight", "0", "--cpu-min", "7"], "cpu_min"),
    (["tenant", "del", "red"], "tenant.name: "),
    (["bridge", "add", "b2", "--tenant", "nope"], "bridge.tenant: there is no tenant 'nope'"),
    (["port", "add", "br", "p9", "--kind", "patch", "--peer", "nope"], "peer: 'nope' is not BRIDGE/PORT"),
    (["port", "add", "br", "p9", "--kind", "dummy", "--number", "x"], "port_no: 'x' is no number"),
    (["port", "show", "br", "nope"], "port.name: there is no port of br 'nope'"),
    (["flow", "add", "nope", "actions=drop"], "bridge: there is no bridge 'nope'"),
    (["flow", "add", "br", "ip"], "vswitch: actions: is missing"),
    (["flow", "add", "br", "ip,nw_dst=10.0.0.300,actions=drop"], "vswitch: nw_dst: '10.0.0.300' is not an IPv4 address"),
    (["flow", "add", "br", "nw_dst=10.0.0.1,actions=drop"], "vswitch: nw_dst: needs ip or arp"),
    (["flow", "add", "br", "in_port=p9,actions=drop"], "vswitch: in_port: there is no port 'p9'"),
    (["flow", "add", "br", "actions=resubmit(,1)"], "vswitch: resubmit: unknown action"),
    (["flow", "add", "br", "actions=drop", "priority=x,actions=drop"], "vswitch: priority: 'x' is not a number"),
    (["flow", "add", "br", "-f", "{file}"], "{file}:3: foo: unknown keyword"),
    (["flow", "mod", "br", "ip"], "vswitch: actions: is missing"),
    (["flow", "del", "br", "ip,actions=drop"], "vswitch: actions: delete takes none"),
    (["flow", "replace", "br", "-f", "{file}"], "{file}:3: foo: unknown keyword"),
    (["flow", "dump", "br", "table=900"], "table: 900 is out of range"),
    (["trace", "br", "p1", "zz"], "frame: is not hexadecimal"),
    (["trace", "br", "p9", FRAME], "there is no port"),
    (["packet-out", "br", "output:", FRAME], "output: needs an argument"),
    (["config", "check", "{file}"], "{file}:2: mapping values are not allowed"),
    (["event", "watch", "--kind", "nope"], "kinds[0]: 'nope' is none of"),
    (["--server", "unix:/nonexistent.sock", "info"], "server: no switch answers at unix:/nonexistent.sock"),
]


@pytest.mark.parametrize("arguments, message", BAD, ids=[" ".join(case[0])[:50] for case in BAD])
def test_a_refusal_is_one_line_that_names_the_field(bridge, double, tmp_path, arguments, message):
    file = tmp_path / "file"
    file.write_text("# rules\npriority=5,udp,actions=drop\nfoo,actions=drop\n" if "flow" in arguments else "a: 1\nb: c: d\n")
    before = asyncio.run(show(double))
    said = bridge(*(word.format(file=file) for word in arguments), code=1)
    assert message.format(file=file) in said
    assert asyncio.run(show(double)) == before


@pytest.mark.parametrize("arguments, message", [
    (["nonsense"], "No such command"), (["tenant", "add"], "Missing argument"), (["flow", "add", "br"], "give a FLOW"),
    (["port", "add", "br", "p", "--kind", "tun"], "'tun' is not one of"), (["bridge", "set", "br", "--dpid", "0"], "out of range"),
    (["config", "apply", "/nonexistent"], "No such file"),
])
def test_what_is_no_command_exits_with_2(vswitch, arguments, message):
    assert message in vswitch(*arguments, code=2)


def test_help_needs_nothing_heavy():
    program = "import sys, vswitch.cli.main as m\ntry: m.main(['flow', '--help'])\nexcept SystemExit: pass\n" \
              "print([name for name in ('grpc', 'rich', 'yaml', 'vswitch._datapath') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True)
    assert done.stdout.endswith("[]\n")
