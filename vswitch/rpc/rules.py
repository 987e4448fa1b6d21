"""The API's typed rules (proto/vswitch/v1/rule.proto) as OpenFlow 1.3 bodies, and back."""
from __future__ import annotations

from dataclasses import fields

from vswitch.datapath.fields import BY_NAME, Field
from vswitch.errors import InvalidError, OpenFlowError
from vswitch.openflow import actions as of
from vswitch.openflow import flow_text_rule as wire, native
from vswitch.openflow.constants import (OFPCML_NO_BUFFER, OFPG_ANY, OFPP_ANY, OFPP_CONTROLLER, OFPP_IN_PORT, OFPP_LOCAL,
                                        OFPP_MAX, OFPTT_ALL)
from vswitch.openflow.flow_text_print import format_rule, format_stats
from vswitch.openflow.versions import OF13
from vswitch.rpc.v1 import event_pb2, flow_pb2, rule_pb2

REMOVED_REASONS = ("idle_timeout", "hard_timeout", "delete", "group_delete", "meter_delete")

# The actions with at most one number: class, the number's limit (None = there is none), the values it may have.
SIMPLE_ACTIONS: dict[str, tuple[type, int | None, tuple[int, ...]]] = {
    "group": (of.Group, 0xffffff00, ()), "push_vlan": (of.PushVlan, 0xffff, (0x8100, 0x88a8)),
    "pop_vlan": (of.PopVlan, None, ()),
    "push_mpls": (of.PushMpls, 0xffff, (0x8847, 0x8848)), "pop_mpls": (of.PopMpls, 0xffff, ()),
    "push_pbb": (of.PushPbb, 0xffff, (0x88e7,)), "pop_pbb": (of.PopPbb, None, ()),
    "set_mpls_ttl": (of.SetMplsTtl, 255, ()), "dec_mpls_ttl": (of.DecMplsTtl, None, ()),
    "set_nw_ttl": (of.SetNwTtl, 255, ()), "dec_nw_ttl": (of.DecNwTtl, None, ()),
    "copy_ttl_out": (of.CopyTtlOut, None, ()), "copy_ttl_in": (of.CopyTtlIn, None, ()),
    "set_queue": (of.SetQueue, 0xffffffff, ()),
}
SIMPLE_NAMES = {entry[0]: name for name, entry in SIMPLE_ACTIONS.items()}


def _in_range(value: int, low: int, high: int, path: str) -> int:
    if not low <= value <= high:
        raise InvalidError(f"{value} is out of range, {low}..{high}", path)
    return value


# -- messages to bytes

def flow_mod_body(flow: rule_pb2.Flow, command: str, path: str) -> bytes:
    """An ofp_flow_mod; `command` as flow_text_wire.COMMANDS, `path` names `flow` in errors."""
    deletes = command.startswith("delete")
    table = _in_range(flow.table_id, 0, 255 if deletes else 253, f"{path}.table_id")
    if not deletes and (flow.out_port or flow.out_group):
        raise InvalidError("only deletion takes it", f"{path}.out_port" if flow.out_port else f"{path}.out_group")
    if command == "add" and flow.cookie_mask:
        raise InvalidError("a rule that is added takes none", f"{path}.cookie_mask")
    if deletes and flow.instructions:
        raise InvalidError("deletion takes none", f"{path}.instructions")
    return wire.flow_mod_body(_rule(flow, table, path), command)


def stats_request_body(flow: rule_pb2.Flow, table_id: int | None) -> bytes:
    """An ofp_flow_stats_request; table_id None = all tables."""
    table = OFPTT_ALL if table_id is None else _in_range(table_id, 0, 253, "table_id")
    return wire.stats_request_body(_rule(flow, table, "filter"))


def _rule(flow: rule_pb2.Flow, table: int, path: str) -> wire.Rule:
    return wire.Rule(
        table, _in_range(flow.priority, 0, 0xffff, f"{path}.priority"), flow.cookie, flow.cookie_mask,
        _in_range(flow.idle_timeout, 0, 0xffff, f"{path}.idle_timeout"),
        _in_range(flow.hard_timeout, 0, 0xffff, f"{path}.hard_timeout"), _in_range(flow.flags, 0, 31, f"{path}.flags"),
        _match(flow.match, f"{path}.match"), _instructions(flow.instructions, table, f"{path}.instructions"),
        flow.out_port or OFPP_ANY, flow.out_group or OFPG_ANY)


def _match(messages, path: str) -> wire.FieldMatch:
    match: wire.FieldMatch = {}
    for index, message in enumerate(messages):
        entry, value, mask = _field_value(message, f"{path}[{index}]")
        if entry.name in match:
            raise InvalidError(f"{entry.name} is there twice", f"{path}[{index}].name")
        match[entry.name] = (value, mask)
    return match


def _field_value(message: rule_pb2.MatchField, path: str) -> tuple[Field, int, int | None]:
    entry = BY_NAME.get(message.name)
    if entry is None:
        raise InvalidError(f"unknown field {message.name!r}", f"{path}.name")
    value = _field_bytes(message.value, entry, f"{path}.value")
    if not message.mask:
        return entry, value, None
    if not entry.maskable:
        raise InvalidError(f"{entry.name} takes no mask", f"{path}.mask")
    mask = _field_bytes(message.mask, entry, f"{path}.mask")
    if value & ~mask:
        raise InvalidError("has bits outside its mask", f"{path}.value")
    return entry, value, None if mask == entry.full_mask else mask


def _field_bytes(data: bytes, entry: Field, path: str) -> int:
    if not 1 <= len(data) <= entry.bytes:
        raise InvalidError(f"has {len(data)} bytes, {entry.name} has 1..{entry.bytes}", path)
    number = int.from_bytes(data, "big")
    if number >> entry.bits:
        raise InvalidError(f"is wider than {entry.name}'s {entry.bits} bits", path)
    return number


def _instructions(messages, table: int, path: str) -> list[of.Instruction]:
    instructions, seen = [], set()
    for index, message in enumerate(messages):
        where = f"{path}[{index}]"
        kind = message.WhichOneof("kind")
        if kind is None:
            raise InvalidError("holds nothing", where)
        if kind in seen:
            raise InvalidError(f"{kind} is there twice", where)
        seen.add(kind)
        instructions.append(_instruction(message, kind, table, f"{where}.{kind}"))
    return sorted(instructions, key=lambda instruction: wire.INSTRUCTION_ORDER.index(type(instruction)))


def _instruction(message: rule_pb2.Instruction, kind: str, table: int, path: str) -> of.Instruction:
    match kind:
        case "goto_table":
            return of.GotoTable(_in_range(message.goto_table, table + 1, 253, path))
        case "meter":
            return of.Meter(_in_range(message.meter, 1, 0xffff0000, path))
        case "write_metadata":
            written = message.write_metadata
            return of.WriteMetadata(written.metadata, written.mask or (1 << 64) - 1)
        case "stat_trigger":
            return _trigger(message.stat_trigger, path)
        case "clear_actions":
            _must_be_true(message.clear_actions, path)
            return of.ClearActions()
    listed = of.ApplyActions if kind == "apply_actions" else of.WriteActions
    return listed(actions(getattr(message, kind).actions, f"{path}.actions"))


def _trigger(message: rule_pb2.StatTrigger, path: str) -> of.StatTrigger:
    found = {}
    for name in ("duration", "idle_time", "flows", "packets", "bytes"):
        key = f"{name}_ns" if name in ("duration", "idle_time") else name
        if message.HasField(key):
            found[name] = getattr(message, key)
            if key != name:
                _in_range(found[name] // 1_000_000_000, 0, 0xffffffff, f"{path}.{key}")
    return of.StatTrigger(**found, periodic=message.periodic, only_first=message.only_first)


def actions(messages, path: str) -> tuple[of.Action, ...]:
    """A list of actions; `path` names it in errors."""
    return tuple(_action(message, f"{path}[{index}]") for index, message in enumerate(messages))


def _action(message: rule_pb2.Action, path: str) -> of.Action:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise InvalidError("holds nothing", path)
    path = f"{path}.{kind}"
    argument = getattr(message, kind)
    if kind == "output":
        port = argument.port
        if not (1 <= port <= OFPP_MAX or OFPP_IN_PORT <= port <= OFPP_LOCAL):
            raise InvalidError(f"{port} is no port number", f"{path}.port")
        whole = OFPCML_NO_BUFFER if port == OFPP_CONTROLLER else 0
        max_len = argument.max_len if argument.HasField("max_len") else whole
        return of.Output(port, _in_range(max_len, 0, 0xffff, f"{path}.max_len"))
    if kind == "set_field":
        entry, value, mask = _field_value(argument, path)
        if not entry.settable:
            raise InvalidError(f"{entry.name} can't be set", f"{path}.name")
        if mask is not None:
            raise InvalidError("OpenFlow 1.3 sets a field as a whole, without a mask", f"{path}.mask")
        return of.SetField(entry.name, value)
    if kind == "encoded":
        return _encoded(argument, path)
    action_class, limit, allowed = SIMPLE_ACTIONS[kind]
    if limit is None:
        _must_be_true(argument, path)
        return action_class()
    if allowed and argument not in allowed:
        raise InvalidError(f"{argument:#x} is none of {', '.join(map(hex, allowed))}", path)
    return action_class(_in_range(argument, 0, limit, path))


def _encoded(data: bytes, path: str) -> of.Action:
    if len(data) < 8 or len(data) % 8 or int.from_bytes(data[2:4], "big") != len(data):
        raise InvalidError(f"{len(data)} bytes are not one action", path)
    try:
        return of.decode_actions(data)[0]
    except OpenFlowError as e:
        raise InvalidError(e.reason, path) from None


def _must_be_true(value: bool, path: str) -> None:
    if not value:
        raise InvalidError("must be true where it is there", path)


# -- bytes to messages

def text_entry(entry: bytes, names: dict[int, str]) -> flow_pb2.FlowEntry:
    """An ofp_flow_stats as a line of dump-flows; `names` gives ports' names by number."""
    stats = wire.read_flow_stats(native.flow_stats_out(OF13, native.FULL, entry))
    return flow_pb2.FlowEntry(text=format_stats(stats, names.get), duration_nsec=stats.duration_nsec,
                              packets=stats.packets, bytes=stats.bytes)


def typed_entry(entry: bytes, names: dict[int, str]) -> flow_pb2.FlowEntry:
    """An ofp_flow_stats, field by field."""
    return _entry(wire.read_flow_stats(native.flow_stats_out(OF13, native.FULL, entry)))


def flow_stats_message(entry: bytes) -> flow_pb2.FlowEntry:
    """An ofp_flow_stats, field by field and as text."""
    message = typed_entry(entry, {})
    message.text = format_rule(wire.read_flow_stats(native.flow_stats_out(OF13, native.FULL, entry)).rule)
    return message


def flow_removed_message(body: bytes) -> event_pb2.FlowRemoved:
    stats = wire.read_flow_removed(body)
    reason = REMOVED_REASONS[stats.reason] if stats.reason < len(REMOVED_REASONS) else str(stats.reason)
    message = event_pb2.FlowRemoved(entry=_entry(stats), reason=reason)
    message.entry.text = format_rule(stats.rule).partition(" actions=")[0]
    return message


def _entry(stats: wire.RuleStats) -> flow_pb2.FlowEntry:
    rule = stats.rule
    return flow_pb2.FlowEntry(
        flow=rule_pb2.Flow(
            table_id=rule.table_id, priority=rule.priority, cookie=rule.cookie, idle_timeout=rule.idle_timeout,
            hard_timeout=rule.hard_timeout, flags=rule.flags,
            match=[_field_message(name, *rule.match[name]) for name in rule.match],
            instructions=map(_instruction_message, rule.instructions)),
        duration_nsec=stats.duration_nsec, packets=stats.packets, bytes=stats.bytes)


def _field_message(name: str, value: int, mask: int | None = None) -> rule_pb2.MatchField:
    size = BY_NAME[name].bytes
    return rule_pb2.MatchField(name=name, value=value.to_bytes(size, "big"),
                               mask=b"" if mask is None else mask.to_bytes(size, "big"))


def _instruction_message(instruction: of.Instruction) -> rule_pb2.Instruction:
    match instruction:
        case of.GotoTable(number):
            return rule_pb2.Instruction(goto_table=number)
        case of.Meter(number):
            return rule_pb2.Instruction(meter=number)
        case of.StatTrigger():
            t = instruction
            return rule_pb2.Instruction(stat_trigger=rule_pb2.StatTrigger(
                duration_ns=t.duration, idle_time_ns=t.idle_time, flows=t.flows, packets=t.packets, bytes=t.bytes,
                periodic=t.periodic, only_first=t.only_first))
        case of.WriteMetadata(metadata, mask):
            return rule_pb2.Instruction(write_metadata=rule_pb2.WriteMetadata(metadata=metadata, mask=mask))
        case of.ClearActions():
            return rule_pb2.Instruction(clear_actions=True)
        case of.WriteActions(listed):
            return rule_pb2.Instruction(write_actions=rule_pb2.ActionList(actions=map(action_message, listed)))
        case of.ApplyActions(listed):
            return rule_pb2.Instruction(apply_actions=rule_pb2.ActionList(actions=map(action_message, listed)))
    raise InvalidError(f"the rule holds {instruction}, which the API has no name for", "instructions")


def action_message(action: of.Action) -> rule_pb2.Action:
    """An action, typed where the API has a name for it, else as OpenFlow encodes it."""
    match action:
        case of.Output(port, max_len):
            return rule_pb2.Action(output=rule_pb2.Output(port=port, max_len=max_len if port == OFPP_CONTROLLER else None))
        case of.SetField(name, value):
            return rule_pb2.Action(set_field=_field_message(name, value))
        case of.ExperimenterAction():
            return rule_pb2.Action(encoded=of.encode_action(action))
    name = SIMPLE_NAMES[type(action)]
    limit = SIMPLE_ACTIONS[name][1]
    return rule_pb2.Action(**{name: True if limit is None else getattr(action, fields(action)[0].name)})
