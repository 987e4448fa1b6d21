"""Queues in each version: their configuration (1.0 to 1.3 a message, then a multipart) and statistics.

`Queue` and `QueueCounters` are what the switch knows; rates are tenths of a percent, None where there is none.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vswitch.openflow import messages as ofp
from vswitch.openflow.constants import OFPP_ANY
from vswitch.openflow.layout import Layout, Many, OneOf, Properties, bad_property_length
from vswitch.openflow.port_messages import number_in, number_out
from vswitch.openflow.versions import OF10, OF11, OF12, OF13, OF14, OF15

# -- configuration (1.0: 5.2.2, 5.3.4; 1.2: A.2.2; 1.4: 7.3.5.10)
RATE10 = Layout("QueueRate", "H property, H length, 4x, H rate, 6x")
_PROPERTIES10 = OneOf({1: RATE10, 2: RATE10}, ofp.QUEUE_PROPERTY)
QUEUE10 = Layout("PacketQueue10", "I queue_id, H length, 2x", properties=_PROPERTIES10)
QUEUE12 = Layout("PacketQueue12", "I queue_id, I port, H length, 6x", properties=_PROPERTIES10)
RATE14 = Layout("QueueDescRate", "H type, H length, H rate, 2x", fault=bad_property_length)
QUEUE_DESC = Layout("QueueDesc", "I port_no, I queue_id, H length, 6x", properties=Properties({1: RATE14, 2: RATE14}))
CONFIG_REQUEST10 = Layout("QueueConfigRequest10", "H port, 2x")
CONFIG_REPLY10 = Layout("QueueConfigReply10", "H port, 6x", queues=Many(QUEUE10))
CONFIG_REPLY11 = Layout("QueueConfigReply11", "I port, 4x", queues=Many(QUEUE10))
CONFIG_REPLY12 = Layout("QueueConfigReply12", "I port, 4x", queues=Many(QUEUE12))
CONFIG_REQUEST = {OF10: CONFIG_REQUEST10, **dict.fromkeys((OF11, OF12, OF13), ofp.QUEUE_CONFIG_REQUEST)}
CONFIG_REPLY = {OF10: CONFIG_REPLY10, OF11: CONFIG_REPLY11, OF12: CONFIG_REPLY12, OF13: CONFIG_REPLY12}

# -- statistics
REQUEST10 = Layout("QueueRequest10", "H port_no=0xfffc, 2x, I queue_id=0xffffffff")
STATS10 = Layout("QueueStats10", "H port_no, 2x, I queue_id, Q tx_bytes, Q tx_packets, Q tx_errors")
STATS11 = Layout("QueueStats11", "I port_no, I queue_id, Q tx_bytes, Q tx_packets, Q tx_errors")
STATS14 = Layout("QueueStats14", "H length, 6x, I port_no, I queue_id, Q tx_bytes, Q tx_packets, Q tx_errors, I duration_sec,"
                 " I duration_nsec", properties=Properties({}))
STATS_REQUEST = {OF10: REQUEST10, **dict.fromkeys((OF11, OF12, OF13, OF14, OF15), ofp.QUEUE_REQUEST)}
STATS = {OF10: STATS10, OF11: STATS11, OF12: STATS11, OF13: ofp.QUEUE_STATS, OF14: STATS14, OF15: STATS14}

MIN_RATE, MAX_RATE = 1, 2
_ALL_PORTS10 = 0xfffc       # 1.0 asks for all ports with OFPP_ALL


@dataclass(frozen=True)
class Queue:
    port_no: int
    queue_id: int
    min_rate: int | None = None
    max_rate: int | None = None

    def rates(self) -> list[tuple[int, int]]:
        return [(kind, rate) for kind, rate in ((MIN_RATE, self.min_rate), (MAX_RATE, self.max_rate)) if rate is not None]


def encode_config(version: int, port: int, queues: Iterable[Queue]) -> bytes:
    """The body of an OFPT_QUEUE_GET_CONFIG_REPLY of 1.0 to 1.3."""
    said = []
    for queue in queues:
        rates = [RATE10(property=kind, rate=rate) for kind, rate in queue.rates() if version > OF10 or kind == MIN_RATE]
        said.append(QUEUE10(queue_id=queue.queue_id, properties=rates) if version <= OF11 else
                    QUEUE12(queue_id=queue.queue_id, port=queue.port_no, properties=rates))
    layout = CONFIG_REPLY[version]
    return layout.encode(layout(port=number_out(version, port), queues=said))


def encode_desc(queue: Queue) -> bytes:
    """An ofp_queue_desc of 1.4 and later."""
    return QUEUE_DESC.encode(QUEUE_DESC(port_no=queue.port_no, queue_id=queue.queue_id,
                                        properties=[RATE14(type=kind, rate=rate) for kind, rate in queue.rates()]))


def queue_stats(version: int, entries: bytes) -> list[bytes]:
    """Canonical ofp_queue_stats entries (1.3's) as the version's."""
    size, made = ofp.QUEUE_STATS.fixed_size, []
    for at in range(0, len(entries), size):
        entry = entries[at:at + size]
        if version == OF13:
            made.append(entry)
        elif version >= OF14:
            made.append((8 + size).to_bytes(2, "big") + bytes(6) + entry)
        elif version >= OF11:
            made.append(entry[:STATS11.fixed_size])
        else:
            made.append(entry[2:4] + bytes(2) + entry[4:STATS11.fixed_size])
    return made


def asked_queues(version: int, request: Any) -> tuple[int, int]:
    """Port (OFPP_ANY = all) and queue of a request."""
    port_no = request.port_no
    if version == OF10 and port_no in (_ALL_PORTS10, 0xffff):
        return OFPP_ANY, request.queue_id
    return number_in(version, port_no), request.queue_id
