"""Requests that are wrong: the status, the field in the message and in the metadata, and nothing changed."""
import asyncio

import grpc
import pytest

from vswitch import errors
from vswitch.cli.client import _request
from vswitch.config.show import show
from vswitch.errors import InvalidError, UnavailableError
from vswitch.rpc.errors import CODES, status_code
from vswitch.rpc.server import serve

FRAME = bytes(60)


def flow(**fields):
    return {"bridge": "br", "mods": [{"command": "FLOW_COMMAND_ADD", "flow": fields}]}


def action(**fields):
    return flow(instructions=[{"apply_actions": {"actions": [fields]}}])


BAD = [
    ("TenantService.AddTenant", {}, "INVALID_ARGUMENT", "tenant"),
    ("TenantService.AddTenant", {"tenant": {"name": ""}}, "INVALID_ARGUMENT", "tenant.name"),
    ("TenantService.AddTenant", {"tenant": {"name": "red"}}, "ALREADY_EXISTS", "tenant.name"),
    ("TenantService.AddTenant", {"tenant": {"name": "x", "weight": 10001}}, "INVALID_ARGUMENT", "tenant.weight"),
    ("TenantService.AddTenant", {"tenant": {"name": "x", "id": 7}}, "INVALID_ARGUMENT", "tenant.id"),
    ("TenantService.AddTenant", {"tenant": {"name": "x", "cpu_min": 0.9}}, "RESOURCE_EXHAUSTED", "tenant.cpu_min"),
    ("TenantService.SetTenant", {"name": "nope"}, "NOT_FOUND", "tenant.name"),
    ("TenantService.DeleteTenant", {"name": "red"}, "FAILED_PRECONDITION", "tenant.name"),
    ("TenantService.GetTenant", {}, "INVALID_ARGUMENT", "tenant.name"),
    ("BridgeService.AddBridge", {"bridge": {"name": "b2", "tenant": "nope"}}, "NOT_FOUND", "bridge.tenant"),
    ("BridgeService.AddBridge", {"bridge": {"name": "b2", "tenant": "red", "fail_mode": 9}}, "INVALID_ARGUMENT", "bridge.fail_mode"),
    ("BridgeService.AddBridge", {"bridge": {"name": "b2", "tenant": "red", "dpid": 1}}, "ALREADY_EXISTS", "bridge.dpid"),
    ("BridgeService.SetBridge", {"name": "br", "dpid": 0}, "INVALID_ARGUMENT", "bridge.dpid"),
    ("BridgeService.ListBridges", {"tenant": "nope"}, "NOT_FOUND", "tenant"),
    ("PortService.AddPort", {"port": {"name": "p", "bridge": "br"}}, "INVALID_ARGUMENT", "port.kind"),
    ("PortService.AddPort", {"port": {"name": "p", "bridge": "br", "kind": 3}}, "INVALID_ARGUMENT", "port.vni"),
    ("PortService.AddPort", {"port": {"name": "p", "bridge": "br", "kind": 3, "vni": 7}}, "ALREADY_EXISTS", "port.vni"),
    ("PortService.GetPort", {"bridge": "br", "name": "nope"}, "NOT_FOUND", "port.name"),
    ("PortService.Inject", {"bridge": "br", "port": "p1", "frames": [b"short"]}, "INVALID_ARGUMENT", "frames[0]"),
    ("PortService.Collect", {"bridge": "br", "port": "vx"}, "INVALID_ARGUMENT", "port"),
    ("FlowService.WriteFlows", {"bridge": "nope"}, "NOT_FOUND", "bridge"),
    ("FlowService.WriteFlows", {"bridge": "br", "mods": [{"text": "actions=drop"}]}, "INVALID_ARGUMENT", "mods[0].command"),
    ("FlowService.WriteFlows", {"bridge": "br", "mods": [{"command": 1}]}, "INVALID_ARGUMENT", "mods[0]"),
    ("FlowService.WriteFlows", {"bridge": "br", "mods": [{"command": 1, "text": "actions=drop", "flow": {}}]},
     "INVALID_ARGUMENT", "mods[0]"),
    ("FlowService.WriteFlows", {"bridge": "br", "mods": [{"command": 1, "text": "actions=drop"},
                                                         {"command": 1, "text": "ip,nw_dst=1,actions=drop"}]},
     "INVALID_ARGUMENT", "mods[1].text: nw_dst"),
    ("FlowService.WriteFlows", flow(table_id=254), "INVALID_ARGUMENT", "mods[0].flow.table_id"),
    ("FlowService.WriteFlows", flow(priority=65536), "INVALID_ARGUMENT", "mods[0].flow.priority"),
    ("FlowService.WriteFlows", flow(flags=32), "INVALID_ARGUMENT", "mods[0].flow.flags"),
    ("FlowService.WriteFlows", flow(cookie_mask=1), "INVALID_ARGUMENT", "mods[0].flow.cookie_mask"),
    ("FlowService.WriteFlows", flow(match=[{"name": "nope"}]), "INVALID_ARGUMENT", "mods[0].flow.match[0].name"),
    ("FlowService.WriteFlows", flow(match=[{"name": "in_port", "value": bytes(5)}]), "INVALID_ARGUMENT",
     "mods[0].flow.match[0].value"),
    ("FlowService.WriteFlows", flow(match=[{"name": "vlan_pcp", "value": b"\x08"}]), "INVALID_ARGUMENT",
     "mods[0].flow.match[0].value"),
    ("FlowService.WriteFlows", flow(match=[{"name": "in_port", "value": b"\1", "mask": b"\1"}]), "INVALID_ARGUMENT",
     "mods[0].flow.match[0].mask"),
    ("FlowService.WriteFlows", flow(match=[{"name": "metadata", "value": b"\2", "mask": b"\1"}]), "INVALID_ARGUMENT",
     "mods[0].flow.match[0].value"),
    ("FlowService.WriteFlows", flow(match=[{"name": "in_port", "value": b"\1"}] * 2), "INVALID_ARGUMENT",
     "mods[0].flow.match[1].name"),
    ("FlowService.WriteFlows", flow(instructions=[{}]), "INVALID_ARGUMENT", "mods[0].flow.instructions[0]"),
    ("FlowService.WriteFlows", flow(instructions=[{"goto_table": 0}]), "INVALID_ARGUMENT",
     "mods[0].flow.instructions[0].goto_table"),
    ("FlowService.WriteFlows", flow(instructions=[{"meter": 1}, {"meter": 2}]), "INVALID_ARGUMENT",
     "mods[0].flow.instructions[1]"),
    ("FlowService.WriteFlows", action(output={"port": 0}), "INVALID_ARGUMENT",
     "mods[0].flow.instructions[0].apply_actions.actions[0].output.port"),
    ("FlowService.WriteFlows", action(push_vlan=5), "INVALID_ARGUMENT",
     "mods[0].flow.instructions[0].apply_actions.actions[0].push_vlan"),
    ("FlowService.WriteFlows", action(pop_vlan=False), "INVALID_ARGUMENT",
     "mods[0].flow.instructions[0].apply_actions.actions[0].pop_vlan"),
    ("FlowService.WriteFlows", action(set_field={"name": "metadata", "value": b"\1"}), "INVALID_ARGUMENT",
     "mods[0].flow.instructions[0].apply_actions.actions[0].set_field.name"),
    ("FlowService.AggregateFlows", {"bridge": "br", "text": "ip", "table_id": 3}, "INVALID_ARGUMENT", "text"),
    ("FlowService.AggregateFlows", {"bridge": "br", "table_id": 255}, "INVALID_ARGUMENT", "table_id"),
    ("FlowService.PacketOut", {"bridge": "br", "frame": b"x", "text": "1"}, "INVALID_ARGUMENT", "frame"),
    ("FlowService.PacketOut", {"bridge": "br", "frame": FRAME}, "INVALID_ARGUMENT", "actions"),
    ("FlowService.Trace", {"bridge": "br", "frame": FRAME}, "INVALID_ARGUMENT", "in_port"),
    ("StatsService.ListMacs", {"bridge": "nope"}, "NOT_FOUND", "bridge"),
    ("ConfigService.Apply", {"text": "tenants: {red: {weigth: 1}}"}, "INVALID_ARGUMENT", "tenants.red.weigth"),
    ("EventService.Watch", {"kinds": ["port", "nope"]}, "INVALID_ARGUMENT", "kinds[1]"),
]

STATE = "tenants: {red: {cpu_min: 0.5, bridges: {br: {dpid: 1, ports: {p1: {kind: dummy}, vx: {kind: vxlan, vni: 7}}}}}}"


@pytest.mark.parametrize("method, fields, code, field", BAD, ids=[f"{case[0]}-{case[3]}" for case in BAD])
def test_the_status_names_the_field(server, double, method, fields, code, field):
    with grpc.insecure_channel(server) as channel:
        path, request, reply = _request("ConfigService.Apply", {"text": STATE})
        channel.unary_unary(path, type(request).SerializeToString, reply.FromString)(request)
        before = asyncio.run(show(double))
        path, request, reply = _request(method, fields)
        kind = channel.unary_stream if method.endswith("Watch") else channel.unary_unary
        with pytest.raises(grpc.RpcError) as caught:
            list(kind(path, type(request).SerializeToString, reply.FromString)(request))
        assert caught.value.code().name == code, caught.value.details()
        assert dict(caught.value.trailing_metadata())["vswitch-field"] == field
        assert field in caught.value.details()
        assert asyncio.run(show(double)) == before


def test_every_error_has_a_status():
    assert {error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, errors.VswitchError)
            } - {errors.VswitchError} == set(CODES)
    assert status_code(errors.OpenFlowError(5, 1)) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert status_code(KeyError()) is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("address, kind", [
    ("unix:relative", InvalidError), ("nonsense", InvalidError), ("127.0.0.1:99999", InvalidError),
    ("0.0.0.0:7000", InvalidError), ("192.0.2.77:7000", InvalidError)])
async def test_wrong_addresses(double, address, kind):
    with pytest.raises(kind) as caught:
        await serve(double, [address])
    assert caught.value.field == "api.address"


async def test_an_address_in_use(double):
    first = await serve(double, ["127.0.0.1:0"])
    with pytest.raises(UnavailableError):
        await serve(double, first.addresses)
    await first.stop(0)
