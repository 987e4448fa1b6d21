"""Actions and instructions in ovs-ofctl's syntax (ovs-actions(7)): what stands after "actions="."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from vswitch.datapath.fields import BY_NAME
from vswitch.errors import InvalidError
from vswitch.openflow.actions import (Action, ApplyActions, ClearActions, CopyTtlIn, CopyTtlOut, DecMplsTtl, DecNwTtl,
                                      GotoTable, Group, Instruction, Meter, Output, PopMpls, PopPbb, PopVlan, PushMpls,
                                      PushPbb, PushVlan, SetField, SetMplsTtl, SetNwTtl, SetQueue, StatTrigger, WriteActions,
                                      WriteMetadata)
from vswitch.openflow.constants import OFPCML_NO_BUFFER, OFPP_CONTROLLER
from vswitch.openflow.flow_text_fields import ALIASES, PORT_WORDS, Resolver, parse_number, parse_port, parse_value
from vswitch.openflow.flow_text_rule import INSTRUCTION_ORDER

INSTRUCTIONS = {"meter": Meter, "apply_actions": ApplyActions, "clear_actions": ClearActions, "write_actions": WriteActions,
                "write_metadata": WriteMetadata, "stat_trigger": StatTrigger, "goto_table": GotoTable}
INSTRUCTION_NAMES = {kind: name for name, kind in INSTRUCTIONS.items()}
TRANSPORTS = {6: "tcp", 17: "udp", 132: "sctp"}


@dataclass(frozen=True)
class Context:
    """What the meaning of an action depends on besides its own words."""
    ports: Resolver | None = None
    ip_proto: int | None = None     # of the match
    tagged: bool = False            # the match holds a VLAN tag


def split(text: str, token: str = "actions") -> list[tuple[str, str]]:
    """The items of a list as (name, argument): "a:1,b(c,d),e" -> (a, 1), (b, "c,d"), (e, "")."""
    items, depth, start = [], 0, 0
    for at, letter in enumerate(text + ","):
        if letter == "(":
            depth += 1
        elif letter == ")":
            depth -= 1
            if depth < 0:
                raise InvalidError("has a ) without its (", token)
        elif letter in ", \t\n" and depth == 0:
            if text[start:at].strip():
                items.append(_split_item(text[start:at].strip()))
            start = at + 1
    if depth:
        raise InvalidError("has a ( without its )", token)
    return items


def _split_item(item: str) -> tuple[str, str]:
    for at, letter in enumerate(item):
        if letter in ":=":
            return item[:at], item[at + 1:]
        if letter == "(":
            if not item.endswith(")"):
                raise InvalidError("has something after its )", item[:at])
            return item[:at], item[at + 1:-1]
    return item, ""


def parse_instructions(text: str, context: Context) -> list[Instruction]:
    """The instructions of a rule. Bare actions are apply_actions; "drop" alone or nothing is no instruction."""
    items = split(text)
    if any(name.lower() == "drop" for name, _ in items):
        if len(items) > 1:
            raise InvalidError("must not be accompanied by any other action or instruction", "drop")
        return []
    instructions: list[Instruction] = []
    bare: list[tuple[str, str]] = []

    def append(instruction: Instruction) -> None:
        places = [INSTRUCTION_ORDER.index(type(item)) for item in (*instructions[-1:], instruction)]
        name = INSTRUCTION_NAMES[type(instruction)]
        if places[0] == places[-1] and instructions:
            raise InvalidError("is there twice", name)
        if places[0] > places[-1]:
            raise InvalidError(f"must come before {INSTRUCTION_NAMES[type(instructions[-1])]}", name)
        instructions.append(instruction)

    def end_bare() -> None:
        if bare:
            append(ApplyActions(tuple(_actions(bare, context))))
            bare.clear()

    for name, argument in items:
        word = name.lower()
        if word not in INSTRUCTIONS:
            bare.append((name, argument))
            continue
        end_bare()
        append(_instruction(word, argument, context))
    end_bare()
    return instructions


def _instruction(word: str, argument: str, context: Context) -> Instruction:
    match word:
        case "goto_table":
            return GotoTable(parse_number(_needed(word, argument), 253, word))
        case "meter":
            return Meter(parse_number(_needed(word, argument), 0xffff0000, word))
        case "clear_actions":
            _none(word, argument)
            return ClearActions()
        case "write_metadata":
            value, slash, mask = _needed(word, argument).partition("/")
            ones = (1 << 64) - 1
            return WriteMetadata(parse_number(value, ones, word), parse_number(mask, ones, word) if slash else ones)
        case "stat_trigger":
            return _parse_trigger(_needed(word, argument))
    return INSTRUCTIONS[word](tuple(_actions(split(argument, word), context)))


def _parse_trigger(argument: str) -> StatTrigger:
    """stat_trigger(packets=1000,bytes=64000,flows=1,duration=1.5,idle_time=10,periodic,only_first), times in seconds."""
    found: dict[str, int | bool] = {}
    for name, value in split(argument, "stat_trigger"):
        if name in found:
            raise InvalidError(f"{name} is there twice", "stat_trigger")
        match name:
            case "packets" | "bytes":
                found[name] = parse_number(_needed(name, value), (1 << 64) - 1, name)
            case "flows":
                found[name] = parse_number(_needed(name, value), 0xffffffff, name)
            case "duration" | "idle_time":
                found[name] = _nanoseconds(name, _needed(name, value))
            case "periodic" | "only_first":
                _none(name, value)
                found[name] = True
            case _:
                raise InvalidError(f"unknown argument {name!r}", "stat_trigger")
    return StatTrigger(**found)


def _nanoseconds(word: str, text: str) -> int:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise InvalidError(f"{text!r} is not a number of seconds", word) from None
    if not 0 <= value < 1 << 32:
        raise InvalidError(f"{text} is not in 0..4294967295", word)
    return int(value * 1_000_000_000)


def parse_actions(text: str, context: Context) -> list[Action]:
    """A list of actions alone, as packet-out takes it; "drop" or nothing is an empty list."""
    items = split(text)
    if [name.lower() for name, _ in items] == ["drop"]:
        return []
    return _actions(items, context)


def _actions(items: list[tuple[str, str]], context: Context) -> list[Action]:
    actions: list[Action] = []
    for name, argument in items:
        parser = PARSERS.get(name.lower())
        if parser is not None:
            actions += parser(name.lower(), argument, context, actions)
        elif not argument and _is_port(name, context.ports):
            actions.append(_output(parse_port(name, context.ports, "output")))
        elif name.lower() in INSTRUCTIONS:
            raise InvalidError("is an instruction, not an action", name)
        else:
            raise InvalidError(f"unknown action {name!r}", name)
    return actions


def _is_port(name: str, ports: Resolver | None) -> bool:
    return name[:1].isdigit() or name.lower() in PORT_WORDS or bool(ports and ports(name.strip('"')) is not None)


def _needed(word: str, argument: str) -> str:
    if not argument:
        raise InvalidError("needs an argument", word)
    return argument


def _none(word: str, argument: str) -> None:
    if argument:
        raise InvalidError(f"takes no argument, has {argument!r}", word)


def _output(port: int, max_len: int | None = None) -> Output:
    if max_len is None:
        max_len = OFPCML_NO_BUFFER if port == OFPP_CONTROLLER else 0
    return Output(port, max_len)


def _parse_output(word, argument, context, before):
    return [_output(parse_port(_needed(word, argument), context.ports, word))]


def _parse_controller(word, argument, context, before):
    max_len = OFPCML_NO_BUFFER
    for name, value in split(argument, word):
        if not value and name[:1].isdigit():
            max_len = parse_number(name, 0xffff, word)
        elif name == "max_len":
            max_len = parse_number(_needed(name, value), 0xffff, name)
        else:
            raise InvalidError(f"unknown argument {name!r}, only max_len there is", word)
    return [_output(OFPP_CONTROLLER, max_len)]


def _parse_reserved(word, argument, context, before):
    _none(word, argument)
    return [_output(PORT_WORDS[word])]


def _set(name: str, text: str, word: str) -> SetField:
    return SetField(name, parse_value(BY_NAME[name], text, word))


def _parse_set_field(word, argument, context, before):
    text, arrow, name = _needed(word, argument).rpartition("->")
    if not arrow:
        raise InvalidError(f"{argument!r} is not VALUE[/MASK]->FIELD", word)
    entry = BY_NAME.get(_field_name(name.strip(), context))
    if entry is None:
        raise InvalidError(f"unknown field {name!r}", word)
    if not entry.settable:
        raise InvalidError(f"the field {name} can't be set", word)
    if "/" in text:
        raise InvalidError("OpenFlow 1.3 sets a field as a whole, without a mask", word)
    return [SetField(entry.name, parse_value(entry, text.strip(), f"{word} {name.strip()}"))]


def _field_name(name: str, context: Context) -> str:
    if name in ("nw_src", "nw_dst"):
        return "ipv4_" + name[-3:]
    if name in ("tp_src", "tp_dst"):
        return _transport_field(name, name, context)
    return ALIASES.get(name, name)


def _transport_field(name: str, word: str, context: Context) -> str:
    if context.ip_proto not in TRANSPORTS:
        raise InvalidError("needs a match on tcp, udp or sctp", word)
    return f"{TRANSPORTS[context.ip_proto]}_{name[-3:]}"


def _setter(name: str):
    def parse(word, argument, context, before):
        return [_set(name, _needed(word, argument), word)]
    return parse


def _parse_mod_tp(word, argument, context, before):
    return [_set(_transport_field(word, word, context), _needed(word, argument), word)]


def _parse_mod_vlan(word, argument, context, before):
    # OpenFlow 1.3 sets a VLAN's fields only where there is a tag; OpenFlow 1.0's actions add one where there is none.
    tagged = context.tagged
    for action in before:
        tagged = (tagged or isinstance(action, PushVlan)) and not isinstance(action, PopVlan)
    push = [] if tagged else [PushVlan()]
    if word == "mod_vlan_pcp":
        return push + [_set("vlan_pcp", _needed(word, argument), word)]
    vid = parse_number(_needed(word, argument), 4095, word)
    return push + [SetField("vlan_vid", 0x1000 | vid)]


def _parse_mod_nw_tos(word, argument, context, before):
    tos = parse_number(_needed(word, argument), 255, word)
    if tos & 3:
        raise InvalidError(f"{tos} has ECN bits, its last two must be 0", word)
    return [SetField("ip_dscp", tos >> 2)]


def _number(kind: Callable[[int], Action], limit: int, allowed: tuple[int, ...] = ()) -> Callable:
    def parse(word, argument, context, before):
        value = parse_number(_needed(word, argument), limit, word)
        if allowed and value not in allowed:
            raise InvalidError(f"{argument} is none of {', '.join(map(hex, allowed))}", word)
        return [kind(value)]
    return parse


def _bare(kind: Callable[[], Action]) -> Callable:
    def parse(word, argument, context, before):
        _none(word, argument)
        return [kind()]
    return parse


PARSERS: dict[str, Callable] = {
    "output": _parse_output, "controller": _parse_controller,
    "normal": _parse_reserved, "flood": _parse_reserved, "all": _parse_reserved, "in_port": _parse_reserved,
    "local": _parse_reserved, "table": _parse_reserved,
    "set_field": _parse_set_field,
    "mod_dl_src": _setter("eth_src"), "mod_dl_dst": _setter("eth_dst"),
    "mod_nw_src": _setter("ipv4_src"), "mod_nw_dst": _setter("ipv4_dst"), "mod_nw_ecn": _setter("ip_ecn"),
    "mod_nw_tos": _parse_mod_nw_tos, "mod_tp_src": _parse_mod_tp, "mod_tp_dst": _parse_mod_tp,
    "mod_vlan_vid": _parse_mod_vlan, "mod_vlan_pcp": _parse_mod_vlan,
    "push_vlan": _number(PushVlan, 0xffff, (0x8100, 0x88a8)), "pop_vlan": _bare(PopVlan), "strip_vlan": _bare(PopVlan),
    "push_mpls": _number(PushMpls, 0xffff, (0x8847, 0x8848)), "pop_mpls": _number(PopMpls, 0xffff),
    "push_pbb": _number(PushPbb, 0xffff, (0x88e7,)), "pop_pbb": _bare(PopPbb),
    "set_mpls_ttl": _number(SetMplsTtl, 255), "dec_mpls_ttl": _bare(DecMplsTtl),
    "mod_nw_ttl": _number(SetNwTtl, 255), "set_nw_ttl": _number(SetNwTtl, 255),
    "dec_ttl": _bare(DecNwTtl), "dec_nw_ttl": _bare(DecNwTtl),
    "copy_ttl_out": _bare(CopyTtlOut), "copy_ttl_in": _bare(CopyTtlIn),
    "set_queue": _number(SetQueue, 0xffffffff), "group": _number(Group, 0xffffff00),
}
