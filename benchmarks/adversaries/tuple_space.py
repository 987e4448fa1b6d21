"""Tuple-space explosion (CVE-2019-25076): an access list of three allowed values, and every single-bit flip of them. In switches
that wildcard prefixes of fields each combination becomes a mask: 257, 513 and 7,360."""
from itertools import product

from benchmarks.adversaries import ATTACKED, OUT, Adversary
from benchmarks.adversaries.frames import udp

_ALLOW = {"tp_dst": f"priority=30,udp,nw_dst={ATTACKED},tp_dst=80,actions=output:{OUT}",
          "tp_src": f"priority=20,udp,nw_dst={ATTACKED},tp_src=12345,actions=output:{OUT}",
          "nw_src": f"priority=10,udp,nw_dst={ATTACKED},nw_src=10.0.0.1,actions=output:{OUT}"}
_VALUES = {"tp_dst": (80, 16), "tp_src": (12345, 16), "nw_src": (0x0a000001, 32)}


def _flips(field: str) -> list[int]:
    value, bits = _VALUES[field]
    return [value, *(value ^ 1 << bit for bit in range(bits))]


def _one(masks: int, *fields: str) -> Adversary:
    frames = []
    for combination in product(*map(_flips, fields)):
        values = dict(zip(fields, combination))
        frames.append(udp(values.get("tp_src", 1), values.get("tp_dst", 1), values.get("nw_src", 0x0a000009)))
    rules = [*(_ALLOW[field] for field in fields), "priority=0,actions=drop"]
    return Adversary(f"tuple space {masks}", f"bit flips of {', '.join(fields)}: {masks} masks where prefixes are wildcarded", frames,
                     rules)


def adversary() -> list[Adversary]:
    return [_one(257, "tp_dst", "tp_src"), _one(513, "nw_src", "tp_dst"), _one(7360, "nw_src", "tp_dst", "tp_src")]
