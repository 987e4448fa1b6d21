"""The model's objects as the API's messages, and back. What is out of range is the Switch's to refuse."""
from __future__ import annotations

from collections.abc import Iterable

from vswitch.errors import InvalidError
from vswitch.model.egress_queues import parse_queues
from vswitch.model.objects import (AccountUsage, Bridge, ControllerStatus, Port, PortStatus, Tenant, Usage, Vtep,
                                   WorkerUsage)
from vswitch.rpc.v1 import bridge_pb2, port_pb2, stats_pb2, tenant_pb2

PORT_KINDS = {
    port_pb2.PORT_KIND_TAP: "tap",
    port_pb2.PORT_KIND_NETDEV: "netdev",
    port_pb2.PORT_KIND_VXLAN: "vxlan",
    port_pb2.PORT_KIND_PATCH: "patch",
    port_pb2.PORT_KIND_DUMMY: "dummy",
    port_pb2.PORT_KIND_VHOST_USER: "vhost-user",
}
PORT_KIND_NUMBERS = {name: number for number, name in PORT_KINDS.items()}
FAIL_MODES = {bridge_pb2.FAIL_MODE_STANDALONE: "standalone", bridge_pb2.FAIL_MODE_SECURE: "secure"}
FAIL_MODE_NUMBERS = {name: number for number, name in FAIL_MODES.items()}


def required(request, name: str):
    """The sub-message `name` of a request; InvalidError where it is absent."""
    if not request.HasField(name):
        raise InvalidError("is required", name)
    return getattr(request, name)


def enum_name(names: dict[int, str], number: int, field: str) -> str:
    """The model's word for an enum's number; InvalidError for one that has none."""
    if number not in names:
        raise InvalidError(f"{number} is none of {', '.join(names.values())}", field)
    return names[number]


def _no_id(message, field: str) -> None:
    if message.id:
        raise InvalidError("is given by the switch, must be 0", field)


# -- tenants

def tenant_message(tenant: Tenant) -> tenant_pb2.Tenant:
    return tenant_pb2.Tenant(name=tenant.name, weight=tenant.weight, cpu_min=tenant.cpu_min, cpu_max=tenant.cpu_max,
                             max_rules=tenant.max_rules, max_megaflows=tenant.max_megaflows, id=tenant.id)


def tenant_object(message: tenant_pb2.Tenant) -> Tenant:
    _no_id(message, "tenant.id")
    return Tenant(message.name, message.weight or Tenant.weight, message.cpu_min, message.cpu_max, message.max_rules,
                  message.max_megaflows)


# -- bridges

def bridge_message(bridge: Bridge) -> bridge_pb2.Bridge:
    return bridge_pb2.Bridge(name=bridge.name, tenant=bridge.tenant, dpid=bridge.dpid,
                             fail_mode=FAIL_MODE_NUMBERS[bridge.fail_mode], controllers=bridge.controllers,
                             listen=bridge.listen, mac_ageing=bridge.mac_ageing, mac_max=bridge.mac_max, id=bridge.id,
                             protocols=bridge.protocols, auxiliary=bridge.auxiliary, egress_table=bridge.egress_table,
                             tls=bridge_pb2.TlsFiles(certificate=bridge.tls_certificate, key=bridge.tls_key,
                                                     ca=bridge.tls_ca))


def bridge_object(message: bridge_pb2.Bridge) -> Bridge:
    _no_id(message, "bridge.id")
    fail_mode = Bridge.fail_mode
    if message.fail_mode != bridge_pb2.FAIL_MODE_UNSPECIFIED:
        fail_mode = enum_name(FAIL_MODES, message.fail_mode, "bridge.fail_mode")
    return Bridge(message.name, message.tenant, message.dpid, fail_mode, tuple(message.controllers), tuple(message.listen),
                  protocols=tuple(message.protocols), auxiliary=message.auxiliary, **tls_files(message.tls),
                  mac_ageing=message.mac_ageing or Bridge.mac_ageing, mac_max=message.mac_max or Bridge.mac_max,
                  egress_table=message.egress_table)


def tls_files(message: bridge_pb2.TlsFiles) -> dict[str, str]:
    return {"tls_certificate": message.certificate, "tls_key": message.key, "tls_ca": message.ca}


def controller_message(status: ControllerStatus) -> bridge_pb2.ControllerStatus:
    return bridge_pb2.ControllerStatus(bridge=status.bridge, target=status.target, connected=status.connected,
                                       version=status.version, role=status.role, last_error=status.last_error,
                                       auxiliary=status.auxiliary)


# -- ports

def port_message(port: Port) -> port_pb2.Port:
    return port_pb2.Port(name=port.name, bridge=port.bridge, kind=PORT_KIND_NUMBERS[port.kind], port_no=port.port_no,
                         ifname=port.ifname, queues=port.queues, mac=port.mac, mtu=port.mtu, vni=port.vni,
                         remotes=port.remotes, learning=port.learning if port.kind == "vxlan" else None,
                         peer_bridge=port.peer_bridge, peer_port=port.peer_port, config=port.config, max_rate=port.max_rate,
                         egress_queues=[port_pb2.EgressQueue(id=queue.queue_id, min_rate=queue.min_kbps, max_rate=queue.max_kbps)
                                        for queue in parse_queues(port.egress_queues)],
                         socket=port.socket, mode=port.mode if port.kind == "vhost-user" else "",
                         xdp_mode=port.xdp_mode if port.kind == "netdev" else "", busy_poll=port.busy_poll,
                         steering=port.steering if port.kind == "netdev" else "")


def port_object(message: port_pb2.Port) -> Port:
    return Port(message.name, message.bridge, enum_name(PORT_KINDS, message.kind, "port.kind"), message.port_no,
                message.ifname, message.queues or Port.queues, message.mac, message.mtu,
                message.vni if message.HasField("vni") else None, tuple(message.remotes),
                message.learning if message.HasField("learning") else True, message.peer_bridge, message.peer_port,
                message.config, max_rate=message.max_rate, egress_queues=queue_texts(message.egress_queues),
                socket=message.socket, mode=message.mode or Port.mode, xdp_mode=message.xdp_mode or Port.xdp_mode,
                busy_poll=message.busy_poll, steering=message.steering or Port.steering)


def queue_texts(messages: Iterable[port_pb2.EgressQueue]) -> tuple[str, ...]:
    return tuple(f"{queue.id}:{queue.min_rate}:{queue.max_rate}" for queue in messages)


def port_status_message(status: PortStatus) -> port_pb2.PortStatus:
    return port_pb2.PortStatus(port=port_message(status.port), state=status.state, speed_kbps=status.speed_kbps,
                               counters=status.counters, detail=status.detail)


def vtep_message(vtep: Vtep) -> port_pb2.Vtep:
    return port_pb2.Vtep(local4=vtep.local4, local6=vtep.local6, udp_port=vtep.udp_port, uplink=vtep.uplink,
                         udp_checksum=vtep.udp_checksum, uplink_device=vtep.uplink_device)


def vtep_object(message: port_pb2.Vtep) -> Vtep:
    return Vtep(message.local4, message.local6, message.udp_port or Vtep.udp_port, message.uplink, message.udp_checksum,
                message.uplink_device)


# -- usage

def usage_message(usage: Usage) -> stats_pb2.Usage:
    return stats_pb2.Usage(tsc_hz=usage.tsc_hz, workers=[_worker_message(worker) for worker in usage.workers])


def _worker_message(worker: WorkerUsage) -> stats_pb2.WorkerUsage:
    return stats_pb2.WorkerUsage(
        worker=worker.worker, start=worker.start, now=worker.now, system=worker.system, loops=worker.loops,
        sleeps=worker.sleeps, stalls=worker.stalls, stall_cycles=worker.stall_cycles, longest=worker.longest,
        stretch=worker.stretch, accounts=[_account_message(account) for account in worker.accounts],
        longest_raw=worker.longest_raw, longest_tenant=worker.longest_tenant, longest_stage=worker.longest_stage)


def _account_message(account: AccountUsage) -> stats_pb2.AccountUsage:
    return stats_pb2.AccountUsage(
        tenant=account.tenant, cycles=account.cycles, turns=account.turns, rx_packets=account.rx_packets,
        rx_bytes=account.rx_bytes, tx_packets=account.tx_packets, tx_bytes=account.tx_bytes, emc_hits=account.emc_hits,
        megaflow_hits=account.megaflow_hits, slow=account.slow, packet_ins=account.packet_ins, drops=account.drops,
        yields=account.yields, overtaken=account.overtaken, waited=account.waited, throttled=account.throttled,
        waited_for=account.waited_for)


# -- partial changes

def present_fields(request, names: tuple[str, ...]) -> dict[str, object]:
    """Those of the optional fields `names` that a request holds, for dataclasses.replace."""
    return {name: getattr(request, name) for name in names if request.HasField(name)}
