"""A port's queues as text, "ID:MIN:MAX": what a queue may send whatever the others do, and at most, in kbit/s; 0 = none."""
from __future__ import annotations

from collections.abc import Iterable

from vswitch.datapath.records import MAX_QUEUES, QueueRecord
from vswitch.errors import InvalidError

FORM = "ID:MIN:MAX (kbit/s, 0 = none)"
_NUMBER_MAX = 0xffffffff


def parse_queue(text: str, field: str = "port.egress_queues") -> QueueRecord:
    parts = text.split(":")
    if len(parts) != 3 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise InvalidError(f"{text!r} is not {FORM}", field)
    queue_id, least, most = map(int, parts)
    if queue_id >= _NUMBER_MAX:
        raise InvalidError(f"{text!r}: an id is in 0..{_NUMBER_MAX - 1}", field)
    if max(least, most) > _NUMBER_MAX:
        raise InvalidError(f"{text!r}: a rate is in 0..{_NUMBER_MAX} kbit/s", field)
    if most and least > most:
        raise InvalidError(f"{text!r}: min is above max", field)
    return QueueRecord(queue_id, least, most)


def queue_text(queue: QueueRecord) -> str:
    return f"{queue.queue_id}:{queue.min_kbps}:{queue.max_kbps}"


def parse_queues(texts: Iterable[str], field: str = "port.egress_queues") -> list[QueueRecord]:
    """By rising id."""
    queues = sorted((parse_queue(text, field) for text in texts), key=lambda queue: queue.queue_id)
    for one, other in zip(queues, queues[1:]):
        if one.queue_id == other.queue_id:
            raise InvalidError(f"queue {one.queue_id} is there twice", field)
    if len(queues) > MAX_QUEUES:
        raise InvalidError(f"{len(queues)} are more than {MAX_QUEUES}", field)
    return queues
