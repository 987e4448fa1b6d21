"""Which asynchronous messages a controller wants (OpenFlow 1.3.5, 7.3.10; 1.4.1, 7.3.10), in one form for all versions: a mask
of reasons a kind of message, one for masters and equals and one for slaves."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vswitch.errors import OpenFlowError
from vswitch.openflow import messages as ofp
from vswitch.openflow.constants import AsyncConfigFailed, ErrorType, FlowRemovedReason, PacketInReason
from vswitch.openflow.session_messages import ASYNC, ASYNC_MASK
from vswitch.openflow.versions import OF13, OF14, OF15

# In the order of 1.4's and 1.5's property types: slaves' at 2 n, masters' at 2 n + 1.
KINDS = ("packet_in", "port_status", "flow_removed", "role_status", "table_status", "requestforward", "flow_stats",
         "controller_status")
_N_KINDS = {OF14: 6, OF15: 8}
_REASONS = {"packet_in": sum(1 << reason for reason in PacketInReason), "port_status": 0b111,
            "flow_removed": sum(1 << reason for reason in FlowRemovedReason), "role_status": 0b111, "table_status": 0b11000,
            "requestforward": 0b11, "flow_stats": 0b11, "controller_status": 0b1111111}
_UNTIL_13 = {"packet_in": 0b111, "flow_removed": 0b1111}
_ACTION_REASONS = 1 << PacketInReason.ACTION_SET | 1 << PacketInReason.GROUP | 1 << PacketInReason.PACKET_OUT

Masks = dict[str, tuple[int, int]]      # kind → masks of a master or equal, of a slave


def _default() -> Masks:
    """What a connection starts with. Other controllers' requests and connections are not told before they are asked for."""
    everything = {kind: (mask, mask) for kind, mask in _REASONS.items()}
    wanted = _REASONS["packet_in"] & ~(1 << PacketInReason.INVALID_TTL)
    return {**everything, "packet_in": (wanted, 0), "flow_removed": (_REASONS["flow_removed"], 0), "requestforward": (0, 0),
            "controller_status": (0, 0), "flow_stats": (_REASONS["flow_stats"], 0)}


@dataclass(frozen=True)
class Wishes:
    masks: Masks = field(default_factory=_default)

    def wants(self, kind: str, reason: int, *, slave: bool) -> bool:
        return bool(self.masks[kind][slave] >> reason & 1)

    @property
    def silent(self) -> bool:
        return not any(mask for pair in self.masks.values() for mask in pair)


def no_wishes() -> Wishes:
    return Wishes(dict.fromkeys(KINDS, (0, 0)))


def _from_six(message: Any, wishes: Wishes) -> Wishes:
    """1.3's six masks. What 1.4 split off the reason ACTION goes with it."""
    masks = {}
    for kind in ("packet_in", "port_status", "flow_removed"):
        masks[kind] = getattr(message, kind), getattr(message, f"{kind}_slave")
    masks["packet_in"] = tuple(mask | _ACTION_REASONS if mask >> PacketInReason.ACTION & 1 else mask & ~_ACTION_REASONS
                               for mask in masks["packet_in"])
    masks["flow_removed"] = tuple(mask | 0b110000 if mask >> FlowRemovedReason.DELETE & 1 else mask & ~0b110000
                                  for mask in masks["flow_removed"])
    return Wishes({**wishes.masks, **masks})


def _from_properties(properties: list, wishes: Wishes) -> Wishes:
    """1.4's: only what is named changes."""
    masks = dict(wishes.masks)
    for item in properties:
        kind, master = KINDS[item.type // 2], item.type % 2
        if item.mask & ~_REASONS[kind]:
            raise OpenFlowError(ErrorType.ASYNC_CONFIG_FAILED, AsyncConfigFailed.INVALID,
                                f"{kind} has no such reasons: {item.mask:#x}")
        old = masks[kind]
        masks[kind] = (item.mask, old[1]) if master else (old[0], item.mask)
    return Wishes(masks)


def decode_async(version: int, body: bytes, wishes: Wishes) -> Wishes:
    """What a set-async of `version` makes of the wishes that were."""
    message = ASYNC[version].decode(body)
    return _from_six(message, wishes) if version == OF13 else _from_properties(message.properties, wishes)


def decode_nx_async(body: bytes, wishes: Wishes) -> Wishes:
    """NXT_SET_ASYNC_CONFIG."""
    return _from_six(ofp.ASYNC.decode(body), wishes)


def decode_nx_async2(body: bytes, wishes: Wishes) -> Wishes:
    """NXT_SET_ASYNC_CONFIG2: 1.4's properties in earlier versions."""
    return _from_properties(ASYNC[OF14].decode(body).properties, wishes)


def encode_async(version: int, wishes: Wishes) -> bytes:
    """The body of a get-async reply."""
    if version == OF13:
        six = {}
        for kind in ("packet_in", "port_status", "flow_removed"):
            known = _UNTIL_13.get(kind, 0xffffffff)
            six[kind], six[f"{kind}_slave"] = (mask & known for mask in wishes.masks[kind])
        return ofp.ASYNC.encode(ofp.ASYNC(**six))
    layout = ASYNC[version]
    return layout.encode(layout(properties=[
        ASYNC_MASK(type=2 * i + master, mask=wishes.masks[kind][not master])
        for i, kind in enumerate(KINDS[:_N_KINDS[version]]) for master in (0, 1)]))
