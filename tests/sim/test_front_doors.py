"""gRPC, command line and YAML in front of the real switch and the real datapath, with dummy ports: no root needed."""
import asyncio
import io
import json
import sys
import threading
import time
from dataclasses import replace

import grpc
import pytest
import yaml

from vswitch.cli.client import _request
from vswitch.cli.main import main
from vswitch.config.apply import apply_text
from vswitch.config.show import show
from vswitch.datapath.launcher import Command, DirectLauncher, find_executable
from vswitch.errors import NotFoundError, VswitchError
from vswitch.model.switch import Switch
from vswitch.openflow import flow_text
from vswitch.rpc.server import serve
from vswitch.rpc.v1 import event_pb2, event_pb2_grpc

import test_cli
import test_flow_text_oracle
import test_rpc_errors

try:
    EXECUTABLE = find_executable()
except NotFoundError:
    pytest.skip("needs vswitch-datapath (install the package)", allow_module_level=True)

STATE = """\
tenants:
  red:
    weight: 200
    bridges:
      br:
        dpid: 1
        fail_mode: secure
        ports:
          p1: {kind: dummy, port_no: 1}
          p2: {kind: dummy, port_no: 2}
          vx: {kind: vxlan, port_no: 3, vni: 7, remotes: [192.0.2.1]}
  blue:
    bridges:
      br-blue:
        dpid: 2
        fail_mode: secure
        ports:
          p1: {kind: dummy, port_no: 1}
"""
FRAME = "ffffffffffff02000000000108004500001c000000004011" "0000c0a80001c0a800020001000200000000"


class Running:
    """The switch and its API in a thread of their own."""

    def __init__(self, directory):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.address = f"unix:{directory}/api.sock"
        self.do(self._start(directory))

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    async def _start(self, directory):
        socket = str(directory / "datapath.sock")
        launcher = DirectLauncher(Command(EXECUTABLE, socket, str(directory / "datapath.log"), workers=1))
        self.switch = Switch(directory / "state", socket, launcher)
        await self.switch.start()
        self.api = await serve(self.switch, [self.address])

    async def _stop(self):
        await self.api.stop(0)
        await self.switch.stop(datapath_too=True)

    def stop(self):
        self.do(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def apply(self, text):
        return self.do(apply_text(self.switch, text))

    def show(self):
        return self.do(show(self.switch))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    running = Running(tmp_path_factory.mktemp("switch"))
    yield running
    running.stop()


@pytest.fixture
def switch(running):
    running.apply(STATE.replace("        ports:", "        flows: []\n        ports:"))
    return running


@pytest.fixture
def vswitch(switch, capsys, monkeypatch):
    def run(*arguments, text="", code=0):
        stdin = io.BytesIO(text.encode())
        stdin.name = "<stdin>"
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stdin))
        exit_code = 0
        try:
            main(["--server", switch.address, *arguments])
        except SystemExit as done:
            exit_code = done.code or 0
        out, err = capsys.readouterr()
        assert exit_code == code, err
        return err if code else out

    return run


def collected(vswitch, port, count=1):
    frames = []
    deadline = time.monotonic() + 5
    while len(frames) < count and time.monotonic() < deadline:
        frames += vswitch("port", "collect", "br", port).split()
    return frames


def test_a_packet_goes_where_the_rules_say(vswitch):
    vswitch("flow", "add", "br", "ip,nw_dst=192.168.0.0/16,actions=mod_nw_dst:10.0.0.9,output:p2", "actions=drop")
    vswitch("port", "inject", "br", "p1", FRAME)
    [frame] = collected(vswitch, "p2")
    assert frame[60:68] == "0a000009"
    assert "n_packets=1, n_bytes=42" in vswitch("flow", "dump", "br", "ip")
    assert json.loads(vswitch("--json", "flow", "dump", "br", "--aggregate"))["packets"] == 1
    assert "output to port 2" in vswitch("trace", "br", "p1", FRAME)
    vswitch("packet-out", "br", "output:p1", FRAME)
    assert collected(vswitch, "p1") == [FRAME]


def test_learning_and_counters(vswitch):
    vswitch("flow", "add", "br", "actions=normal")
    vswitch("port", "inject", "br", "p1", FRAME)
    assert collected(vswitch, "p2") == [FRAME]
    assert json.loads(vswitch("--json", "mac", "list", "br"))[0]["mac"] == "02:00:00:00:00:01"
    vswitch("mac", "flush", "br")
    assert json.loads(vswitch("--json", "mac", "list", "br")) == []
    red = [account for account in json.loads(vswitch("--json", "stats", "tenants")) if account["tenant"] == "red"][0]
    assert red["rx_packets"] >= 1 and red["cycles"]
    assert json.loads(vswitch("--json", "stats", "tables", "br"))[0]["active"] == 1
    sample = json.loads(vswitch("--json", "top", "--interval", "0.3"))
    worker = sample["workers"][0]
    assert worker["tenants_percent"] + worker["idle_percent"] + worker["system_percent"] == pytest.approx(100, abs=0.1)
    assert "red" in vswitch("top", "--once", "--interval", "0.1")


@pytest.mark.parametrize("flow", test_flow_text_oracle.FLOWS)
def test_rules_come_back_from_the_datapath(vswitch, flow):
    said = None
    try:
        vswitch("flow", "add", "br", flow)
    except AssertionError as refused:
        said = str(refused)
    if said is not None:
        assert any(word in flow for word in ("group:", "meter:", "pbb")), said
        return
    dumped = [line.partition("n_bytes=0, ")[2] for line in vswitch("flow", "dump", "br").splitlines()]
    again = flow_text.parse_flow_mod(dumped[0], ports={"p1": 1, "p2": 2, "vx": 3}.get)
    assert again[24:] == flow_text.parse_flow_mod(flow)[24:]


def test_shown_state_recreates_itself(switch, tmp_path):
    switch.apply(STATE.replace("        ports:\n          p1: {kind: dummy, port_no: 1}\n          p2",
                               "        flows: ['priority=9,ip,nw_dst=10.0.0.0/8,actions=p2', 'in_port=p1,actions=drop']\n"
                               "        ports:\n          p1: {kind: dummy, port_no: 1}\n          p2"))
    shown = switch.show()
    assert len(yaml.safe_load(shown)["tenants"]["red"]["bridges"]["br"]["flows"]) == 2
    assert switch.apply(shown) == []
    other = Running(tmp_path)
    try:
        other.apply(shown)
        assert other.show() == shown
    finally:
        other.stop()


@pytest.mark.parametrize("old, new, reason", [
    ("weight: 200", "weight: 300\n    cpu_min: 1.0", "cpu_min"),                        # blue asks for as much, see below
    ("vni: 7, remotes: [192.0.2.1]", "vni: 8, remotes: [192.0.2.9]", "cpu_min"),
    ("p2: {kind: dummy, port_no: 2}", "p3: {kind: dummy, port_no: 5}", "cpu_min"),
    ("      br:\n        dpid: 1", "      br-new:\n        dpid: 1", "cpu_min"),
])
def test_a_failure_takes_everything_back(switch, old, new, reason):
    before = switch.show()
    text = STATE.replace(old, new).replace("  blue:\n", "  blue:\n    cpu_min: 1.0\n").replace("  red:\n", "  red:\n    cpu_min: 0.5\n"
                                           if "cpu_min" not in new else "  red:\n")
    with pytest.raises(VswitchError) as caught:
        switch.apply(text)
    assert reason in str(caught.value) and str(caught.value).startswith("config:")
    assert switch.show() == before


def test_a_rule_that_the_datapath_refuses_takes_everything_back(switch):
    before = switch.show()
    with pytest.raises(VswitchError) as caught:
        switch.apply(STATE.replace("weight: 200", "weight: 300").replace(
            "        dpid: 1\n", "        dpid: 1\n        flows: ['actions=p1', 'priority=7,actions=meter:9,p1']\n", 1))
    assert "flows[1]" in str(caught.value)
    assert switch.show() == before


@pytest.mark.parametrize("method, fields, code, field", test_rpc_errors.BAD,
                         ids=[f"{case[0]}-{case[3]}" for case in test_rpc_errors.BAD])
def test_wrong_requests(switch, method, fields, code, field):
    if "cpu_min" in fields.get("tenant", {}):
        switch.do(switch.switch.change_tenant(_with(switch, cpu_min=0.5)))
    before = switch.show()
    with grpc.insecure_channel(switch.address) as channel:
        path, request, reply = _request(method, fields)
        kind = channel.unary_stream if method.endswith("Watch") else channel.unary_unary
        with pytest.raises(grpc.RpcError) as caught:
            list(kind(path, type(request).SerializeToString, reply.FromString)(request))
    assert caught.value.code().name == code, caught.value.details()
    assert dict(caught.value.trailing_metadata())["vswitch-field"] == field
    assert switch.show() == before


def _with(switch, **changes):
    return replace(next(tenant for tenant in switch.switch.tenants() if tenant.name == "red"), **changes)


@pytest.mark.parametrize("arguments, message", test_cli.BAD, ids=[" ".join(case[0])[:50] for case in test_cli.BAD])
def test_wrong_commands(switch, vswitch, tmp_path, arguments, message):
    file = tmp_path / "file"
    file.write_text("# rules\npriority=5,udp,actions=drop\nfoo,actions=drop\n" if "flow" in arguments else "a: 1\nb: c: d\n")
    before = switch.show()
    said = vswitch(*(word.format(file=file) for word in arguments), code=1)
    assert said.startswith("vswitch: ") and said.count("\n") == 1
    assert message.format(file=file) in said
    assert switch.show() == before


def test_events(switch):
    with grpc.insecure_channel(switch.address) as channel:
        watch = event_pb2_grpc.EventServiceStub(channel).Watch(event_pb2.WatchRequest(bridge="br"), timeout=20)
        watch.initial_metadata()
        switch.apply(STATE.replace("        ports:\n          p1: {kind: dummy, port_no: 1}\n          p2",
                                   "        flows: ['send_flow_rem,priority=9,ip,actions=p2']\n"
                                   "        ports:\n          p1: {kind: dummy, port_no: 1}\n          p2"))
        switch.apply(STATE.replace("p2: {kind: dummy, port_no: 2}", "").replace("        ports:", "        flows: []\n        ports:", 1))
        seen = []
        for event in watch:
            seen.append((event.kind, event.action))
            if {("flow_removed", "removed"), ("port", "removed")} <= set(seen):
                break
        watch.cancel()


def test_patch_ports_come_and_go_in_pairs(switch):
    pair = STATE.replace("  blue:", "      br2:\n        dpid: 9\n        ports:\n"
                         "          up: {kind: patch, port_no: 1, peer_bridge: br, peer_port: down}\n  blue:").replace(
        "          p2: {kind: dummy, port_no: 2}",
        "          p2: {kind: dummy, port_no: 2}\n          down: {kind: patch, port_no: 9, peer_bridge: br2, peer_port: up}")
    assert len(switch.apply(pair)) == 3
    assert switch.apply(switch.show()) == []
    assert [change.action for change in switch.apply(STATE)] == ["remove", "remove"]


def test_local_and_picked_numbers(switch):
    switch.apply(STATE.replace("p2: {kind: dummy, port_no: 2}", "p2: {kind: dummy, port_no: LOCAL}\n          p4: {kind: dummy}"))
    assert switch.apply(switch.show()) == []
    assert "port_no: LOCAL" in switch.show()
