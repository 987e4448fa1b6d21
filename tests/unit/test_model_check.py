"""What may join the desired state: one table of {what is asked, the error, the field that it names}."""
from dataclasses import replace

import pytest

from vswitch.errors import BusyError, ExistsError, InvalidError, NotFoundError, QuotaError
from vswitch.model import check, targets
from vswitch.model.objects import Bridge, Port, Tenant, Vtep
from vswitch.model.targets import Target
from vswitch.model.store import State, Store


def state() -> State:
    return State(
        {"red": Tenant("red", id=1, cpu_min=0.5), "blue": Tenant("blue", id=2), "idle": Tenant("idle", id=3)},
        {"r1": Bridge("r1", "red", dpid=1, id=1, listen=("ptcp:6653",)), "r2": Bridge("r2", "red", dpid=2, id=2),
         "b1": Bridge("b1", "blue", dpid=3, id=3)},
        {("r1", "tap0"): Port("tap0", "r1", "tap", 1, ifname="tap0"), ("r1", "vx"): Port("vx", "r1", "vxlan", 2, vni=1001),
         ("r1", "p"): Port("p", "r1", "patch", 3, peer_bridge="r2", peer_port="q")},
        last_tenant_id=3, last_bridge_id=3, host_id=0x020000000001)


TENANT, BRIDGE, TAP = Tenant("new"), Bridge("new", "red"), Port("new", "r1", "tap")
VXLAN, PATCH, DUMMY = Port("new", "b1", "vxlan", vni=7), Port("q", "r2", "patch", peer_bridge="r1", peer_port="p"), Port("new", "r1", "dummy")


@pytest.mark.parametrize("what, change, error, field", [
    (TENANT, {"name": ""}, InvalidError, "tenant.name"), (TENANT, {"name": "a b"}, InvalidError, "tenant.name"),
    (TENANT, {"name": "x" * 64}, InvalidError, "tenant.name"), (TENANT, {"name": ".."}, InvalidError, "tenant.name"),
    (TENANT, {"name": "red"}, ExistsError, "tenant.name"),
    (TENANT, {"weight": 0}, InvalidError, "tenant.weight"), (TENANT, {"weight": 10_001}, InvalidError, "tenant.weight"),
    (TENANT, {"weight": True}, InvalidError, "tenant.weight"), (TENANT, {"weight": 1.5}, InvalidError, "tenant.weight"),
    (TENANT, {"cpu_min": -0.1}, InvalidError, "tenant.cpu_min"), (TENANT, {"cpu_min": 1.1}, InvalidError, "tenant.cpu_min"),
    (TENANT, {"cpu_max": 2.0}, InvalidError, "tenant.cpu_max"), (TENANT, {"cpu_min": float("nan")}, InvalidError, "tenant.cpu_min"),
    (TENANT, {"cpu_min": 0.4, "cpu_max": 0.3}, InvalidError, "tenant.cpu_min"),
    (TENANT, {"cpu_min": 0.6}, QuotaError, "tenant.cpu_min"),
    (TENANT, {"max_rules": -1}, InvalidError, "tenant.max_rules"), (TENANT, {"max_megaflows": 2**32}, InvalidError, "tenant.max_megaflows"),
    (BRIDGE, {"name": "a/b"}, InvalidError, "bridge.name"), (BRIDGE, {"name": "b1"}, ExistsError, "bridge.name"),
    (BRIDGE, {"tenant": "green"}, NotFoundError, "bridge.tenant"), (BRIDGE, {"dpid": 3}, ExistsError, "bridge.dpid"),
    (BRIDGE, {"dpid": 2**64}, InvalidError, "bridge.dpid"), (BRIDGE, {"fail_mode": "open"}, InvalidError, "bridge.fail_mode"),
    (BRIDGE, {"mac_ageing": 0}, InvalidError, "bridge.mac_ageing"), (BRIDGE, {"mac_max": 0}, InvalidError, "bridge.mac_max"),
    (BRIDGE, {"controllers": ("udp:1.2.3.4",)}, InvalidError, "bridge.controllers"),
    (BRIDGE, {"controllers": ("tcp:",)}, InvalidError, "bridge.controllers"),
    (BRIDGE, {"controllers": ("tcp:h:0",)}, InvalidError, "bridge.controllers"),
    (BRIDGE, {"controllers": ("tcp:h:70000",)}, InvalidError, "bridge.controllers"),
    (BRIDGE, {"controllers": ("tcp:[::g]:1",)}, InvalidError, "bridge.controllers"),
    (BRIDGE, {"controllers": ("tcp:h", "tcp:h")}, InvalidError, "bridge.controllers"),
    (BRIDGE, {"controllers": tuple(f"tcp:h:{port}" for port in range(1, 18))}, InvalidError, "bridge.controllers"),
    (BRIDGE, {"listen": ("ptcp:x",)}, InvalidError, "bridge.listen"),
    (BRIDGE, {"listen": ("ptcp:1:1.2.3",)}, InvalidError, "bridge.listen"),
    (BRIDGE, {"listen": ("ptcp:6653",)}, ExistsError, "bridge.listen"),
    (TAP, {"name": "tap0"}, ExistsError, "port.name"), (TAP, {"name": "a" * 16}, InvalidError, "port.name"),
    (TAP, {"bridge": "none"}, NotFoundError, "port.bridge"), (TAP, {"kind": "veth"}, InvalidError, "port.kind"),
    (TAP, {"port_no": 1}, ExistsError, "port.port_no"), (TAP, {"port_no": 0xffffff01}, InvalidError, "port.port_no"),
    (TAP, {"port_no": -1}, InvalidError, "port.port_no"), (TAP, {"ifname": "tap0"}, ExistsError, "port.ifname"),
    (TAP, {"bridge": "b1", "ifname": "tap0"}, ExistsError, "port.ifname"), (TAP, {"ifname": "a b"}, InvalidError, "port.ifname"),
    (TAP, {"ifname": "x" * 16}, InvalidError, "port.ifname"), (TAP, {"queues": 0}, InvalidError, "port.queues"),
    (TAP, {"queues": 17}, InvalidError, "port.queues"), (TAP, {"mac": "1:2"}, InvalidError, "port.mac"),
    (TAP, {"mac": "01:00:00:00:00:00"}, InvalidError, "port.mac"), (TAP, {"mac": "00:00:00:00:00:00"}, InvalidError, "port.mac"),
    (TAP, {"mtu": 67}, InvalidError, "port.mtu"), (TAP, {"config": 2}, InvalidError, "port.config"),
    (TAP, {"vni": 5}, InvalidError, "port.vni"), (TAP, {"remotes": ("1.2.3.4",)}, InvalidError, "port.remotes"),
    (VXLAN, {"vni": None}, InvalidError, "port.vni"), (VXLAN, {"vni": 2**24}, InvalidError, "port.vni"),
    (VXLAN, {"vni": -1}, InvalidError, "port.vni"), (VXLAN, {"vni": 1001}, ExistsError, "port.vni"),
    (VXLAN, {"remotes": ("1.2.3",)}, InvalidError, "port.remotes"), (VXLAN, {"remotes": ("0.0.0.0",)}, InvalidError, "port.remotes"),
    (VXLAN, {"remotes": ("239.1.1.1",)}, InvalidError, "port.remotes"),
    (VXLAN, {"remotes": ("1.2.3.4", "1.2.3.4")}, InvalidError, "port.remotes"),
    (VXLAN, {"remotes": tuple(f"10.0.{i >> 8}.{i & 255}" for i in range(1, 1026))}, InvalidError, "port.remotes"),
    (VXLAN, {"ifname": "x"}, InvalidError, "port.ifname"), (VXLAN, {"queues": 2}, InvalidError, "port.queues"),
    (PATCH, {"peer_bridge": "b1"}, InvalidError, "port.peer_bridge"), (PATCH, {"peer_bridge": "none"}, NotFoundError, "port.peer_bridge"),
    (PATCH, {"peer_port": ""}, InvalidError, "port.peer_port"), (PATCH, {"peer_port": "tap0"}, InvalidError, "port.peer_port"),
    (PATCH, {"peer_bridge": "r2", "peer_port": "q"}, InvalidError, "port.peer_port"),
    (DUMMY, {"peer_port": "x"}, InvalidError, "port.peer_port"), (DUMMY, {"learning": False}, InvalidError, "port.learning"),
])
def test_refused(what, change, error, field):
    add = {Tenant: lambda s, o: check.new_tenant(s, o, 1), Bridge: lambda s, o: check.new_bridge(s, o, s.host_id),
           Port: check.new_port}[type(what)]
    before = state()
    with pytest.raises(error) as e:
        add(before, replace(what, **change))
    assert e.value.field == field and before == state()
    add(before, what)


@pytest.mark.parametrize("change, error, field", [
    (lambda s: check.changed_tenant(s, Tenant("none"), 1), NotFoundError, "tenant.name"),
    (lambda s: check.changed_tenant(s, Tenant("red", id=9), 1), InvalidError, "tenant.id"),
    (lambda s: check.removable_tenant(s, "red"), BusyError, "tenant.name"),
    (lambda s: check.removable_tenant(s, "none"), NotFoundError, "tenant.name"),
    (lambda s: check.changed_bridge(s, Bridge("r1", "blue")), InvalidError, "bridge.tenant"),
    (lambda s: check.changed_bridge(s, Bridge("r1", "red", id=9)), InvalidError, "bridge.id"),
    (lambda s: check.changed_bridge(s, Bridge("none", "red")), NotFoundError, "bridge.name"),
    (lambda s: check.changed_port(s, Port("none", "r1", "tap")), NotFoundError, "port.name"),
    (lambda s: check.changed_port(s, Port("tap0", "r1", "tap", 2)), ExistsError, "port.port_no"),
    (lambda s: check.vtep(Vtep("::1")), InvalidError, "vtep.local4"), (lambda s: check.vtep(Vtep("1.2")), InvalidError, "vtep.local4"),
    (lambda s: check.vtep(Vtep(local6="1.2.3.4")), InvalidError, "vtep.local6"),
    (lambda s: check.vtep(Vtep("1.2.3.4", udp_port=0)), InvalidError, "vtep.udp_port"),
])
def test_change_refused(change, error, field):
    with pytest.raises(error) as e:
        change(state())
    assert e.value.field == field


def test_numbers_given_out():
    s = state()
    assert check.new_tenant(s, TENANT, 1).id == 4
    assert check.new_port(s, DUMMY).port_no == 4
    assert check.new_port(s, replace(DUMMY, port_no=0xfffffffe)).port_no == 0xfffffffe
    given = check.new_bridge(s, BRIDGE, s.host_id)
    assert given.id == 4 and given.dpid == 4 << 48 | s.host_id
    s.last_tenant_id = 4095
    assert check.new_tenant(s, TENANT, 1).id == 4


def test_own_fields_are_no_conflict():
    s = state()
    assert check.changed_bridge(s, replace(s.bridges["r1"], mac_ageing=60)).mac_ageing == 60
    assert check.changed_port(s, replace(s.ports["r1", "vx"], remotes=("10.0.0.1",))).remotes == ("10.0.0.1",)
    assert check.changed_tenant(s, Tenant("red", cpu_min=1.0), 1).id == 1


@pytest.mark.parametrize("text, target", [
    ("tcp:h", Target("h", 6653)), ("tcp:10.0.0.1:6633", Target("10.0.0.1", 6633)), ("tcp:[fe80::1]:7", Target("fe80::1", 7)),
    ("tcp:[::1]", Target("::1", 6653)), ("ssl:h:7", Target("h", 7, tls=True)), ("ssl:[::1]", Target("::1", 6653, tls=True)),
    ("unix:/run/x", Target(path="/run/x"))])
def test_controllers(text, target):
    assert targets.controller(text) == target


@pytest.mark.parametrize("text, target", [
    ("ptcp:", Target("", 6653)), ("ptcp:7", Target("", 7)), ("ptcp:7:127.0.0.1", Target("127.0.0.1", 7)),
    ("ptcp:7:[::1]", Target("::1", 7)), ("pssl:7", Target("", 7, tls=True)), ("punix:/run/x", Target(path="/run/x"))])
def test_listeners(text, target):
    assert targets.listener(text) == target


TLS = {"tls_certificate": "/c.pem", "tls_key": "/k.pem", "tls_ca": "/ca.pem"}


@pytest.mark.parametrize("change, field", [
    ({"controllers": ("ssl:h",)}, "bridge.tls_certificate"), ({"listen": ("pssl:",)}, "bridge.tls_certificate"),
    ({"controllers": ("ssl:h",), **TLS, "tls_ca": ""}, "bridge.tls_ca"), ({"tls_key": "k.pem"}, "bridge.tls_key"),
    ({"controllers": ("unix:x",)}, "bridge.controllers"), ({"listen": ("punix:",)}, "bridge.listen"),
    ({"protocols": ("1.6",)}, "bridge.protocols"), ({"protocols": ("1.3", "1.3")}, "bridge.protocols"),
    ({"auxiliary": 17}, "bridge.auxiliary")])
def test_openflow_settings_refused(change, field):
    s = state()
    with pytest.raises(InvalidError) as e:
        check.changed_bridge(s, replace(s.bridges["r1"], **change))
    assert e.value.field == field


def test_tls_with_its_files():
    s = state()
    changed = replace(s.bridges["r1"], controllers=("ssl:h",), listen=("pssl:",), **TLS)
    assert check.changed_bridge(s, changed).tls_ca == "/ca.pem"


def test_store(tmp_path):
    store = Store(tmp_path)
    assert store.load().tenants == {}
    store.save(state())
    assert store.load() == state()
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(InvalidError, match="can't be read"):
        store.load()
