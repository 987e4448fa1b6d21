"""Configuration files that are wrong: the error says file, line, key and reason, and nothing changes."""
import pytest

from vswitch.config.load import load_text
from vswitch.errors import InvalidError

GOOD = """\
vtep: {local4: 192.0.2.1}
tenants:
  red:
    weight: 200
    bridges:
      br-red:
        dpid: 0x1
        fail_mode: secure
        controllers: ["tcp:127.0.0.1:6653"]
        ports:
          web: {kind: tap, port_no: 1}
          vx: {kind: vxlan, port_no: 2, vni: 1001, remotes: [192.0.2.2]}
        flows:
          - priority=100,in_port=web,actions=output:vx
          - priority=0,actions=drop
  blue:
    bridges:
      br-blue:
        dpid: 0x2
        ports:
          web: {kind: dummy, port_no: 1}
"""

# (replace, by, line, path, a part of the reason)
BAD = [
    ("weight: 200", "weigth: 200", 4, "tenants.red.weigth", "unknown key"),
    ("weight: 200", "weight: 0", 4, "tenants.red.weight", "out of range, 1..10000"),
    ("weight: 200", "weight: many", 4, "tenants.red.weight", "not a whole number"),
    ("weight: 200", "weight: [1]", 4, "tenants.red.weight", "must be one value"),
    ("weight: 200", "weight: true", 4, "tenants.red.weight", "not a whole number"),
    ("weight: 200", "cpu_max: 1.5", 4, "tenants.red.cpu_max", "0..1"),
    ("weight: 200", "{weight: 1", 5, "", "expected"),
    ("weight: 200", "weight: 200\n    weight: 3", 5, "tenants.red.weight", "duplicate key, first on line 4"),
    ("weight: 200", "cpu_min: 0.5\n    cpu_max: 0.2", 4, "tenants.red.cpu_min", "above cpu_max"),
    ("  blue:", "  red:", 16, "tenants.red", "duplicate key"),
    ("  blue:", "  bl ue:", 16, "tenants.bl ue", "no name"),
    ("tenants:", "tenats:", 2, "tenats", "unknown key"),
    ("local4: 192.0.2.1", "local4: 192.0.2.256", 1, "vtep.local4", "not an IPv4 address"),
    ("local4: 192.0.2.1", "local4: 192.0.2.1, uplink: nonsense", 1, "vtep.uplink", "must be BRIDGE/PORT"),
    ("local4: 192.0.2.1", "local4: 0.0.0.0, uplink: br/up", 1, "vtep.local4", "the address that the tunnel end point has"),
    ("local4: 192.0.2.1", "local4: 192.0.2.1, udp_checksum: true", 1, "vtep.udp_checksum", "is for an uplink"),
    ("local4: 192.0.2.1", "udp_port: 0", 1, "vtep.udp_port", "1..65535"),
    ("fail_mode: secure", "fail_mode: open", 8, "tenants.red.bridges.br-red.fail_mode", "none of standalone, secure"),
    ("tcp:127.0.0.1:6653", "udp:1.2.3.4", 9, "tenants.red.bridges.br-red.controllers[0]", "tcp:HOST[:PORT]"),
    ("tcp:127.0.0.1:6653", "tcp:127.0.0.1:66530", 9, "tenants.red.bridges.br-red.controllers[0]", "tcp:HOST[:PORT]"),
    ("dpid: 0x2", "dpid: 0x1", 19, "tenants.blue.bridges.br-blue.dpid", "tenants.red.bridges.br-red.dpid's already"),
    ("br-blue:", "br-red:", 18, "tenants.blue.bridges.br-red", "has a bridge of this name"),
    ("kind: tap", "kind: tun", 11, "tenants.red.bridges.br-red.ports.web.kind", "none of tap"),
    ("kind: tap, ", "", 11, "tenants.red.bridges.br-red.ports.web.kind", "is required"),
    ("kind: tap", "kind: tap, vni: 3", 11, "tenants.red.bridges.br-red.ports.web.vni", "has no vni"),
    ("kind: tap", "kind: tap, ifname: abcdefghijklmnop", 11, "tenants.red.bridges.br-red.ports.web.ifname", "1..15"),
    ("vni: 1001, ", "", 12, "tenants.red.bridges.br-red.ports.vx.vni", "needs it"),
    ("vni: 1001", "vni: 16777216", 12, "tenants.red.bridges.br-red.ports.vx.vni", "0..16777215"),
    ("remotes: [192.0.2.2]", "remotes: 192.0.2.2", 12, "tenants.red.bridges.br-red.ports.vx.remotes", "must be a list"),
    ("remotes: [192.0.2.2]", "remotes: [a]", 12, "tenants.red.bridges.br-red.ports.vx.remotes[0]", "not an IP address"),
    ("port_no: 2, vni", "port_no: 1, vni", 12, "tenants.red.bridges.br-red.ports.vx.port_no", "already"),
    ("kind: dummy, port_no: 1", "kind: vxlan, vni: 1001", 21, "tenants.blue.bridges.br-blue.ports.web.vni", "already"),
    ("kind: dummy, port_no: 1", "kind: tap", 21, "tenants.blue.bridges.br-blue.ports.web", "already"),
    ("kind: dummy", "kind: patch, peer_bridge: br-x, peer_port: p", 21,
     "tenants.blue.bridges.br-blue.ports.web.peer_bridge", "no bridge 'br-x'"),
    ("in_port=web,", "in_port=wep,", 14, "tenants.red.bridges.br-red.flows[0]", "in_port: there is no port 'wep'"),
    ("priority=0,actions=drop", "priority=0", 15, "tenants.red.bridges.br-red.flows[1]", "actions: is missing"),
    ("priority=0,actions=drop", "priority=0,actions=frob", 15, "tenants.red.bridges.br-red.flows[1]", "unknown action 'frob'"),
    ("priority=0,actions=drop", "priority=100,in_port=1,actions=drop", 15, "tenants.red.bridges.br-red.flows[1]",
     "as on line 14"),
    ("priority=0,actions=drop", "7", 15, "tenants.red.bridges.br-red.flows[1]", "not text"),
    ("    weight: 200", "\tweight: 200", 4, "", "cannot start any token"),
    (GOOD, "", 1, "tenants", "is required"),
    (GOOD, "- a", 1, "", "must be a mapping"),
    (GOOD, "a: b: c", 1, "", "mapping values"),
    (GOOD, "tenants: &a {red: *b}", 1, "", "alias"),
    (GOOD, "tenants:\n  1: {}\n  1: {}", 3, "tenants.1", "duplicate key"),
    (GOOD, "tenants: {red: {weight: !!python/name:os.system x}}", 1, "tenants.red.weight", "constructor"),
]


@pytest.mark.parametrize("old, new, line, path, reason", BAD, ids=[f"{case[3]}-{case[4][:30]}" for case in BAD])
def test_the_error_names_line_and_key(old, new, line, path, reason):
    assert old in GOOD
    with pytest.raises(InvalidError) as caught:
        load_text(GOOD.replace(old, new, 1), "site.yaml")
    message = str(caught.value)
    assert message.startswith(f"site.yaml:{line}: {path}{': ' if path else ''}"), message
    assert reason in message
    assert "\n" not in message


def test_the_good_file_is_good():
    config = load_text(GOOD, "site.yaml")
    assert config.ports["br-red", "vx"].remotes == ("192.0.2.2",)
    assert len(config.flows["br-red"]) == 2 and "br-blue" not in config.flows
