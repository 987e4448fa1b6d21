"""`Switch` in this process over a real datapath: what is asked for is there, what is refused changes nothing."""
import asyncio
import os
import signal
from dataclasses import replace

import pytest

from vswitch.datapath.launcher import Command, DirectLauncher, find_executable
from vswitch.errors import (BusyError, ExistsError, InvalidError, NotFoundError, OpenFlowError, UnavailableError,
                            VswitchError)
from vswitch.model import journal
from vswitch.model.objects import Bridge, Port, Tenant, Vtep
from vswitch.model.store import Store
from vswitch.model.switch import Switch
from vswitch.openflow import messages as ofp
from vswitch.openflow.actions import ApplyActions, Output
from vswitch.openflow.constants import FlowModCommand

FRAME = bytes.fromhex("020000000002" "020000000001" "0800" "4500002e00000000401100000a0000010a000002"
                      "00010007001a0000") + bytes(18)


def add(out=2, **how) -> bytes:
    return ofp.FLOW_MOD.encode(ofp.FLOW_MOD(instructions=[ApplyActions((Output(out),))], **how))


async def started(directory) -> Switch:
    (directory / "state").mkdir(exist_ok=True)
    path = str(directory / "dp.sock")
    switch = Switch(directory / "state", path,
                    DirectLauncher(Command(find_executable(), path, str(directory / "datapath.log"), workers=1)))
    await switch.start()
    return switch


@pytest.fixture
async def switch(tmp_path):
    switch = await started(tmp_path)
    await switch.add_tenant(Tenant("red"))
    await switch.add_bridge(Bridge("br", "red", fail_mode="secure"))
    yield switch
    await switch.stop(datapath_too=True)


async def collected(switch, bridge, port):
    for _ in range(200):
        if frames := await switch.collect(bridge, port):
            return frames
        await asyncio.sleep(0.002)
    return []


async def restart(switch) -> None:
    """Kills the datapath and waits until the next one is there."""
    before = switch.datapath_state()
    os.kill(before["pid"], signal.SIGKILL)
    for _ in range(500):
        now = switch.datapath_state()
        if now["connected"] and now["incarnation"] != before["incarnation"]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(now)


async def test_forwarding_and_counters(switch):
    for name in ("p1", "p2"):
        port = await switch.add_port(Port(name, "br", "dummy"))
        assert port.mac
    assert await switch.write_flows("br", [add(2)]) == [None]
    await switch.barrier("br")
    await switch.inject("br", "p1", FRAME)
    assert await collected(switch, "br", "p2") == [FRAME]
    status = {s.port.name: s for s in await switch.port_status("br")}
    for _ in range(100):
        if switch.usage().workers[0].accounts[0].rx_packets:
            break
        await asyncio.sleep(0.01)
    assert status["p1"].counters["rx_packets"] == 1 and status["p2"].counters["tx_packets"] == 1
    usage = switch.usage()
    assert [a.tenant for a in usage.workers[0].accounts] == ["red"] and usage.workers[0].accounts[0].rx_packets == 1
    assert (await switch.aggregate_flows("br", b""))[0] == 1
    assert "output" in (await switch.trace("br", 1, FRAME)).lower()
    entries = [e async for batch in switch.dump_flows("br") for e in batch]
    assert ofp.FLOW_STATS.decode(entries[0]).instructions == [ApplyActions((Output(2),))]


async def test_more_ports_than_one_message_names(switch):
    for n in range(1, 151):
        await switch.add_port(Port(f"p{n}", "br", "dummy", port_no=n))
    await switch.add_bridge(Bridge("other", "red"))
    await switch.add_port(Port("elsewhere", "other", "dummy"))
    assert [(s.port.name, s.port.port_no) for s in await switch.port_status("br")] == [(f"p{n}", n) for n in range(1, 151)]


async def test_dummy_port_keeps_a_megabyte(switch):
    for name in ("p1", "p2"):
        await switch.add_port(Port(name, "br", "dummy"))
    await switch.write_flows("br", [add(2)])
    await switch.barrier("br")
    long, room = FRAME + bytes(16000 - len(FRAME)), (1 << 20) // 16000
    for _ in range(room + 5):
        await switch.inject("br", "p1", long)
    counters = {}
    for _ in range(200):
        counters = {s.port.name: s.counters for s in await switch.port_status("br")}["p2"]
        if counters["tx_packets"] + counters["tx_drops"] == room + 5:
            break
        await asyncio.sleep(0.01)
    assert (counters["tx_packets"], counters["tx_drops"]) == (room, 5)
    assert set(await collected(switch, "br", "p2")) == {long}


async def test_errors_of_flows_are_each_their_own(switch):
    outcome = await switch.write_flows("br", [add(priority=1), add(table_id=0xff), add(priority=2)] * 300)
    assert [type(e) for e in outcome] == [type(None), OpenFlowError, type(None)] * 300
    assert (await switch.aggregate_flows("br", b""))[2] == 2
    with pytest.raises(InvalidError):
        await switch.write_flows("br", [b"short"])
    with pytest.raises(NotFoundError):
        await switch.write_flows("none", [add()])


async def test_tenants_and_bridges(switch):
    with pytest.raises(BusyError):
        await switch.remove_tenant("red")
    assert (await switch.change_tenant(Tenant("red", weight=7))).weight == 7
    bridge = await switch.change_bridge(Bridge("br", "red", mac_ageing=60))
    assert bridge.dpid and bridge.id == 1
    await switch.write_flows("br", [add()])
    await switch.remove_bridge("br")
    await switch.remove_tenant("red")
    assert switch.bridges() == switch.tenants() == []
    await switch.add_tenant(Tenant("red"))
    await switch.add_bridge(Bridge("br", "red"))
    assert (await switch.aggregate_flows("br", b""))[2] == 0


async def test_patches_find_each_other_in_any_order(switch):
    await switch.add_bridge(Bridge("b2", "red", fail_mode="standalone"))
    await switch.add_port(Port("in", "br", "dummy"))
    await switch.add_port(Port("out", "b2", "dummy"))
    await switch.add_port(Port("to2", "br", "patch", peer_bridge="b2", peer_port="to1"))
    await switch.add_port(Port("to1", "b2", "patch", peer_bridge="br", peer_port="to2"))
    await switch.write_flows("br", [add(2)])
    await switch.inject("br", "in", FRAME)
    assert await collected(switch, "b2", "out") == [FRAME]
    await restart(switch)
    await switch.inject("br", "in", FRAME)
    assert await collected(switch, "b2", "out") == [FRAME]


async def test_vxlan_ports_and_vtep(switch):
    await switch.set_vtep(Vtep("127.0.0.1", udp_port=48790))
    port = await switch.add_port(Port("vx", "br", "vxlan", vni=5, remotes=("127.0.0.2",)))
    assert (await switch.change_port(replace(port, remotes=("127.0.0.3", "127.0.0.4")))).port_no == port.port_no
    await restart(switch)
    client = switch._client()
    assert len(await client.remotes(1, port.port_no)) == 2
    assert (await client.vtep()).port == 48790
    await switch.set_vtep(Vtep())
    with pytest.raises(VswitchError):
        await switch.set_vtep(Vtep("192.0.2.77"))
    assert switch.vtep() == Vtep()


async def test_refused_by_the_datapath_changes_nothing(switch, tmp_path):
    before = Store(tmp_path / "state").load()
    with pytest.raises(VswitchError):
        await switch.add_port(Port("nodev", "br", "netdev", ifname="nosuchdev0"))
    assert switch.ports() == [] and Store(tmp_path / "state").load() == before


async def test_state_that_can_not_be_written(switch, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(switch._store, "save", full)
    for change in (switch.add_tenant(Tenant("x")), switch.add_bridge(Bridge("x", "red")), switch.remove_bridge("br"),
                   switch.add_port(Port("x", "br", "dummy")), switch.change_tenant(Tenant("red", weight=9))):
        with pytest.raises(UnavailableError):
            await change
    monkeypatch.undo()
    client = switch._client()
    assert [(t.name, t.weight) for t in await client.tenants()] == [("red", 100)]
    assert [b.name for b in await client.bridges()] == ["br"] and await client.ports() == []
    await switch.add_tenant(Tenant("x"))


async def test_changed_port_is_another(switch):
    port = await switch.add_port(Port("p", "br", "dummy"))
    moved = await switch.change_port(replace(port, port_no=9))
    assert (moved.port_no, moved.mac) == (9, port.mac)
    assert [p.port_no for p in await switch._client().ports()] == [9]
    with pytest.raises(ExistsError):
        await switch.add_port(Port("q", "br", "dummy", port_no=9))
    await switch.remove_port("br", "p")
    assert await switch.port_status() == []


async def test_log_is_made_anew_and_replayed(switch, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "_REWRITE_AT", 100)
    for i in range(30):
        await switch.write_flows("br", [add(out=1 + i % 2, priority=p, cookie=i) for p in range(1, 21)])
    for _ in range(200):
        if (tmp_path / "state/flows/1.flows").stat().st_size < 20_000:
            break
        await asyncio.sleep(0.01)
    await switch.write_flows("br", [ofp.FLOW_MOD.encode(ofp.FLOW_MOD(command=FlowModCommand.DELETE_STRICT, priority=7))])
    await restart(switch)
    entries = [ofp.FLOW_STATS.decode(e) async for batch in switch.dump_flows("br") for e in batch]
    assert sorted((e.priority, e.cookie) for e in entries) == [(p, 29) for p in range(1, 21) if p != 7]


async def test_rules_that_timed_out_stay_away(switch):
    await switch.write_flows("br", [add(priority=1), add(priority=2, hard_timeout=1)])
    await asyncio.sleep(2.5)
    assert (await switch.aggregate_flows("br", b""))[2] == 1
    await restart(switch)
    assert (await switch.aggregate_flows("br", b""))[2] == 1


async def test_events(switch):
    events = switch.watch()
    await switch.add_port(Port("p", "br", "dummy"))
    await restart(switch)
    await switch.remove_port("br", "p")
    seen = []
    while not seen or seen[-1] != ("port", "removed"):
        event = await asyncio.wait_for(anext(events), 5)
        seen.append((event.kind, event.action))
    assert [s for s in seen if s[0] != "port"] == [("datapath", "down"), ("datapath", "up")] and ("port", "added") in seen


async def test_away(switch):
    pid = switch.datapath_state()["pid"]
    os.kill(pid, signal.SIGKILL)
    while switch.datapath_state()["connected"]:
        await asyncio.sleep(0)
    with pytest.raises(UnavailableError):
        await switch.write_flows("br", [add()])
    with pytest.raises(UnavailableError):
        switch.usage()
    while not switch.datapath_state()["connected"]:
        await asyncio.sleep(0.01)


async def test_caller_that_goes_away_leaves_nothing_half_done(switch, tmp_path):
    for i in range(20):
        caller = asyncio.create_task(switch.add_port(Port(f"p{i}", "br", "dummy")))
        for _ in range(i // 2):
            await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
    await switch.flush_macs("br")
    await switch.change_tenant(Tenant("red", weight=5))     # waits for what goes on
    held = sorted(p.name for p in await switch._client().ports())
    assert held == sorted(p.name for p in switch.ports()) == sorted(n for _, n in Store(tmp_path / "state").load().ports)


async def test_log_that_can_not_be_written(switch, tmp_path, monkeypatch):
    """Forwarding and rules go on without it; once there is room, it is made anew."""
    log = switch._runs.by_name["br"].journal
    full = open("/dev/full", "wb", buffering=0)
    real, log._file = log._file, full
    monkeypatch.setattr(journal, "_RETRY", 0.1)
    assert await asyncio.wait_for(switch.write_flows("br", [add(priority=1)]), 5) == [None]
    real.close()
    await asyncio.sleep(0.2)
    await switch.write_flows("br", [add(priority=2)])
    for _ in range(200):
        if log._file is not full:
            break
        await asyncio.sleep(0.01)
    await restart(switch)
    assert (await switch.aggregate_flows("br", b""))[2] == 2
