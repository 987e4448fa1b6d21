"""Walks through 64 tables."""
import random

from benchmarks.adversaries import OUT, Adversary
from benchmarks.adversaries.frames import udp


def adversary() -> Adversary:
    chance = random.Random(3)
    rules = []
    for table in range(64):
        then = f"goto_table:{table + 1}" if table < 63 else f"output:{OUT}"
        for bits in range(17, 33):
            rules.append(f"table={table},priority={bits},udp,nw_src=192.0.2.{table}/{bits},actions=drop" if bits >= 32 else
                         f"table={table},priority={bits},udp,nw_src=192.{table}.0.0/{bits},actions=drop")
        rules.append(f"table={table},priority=1,actions={then}")
    frames = [udp(chance.randrange(1, 65536), 80, chance.randrange(1 << 24) | 10 << 24) for _ in range(20000)]
    return Adversary("tables", "64 tables with 16 masks each, no packet twice", frames, rules)
