"""Bundles: items of several kinds, all carried out in order or none (OpenFlow 1.4.1, 6.8). Their flow-mods come into force at
one moment; what else there is of a bundle is carried out before and after, and taken back where a later item is refused."""
from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vswitch.errors import BundleRefused, UnavailableError, VswitchError
from vswitch.model.flow_bodies import add_from_stats
from vswitch.model.group_journal import add_group_from_desc
from vswitch.model.journal import Journal
from vswitch.openflow.constants import Type

if TYPE_CHECKING:
    from vswitch.datapath.client import Client
    from vswitch.model.origins import Sent
    from vswitch.model.switch import Switch

Undo = Callable[[], Awaitable[object]]


async def commit_bundle(switch: Switch, client: Client, bridge: str, bridge_id: int, items: Sequence[tuple[int, object]],
                        journal: Journal, sent: Sent | None) -> None:
    """Packet-outs go last: nothing takes them back. BundleRefused with the index of the item that was refused first."""
    rules = [i for i, (kind, _) in enumerate(items) if kind == Type.FLOW_MOD]
    packets = [i for i, (kind, _) in enumerate(items) if kind == Type.PACKET_OUT]
    others = [i for i, (kind, _) in enumerate(items) if kind not in (Type.FLOW_MOD, Type.PACKET_OUT)]
    undo: list[Undo] = []
    try:
        for i in others:
            try:
                undo.append(await _carry_out(switch, bridge, *items[i]))
            except VswitchError as e:
                raise BundleRefused(i, e) from None
        if rules:
            outcome = await client.write_bundle(bridge_id, [items[i][1] for i in rules], journal.applied, sent)
            for i, error in zip(rules, outcome):
                if error is not None:
                    raise BundleRefused(i, error)
    except BaseException:
        while undo:
            await undo.pop()()
        raise
    for i, error in zip(packets, await switch.packet_outs(bridge, [items[i][1] for i in packets])):
        if error is not None and not isinstance(error, UnavailableError):
            raise BundleRefused(i, error)


async def _carry_out(switch: Switch, bridge: str, kind: int, item: object) -> Undo:
    """One port-mod or group-mod; the result takes it back."""
    if kind == Type.PORT_MOD:
        before = next((r.config for r in await switch.port_records(bridge) if r.port_no == item.port_no), 0)
        await switch.modify_port(bridge, item)
        return lambda: switch.modify_port(bridge, replace(item, config=before))
    if kind == Type.GROUP_MOD:
        return await _group_mod(switch, bridge, item)
    raise VswitchError(f"a message of type {kind} can't be in a bundle")


_DELETE = struct.pack("!HBx", 2, 0)
_GROUP_AT = 4               # in a group_mod
_FILTER = struct.Struct("!B3xII4xQQ")
_ANY = 0xffffffff
_ANY_MATCH = b"\0\1\0\4\0\0\0\0"


async def _group_mod(switch: Switch, bridge: str, body: bytes) -> Undo:
    """Groups that it changes or deletes are put back as they were, with the rules that went with them."""
    number = int.from_bytes(body[_GROUP_AT:_GROUP_AT + 4], "big")
    before = await switch.groups(bridge, number)
    rules: list[bytes] = []
    if body[:2] == _DELETE[:2]:
        for entry in before:
            asked = _FILTER.pack(0xff, _ANY, int.from_bytes(entry[4:8], "big"), 0, 0) + _ANY_MATCH
            async for entries in switch.dump_flows(bridge, asked):
                rules += entries
    await switch.group_mod(bridge, body)

    async def undo() -> None:
        if not before:
            await switch.group_mod(bridge, _DELETE + number.to_bytes(4, "big") + bytes(4) + _ANY.to_bytes(4, "big"))
        for entry in before:
            await switch.group_mod(bridge, _OR_MODIFY + add_group_from_desc(entry)[2:])
        if rules:
            await switch.write_flows(bridge, [add_from_stats(entry) for entry in rules])

    return undo


_OR_MODIFY = struct.pack("!H", 0x8000)
