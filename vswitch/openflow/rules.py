"""Controllers' flow-mods and packet-outs, of every version, in the datapath's form."""
from __future__ import annotations

import struct

from vswitch.errors import OpenFlowError
from vswitch.openflow import convert, rule_messages as rule
from vswitch.openflow.constants import OFPP_ANY, OFPP_CONTROLLER, BadRequest, ErrorType, Type
from vswitch.openflow.layout import bad_length
from vswitch.openflow.port_messages import number_in
from vswitch.openflow.versions import NICIRA, OF10, OF11, OF15

NXT_FLOW_MOD = 13
TABLE_AT, COMMAND_AT = 16, 17       # in a canonical flow_mod
DELETES = (3, 4)                    # OFPFC_DELETE and DELETE_STRICT
_NX_FLOW_MOD_HEAD = struct.pack("!II", NICIRA, NXT_FLOW_MOD)
# Bytes of the shortest body, its match empty.
_FLOW_MOD_MIN = {OF10: 64, OF11: 128}
_NX_FLOW_MOD_MIN = 32
_PACKET_OUT_MIN = {OF10: 8}
_PACKET_OUT = struct.Struct("!IIH6x")
_SET_FIELD = struct.Struct("!HH")
_OFPAT_SET_FIELD = 25
_IN_PORT_OXM = 0x80000004
# What a 1.5 packet-out may say of its packet besides the port: metadata, tunnel id and registers (OXM headers without
# has-mask and length; Nicira's registers and tunnel id too).
_PIPELINE = {0x80000400, 0x80004c00} | {0x80010000 | n << 9 for n in range(8)} | {0x00010000 | n << 9 for n in range(17)}


def kind_of(kind: Type | None, data: bytes) -> Type | None:
    """The canonical type of a message, an NXT_FLOW_MOD being a flow-mod."""
    if kind == Type.EXPERIMENTER and data[8:16] == _NX_FLOW_MOD_HEAD:
        return Type.FLOW_MOD
    return kind


def flow_mod(version: int, data: bytes, *, table_id: bool = False) -> bytes:
    """The canonical body of a whole OFPT_FLOW_MOD or NXT_FLOW_MOD; `table_id`: NXT_FLOW_MOD_TABLE_ID is on."""
    if data[8:16] == _NX_FLOW_MOD_HEAD and data[1] == Type.EXPERIMENTER:
        body = data[16:]
        if len(body) < _NX_FLOW_MOD_MIN:
            raise bad_length("the message")
        return convert.nx_flow_mod(body, table_id=table_id)
    body = data[8:]
    if len(body) < _FLOW_MOD_MIN.get(version, 48):
        raise bad_length("the message")
    if table_id and version == OF10:
        return convert.flow_mod_with_table(body)
    return convert.flow_mod(version, body)


def packet_out(version: int, data: bytes) -> bytes:
    """The canonical body (1.3's) of a whole OFPT_PACKET_OUT."""
    body = data[8:]
    if len(body) < _PACKET_OUT_MIN.get(version, 16):
        raise bad_length("the message")
    if OF11 < version < OF15:
        return body
    message = rule.PACKET_OUT[version].decode(body)
    if version == OF15:
        in_port, actions = _pipeline(message.match)
        actions += message.actions
    else:
        in_port, actions = number_in(version, message.in_port), convert.actions(version, message.actions)
        if version == OF10 and in_port in (OFPP_ANY, 0):    # OFPP_NONE: from no port; 1.0 does not ask for a valid one
            in_port = OFPP_CONTROLLER
    return _PACKET_OUT.pack(message.buffer_id, in_port, len(actions)) + actions + message.data


def _pipeline(match: bytes) -> tuple[int, bytes]:
    """in_port, and the actions that set what a 1.5 packet-out's match says besides (1.5.1, 7.3.6)."""
    in_port, actions = 0, b""
    at, end = 4, int.from_bytes(match[2:4], "big")
    while at + 4 <= end:
        header = int.from_bytes(match[at:at + 4], "big")
        tlv = match[at:at + 4 + (header & 0xff)]
        at += len(tlv)
        if header == _IN_PORT_OXM:
            in_port = int.from_bytes(tlv[4:8], "big")
        elif header & ~0x1ff not in _PIPELINE or header & 0x100:
            raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.PIPELINE_FIELDS_ONLY,
                                f"OXM {header:#010x} is not a packet's place in the pipeline", "match")
        else:
            length = 4 + len(tlv) + 7 & ~7
            actions += (_SET_FIELD.pack(_OFPAT_SET_FIELD, length) + tlv).ljust(length, b"\0")
    if not in_port:
        raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.BAD_PORT, "the match names no in_port", "match.in_port")
    return in_port, actions
