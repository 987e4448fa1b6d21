"""Rules between the form that the datapath speaks and each version's own.

The canonical form: flow_mod as in OpenFlow 1.4 (OXM match, `importance` in the last two bytes of the fixed part),
flow_stats entries as in 1.3.5 with importance in the pad after the flags, flow_removed and packet_in as in 1.3.5, 1.5
actions. Everything here takes and returns bodies without the ofp_header. `version` is the wire's (0x01 to 0x06). What can't
be converted is an OpenFlowError with a canonical type and code (error_map.py numbers it for each version).

Matches and actions are the C half's (native.py); here is what needs no look at them.
"""
from __future__ import annotations

import struct

from vswitch.openflow import native
from vswitch.openflow.constants import OFPG_ANY, OFPP_ANY
from vswitch.openflow.versions import OF10, OF11, OF13, OF14

STANDARD, NICIRA, NICIRA2, STATS = "standard", "nicira", "nicira2", "stats"
_FORMS = {STANDARD: native.STANDARD, NICIRA: native.NICIRA, STATS: native.FLOW_STATS}

_PACKET_IN = struct.Struct("!IHBBQ")
_REASON_AT, _REMOVED_REASON_AT = 6, 10
_IN_PORT_OXM = 0x80000004
_OXS_CLASS = 0x8002
_DURATION, _FLOW_COUNT, _PACKET_COUNT, _BYTE_COUNT = 0, 3, 4, 5
_NO_MATCH = b"\0\1\0\4\0\0\0\0"
# Properties of NXT_PACKET_IN2 (NXPINT_*)
_PACKET, _FULL_LEN, _BUFFER_ID, _TABLE_ID, _COOKIE, _REASON, _METADATA, _USERDATA = range(8)


def flow_mod(version: int, body: bytes) -> bytes:
    """An OFPT_FLOW_MOD of `version`, canonical."""
    return native.flow_mod_in(version, native.STANDARD, body)


def flow_mod_with_table(body: bytes) -> bytes:
    """An OFPT_FLOW_MOD of 1.0 whose command's upper byte names the table (NXT_FLOW_MOD_TABLE_ID)."""
    return native.flow_mod_in(OF10, native.STANDARD_TABLE, body)


def nx_flow_mod(body: bytes, *, table_id: bool = False) -> bytes:
    """An NXT_FLOW_MOD; with `table_id`, the upper byte of its command names the table (NXT_FLOW_MOD_TABLE_ID)."""
    return native.flow_mod_in(OF10, native.NICIRA_TABLE if table_id else native.NICIRA, body)


def flow_stats_request(version: int, form: str, body: bytes) -> bytes:
    """A request for flow or aggregate statistics (`form` STANDARD, or NICIRA for NXST_FLOW and NXST_AGGREGATE), as OpenFlow
    1.3's."""
    return native.stats_request_in(version, _FORMS[form], body)


def flow_stats(version: int, form: str, entries: bytes) -> bytes:
    """Canonical flow_stats entries as the version's: `form` STANDARD (1.5: OFPMP_FLOW_DESC), NICIRA, or 1.5's STATS."""
    return native.flow_stats_out(version, _FORMS[form], entries)


def flow_removed(version: int, body: bytes, form: str = STANDARD) -> bytes:
    """A canonical flow_removed as the version's, or as NXT_FLOW_REMOVED (form NICIRA)."""
    if version < OF14 and body[_REMOVED_REASON_AT] > (2 if version == OF10 else 3):
        body = body[:_REMOVED_REASON_AT] + b"\2" + body[_REMOVED_REASON_AT + 1:]     # to it they are deletions
    return native.flow_removed_out(version, _FORMS[form], body)


def actions(version: int, data: bytes) -> bytes:
    """A version's list of actions, canonical."""
    return native.actions_in(version, data) if data else b""


def actions_out(version: int, data: bytes) -> bytes:
    """A canonical list of actions as the version's."""
    return native.actions_out(version, data) if data else b""


def match_in(version: int, data: bytes, form: str = STANDARD) -> bytes:
    """A version's ofp_match, with its padding, as an OXM one; or the TLVs of an nx_match (form NICIRA)."""
    return native.match_in(version, _FORMS[form], data)


def match_out(version: int, data: bytes, form: str = STANDARD) -> bytes:
    return native.match_out(version, _FORMS[form], data)


def oxs_stats(**fields: int | tuple[int, int]) -> bytes:
    """An ofp_stats of 1.5 (7.2.4.2): `duration` is (seconds, nanoseconds)."""
    body = b""
    if "duration" in fields:
        body += struct.pack("!HBBII", _OXS_CLASS, _DURATION << 1, 8, *fields["duration"])
    if "flow_count" in fields:
        body += struct.pack("!HBBI", _OXS_CLASS, _FLOW_COUNT << 1, 4, fields["flow_count"])
    for name, number in (("packet_count", _PACKET_COUNT), ("byte_count", _BYTE_COUNT)):
        if name in fields:
            body += struct.pack("!HBBQ", _OXS_CLASS, number << 1, 8, fields[name])
    return struct.pack("!HH", 0, 4 + len(body)) + body + bytes(-(4 + len(body)) % 8)


def oxm_in_port(match: bytes) -> int:
    """The in_port of an OXM match, OFPP_ANY where it has none."""
    at, end = 4, int.from_bytes(match[2:4], "big")
    while at + 4 <= end:
        header = int.from_bytes(match[at:at + 4], "big")
        if header == _IN_PORT_OXM:
            return int.from_bytes(match[at + 4:at + 8], "big")
        at += 4 + (header & 0xff)
    return OFPP_ANY


def packet_in(version: int, form: str, body: bytes, userdata: bytes = b"") -> bytes:
    """A canonical packet_in as the version's OFPT_PACKET_IN (STANDARD), NXT_PACKET_IN (NICIRA) or NXT_PACKET_IN2 (NICIRA2).
    The last alone carries the data that a controller action of Nicira's has for its user."""
    if version < OF14 and body[_REASON_AT] > 2:
        body = body[:_REASON_AT] + b"\1" + body[_REASON_AT + 1:]     # 1.4 split them off OFPR_ACTION
    if form == STANDARD and version >= OF13:
        return body
    buffer_id, total_len, reason, table, cookie = _PACKET_IN.unpack_from(body)
    start = _PACKET_IN.size
    after = start + (int.from_bytes(body[start + 2:start + 4], "big") + 7 & ~7)
    match, data = body[start:after], body[after + 2:]
    if form == NICIRA:
        fields = match_out(OF10, match, NICIRA)
        return (struct.pack("!IHBBQH6x", buffer_id, total_len, reason, table, cookie, len(fields)) + fields
                + bytes(-len(fields) % 8 + 2) + data)
    if form == NICIRA2:
        found = [(_PACKET, data), (_TABLE_ID, bytes([table])), (_COOKIE, cookie.to_bytes(8, "big")),
                 (_REASON, bytes([reason])), (_METADATA, match[4:int.from_bytes(match[2:4], "big")])]
        if total_len != len(data):
            found.append((_FULL_LEN, total_len.to_bytes(4, "big")))
        if buffer_id != 0xffffffff:
            found.append((_BUFFER_ID, buffer_id.to_bytes(4, "big")))
        if userdata:
            found.append((_USERDATA, userdata))
        return b"".join(_property(kind, value) for kind, value in found)
    port = oxm_in_port(match)
    if version == OF10:
        return struct.pack("!IHHBx", buffer_id, total_len, port & 0xffff, reason) + data
    if version == OF11:
        return struct.pack("!IIIHBB", buffer_id, port, port, total_len, reason, table) + data
    return struct.pack("!IHBB", buffer_id, total_len, reason, table) + match + b"\0\0" + data


def _property(kind: int, value: bytes) -> bytes:
    """A 64-bit value stands at a multiple of 8."""
    length = 4 + len(value) + (4 if kind == _COOKIE else 0)
    return (struct.pack("!HH", kind, length) + value.rjust(length - 4, b"\0") + bytes(-length % 8))


def any_flow_request(table_id: int = 0xff) -> bytes:
    """A canonical request for every rule."""
    return struct.pack("!B3xII4xQQ", table_id, OFPP_ANY, OFPG_ANY, 0, 0) + _NO_MATCH
