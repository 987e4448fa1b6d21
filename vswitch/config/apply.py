"""Makes the running state what a file says: the difference alone, all or nothing."""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from weakref import WeakKeyDictionary

from vswitch.config.diff import Change, diff, flow_changes, object_changes, read_rules
from vswitch.config.load import Config, config_error, load_file, load_text
from vswitch.errors import VswitchError
from vswitch.model.objects import Bridge, Port
from vswitch.model.switch import Switch
from vswitch.openflow.flow_text_rule import Rule, flow_mod_body, strict_deletion_body

log = logging.getLogger(__name__)

BATCH = 1000        # rules a call: the switch stays responsive between them

_locks: WeakKeyDictionary[Switch, asyncio.Lock] = WeakKeyDictionary()

Undo = Callable[[], Awaitable[object]]


async def apply_file(switch: Switch, path: str) -> list[Change]:
    """apply_text of the file at `path`."""
    return await apply_config(switch, await asyncio.to_thread(load_file, path))


async def apply_text(switch: Switch, text: str, filename: str = "config") -> list[Change]:
    """Applies a configuration and returns what it changed. InvalidError for one that is wrong; any other VswitchError for one
    that the switch refuses, after all was taken back."""
    return await apply_config(switch, await asyncio.to_thread(load_text, text, filename))


async def diff_text(switch: Switch, text: str, filename: str = "config") -> list[Change]:
    """What apply_text would change."""
    return await diff(switch, await asyncio.to_thread(load_text, text, filename))


async def apply_config(switch: Switch, config: Config) -> list[Change]:
    """One at a time: what another changes in between could not be told from our own when a step is taken back."""
    async with _locks.setdefault(switch, asyncio.Lock()):
        return await _apply(switch, config)


async def _apply(switch: Switch, config: Config) -> list[Change]:
    undo: list[Undo] = []
    done: list[Change] = []
    try:
        for change in object_changes(switch, config):
            await _located(config, change, _make(switch, change, undo))
            done.append(change)
        for bridge in config.flows:
            done += await _write_flows(switch, config, bridge, undo)
    except BaseException:
        await _take_back(undo)
        raise
    return done


async def _located(config: Config, change: Change, step: Awaitable[None]) -> None:
    """Adds the line that a step stems from to its error."""
    try:
        await step
    except VswitchError as error:
        located = config.refusal(change.path, error)
        error.args, error.field = located.args, located.field
        raise


async def _take_back(undo: list[Undo]) -> None:
    while undo:
        try:
            await undo.pop()()
        except VswitchError:
            log.exception("a step of a failed configuration could not be taken back")


async def _make(switch: Switch, change: Change, undo: list[Undo]) -> None:
    await STEPS[change.kind, change.action](switch, change, undo)


async def _add_tenant(switch, change, undo):
    await switch.add_tenant(change.new)
    undo.append(lambda: switch.remove_tenant(change.name))


async def _change_tenant(switch, change, undo):
    await switch.change_tenant(change.new)
    undo.append(lambda: switch.change_tenant(change.old))


async def _remove_tenant(switch, change, undo):
    await switch.remove_tenant(change.name)
    undo.append(lambda: switch.add_tenant(replace(change.old, id=0)))


async def _add_bridge(switch, change, undo):
    await switch.add_bridge(change.new)
    undo.append(lambda: switch.remove_bridge(change.name))


async def _change_bridge(switch, change, undo):
    await switch.change_bridge(change.new)
    undo.append(lambda: switch.change_bridge(change.old))


async def _remove_bridge(switch, change, undo):
    bridge: Bridge = change.old
    ports = switch.ports(bridge.name)
    rules = list((await read_rules(switch, bridge.name)).values())
    await switch.remove_bridge(bridge.name)

    async def restore():
        await switch.add_bridge(replace(bridge, id=0))
        for port in ports:
            await switch.add_port(port)
        await _write(switch, bridge.name, [flow_mod_body(rule, "add") for rule in rules])
    undo.append(restore)


async def _add_port(switch, change, undo):
    port: Port = await switch.add_port(change.new)
    undo.append(lambda: switch.remove_port(port.bridge, port.name))


async def _change_port(switch, change, undo):
    await switch.change_port(change.new)
    undo.append(lambda: switch.change_port(change.old))


async def _remove_port(switch, change, undo):
    port: Port = change.old
    await switch.remove_port(port.bridge, port.name)
    undo.append(lambda: switch.add_port(port))


async def _set_vtep(switch, change, undo):
    await switch.set_vtep(change.new)
    undo.append(lambda: switch.set_vtep(change.old))


async def _set_balance(switch, change, undo):
    await switch.set_balance(change.new)
    undo.append(lambda: switch.set_balance(change.old))


STEPS = {
    ("tenant", "add"): _add_tenant, ("tenant", "change"): _change_tenant, ("tenant", "remove"): _remove_tenant,
    ("bridge", "add"): _add_bridge, ("bridge", "change"): _change_bridge, ("bridge", "remove"): _remove_bridge,
    ("port", "add"): _add_port, ("port", "change"): _change_port, ("port", "remove"): _remove_port,
    ("vtep", "change"): _set_vtep, ("balance", "change"): _set_balance,
}


# -- rules

async def _write_flows(switch: Switch, config: Config, bridge: str, undo: list[Undo]) -> list[Change]:
    """The bridge exists by now and its ports have their numbers."""
    numbers = {port.name: port.port_no for port in switch.ports(bridge)}
    wanted = await asyncio.to_thread(config.rules, bridge, numbers)
    changes = flow_changes(config, bridge, await read_rules(switch, bridge), wanted)
    for start in range(0, len(changes), BATCH):
        batch = changes[start:start + BATCH]
        outcomes = await switch.write_flows(bridge, [_forward(change) for change in batch])
        back = [_backward(change) for change, outcome in zip(batch, outcomes) if outcome is None]
        undo.append(lambda back=back: _write(switch, bridge, back[::-1]))
        for change, outcome in zip(batch, outcomes):
            if outcome is not None:
                raise _flow_error(config, change, outcome)
    if changes:
        await switch.barrier(bridge)
    return changes


def _forward(change: Change) -> bytes:
    old: Rule | None = change.old
    new: Rule | None = change.new
    if new is None:
        return strict_deletion_body(old)
    if old is not None and replace(old, instructions=new.instructions).lasting == new.lasting:
        return flow_mod_body(new, "modify_strict")      # keeps the rule's age and counters
    return flow_mod_body(new, "add")


def _backward(change: Change) -> bytes:
    if change.old is None:
        return strict_deletion_body(change.new)
    return flow_mod_body(change.old, "add")


async def _write(switch: Switch, bridge: str, bodies: list[bytes]) -> None:
    for start in range(0, len(bodies), BATCH):
        for outcome in await switch.write_flows(bridge, bodies[start:start + BATCH]):
            if outcome is not None:
                raise outcome


def _flow_error(config: Config, change: Change, outcome: Exception) -> Exception:
    if isinstance(outcome, VswitchError):
        line = next((entry.line for entry in config.flows[change.name] if entry.path == change.path), 1)
        path = change.path or change.object
        outcome.args = config_error(config.filename, line, path, str(outcome)).args
        outcome.field = path
    return outcome
