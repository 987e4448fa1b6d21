"""Every service over a real Unix socket."""
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from vswitch.rpc.server import serve
from vswitch.rpc.v1 import (bridge_pb2, bridge_pb2_grpc, config_pb2, config_pb2_grpc, event_pb2, event_pb2_grpc, flow_pb2,
                            flow_pb2_grpc, port_pb2, port_pb2_grpc, rule_pb2, stats_pb2, stats_pb2_grpc, switch_pb2,
                            switch_pb2_grpc, tenant_pb2, tenant_pb2_grpc)

FRAME = bytes.fromhex("ffffffffffff0200000000010800") + bytes(46)


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server) as channel:
        yield channel


def add_objects(channel):
    tenant_pb2_grpc.TenantServiceStub(channel).AddTenant(
        tenant_pb2.AddTenantRequest(tenant=tenant_pb2.Tenant(name="red", weight=200)))
    bridge_pb2_grpc.BridgeServiceStub(channel).AddBridge(
        bridge_pb2.AddBridgeRequest(bridge=bridge_pb2.Bridge(name="br", tenant="red")))
    ports = port_pb2_grpc.PortServiceStub(channel)
    for name, vni in (("p1", None), ("vx", 0)):
        kind = port_pb2.PORT_KIND_DUMMY if vni is None else port_pb2.PORT_KIND_VXLAN
        ports.AddPort(port_pb2.AddPortRequest(port=port_pb2.Port(name=name, bridge="br", kind=kind, vni=vni)))


def test_tenants_bridges_ports(channel):
    add_objects(channel)
    tenants = tenant_pb2_grpc.TenantServiceStub(channel)
    changed = tenants.SetTenant(tenant_pb2.SetTenantRequest(name="red", cpu_max=0.5))
    assert (changed.weight, changed.cpu_max, changed.id) == (200, 0.5, 1)
    bridges = bridge_pb2_grpc.BridgeServiceStub(channel)
    request = bridge_pb2.SetBridgeRequest(name="br", controllers=bridge_pb2.Targets(target=["tcp:127.0.0.1"]))
    assert list(bridges.SetBridge(request).controllers) == ["tcp:127.0.0.1"]
    assert list(bridges.SetBridge(bridge_pb2.SetBridgeRequest(name="br", mac_max=9)).controllers) == ["tcp:127.0.0.1"]
    request = bridge_pb2.SetBridgeRequest(name="br", controllers=bridge_pb2.Targets())
    assert list(bridges.SetBridge(request).controllers) == []
    ports = port_pb2_grpc.PortServiceStub(channel)
    vx = ports.GetPort(port_pb2.GetPortRequest(bridge="br", name="vx")).port
    assert vx.HasField("vni") and vx.vni == 0 and vx.learning
    p1 = ports.GetPort(port_pb2.GetPortRequest(bridge="br", name="p1")).port
    assert not p1.HasField("vni")
    ports.Inject(port_pb2.InjectRequest(bridge="br", port="p1", frames=[FRAME]))
    assert list(ports.Collect(port_pb2.CollectRequest(bridge="br", port="p1")).frames) == [FRAME]
    ports.DeletePort(port_pb2.DeletePortRequest(bridge="br", name="vx"))
    assert len(ports.ListPorts(port_pb2.ListPortsRequest()).ports) == 1
    bridges.DeleteBridge(bridge_pb2.DeleteBridgeRequest(name="br"))
    tenants.DeleteTenant(tenant_pb2.DeleteTenantRequest(name="red"))
    assert not tenants.ListTenants(tenant_pb2.ListTenantsRequest()).tenants


TYPED = rule_pb2.Flow(
    table_id=1, priority=7, cookie=9, idle_timeout=10, flags=1,
    match=[rule_pb2.MatchField(name="eth_type", value=b"\x08\x00"),
           rule_pb2.MatchField(name="ipv4_dst", value=b"\x0a\x00\x00\x00", mask=b"\xff\xff\xff\x00")],
    instructions=[
        rule_pb2.Instruction(meter=3),
        rule_pb2.Instruction(apply_actions=rule_pb2.ActionList(actions=[
            rule_pb2.Action(push_vlan=0x8100), rule_pb2.Action(dec_nw_ttl=True), rule_pb2.Action(group=4),
            rule_pb2.Action(set_field=rule_pb2.MatchField(name="ipv4_dst", value=b"\x01\x02\x03\x04")),
            rule_pb2.Action(output=rule_pb2.Output(port=0xfffffffd, max_len=64))])),
        rule_pb2.Instruction(clear_actions=True),
        rule_pb2.Instruction(write_actions=rule_pb2.ActionList(actions=[rule_pb2.Action(set_queue=1)])),
        rule_pb2.Instruction(write_metadata=rule_pb2.WriteMetadata(metadata=5, mask=7)),
        rule_pb2.Instruction(goto_table=2)])
AS_TEXT = ("table=1,priority=7,cookie=9,idle_timeout=10,send_flow_rem,ip,nw_dst=10.0.0.0/24 actions=meter:3,push_vlan:0x8100,"
           "dec_ttl,group:4,set_field:1.2.3.4->ip_dst,CONTROLLER:64,clear_actions,write_actions(set_queue:1),"
           "write_metadata:5/7,goto_table:2")


def write(flows, *mods, bridge="br"):
    return flows.WriteFlows(flow_pb2.WriteFlowsRequest(bridge=bridge, mods=mods))


def test_typed_rules_and_texts_are_the_same(channel, double):
    add_objects(channel)
    flows = flow_pb2_grpc.FlowServiceStub(channel)
    write(flows, flow_pb2.FlowMod(command=flow_pb2.FLOW_COMMAND_ADD, flow=TYPED))
    typed = dict(double.rules["br"])
    double.rules["br"].clear()
    write(flows, flow_pb2.FlowMod(command=flow_pb2.FLOW_COMMAND_ADD, text=AS_TEXT))
    assert double.rules["br"] == typed
    [reply] = flows.ReadFlows(flow_pb2.ReadFlowsRequest(bridge="br"))
    assert reply.entries[0].flow == TYPED and reply.entries[0].packets == 3


def test_rules_in_batches(channel, double):
    add_objects(channel)
    flows = flow_pb2_grpc.FlowServiceStub(channel)
    double.full_at = 250
    mods = [flow_pb2.FlowMod(command=flow_pb2.FLOW_COMMAND_ADD, text=f"priority={number},in_port=p1,actions=vx")
            for number in range(260)]
    reply = write(flows, *mods)
    assert reply.applied == 250 and len(reply.results) == 260
    assert (reply.results[259].code, reply.results[259].of_type, reply.results[259].of_code) == (8, 5, 1)
    replies = list(flows.ReadFlows(flow_pb2.ReadFlowsRequest(bridge="br", as_text=True)))
    assert [len(reply.entries) for reply in replies] == [100, 100, 50]
    assert replies[0].entries[0].text.endswith("priority=0,in_port=p1 actions=output:vx")
    total = flows.AggregateFlows(flow_pb2.ReadFlowsRequest(bridge="br", text="in_port=p1"))
    assert (total.flows, total.packets) == (250, 750)
    write(flows, flow_pb2.FlowMod(command=flow_pb2.FLOW_COMMAND_DELETE, text="in_port=p1"))
    assert list(flows.ReadFlows(flow_pb2.ReadFlowsRequest(bridge="br"))) == []
    flows.Barrier(flow_pb2.BarrierRequest(bridge="br"))


def test_packet_out_and_trace(channel, double):
    add_objects(channel)
    flows = flow_pb2_grpc.FlowServiceStub(channel)
    flows.PacketOut(flow_pb2.PacketOutRequest(bridge="br", frame=FRAME, text="output:p1"))
    flows.PacketOut(flow_pb2.PacketOutRequest(bridge="br", frame=FRAME, actions=[
        rule_pb2.Action(output=rule_pb2.Output(port=1))]))
    assert double.packets_out[0] == double.packets_out[1]
    assert double.packets_out[0].endswith(FRAME)
    assert "60 bytes" in flows.Trace(flow_pb2.TraceRequest(bridge="br", in_port=1, frame=FRAME)).text


def test_statistics(channel):
    add_objects(channel)
    stats = stats_pb2_grpc.StatsServiceStub(channel)
    usage = stats.GetUsage(stats_pb2.GetUsageRequest())
    worker = usage.workers[0]
    assert worker.now - worker.start == sum(worker.system.values()) + sum(worker.accounts[0].cycles.values())
    assert stats.ListTableStats(stats_pb2.ListTableStatsRequest(bridge="br")).tables[0].lookups == 10
    assert stats.ListMacs(stats_pb2.ListMacsRequest(bridge="br")).macs[0].age == 5
    assert stats.ListPortCounters(stats_pb2.ListPortCountersRequest(bridge="br")).ports[1].counters["rx_packets"] == 7
    stats.FlushMacs(stats_pb2.FlushMacsRequest(bridge="br"))
    info = switch_pb2_grpc.SwitchServiceStub(channel).GetInfo(switch_pb2.GetInfoRequest())
    assert info.connected and info.ports == 2


def test_events(channel):
    watch = event_pb2_grpc.EventServiceStub(channel).Watch(event_pb2.WatchRequest(kinds=["tenant", "bridge"]))
    watch.initial_metadata()
    add_objects(channel)
    first, second = next(watch), next(watch)
    assert (first.kind, first.action, first.tenant.weight) == ("tenant", "added", 200)
    assert (second.kind, second.bridge, second.bridge_detail.dpid) == ("bridge", "br", 1)
    watch.cancel()


def test_configuration(channel):
    config = config_pb2_grpc.ConfigServiceStub(channel)
    text = "tenants: {red: {bridges: {br: {dpid: 5, ports: {p1: {kind: dummy}}, flows: ['actions=output:p1']}}}}"
    config.Check(config_pb2.ConfigRequest(text=text))
    planned = config.Diff(config_pb2.ConfigRequest(text=text)).changes
    assert [change.object for change in planned] == ["tenant red", "bridge br", "port br/p1", "flow br"]
    assert len(config.Apply(config_pb2.ConfigRequest(text=text)).changes) == 4
    shown = config.Show(config_pb2.ShowRequest(flows=True)).text
    assert not config.Diff(config_pb2.ConfigRequest(text=shown)).changes


def test_health_and_reflection(channel):
    check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="vswitch.v1.FlowService"))
    assert check.status == health_pb2.HealthCheckResponse.SERVING
    services = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert {f"vswitch.v1.{name}Service" for name in ("Tenant", "Bridge", "Port", "Flow", "Stats", "Event", "Config", "Switch")
            } <= set(services)


async def test_the_socket_is_not_for_everybody(double, tmp_path):
    path = tmp_path / "run" / "api.sock"
    for _ in range(2):      # the second finds a socket that a killed server left
        api = await serve(double, [f"unix:{path}"])
        assert path.stat().st_mode & 0o007 == 0
    await api.stop(0)
    assert not path.exists()
