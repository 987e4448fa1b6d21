"""Bundles: items of several kinds, all carried out in order or none (OpenFlow 1.4.1, 6.8). Their flow-mods come into force at
one moment; what else there is of a bundle is carried out before and after, and taken back where a later item is refused."""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vswitch.errors import BundleRefused, UnavailableError, VswitchError
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
    """One port-mod; the result takes it back."""
    if kind == Type.PORT_MOD:
        before = next((r.config for r in await switch.port_records(bridge) if r.port_no == item.port_no), 0)
        await switch.modify_port(bridge, item)
        return lambda: switch.modify_port(bridge, replace(item, config=before))
    raise VswitchError(f"a message of type {kind} can't be in a bundle")
