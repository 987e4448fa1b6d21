"""OpenFlow 1.3 bodies as the flow journal needs them, by offset, matches untouched (OpenFlow 1.3.5, 7.3.4.1, 7.3.5.2, 7.4.2).
"""
from __future__ import annotations

import struct

_FLOW_MOD = struct.Struct("!QQBBHHHIIIHH")      # cookie ... flags, importance; match and instructions follow
_STATS = struct.Struct("!HBx8xHHHHH2xQ16x")     # length, table, priority, idle, hard, flags, importance, cookie; match follows
_REMOVED = struct.Struct("!QHBB8xHH16x")        # cookie, priority, reason, table, idle, hard; match follows
_NO_BUFFER = 0xffffffff
_ANY = 0xffffffff
_NO_MATCH = b"\0\1\0\4\0\0\0\0"
_ADD, _DELETE, _DELETE_STRICT = 0, 3, 4
_CHECK_OVERLAP = 2
_BUFFER_AT, _FLAGS_AT = 24, 36
REASON_DELETE = 2


def replayable(body: bytes) -> bytes:
    """A flow_mod that was carried out, without what makes sense only once: its buffer and its overlap check."""
    if body[_BUFFER_AT:_BUFFER_AT + 4] == b"\xff\xff\xff\xff" and not body[_FLAGS_AT + 1] & _CHECK_OVERLAP:
        return body
    flags = bytes((body[_FLAGS_AT], body[_FLAGS_AT + 1] & ~_CHECK_OVERLAP))
    return body[:_BUFFER_AT] + b"\xff\xff\xff\xff" + body[_BUFFER_AT + 4:_FLAGS_AT] + flags + body[_FLAGS_AT + 2:]


def add_from_stats(entry: bytes) -> bytes:
    """The flow_mod that adds the rule an ofp_flow_stats tells of."""
    _, table, priority, idle, hard, flags, importance, cookie = _STATS.unpack_from(entry)
    return _FLOW_MOD.pack(cookie, 0, table, _ADD, idle, hard, priority, _NO_BUFFER, _ANY, _ANY,
                          flags & ~_CHECK_OVERLAP, importance) + entry[_STATS.size:]


def delete_from_removed(body: bytes) -> bytes | None:
    """The flow_mod that deletes the rule that an ofp_flow_removed says timed out; None when a flow_mod deleted it."""
    cookie, priority, reason, table, _, _ = _REMOVED.unpack_from(body)
    if reason == REASON_DELETE:
        return None
    return _FLOW_MOD.pack(cookie, 0xffffffffffffffff, table, _DELETE_STRICT, 0, 0, priority, _NO_BUFFER, _ANY, _ANY,
                          0, 0) + body[_REMOVED.size:]


def delete_all(table: int) -> bytes:
    """The flow_mod that deletes all rules of a table."""
    return _FLOW_MOD.pack(0, 0, table, _DELETE, 0, 0, 0, _NO_BUFFER, _ANY, _ANY, 0, 0) + _NO_MATCH
