"""Sleeps after every packet and wakes again at once, to end the turn of whoever runs: an attack on the scheduler."""
from benchmarks.adversaries import OUT, Adversary
from benchmarks.adversaries.frames import udp


def adversary() -> Adversary:
    return Adversary("wakes", "a 64-byte packet every 200 ns: awake for each, asleep after it", [udp()], [f"priority=1,actions=output:{OUT}"],
                     interval_ns=200)
