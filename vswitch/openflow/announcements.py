"""What the switch tells its controllers unasked, encoded once for each form in which somebody wants it."""
from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from vswitch.openflow import convert
from vswitch.openflow.codec import MultipartWriter, message_frame
from vswitch.openflow.constants import Multipart, PacketInReason, Type
from vswitch.openflow.experimenter import experimenter_frame
from vswitch.openflow.native import FLOW_STATS, flow_stats_out
from vswitch.openflow.port_messages import encode_port_status, speakable
from vswitch.openflow.versions import NICIRA, OF10, OF13, OF14, OF15

if TYPE_CHECKING:
    from vswitch.datapath.records import PortRecord
    from vswitch.openflow.session import Session

PACKET_IN_REASON_AT, _FLOW_REMOVED_REASON_AT = 6, 10
_PACKET_IN_FIXED, _COOKIE_AT = 16, 8
_STATS_REASON_AT = 5        # in 1.5's ofp_flow_stats
STAT_TRIGGER = 1            # enum ofp_flow_stats_reason
_NO_COOKIE = b"\xff" * 8
NXT_FLOW_REMOVED, NXT_PACKET_IN, NXT_PACKET_IN2 = 14, 17, 30


class Announcement:
    """`kind` and `reason` are what controllers choose by (async_config.py); `form(session)` is what the encoding depends
    on, `make(form)` encodes, or is None for who can't be told. Of controllers' connections, those with `controller_id`."""

    def __init__(self, kind: str, reason: int, form: Callable[[Session], Hashable],
                 make: Callable[[Hashable], bytes | None], controller_id: int = 0, spread: int = 0):
        self.kind = kind
        self.reason = reason
        self.controller_id = controller_id
        self.spread = spread        # what chooses among a controller's auxiliary connections
        self._form = form
        self._make = make
        self._made: dict[Hashable, bytes | None] = {}

    def message(self, session: Session) -> bytes | None:
        form = self._form(session)
        if form not in self._made:
            self._made[form] = self._make(form)
        return self._made[form]


def is_miss(body: bytes) -> bool:
    """Whether no rule sent the packet of a canonical packet_in."""
    return body[_COOKIE_AT:_COOKIE_AT + 8] == _NO_COOKIE


def packet_in(body: bytes, controller_id: int = 0, userdata: bytes = b"") -> Announcement:
    """Of a canonical packet_in; `controller_id` is whom an action of Nicira's names. Where no rule sent the packet, the cookie
    says so, and only versions are told that have no table-miss rules."""
    missed = is_miss(body)

    def make(form: tuple[int, str]) -> bytes | None:
        version, wanted = form
        if missed and version >= OF13:
            return None
        told = body
        if version < OF13 and not missed and body[PACKET_IN_REASON_AT] == PacketInReason.NO_MATCH:
            # Before 1.3 there are no table-miss entries: a rule has sent it.
            told = body[:PACKET_IN_REASON_AT] + bytes((PacketInReason.ACTION,)) + body[PACKET_IN_REASON_AT + 1:]
        said = convert.packet_in(version, wanted, told, userdata)
        if wanted == convert.STANDARD:
            return message_frame(version, Type.PACKET_IN, 0, said)
        return experimenter_frame(version, NICIRA, NXT_PACKET_IN if wanted == convert.NICIRA else NXT_PACKET_IN2, 0, said)

    return Announcement("packet_in", body[PACKET_IN_REASON_AT], lambda s: (s.version, s.packet_in_format), make, controller_id,
                        convert.oxm_in_port(body[_PACKET_IN_FIXED:]))


def flow_removed(body: bytes) -> Announcement:
    def make(form: tuple[int, bool]) -> bytes:
        version, nicira = form
        if nicira:
            return experimenter_frame(version, NICIRA, NXT_FLOW_REMOVED, 0,
                                      convert.flow_removed(version, body, convert.NICIRA))
        return message_frame(version, Type.FLOW_REMOVED, 0, convert.flow_removed(version, body))

    return Announcement("flow_removed", body[_FLOW_REMOVED_REASON_AT],
                        lambda s: (s.version, s.nicira_flows and s.version == OF10), make)


def stats_triggered(entry: bytes) -> Announcement:
    """A rule's statistics have passed a threshold of its trigger: a reply of flow statistics that nobody asked for
    (OpenFlow 1.5.1, 7.2.5, 7.3.5.3)."""
    def make(version: int) -> bytes | None:
        if version < OF15:
            return None
        said = bytearray(flow_stats_out(version, FLOW_STATS, entry))
        said[_STATS_REASON_AT] = STAT_TRIGGER
        writer = MultipartWriter(Multipart.FLOW_STATS, 0, version)
        return b"".join((*writer.add([bytes(said)]), writer.last()))

    return Announcement("flow_stats", STAT_TRIGGER, lambda s: s.version, make)


def port_status(record: PortRecord) -> Announcement:
    def make(version: int) -> bytes | None:
        if not speakable(version, record.port_no):
            return None
        return message_frame(version, Type.PORT_STATUS, 0, encode_port_status(version, record))

    return Announcement("port_status", record.reason, lambda s: s.version, make)


def table_status(reason: int, desc: bytes) -> Announcement:
    """`desc` is the table's ofp_table_desc."""
    def make(version: int) -> bytes | None:
        if version < OF14:
            return None
        return message_frame(version, Type.TABLE_STATUS, 0, bytes((reason, 0, 0, 0, 0, 0, 0, 0)) + desc)

    return Announcement("table_status", reason, lambda s: s.version, make)
