"""Desired objects as the datapath's records, and records as what the API shows."""
from __future__ import annotations

from vswitch.datapath.records import (NO_ADDRESS, PORT_KINDS, STEERING, XDP_MODES, BalanceRecord, BridgeRecord, PortRecord,
                                       TenantRecord, VtepRecord, address_bytes)
from vswitch.model.objects import Balance, Bridge, Port, Tenant, Vtep
from vswitch.model.store import State

_PPM = 1_000_000


def tenant_record(tenant: Tenant) -> TenantRecord:
    return TenantRecord(tenant.id, tenant.weight, round(tenant.cpu_min * _PPM), round(tenant.cpu_max * _PPM),
                        tenant.max_rules, tenant.max_megaflows, 0, tenant.name)


def bridge_record(bridge: Bridge, tenant_id: int, *, miss: int, miss_send_len: int = 128,
                  config_flags: int = 0) -> BridgeRecord:
    return BridgeRecord(bridge.id, tenant_id, bridge.dpid, miss, bridge.mac_ageing,
                        bridge.mac_max, 0, miss_send_len, config_flags, bridge.egress_table, bridge.name)


def port_record(port: Port, state: State) -> PortRecord:
    peer_bridge = state.bridges.get(port.peer_bridge)
    peer_port = state.ports.get((port.peer_bridge, port.peer_port))
    return PortRecord(
        bridge=state.bridges[port.bridge].id, port_no=port.port_no, kind=PORT_KINDS[port.kind], config=port.config,
        n_queues=port.queues if port.kind in ("tap", "vhost-user") else 0, vni=port.vni or 0, mtu=port.mtu,
        peer_bridge=peer_bridge.id if peer_bridge else 0, peer_port=peer_port.port_no if peer_port else 0,
        learning=int(port.kind == "vxlan" and port.learning), mac=mac_bytes(port.mac),
        client=int(port.mode == "client"), name=port.name, ifname=port.ifname, socket=port.socket,
        xdp_mode=XDP_MODES[port.xdp_mode], busy_poll=port.busy_poll, steering=STEERING[port.steering])


def same_port(wanted: PortRecord, held: PortRecord) -> bool:
    """Whether the port that the datapath holds is the wanted one, its config apart."""
    return (all(getattr(wanted, name) == getattr(held, name)
                for name in ("bridge", "port_no", "kind", "vni", "peer_bridge", "peer_port", "learning", "name", "ifname",
                             "socket", "client", "xdp_mode", "busy_poll", "steering"))
            and wanted.n_queues == (held.n_queues if wanted.n_queues else 0)
            and wanted.mtu in (0, held.mtu) and wanted.mac in (bytes(6), held.mac))


def vtep_record(vtep: Vtep) -> VtepRecord:
    bridge, _, port = vtep.uplink.partition("/")
    return VtepRecord(address_bytes(vtep.local4), NO_ADDRESS if vtep.local6 == "::" else address_bytes(vtep.local6),
                      vtep.udp_port, int(vtep.local6 == "::"), int(vtep.udp_checksum), bridge, port, vtep.uplink_device)


def balance_record(balance: Balance) -> BalanceRecord:
    return BalanceRecord(balance.interval, balance.load, balance.improvement)


def same_vtep(wanted: VtepRecord, held: VtepRecord) -> bool:
    return all(getattr(wanted, name) == getattr(held, name)
               for name in ("local4", "local6", "any6", "uplink_checksum", "uplink_bridge", "uplink_port", "uplink_device")) and (
        wanted.port == (held.port or 4789) or wanted.local4 == wanted.local6 == NO_ADDRESS and not wanted.any6)


def mac_bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", "")) if text else bytes(6)


def mac_text(data: bytes) -> str:
    return "" if data == bytes(6) else data.hex(":")
