"""Queues of ports: what there is, how fast it may send, what it has sent (OpenFlow 1.3.5, 7.3.6 and 7.3.5.8; 1.5.1, 7.3.5.10).

Rates are told in tenths of a percent of the port's: its own maximum, or else its speed; none where neither is known."""
from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from vswitch.datapath.records import QueueRecord
from vswitch.errors import OpenFlowError
from vswitch.openflow import port_messages as port, queue_messages as queue
from vswitch.openflow.codec import Frame, decode_multipart_request
from vswitch.openflow.constants import OFPP_ANY, OFPQ_ALL, ErrorType, Multipart, QueueOpFailed, Type

if TYPE_CHECKING:
    from vswitch.openflow.session import Session

_STATS = struct.Struct("!IIQQQII")      # ofp_queue_stats of 1.3
_FULL = 1000                            # tenths of a percent


async def _found(session: Session, asked_port: int, asked_queue: int) -> dict[int, tuple[int, list[QueueRecord]]]:
    """By port, its rate in kbit/s (0 = not known) and the queues asked for."""
    held = await session.switch.queues(session.bridge)
    if asked_port != OFPP_ANY and asked_port not in held:
        raise OpenFlowError(ErrorType.QUEUE_OP_FAILED, QueueOpFailed.BAD_PORT, f"there is no port {asked_port}")
    ports = held if asked_port == OFPP_ANY else {asked_port: held[asked_port]}
    found = {number: (rate, [q for q in queues if asked_queue in (OFPQ_ALL, q.queue_id)])
             for number, (rate, queues) in sorted(ports.items())}
    if asked_queue != OFPQ_ALL and not any(queues for _, queues in found.values()):
        raise OpenFlowError(ErrorType.QUEUE_OP_FAILED, QueueOpFailed.BAD_QUEUE, f"there is no queue {asked_queue}")
    return found


async def _described(session: Session, asked_port: int, asked_queue: int) -> list[queue.Queue]:
    found = await _found(session, asked_port, asked_queue)
    speeds = {record.port_no: record.speed_kbps for record in await session.switch.port_records(session.bridge)}

    def share(kbps: int, of: int) -> int | None:
        return min(_FULL, round(kbps * _FULL / of)) if kbps and of else None

    return [queue.Queue(number, q.queue_id, share(q.min_kbps, rate or speeds.get(number, 0)),
                        share(q.max_kbps, rate or speeds.get(number, 0)))
            for number, (rate, queues) in found.items() for q in queues]


async def queue_config(session: Session, message: Frame) -> None:
    """OFPT_QUEUE_GET_CONFIG_REQUEST of 1.0 to 1.3."""
    asked = port.number_in(session.version, queue.CONFIG_REQUEST[session.version].decode(message.body).port)
    session.reply(Type.QUEUE_GET_CONFIG_REPLY, message.xid,
                  queue.encode_config(session.version, asked, await _described(session, asked, OFPQ_ALL)))


async def queue_desc(session: Session, body: bytes) -> AsyncIterator[list[bytes]]:
    asked = queue.asked_queues(session.version, decode_multipart_request(Multipart.QUEUE_DESC, body, session.version))
    yield [queue.encode_desc(described) for described in await _described(session, *asked)]


async def queue_stats(session: Session, body: bytes) -> AsyncIterator[list[bytes]]:
    asked = queue.asked_queues(session.version, decode_multipart_request(Multipart.QUEUE, body, session.version))
    entries = [_STATS.pack(number, q.queue_id, q.tx_bytes, q.tx_packets, q.tx_errors, *divmod(q.age_nsec, 1_000_000_000))
               for number, (_, queues) in (await _found(session, *asked)).items()
               if port.speakable(session.version, number) for q in queues]
    yield queue.queue_stats(session.version, b"".join(entries))
