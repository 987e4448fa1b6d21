"""The API's typed rules (proto/vswitch/v1/rule.proto) as OpenFlow 1.3 bodies, and back."""
from __future__ import annotations

from vswitch.errors import InvalidError
from vswitch.openflow import flow_text_wire as wire
from vswitch.openflow.flow_text_fields import FIELDS
from vswitch.openflow.flow_text_print import format_rule, format_stats
from vswitch.rpc.v1 import event_pb2, flow_pb2, rule_pb2

OFPP_MAX = 0xffffff00
REMOVED_REASONS = ("idle_timeout", "hard_timeout", "delete", "group_delete", "meter_delete")
ETHERTYPES = {"push_vlan": (0x8100, 0x88a8), "push_mpls": (0x8847, 0x8848), "push_pbb": (0x88e7,)}
ACTION_LIMITS = {"group": 0xffffff00, "pop_mpls": 0xffff, "set_mpls_ttl": 255, "set_nw_ttl": 255, "set_queue": 0xffffffff}

packet_out_body = wire.packet_out_body


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
    table = wire.OFPTT_ALL if table_id is None else _in_range(table_id, 0, 253, "table_id")
    return wire.stats_request_body(_rule(flow, table, "filter"))


def _rule(flow: rule_pb2.Flow, table: int, path: str) -> wire.Rule:
    return wire.Rule(
        table, _in_range(flow.priority, 0, 0xffff, f"{path}.priority"), flow.cookie, flow.cookie_mask,
        _in_range(flow.idle_timeout, 0, 0xffff, f"{path}.idle_timeout"),
        _in_range(flow.hard_timeout, 0, 0xffff, f"{path}.hard_timeout"), _in_range(flow.flags, 0, 31, f"{path}.flags"),
        _match(flow.match, f"{path}.match"), _instructions(flow.instructions, table, f"{path}.instructions"),
        flow.out_port or wire.OFPP_ANY, flow.out_group or wire.OFPG_ANY)


def _match(fields, path: str) -> list[wire.FieldValue]:
    match, seen = [], set()
    for index, message in enumerate(fields):
        item = _field_value(message, f"{path}[{index}]")
        if item.field.name in seen:
            raise InvalidError(f"{item.field.name} is there twice", f"{path}[{index}].name")
        seen.add(item.field.name)
        match.append(item)
    return match


def _field_value(message: rule_pb2.MatchField, path: str) -> wire.FieldValue:
    entry = FIELDS.get(message.name)
    if entry is None:
        raise InvalidError(f"unknown field {message.name!r}", f"{path}.name")
    value = _field_bytes(message.value, entry, f"{path}.value")
    if not message.mask:
        return wire.FieldValue(entry, value)
    if not entry.maskable:
        raise InvalidError(f"{entry.name} takes no mask", f"{path}.mask")
    mask = _field_bytes(message.mask, entry, f"{path}.mask")
    if value & ~mask:
        raise InvalidError("has bits outside its mask", f"{path}.value")
    return wire.FieldValue(entry, value, None if mask == (1 << entry.bits) - 1 else mask)


def _field_bytes(data: bytes, entry, path: str) -> int:
    if not 1 <= len(data) <= entry.bytes:
        raise InvalidError(f"has {len(data)} bytes, {entry.name} has 1..{entry.bytes}", path)
    number = int.from_bytes(data, "big")
    if number >> entry.bits:
        raise InvalidError(f"is wider than {entry.name}'s {entry.bits} bits", path)
    return number


def _instructions(messages, table: int, path: str) -> list[wire.Instruction]:
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
    order = list(wire.INSTRUCTION_TYPES)
    return sorted(instructions, key=lambda instruction: order.index(instruction.name))


def _instruction(message: rule_pb2.Instruction, kind: str, table: int, path: str) -> wire.Instruction:
    match kind:
        case "goto_table":
            return wire.Instruction(kind, _in_range(message.goto_table, table + 1, 253, path))
        case "meter":
            return wire.Instruction(kind, _in_range(message.meter, 1, 0xffff0000, path))
        case "write_metadata":
            written = message.write_metadata
            return wire.Instruction(kind, written.metadata, written.mask or (1 << 64) - 1)
        case "clear_actions":
            _must_be_true(message.clear_actions, path)
            return wire.Instruction(kind)
    return wire.Instruction(kind, actions=_actions(getattr(message, kind).actions, f"{path}.actions"))


def actions_bytes(messages, path: str) -> bytes:
    """A list of actions as a packet-out carries it."""
    return wire.actions_bytes(_actions(messages, path))


def _actions(messages, path: str) -> tuple[wire.Action, ...]:
    return tuple(_action(message, f"{path}[{index}]") for index, message in enumerate(messages))


def _action(message: rule_pb2.Action, path: str) -> wire.Action:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise InvalidError("holds nothing", path)
    path = f"{path}.{kind}"
    argument = getattr(message, kind)
    if kind == "output":
        port = argument.port
        if not (1 <= port <= OFPP_MAX or wire.OFPP_IN_PORT <= port <= 0xfffffffe):
            raise InvalidError(f"{port} is no port number", f"{path}.port")
        whole = wire.MAX_LEN_ALL if port == wire.OFPP_CONTROLLER else 0
        max_len = argument.max_len if argument.HasField("max_len") else whole
        return wire.Action(kind, port, _in_range(max_len, 0, 0xffff, f"{path}.max_len"))
    if kind == "set_field":
        target = _field_value(argument, path)
        if not target.field.settable:
            raise InvalidError(f"{target.field.name} can't be set", f"{path}.name")
        return wire.Action(kind, target=target)
    if kind in ETHERTYPES:
        if argument not in ETHERTYPES[kind]:
            raise InvalidError(f"{argument:#x} is none of {', '.join(map(hex, ETHERTYPES[kind]))}", path)
        return wire.Action(kind, argument)
    if kind in ACTION_LIMITS:
        return wire.Action(kind, _in_range(argument, 0, ACTION_LIMITS[kind], path))
    _must_be_true(argument, path)
    return wire.Action(kind)


def _must_be_true(value: bool, path: str) -> None:
    if not value:
        raise InvalidError("must be true where it is there", path)


# -- bytes to messages

def text_entry(entry: bytes, names: dict[int, str]) -> flow_pb2.FlowEntry:
    """An ofp_flow_stats as a line of dump-flows; `names` gives ports' names by number."""
    stats = wire.read_flow_stats(entry)
    return flow_pb2.FlowEntry(text=format_stats(stats, names.get), duration_nsec=stats.duration_nsec,
                              packets=stats.packets, bytes=stats.bytes)


def typed_entry(entry: bytes, names: dict[int, str]) -> flow_pb2.FlowEntry:
    """An ofp_flow_stats, field by field."""
    return _entry(wire.read_flow_stats(entry))


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
            hard_timeout=rule.hard_timeout, flags=rule.flags, match=map(_field_message, rule.match),
            instructions=map(_instruction_message, rule.instructions)),
        duration_nsec=stats.duration_nsec, packets=stats.packets, bytes=stats.bytes)


def _field_message(item: wire.FieldValue) -> rule_pb2.MatchField:
    size = item.field.bytes
    return rule_pb2.MatchField(name=item.field.name, value=item.value.to_bytes(size, "big"),
                               mask=b"" if item.mask is None else item.mask.to_bytes(size, "big"))


def _instruction_message(instruction: wire.Instruction) -> rule_pb2.Instruction:
    match instruction.name:
        case "goto_table" | "meter":
            return rule_pb2.Instruction(**{instruction.name: instruction.value})
        case "write_metadata":
            return rule_pb2.Instruction(
                write_metadata=rule_pb2.WriteMetadata(metadata=instruction.value, mask=instruction.mask))
        case "clear_actions":
            return rule_pb2.Instruction(clear_actions=True)
    actions = rule_pb2.ActionList(actions=map(_action_message, instruction.actions))
    return rule_pb2.Instruction(**{instruction.name: actions})


def _action_message(action: wire.Action) -> rule_pb2.Action:
    if action.name == "output":
        max_len = action.max_len if action.value == wire.OFPP_CONTROLLER else None
        return rule_pb2.Action(output=rule_pb2.Output(port=action.value, max_len=max_len))
    if action.name == "set_field":
        return rule_pb2.Action(set_field=_field_message(action.target))
    if wire.ACTION_TYPES[action.name][1]:
        return rule_pb2.Action(**{action.name: action.value})
    return rule_pb2.Action(**{action.name: True})
