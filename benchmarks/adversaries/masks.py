"""Rules with as many masks as the quota allows, and packets that match none of them: the dearest single lookup."""
import random

from benchmarks.adversaries import OUT, Adversary
from benchmarks.adversaries.frames import udp

MASKS = 2048


def dotted(mask: int) -> str:
    return ".".join(str(mask >> shift & 255) for shift in (24, 16, 8, 0))


def adversary() -> Adversary:
    chance = random.Random(2)
    rules = [f"priority=100,udp,nw_src=192.0.0.0/{dotted(0xffe00000 | i)},actions=drop" for i in range(MASKS)]
    frames = [udp(chance.randrange(1, 65536), 80, chance.randrange(1 << 24) | 10 << 24) for _ in range(20000)]
    return Adversary("masks", f"{MASKS} masks in one table, no packet twice", frames, [*rules, f"priority=1,actions=output:{OUT}"])
