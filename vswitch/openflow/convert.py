"""Rules between the form that the datapath speaks and each version's own.

The canonical form: flow_mod as in OpenFlow 1.4 (OXM match, `importance` in the last two bytes of the fixed part),
flow_stats entries as in 1.3.5 with importance in the pad after the flags, flow_removed and packet_in as in 1.3.5, 1.5
actions. Everything here takes and returns bodies without the ofp_header. `version` is the wire's (0x01 to 0x06). What can't
be converted is an OpenFlowError with a canonical type and code (error_map.py numbers it for each version).
"""
from __future__ import annotations

import struct
from collections.abc import Iterator

from vswitch.errors import OpenFlowError
from vswitch.openflow.constants import OFPG_ANY, OFPP_ANY, BadMatch, ErrorType
from vswitch.openflow.layout import bad_length

STANDARD, NICIRA, NICIRA2, DESC, STATS = "standard", "nicira", "nicira2", "desc", "stats"
FLOW, AGGREGATE = "flow", "aggregate"

_FLOW_MOD_FIXED = 40
_FLOW_STATS = struct.Struct("!HBxIIHHHHH2xQQQ")     # length ... hard_timeout, flags, importance, cookie, packets, bytes
_FLOW_REQUEST_MIN = 40
_FLOW_DESC = struct.Struct("!H2xBxHHHHHQ")          # OpenFlow 1.5.1, 7.3.5.2
_FLOW_STATS_15 = struct.Struct("!H2xBBH")
_REMOVED = struct.Struct("!QHBBIIHHQQ")             # OpenFlow 1.3.5, 7.4.2
_REMOVED_15 = struct.Struct("!BBHHHQ")
_PACKET_IN = struct.Struct("!IHBBQ")
_REASON_AT, _REMOVED_REASON_AT = 6, 10
_IN_PORT_OXM = 0x80000004
_OXS_CLASS = 0x8002
_DURATION, _FLOW_COUNT, _PACKET_COUNT, _BYTE_COUNT = 0, 3, 4, 5
_NO_MATCH = b"\0\1\0\4\0\0\0\0"


def _unsupported(version: int) -> OpenFlowError:
    return OpenFlowError(ErrorType.BAD_MATCH, BadMatch.BAD_TYPE, f"rules of OpenFlow version {version:#04x} can't be converted")


def flow_mod(version: int, body: bytes) -> bytes:
    """An OFPT_FLOW_MOD of `version`, canonical."""
    if version >= 0x05:
        return body
    if version >= 0x03:
        if body[_FLOW_MOD_FIXED - 2:_FLOW_MOD_FIXED] == b"\0\0":
            return body
        return body[:_FLOW_MOD_FIXED - 2] + b"\0\0" + body[_FLOW_MOD_FIXED:]    # padding, which 1.4 calls importance
    raise _unsupported(version)


def flow_mod_with_table(body: bytes) -> bytes:
    """An OFPT_FLOW_MOD of 1.0 whose command's upper byte names the table (NXT_FLOW_MOD_TABLE_ID)."""
    raise _unsupported(0x01)


def nx_flow_mod(body: bytes, *, table_id: bool = False) -> bytes:
    """An NXT_FLOW_MOD; with `table_id`, the upper byte of its command names the table (NXT_FLOW_MOD_TABLE_ID)."""
    raise _unsupported(0x01)


def flow_stats_request(version: int, kind: str, body: bytes) -> bytes:
    """A request for flow or aggregate statistics (`kind` FLOW or AGGREGATE, or NICIRA for NXST_FLOW and NXST_AGGREGATE), as
    OpenFlow 1.3's."""
    if version >= 0x03 and kind != NICIRA:
        if len(body) < _FLOW_REQUEST_MIN:
            raise bad_length("the request")
        return body
    raise _unsupported(version)


def _split(entries: bytes) -> Iterator[tuple[tuple, bytes, bytes]]:
    """(fixed part, match, instructions) of canonical entries."""
    at = 0
    while at < len(entries):
        fixed = _FLOW_STATS.unpack_from(entries, at)
        end, start = at + fixed[0], at + _FLOW_STATS.size
        match_end = start + (int.from_bytes(entries[start + 2:start + 4], "big") + 7 & ~7)
        yield fixed, entries[start:match_end], entries[match_end:end]
        at = end


def oxs_stats(**fields: int) -> bytes:
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


def flow_stats(version: int, form: str, entries: bytes) -> bytes:
    """Canonical flow_stats entries as the version's: `form` STANDARD, NICIRA, or 1.5's DESC and STATS."""
    if form in (DESC, STATS):
        made = []
        for fixed, match, instructions in _split(entries):
            _, table, sec, nsec, priority, idle, hard, flags, importance, cookie, packets, octets = fixed
            tail = match + oxs_stats(duration=(sec, nsec), packet_count=packets, byte_count=octets)
            if form == DESC:
                tail += instructions
                made.append(_FLOW_DESC.pack(_FLOW_DESC.size + len(tail), table, priority, idle, hard, flags, importance,
                                            cookie) + tail)
            else:
                made.append(_FLOW_STATS_15.pack(_FLOW_STATS_15.size + len(tail), table, 0, priority) + tail)
        return b"".join(made)
    if form == STANDARD and version >= 0x05:
        return entries
    if form == STANDARD and version >= 0x03:
        out = bytearray(entries)
        for at in _offsets(entries):
            out[at + 22:at + 24] = b"\0\0"      # importance is padding here
            if version == 0x03:
                out[at + 20:at + 22] = b"\0\0"  # and so are the flags
        return bytes(out)
    raise _unsupported(version)


def _offsets(entries: bytes) -> Iterator[int]:
    at = 0
    while at + 2 <= len(entries):
        yield at
        at += int.from_bytes(entries[at:at + 2], "big")


def flow_removed(version: int, body: bytes, form: str = STANDARD) -> bytes:
    """A canonical flow_removed as the version's, or as NXT_FLOW_REMOVED (form NICIRA)."""
    if version < 0x05 and body[_REMOVED_REASON_AT] > 3:
        body = body[:_REMOVED_REASON_AT] + b"\2" + body[_REMOVED_REASON_AT + 1:]     # to 1.3 they are deletions
    if form == STANDARD and 0x03 <= version <= 0x05:
        return body
    if form == STANDARD and version == 0x06:
        cookie, priority, reason, table, sec, nsec, idle, hard, packets, octets = _REMOVED.unpack_from(body)
        return (_REMOVED_15.pack(table, reason, priority, idle, hard, cookie) + body[_REMOVED.size:]
                + oxs_stats(duration=(sec, nsec), packet_count=packets, byte_count=octets))
    raise _unsupported(version)


def actions(version: int, data: bytes) -> bytes:
    """A version's list of actions, canonical."""
    if version >= 0x03:
        return data
    raise _unsupported(version)


def actions_out(version: int, data: bytes) -> bytes:
    """A canonical list of actions as the version's."""
    if version >= 0x03:
        return data
    raise _unsupported(version)


def match_in(version: int, data: bytes) -> bytes:
    """A version's ofp_match, with its padding, as an OXM one."""
    if version >= 0x03:
        return data
    raise _unsupported(version)


def match_out(version: int, data: bytes) -> bytes:
    if version >= 0x03:
        return data
    raise _unsupported(version)


def oxm_in_port(match: bytes) -> int:
    """The in_port of an OXM match, OFPP_ANY where it has none."""
    at, end = 4, int.from_bytes(match[2:4], "big")
    while at + 4 <= end:
        header = int.from_bytes(match[at:at + 4], "big")
        if header == _IN_PORT_OXM:
            return int.from_bytes(match[at + 4:at + 8], "big")
        at += 4 + (header & 0xff)
    return OFPP_ANY


def port_out(version: int, port: int) -> int:
    """A port number of 32 bits as the version's: 1.0 has 16, its reserved ones are the last of them."""
    return port & 0xffff if version == 0x01 and (port >= 0xffffff00 or port < 0xff00) else port


def packet_in(version: int, form: str, body: bytes) -> bytes:
    """A canonical packet_in as the version's OFPT_PACKET_IN (STANDARD), NXT_PACKET_IN (NICIRA) or NXT_PACKET_IN2 (NICIRA2)."""
    if version < 0x05 and body[_REASON_AT] > 2:
        body = body[:_REASON_AT] + b"\1" + body[_REASON_AT + 1:]     # 1.4 split them off OFPR_ACTION
    if form == STANDARD and version >= 0x04:
        return body
    buffer_id, total_len, reason, table, cookie = _PACKET_IN.unpack_from(body)
    start = _PACKET_IN.size
    length = int.from_bytes(body[start + 2:start + 4], "big")
    match, data = body[start:start + (length + 7 & ~7)], body[start + (length + 7 & ~7) + 2:]
    if form == NICIRA:
        fields = match[4:length]
        return (struct.pack("!IHBBQH6x", buffer_id, total_len, reason, table, cookie, len(fields)) + fields
                + bytes(-len(fields) % 8 + 2) + data)
    if form == NICIRA2:
        found = [(0, data), (3, bytes([table])), (4, cookie.to_bytes(8, "big")), (5, bytes([reason])), (6, match[4:length])]
        if total_len != len(data):
            found.append((1, total_len.to_bytes(4, "big")))
        if buffer_id != 0xffffffff:
            found.append((2, buffer_id.to_bytes(4, "big")))
        return b"".join(_property(kind, value) for kind, value in found)
    port = oxm_in_port(match)
    if version == 0x01:
        return struct.pack("!IHHBx", buffer_id, total_len, port_out(version, port), reason) + data
    if version == 0x02:
        return struct.pack("!IIIHBB", buffer_id, port, port, total_len, reason, table) + data
    return struct.pack("!IHBB", buffer_id, total_len, reason, table) + match + b"\0\0" + data


_ALIGNED = {4: 8}           # NXPINT_COOKIE: a 64-bit value stands at a multiple of 8


def _property(kind: int, value: bytes) -> bytes:
    padded = bytes(_ALIGNED.get(kind, 4) - 4) + value
    return (struct.pack("!HH", kind, 4 + len(padded)) + padded).ljust(4 + len(padded) + 7 & ~7, b"\0")


def any_flow_request(table_id: int = 0xff) -> bytes:
    """A canonical request for every rule."""
    return struct.pack("!B3xII4xQQ", table_id, OFPP_ANY, OFPG_ANY, 0, 0) + _NO_MATCH
