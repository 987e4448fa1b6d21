"""Flows never seen before: every packet walks through the tables and takes a place in the caches."""
import random

from benchmarks.adversaries import OUT, Adversary
from benchmarks.adversaries.frames import udp


def adversary() -> Adversary:
    chance = random.Random(1)
    frames = [udp(chance.randrange(1, 65536), chance.randrange(1, 65536), chance.randrange(1 << 24) | 10 << 24) for _ in range(50000)]
    rules = [f"priority=2,udp,nw_src=192.0.2.1,tp_src=7,tp_dst=9,actions=output:{OUT}", f"priority=1,actions=output:{OUT}"]
    return Adversary("new flows", "each packet's addresses and ports are new", frames, rules)
