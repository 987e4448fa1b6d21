"""Ports in each version: ofp_phy_port and ofp_port, port-mod, port-status, port statistics. Members carry the names of the
specifications' structs; the functions go between them and the datapath's records."""
from __future__ import annotations

import struct
from typing import Any

from vswitch.datapath.records import PortMod, PortRecord
from vswitch.errors import OpenFlowError
from vswitch.openflow import messages as ofp
from vswitch.openflow.constants import OFPP_ANY, OFPP_MAX, BadProperty, ErrorType, PortModFailed
from vswitch.openflow.layout import Layout, Many, One, Properties, bad_property, bad_property_length
from vswitch.openflow.versions import OF10, OF11, OF12, OF13, OF14, OF15

_DESCRIBED = "I curr, I advertised, I supported, I peer"
_COUNTED = ("Q rx_packets, Q tx_packets, Q rx_bytes, Q tx_bytes, Q rx_dropped, Q tx_dropped, Q rx_errors, Q tx_errors")
_ETHERNET_COUNTED = "Q rx_frame_err, Q rx_over_err, Q rx_crc_err, Q collisions"

# -- descriptions: 1.0 (5.2.1), 1.1 to 1.3, 1.4 (7.2.1) and later
PORT10 = Layout("PhyPort", f"H port_no, 6s hw_addr, 16z name, I config, I state, {_DESCRIBED}")
PORT14_ETHERNET = Layout("PortDescEthernet", f"H type=0, H length, 4x, {_DESCRIBED}, I curr_speed, I max_speed",
                         fault=bad_property_length)
PORT14 = Layout("Port14", "I port_no, H length, 2x, 6s hw_addr, 2x, 16z name, I config, I state",
                properties=Properties({0: PORT14_ETHERNET}))
PORT = {OF10: PORT10, OF11: ofp.PORT, OF12: ofp.PORT, OF13: ofp.PORT, OF14: PORT14, OF15: PORT14}
PORT_STATUS = {version: Layout(f"PortStatus{version:d}", "B reason, 7x", port=One(layout)) for version, layout in PORT.items()}
PORT_STATUS[OF13] = ofp.PORT_STATUS

# -- port-mod (1.0: 5.3.3; 1.1: A.3.4.2; 1.4: 7.3.4.4)
PORT_MOD10 = Layout("PortMod10", "H port_no, 6s hw_addr, I config, I mask, I advertise, 4x")
PORT_MOD14_ETHERNET = Layout("PortModEthernet", "H type=0, H length, I advertise", fault=bad_property_length)
PORT_MOD14_OPTICAL = Layout("PortModOptical", "H type=1, H length, I configure, I freq_lmda, I fl_offset, I grid_span,"
                            " I tx_pwr", fault=bad_property_length)
PORT_MOD14 = Layout("PortMod14", "I port_no, 4x, 6s hw_addr, 2x, I config, I mask",
                    properties=Properties({0: PORT_MOD14_ETHERNET, 1: PORT_MOD14_OPTICAL}))
PORT_MOD = {OF10: PORT_MOD10, OF11: ofp.PORT_MOD, OF12: ofp.PORT_MOD, OF13: ofp.PORT_MOD, OF14: PORT_MOD14, OF15: PORT_MOD14}

# -- statistics
PORT_REQUEST10 = Layout("PortRequest10", "H port_no=0xffff, 6x")
PORT_STATS10 = Layout("PortStats10", f"H port_no, 6x, {_COUNTED}, {_ETHERNET_COUNTED}")
PORT_STATS11 = Layout("PortStats11", f"I port_no, 4x, {_COUNTED}, {_ETHERNET_COUNTED}")
PORT_STATS14_ETHERNET = Layout("PortStatsEthernet", f"H type=0, H length, 4x, {_ETHERNET_COUNTED}", fault=bad_property_length)
PORT_STATS14 = Layout("PortStats14", f"H length, 2x, I port_no, I duration_sec, I duration_nsec, {_COUNTED}",
                      properties=Properties({0: PORT_STATS14_ETHERNET}))
PORT_STATS_REQUEST = {version: PORT_REQUEST10 if version == OF10 else ofp.PORT_REQUEST for version in PORT}
PORT_DESC_REQUEST = {version: ofp.PORT_REQUEST if version == OF15 else ofp.EMPTY for version in PORT}
PORT_STATS = {OF10: PORT_STATS10, OF11: PORT_STATS11, OF12: PORT_STATS11, OF13: ofp.PORT_STATS, OF14: PORT_STATS14,
              OF15: PORT_STATS14}

_STATS = struct.Struct("!I4x12QII")     # canonical: ofp_port_stats of 1.3
STATS_SIZE = _STATS.size
_OTHER_SPEED = 1 << 10                  # OFPPF_OTHER
_SPEEDS = {10_000: 1 << 1, 100_000: 1 << 3, 1_000_000: 1 << 5, 10_000_000: 1 << 6, 40_000_000: 1 << 7,
           100_000_000: 1 << 8, 1_000_000_000: 1 << 9}
_FEATURES10 = 0x7f                      # 1.0's speeds, up to 10 Gb/s; what follows is something else there
CONFIG = 0x65                           # OFPPC_PORT_DOWN, NO_RECV, NO_FWD, NO_PACKET_IN
_CONFIG10 = 0x7f                        # 1.0 has NO_STP, NO_RECV_STP and NO_FLOOD besides
_NO_FLOOD = 0x10


def number_in(version: int, number: int) -> int:
    """A port number as the switch has it: 1.0's reserved ones are 16 bits wide."""
    return number | 0xffff0000 if version == OF10 and number >= 0xff00 else number


def number_out(version: int, number: int) -> int:
    return number & 0xffff if version == OF10 else number


def speakable(version: int, number: int) -> bool:
    """Whether the version has a number for the port: 1.0 has none for those from 0xff00 to OFPP_MAX."""
    return version != OF10 or number < 0xff00 or number > OFPP_MAX


def _features(version: int, speed_kbps: int) -> int:
    if not speed_kbps:
        return 0
    features = _SPEEDS.get(speed_kbps, _OTHER_SPEED)
    return features & _FEATURES10 if version == OF10 else features


def port_desc(version: int, record: PortRecord) -> Any:
    """The version's ofp_port of a port as the datapath has it."""
    common = {"hw_addr": record.mac, "name": record.name[:15],
              "config": record.config & (_CONFIG10 if version == OF10 else CONFIG)}
    curr, speed = _features(version, record.speed_kbps), record.speed_kbps
    if version == OF10:
        return PORT10(port_no=record.port_no & 0xffff, state=record.state & 1, curr=curr, **common)
    if version <= OF13:
        return ofp.PORT(port_no=record.port_no, state=record.state, curr=curr, curr_speed=speed, max_speed=speed, **common)
    return PORT14(port_no=record.port_no, state=record.state, properties=[
        PORT14_ETHERNET(curr=curr, curr_speed=speed, max_speed=speed)], **common)


def encode_port(version: int, record: PortRecord) -> bytes:
    return PORT[version].encode(port_desc(version, record))


def encode_port_status(version: int, record: PortRecord) -> bytes:
    """The body of an OFPT_PORT_STATUS; the record has the reason."""
    return bytes((record.reason, 0, 0, 0, 0, 0, 0, 0)) + encode_port(version, record)


def port_mod(version: int, body: bytes) -> PortMod:
    """What an OFPT_PORT_MOD asks for. OpenFlowError for bits and rates that there are not."""
    message = PORT_MOD[version].decode(body)
    port_no = number_in(version, message.port_no)
    known = _CONFIG10 if version == OF10 else CONFIG
    if (message.config | message.mask) & ~known and version != OF10:
        raise OpenFlowError(ErrorType.PORT_MOD_FAILED, PortModFailed.BAD_CONFIG, f"bits other than {known:#x} are set")
    if version < OF14:
        advertise = message.advertise
    else:
        advertise = 0
        for item in message.properties:
            if item.layout is PORT_MOD14_OPTICAL:
                raise bad_property(BadProperty.BAD_TYPE, "no port is optical")
            advertise = item.advertise
    if advertise:
        raise OpenFlowError(ErrorType.PORT_MOD_FAILED, PortModFailed.BAD_ADVERTISE, "ports have no rates to advertise")
    if version == OF10 and message.mask & message.config & (_CONFIG10 & ~CONFIG & ~_NO_FLOOD):
        raise OpenFlowError(ErrorType.PORT_MOD_FAILED, PortModFailed.BAD_CONFIG, "there is no spanning tree")
    bits = CONFIG | _NO_FLOOD if version == OF10 else CONFIG
    return PortMod(port_no, message.config & bits, message.mask & bits, message.hw_addr)


def port_stats(version: int, entries: bytes) -> list[bytes]:
    """Canonical ofp_port_stats entries as the version's."""
    if version == OF13:
        return [entries[at:at + STATS_SIZE] for at in range(0, len(entries), STATS_SIZE)]
    return [_STATS_OUT[version](*values) for values in _STATS.iter_unpack(entries) if speakable(version, values[0])]


_STATS10, _STATS11 = struct.Struct("!H6x12Q"), struct.Struct("!I4x12Q")
_STATS14 = struct.Struct("!H2xIII8QHH4x4Q")


def _stats10(port_no: int, *counters: int) -> bytes:
    return _STATS10.pack(port_no & 0xffff, *counters[:12])


def _stats11(port_no: int, *counters: int) -> bytes:
    return _STATS11.pack(port_no, *counters[:12])


def _stats14(port_no: int, *counters: int) -> bytes:
    return _STATS14.pack(_STATS14.size, port_no, *counters[12:], *counters[:8], 0, 40, *counters[8:12])


_STATS_OUT = {OF10: _stats10, OF11: _stats11, OF12: _stats11, OF14: _stats14, OF15: _stats14}


def asked_port(version: int, number: int) -> int:
    """The port of a request for statistics: OFPP_ANY (1.0's OFPP_NONE) = all."""
    return OFPP_ANY if version == OF10 and number == 0xffff else number_in(version, number)
