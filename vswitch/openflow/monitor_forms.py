"""Flow monitors as each version writes them: 1.4's own, Nicira's and ONF's. Rules arrive as canonical flow_stats entries."""
from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vswitch.datapath.records import UPDATE_REMOVED
from vswitch.errors import OpenFlowError
from vswitch.openflow import convert
from vswitch.openflow.codec import MultipartWriter, message_frame
from vswitch.openflow.constants import OFPG_ANY, OFPP_ANY, BadRequest, ErrorType, Multipart, Type
from vswitch.openflow.experimenter import experimenter_frame, multipart_head
from vswitch.openflow.layout import Layout, Many, RawMatch, bad_length
from vswitch.openflow.port_messages import number_in
from vswitch.openflow.rule_filter import Filter
from vswitch.openflow.rule_messages import MONITOR_REQUEST
from vswitch.openflow.versions import NICIRA, OF10, OF13, OF15, ONF

if TYPE_CHECKING:
    from vswitch.openflow.session import Session

NXST_FLOW_MONITOR, ONFST_FLOW_MONITOR = 2, 1870
INITIAL, ABBREV, PAUSED, RESUMED = 0, 4, 5, 6       # of 1.4's events; 1 to 3 are the datapath's (enum dp_update)
_NX_PAUSED, _NX_RESUMED, _ONF_PAUSED, _ONF_RESUMED = 22, 23, 1871, 1872
_OLD_EVENTS = {INITIAL: 0, 1: 0, 2: 1, 3: 2}        # NXFME_ADDED, DELETED, MODIFIED
_OLD_ABBREV = 3
_DELETE = 2

NX_REQUEST = struct.Struct("!IHHHB5s")
_ONF_REQUEST = Layout("OnfMonitorRequest", f"I monitor_id, H flags, H match_len, I out_port={OFPP_ANY:#x}, B table_id=0xff, 3x",
                      match=RawMatch())
_ONF_REQUESTS = Layout("OnfMonitorRequests", monitors=Many(_ONF_REQUEST))
_REQUESTS = Layout("MonitorRequestList", monitors=Many(MONITOR_REQUEST))
_FULL, _ABBREV, _PAUSED = struct.Struct("!HHBBHHH4xQ"), struct.Struct("!HHI"), struct.Struct("!HH4x")
_OLD_FULL = struct.Struct("!HHHHHHHBxQ")
_STATS = struct.Struct("!HBxIIHHHHHHQQQ")           # canonical: ... idle, hard, flags, importance and pad, cookie ...
_STATS_SIZE, _DESC15_SIZE = 48, 24
_NX_MATCH_LEN_AT = 18


@dataclass(frozen=True)
class Request:
    command: int
    id: int
    flags: int
    filter: Filter | None


def _standard_requests(session: Session, body: bytes) -> list[Request]:
    return [Request(m.command, m.monitor_id, m.flags, None if m.command == _DELETE else Filter(
        m.table_id, m.out_port, m.out_group, convert.match_in(session.version, m.match)))
        for m in _REQUESTS.decode(body).monitors]


def _nicira_requests(session: Session, body: bytes) -> list[Request]:
    requests, at = [], 0
    while at < len(body):
        if len(body) - at < NX_REQUEST.size:
            raise bad_length("a monitor")
        id_, flags, out_port, match_len, table_id, zeros = NX_REQUEST.unpack_from(body, at)
        at += NX_REQUEST.size
        if any(zeros):
            raise OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.EPERM, "bytes that must be zero are not", "flow_monitor")
        if len(body) - at < (match_len + 7 & ~7):
            raise bad_length("a monitor")
        match = convert.match_in(OF10, body[at:at + match_len], convert.NICIRA)
        at += match_len + 7 & ~7
        port = OFPP_ANY if out_port == 0xffff else number_in(OF10, out_port)
        requests.append(Request(0, id_, flags, Filter(table_id, port, OFPG_ANY, match)))
    return requests


def _onf_requests(session: Session, body: bytes) -> list[Request]:
    return [Request(0, m.monitor_id, m.flags, Filter(m.table_id, m.out_port, OFPG_ANY, convert.match_in(OF13, m.match)))
            for m in _ONF_REQUESTS.decode(body).monitors]


@dataclass(frozen=True)
class Form:
    requests: Callable[[Session, bytes], list[Request]]
    flags: int              # that a request may have


FORMS = {"standard": Form(_standard_requests, 0x7f), "nicira": Form(_nicira_requests, 0x3f), "onf": Form(_onf_requests, 0x3f)}


class Writer:
    """Updates for one connection, gathered into multipart replies with xid 0."""

    def __init__(self, session: Session, form: str):
        self._version = session.version
        self._form = form
        kind, prefix = Multipart.FLOW_MONITOR, b""
        if form == "nicira":
            kind, prefix = Multipart.EXPERIMENTER, multipart_head(self._version, NICIRA, NXST_FLOW_MONITOR)
        elif form == "onf":
            kind, prefix = Multipart.EXPERIMENTER, multipart_head(self._version, ONF, ONFST_FLOW_MONITOR)
        self._new = lambda: MultipartWriter(kind, 0, self._version, prefix)
        self._updates: list[bytes] = []

    def put(self, update: bytes) -> None:
        self._updates.append(update)

    def messages(self) -> Iterator[bytes]:
        """What was put, as whole messages."""
        updates, self._updates = self._updates, []
        if updates:
            writer = self._new()
            yield from writer.add(updates)
            yield writer.last()

    def full(self, event: int, entry: bytes, reason: int, with_instructions: bool) -> bytes:
        """An ofp_flow_update_full, or its older like."""
        _, table, _, _, priority, idle, hard, _, _, _, cookie, _, _ = _STATS.unpack_from(entry)
        match, tail = self._parts(entry)
        if not with_instructions:
            tail = b""
        reason = reason if event == UPDATE_REMOVED else 0
        if self._form == "standard":
            size = _FULL.size + len(match) + len(tail)
            return _FULL.pack(size, event, table, reason, idle, hard, priority, cookie) + match + tail
        match_len = int.from_bytes(match[2:4], "big") if self._form == "onf" else len(match)
        padded = match + bytes(-len(match) % 8)
        return _OLD_FULL.pack(_OLD_FULL.size + len(padded) + len(tail), _OLD_EVENTS[event], reason, priority, idle, hard,
                              match_len, table, cookie) + padded + tail

    def _parts(self, entry: bytes) -> tuple[bytes, bytes]:
        """The rule's match and instructions (Nicira: actions) in the connection's version."""
        if self._form == "nicira":
            said = convert.flow_stats(OF10, convert.NICIRA, entry)
            length = int.from_bytes(said[_NX_MATCH_LEN_AT:_NX_MATCH_LEN_AT + 2], "big")
            return said[_STATS_SIZE:_STATS_SIZE + length], said[_STATS_SIZE + (length + 7 & ~7):]
        said = convert.flow_stats(self._version, convert.STANDARD, entry)
        start = _DESC15_SIZE if self._version == OF15 else _STATS_SIZE
        after = end = start + (int.from_bytes(said[start + 2:start + 4], "big") + 7 & ~7)
        if self._version == OF15:       # its OXS statistics lie between
            after += int.from_bytes(said[end + 2:end + 4], "big") + 7 & ~7
        return said[start:end], said[after:]

    def abbreviated(self, xid: int) -> bytes:
        return _ABBREV.pack(_ABBREV.size, ABBREV if self._form == "standard" else _OLD_ABBREV, xid)

    def paused(self) -> bytes:
        return self._notice(PAUSED, _NX_PAUSED, _ONF_PAUSED)

    def resumed(self) -> bytes:
        return self._notice(RESUMED, _NX_RESUMED, _ONF_RESUMED)

    def _notice(self, event: int, nicira: int, onf: int) -> bytes:
        if self._form == "standard":
            return message_frame(self._version, Type.MULTIPART_REPLY, 0, struct.pack("!HH4x", Multipart.FLOW_MONITOR, 0)
                                 + _PAUSED.pack(_PAUSED.size, event))
        if self._form == "nicira":
            return experimenter_frame(self._version, NICIRA, nicira, 0, b"")
        return experimenter_frame(self._version, ONF, onf, 0, b"")
