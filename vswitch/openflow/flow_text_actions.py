"""Actions and instructions in ovs-ofctl's syntax (ovs-actions(7)): what stands after "actions="."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vswitch.errors import InvalidError
from vswitch.openflow.flow_text_fields import (ALIASES, FIELDS, PORT_WORDS, Resolver, parse_masked, parse_number, parse_port,
                                               parse_value)
from vswitch.openflow.flow_text_wire import (INSTRUCTION_TYPES, MAX_LEN_ALL, OFPP_CONTROLLER, Action, FieldValue,
                                             Instruction)

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
    order = list(INSTRUCTION_TYPES)
    instructions: list[Instruction] = []
    bare: list[tuple[str, str]] = []

    def append(instruction: Instruction) -> None:
        if instructions and order.index(instructions[-1].name) >= order.index(instruction.name):
            if instructions[-1].name == instruction.name:
                raise InvalidError("is there twice", instruction.name)
            raise InvalidError(f"must come before {instructions[-1].name}", instruction.name)
        instructions.append(instruction)

    def end_bare() -> None:
        if bare:
            append(Instruction("apply_actions", actions=tuple(_actions(bare, context))))
            bare.clear()

    for name, argument in items:
        word = name.lower()
        if word not in INSTRUCTION_TYPES:
            bare.append((name, argument))
            continue
        end_bare()
        append(_instruction(word, argument, context))
    end_bare()
    return instructions


def _instruction(word: str, argument: str, context: Context) -> Instruction:
    match word:
        case "goto_table":
            return Instruction(word, parse_number(_needed(word, argument), 254, word))
        case "meter":
            return Instruction(word, parse_number(_needed(word, argument), 0xffff0000, word))
        case "clear_actions":
            _none(word, argument)
            return Instruction(word)
        case "write_metadata":
            value, slash, mask = _needed(word, argument).partition("/")
            ones = (1 << 64) - 1
            return Instruction(word, parse_number(value, ones, word), parse_number(mask, ones, word) if slash else ones)
    return Instruction(word, actions=tuple(_actions(split(argument, word), context)))


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
        elif name.lower() in INSTRUCTION_TYPES:
            raise InvalidError("is an instruction, not an action", name)
        else:
            raise InvalidError(f"unknown action {name!r}", name)
    return actions


def _is_port(name: str, ports: Resolver | None) -> bool:
    return name[0].isdigit() or name.lower() in PORT_WORDS or bool(ports and ports(name.strip('"')) is not None)


def _needed(word: str, argument: str) -> str:
    if not argument:
        raise InvalidError("needs an argument", word)
    return argument


def _none(word: str, argument: str) -> None:
    if argument:
        raise InvalidError(f"takes no argument, has {argument!r}", word)


def _output(port: int, max_len: int | None = None) -> Action:
    if max_len is None:
        max_len = MAX_LEN_ALL if port == OFPP_CONTROLLER else 0
    return Action("output", port, max_len)


def _parse_output(word, argument, context, before):
    return [_output(parse_port(_needed(word, argument), context.ports, word))]


def _parse_controller(word, argument, context, before):
    max_len = MAX_LEN_ALL
    for name, value in split(argument, word):
        if not value and name.isalnum() and name[0].isdigit():
            max_len = parse_number(name, 0xffff, word)
        elif name == "max_len":
            max_len = parse_number(_needed(name, value), 0xffff, name)
        else:
            raise InvalidError(f"unknown argument {name!r}, only max_len there is", word)
    return [_output(OFPP_CONTROLLER, max_len)]


def _parse_reserved(word, argument, context, before):
    _none(word, argument)
    return [_output(PORT_WORDS[word])]


def _set(name: str, text: str, word: str) -> Action:
    return Action("set_field", target=FieldValue(FIELDS[name], parse_value(FIELDS[name], text, word)))


def _parse_set_field(word, argument, context, before):
    text, arrow, name = _needed(word, argument).rpartition("->")
    if not arrow:
        raise InvalidError(f"{argument!r} is not VALUE[/MASK]->FIELD", word)
    entry = FIELDS.get(_field_name(name.strip(), context))
    if entry is None:
        raise InvalidError(f"unknown field {name!r}", word)
    if not entry.settable:
        raise InvalidError(f"the field {name} can't be set", word)
    value, mask = parse_masked(entry, text.strip(), f"{word} {name.strip()}")
    if mask is not None:
        if not entry.maskable or not mask:
            raise InvalidError(f"the field {name} takes no such mask", word)
    return [Action("set_field", target=FieldValue(entry, value, mask))]


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
        tagged = (tagged or action.name == "push_vlan") and action.name != "pop_vlan"
    push = [] if tagged else [Action("push_vlan", 0x8100)]
    if word == "mod_vlan_pcp":
        return push + [_set("vlan_pcp", _needed(word, argument), word)]
    vid = parse_number(_needed(word, argument), 4095, word)
    return push + [Action("set_field", target=FieldValue(FIELDS["vlan_vid"], 0x1000 | vid))]


def _parse_mod_nw_tos(word, argument, context, before):
    tos = parse_number(_needed(word, argument), 255, word)
    if tos & 3:
        raise InvalidError(f"{tos} has ECN bits, its last two must be 0", word)
    return [Action("set_field", target=FieldValue(FIELDS["ip_dscp"], tos >> 2))]


def _number(limit: int, name: str = "", allowed: tuple[int, ...] = ()) -> Callable:
    def parse(word, argument, context, before):
        value = parse_number(_needed(word, argument), limit, word)
        if allowed and value not in allowed:
            raise InvalidError(f"{argument} is none of {', '.join(map(hex, allowed))}", word)
        return [Action(name or word, value)]
    return parse


def _bare(name: str) -> Callable:
    def parse(word, argument, context, before):
        _none(word, argument)
        return [Action(name)]
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
    "push_vlan": _number(0xffff, allowed=(0x8100, 0x88a8)), "pop_vlan": _bare("pop_vlan"),
    "strip_vlan": _bare("pop_vlan"),
    "push_mpls": _number(0xffff, allowed=(0x8847, 0x8848)), "pop_mpls": _number(0xffff),
    "push_pbb": _number(0xffff, allowed=(0x88e7,)), "pop_pbb": _bare("pop_pbb"),
    "set_mpls_ttl": _number(255), "dec_mpls_ttl": _bare("dec_mpls_ttl"),
    "mod_nw_ttl": _number(255, "set_nw_ttl"), "set_nw_ttl": _number(255), "dec_ttl": _bare("dec_nw_ttl"),
    "dec_nw_ttl": _bare("dec_nw_ttl"), "copy_ttl_out": _bare("copy_ttl_out"), "copy_ttl_in": _bare("copy_ttl_in"),
    "set_queue": _number(0xffffffff), "group": _number(0xffffff00),
}
