"""Tenants that try to lengthen others' tails: by what they send, by their rules, by how they use the scheduler.

Each is a module with a function `adversary()`. `python -m benchmarks.adversaries` lists them, prints their rules for any switch that
takes ovs-ofctl's syntax, sends their packets through any interface, and is the controller of those whose controller attacks.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module

ATTACKED = "10.0.0.2"           # where the adversary's own packets go: another port of its own
IN, OUT = 1, 2                  # its ports


@dataclass
class Adversary:
    name: str
    what: str                   # in one line
    frames: list[bytes]         # sent in turn
    rules: list[str]            # of its bridge, as ovs-ofctl add-flow takes them
    groups: list[str] = field(default_factory=list)     # as ovs-ofctl add-group takes them
    ports: int = 2              # that its bridge has
    sources: int = 1            # ports that it sends through
    interval_ns: float = 50.0   # between two packets, of each source; far more than its share has room for
    on_ns: float = 0.0          # bursts; 0 = always on
    off_ns: float = 0.0
    ramp: float = 0.0           # part of the time over which the frames that are sent grow from the first few to all
    flow_mods: list[str] = field(default_factory=list)  # that its controller sends in turn without end, as ovs-ofctl add-flows takes them
    asks: list[str] = field(default_factory=list)       # statistics that its controller asks for in a loop
    controls: bool = False      # its controller attacks: by flow_mods or asking or, without, by never reading what it is sent
    saturates: bool = True      # asks for more than its share


NAMES = ("small_packets", "new_flows", "tuple_space", "masks", "ramp", "tables", "groups", "select", "flood", "segments", "malformed",
         "packet_ins", "churn", "flow_mods", "stats_requests", "hidden", "encapsulated", "foreign_vni", "bursts", "hoard", "wakes", "ports")


def load(name: str) -> list[Adversary]:
    """A module's adversaries: one, or variants of one."""
    made = import_module(f"benchmarks.adversaries.{name}").adversary()
    return made if isinstance(made, list) else [made]


def load_all() -> list[Adversary]:
    return [adversary for name in NAMES for adversary in load(name)]
