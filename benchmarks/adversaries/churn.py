"""Connections that come and go: each a SYN and a FIN with ports never seen before, past rules that look at them."""
import random

from benchmarks.adversaries import OUT, Adversary
from benchmarks.adversaries.frames import tcp


def adversary() -> Adversary:
    chance = random.Random(5)
    frames = []
    for _ in range(20000):
        sport, src = chance.randrange(1024, 65536), chance.randrange(1 << 24) | 10 << 24
        frames += [tcp(sport, 80, 0x02, src), tcp(sport, 80, 0x11, src)]
    rules = ["priority=10,tcp,tp_src=1,nw_src=192.0.2.1,tcp_flags=0x4/0x4,actions=drop", f"priority=5,tcp,tp_dst=80,actions=output:{OUT}",
             "priority=0,actions=drop"]
    return Adversary("churn", "a SYN and a FIN of each connection", frames, rules)
