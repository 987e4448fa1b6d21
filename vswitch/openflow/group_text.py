"""Groups and meters in ovs-ofctl's syntax (ovs-ofctl(8), "Group Syntax" and "Meter Syntax"), and back."""
from __future__ import annotations

import re
from dataclasses import dataclass, field

from vswitch.errors import InvalidError
from vswitch.openflow import flow_text
from vswitch.openflow.actions import Action
from vswitch.openflow.constants import OFPG_ANY, OFPP_ANY
from vswitch.openflow.flow_text_fields import Resolver
from vswitch.openflow.flow_text_print import PortNames, format_actions, format_port

TYPES = ("all", "select", "indirect", "ff")
_TYPE_WORDS = {word: number for number, word in enumerate(TYPES)} | {"fast_failover": 3}
_BUCKET_WORD = re.compile(r"(?:^|,)\s*bucket\s*=")
_ACTIONS = re.compile(r"(?:^|,)\s*actions?\s*=")
_BAND_WORD = re.compile(r"(?:^|,|\s)bands?\s*=")
_PLACES = {"first": 0xfffffffd, "last": 0xfffffffe, "all": 0xffffffff}
_BURST_FLAG, _KBPS, _PKTPS, _STATS = 4, 1, 2, 8


@dataclass
class BucketText:
    id: int
    actions: list[Action]
    weight: int | None = None
    watch_port: int = OFPP_ANY
    watch_group: int = OFPG_ANY


@dataclass
class GroupText:
    id: int
    type: int | None = None
    buckets: list[BucketText] = field(default_factory=list)
    place: int | None = None


@dataclass
class BandText:
    rate: int
    burst: int = 0
    prec_level: int = 0         # 0 = drop


@dataclass
class MeterText:
    id: int
    flags: int = 0
    bands: list[BandText] = field(default_factory=list)


def _number(word: str, text: str, limit: int) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        raise InvalidError(f"{text!r} is not a number", word) from None
    if not 0 <= value <= limit:
        raise InvalidError(f"{value} is out of range, 0..{limit:#x}", word)
    return value


def _words(text: str) -> list[tuple[str, str]]:
    found = []
    for item in filter(None, (part.strip() for part in re.split(r"[,\s]+", text))):
        name, _, value = re.split(r"([:=])", item, maxsplit=1) if re.search(r"[:=]", item) else (item, "", "")
        found.append((name, value))
    return found


def parse_group(text: str, ports: Resolver | None = None) -> GroupText:
    head, *bodies = _BUCKET_WORD.split(text)
    group = GroupText(-1)
    for word, value in _words(head):
        if word == "group_id":
            group.id = 0xfffffffc if value == "all" else _number(word, value, 0xffffffff)
        elif word == "type":
            if value not in _TYPE_WORDS:
                raise InvalidError(f"{value!r} is none of {', '.join(TYPES)}", word)
            group.type = _TYPE_WORDS[value]
        elif word == "command_bucket_id":
            group.place = _PLACES.get(value) or _number(word, value, 0xffffffff)
        else:
            raise InvalidError("is not a group's", word)
    if group.id < 0:
        raise InvalidError("is required", "group_id")
    group.buckets = [_bucket(body, i, ports) for i, body in enumerate(bodies)]
    return group


def _bucket(text: str, number: int, ports: Resolver | None) -> BucketText:
    head, _, actions = _split_once(_ACTIONS, text)
    bucket = BucketText(number, [])
    loose = []
    for word, value in _words(head):
        if word in ("bucket_id", "weight"):
            setattr(bucket, "id" if word == "bucket_id" else word, _number(word, value, 0xffffff00 if word == "bucket_id" else 0xffff))
        elif word == "watch_port":
            named = ports(value) if ports is not None else None
            bucket.watch_port = named if named is not None else _number(word, value, 0xffffffff)
        elif word == "watch_group":
            bucket.watch_group = _number(word, value, 0xffffffff)
        else:
            loose.append(f"{word}:{value}" if value else word)
    bucket.actions = flow_text.parse_actions(actions or ",".join(loose), ports) if actions or loose else []
    return bucket


def _split_once(pattern: re.Pattern, text: str) -> tuple[str, str, str]:
    found = pattern.search(text)
    return (text[:found.start()], found[0], text[found.end():]) if found else (text, "", "")


def parse_meter(text: str) -> MeterText:
    head, *bodies = _BAND_WORD.split(text)
    meter = MeterText(0)
    flags = {"kbps": _KBPS, "pktps": _PKTPS, "burst": _BURST_FLAG, "stats": _STATS}
    for word, value in _words(head):
        if word == "meter":
            meter.id = 0xffffffff if value == "all" else {"controller": 0xfffffffe, "slowpath": 0xfffffffd}.get(
                value) or _number(word, value, 0xffffffff)
        elif word in flags and not value:
            meter.flags |= flags[word]
        else:
            raise InvalidError("is not a meter's", word)
    if not meter.id:
        raise InvalidError("is required", "meter")
    for body in bodies:
        starts = [m.start() for m in re.finditer(r"type\s*=", body)]
        for at, end in zip(starts, [*starts[1:], len(body)]):
            meter.bands.append(_band(body[at:end]))
    return meter


def _band(text: str) -> BandText:
    kind, band = "", BandText(0)
    for word, value in _words(text):
        if word == "type":
            kind = value
        elif word in ("rate", "burst_size"):
            setattr(band, "rate" if word == "rate" else "burst", _number(word, value, 0xffffffff))
        elif word == "prec_level":
            band.prec_level = _number(word, value, 0xff)
        else:
            raise InvalidError("is not a band's", word)
    if kind not in ("drop", "dscp_remark"):
        raise InvalidError(f"{kind!r} is neither drop nor dscp_remark", "type")
    if (kind == "drop") == bool(band.prec_level):
        raise InvalidError("goes with dscp_remark, and is 1 or 2 there", "prec_level")
    return band


def format_group(group: GroupText, names: PortNames | None = None) -> str:
    parts = [f"group_id={group.id},type={TYPES[group.type or 0]}"]
    for bucket in group.buckets:
        words = [f"bucket_id:{bucket.id}"]
        if bucket.weight is not None and group.type == 1:
            words.append(f"weight:{bucket.weight}")
        if bucket.watch_port != OFPP_ANY:
            words.append(f"watch_port:{format_port(bucket.watch_port, names)}")
        if bucket.watch_group != OFPG_ANY:
            words.append(f"watch_group:{bucket.watch_group}")
        parts.append(f"bucket={','.join(words)},actions={format_actions(bucket.actions, names)}")
    return ",".join(parts)


def format_meter(meter: MeterText) -> str:
    flags = [word for bit, word in ((_KBPS, "kbps"), (_PKTPS, "pktps"), (_BURST_FLAG, "burst"), (_STATS, "stats"))
             if meter.flags & bit]
    bands = " ".join(f"type={'dscp_remark' if b.prec_level else 'drop'} rate={b.rate}"
                     + (f" burst_size={b.burst}" if b.burst else "") + (f" prec_level={b.prec_level}" if b.prec_level else "")
                     for b in meter.bands)
    return " ".join([f"meter={meter.id}", *flags, *([f"bands={bands}"] if bands else [])])
