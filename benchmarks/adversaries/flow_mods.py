"""Flow-mod churn: its controller adds, modifies and deletes rules as fast as they are taken, each with a mask that no other has, while its
own packets go on, so that whatever was cached of them is worth nothing a moment later."""
import random

from benchmarks.adversaries import OUT, Adversary
from benchmarks.adversaries.frames import udp
from benchmarks.adversaries.masks import dotted

RULES = 512


def _match(i: int) -> str:
    return f"priority={100 + i},udp,nw_src=192.0.0.0/{dotted(0xffe00000 | i)},tp_src={1 + i}"


def adversary() -> Adversary:
    chance = random.Random(7)
    changes = []
    for i in range(RULES):
        changes += [f"add {_match(i)},actions=drop", f"modify_strict {_match(i)},actions=output:{OUT}",
                    f"delete_strict {_match((i + RULES // 2) % RULES)}"]
    frames = [udp(chance.randrange(1, 65536), 80, chance.randrange(1 << 24) | 10 << 24) for _ in range(20000)]
    return Adversary("flow-mods", "its controller changes rules as fast as they are taken, half of 512 masks at a time", frames,
                     [f"priority=1,actions=output:{OUT}"], flow_mods=changes, controls=True)
