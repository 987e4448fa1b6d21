"""Bursts that come and go faster than any accounting period."""
from benchmarks.adversaries import OUT, Adversary
from benchmarks.adversaries.frames import udp


def adversary() -> Adversary:
    return Adversary("bursts", "64-byte packets for 5 us, then nothing for 20", [udp()], [f"priority=1,actions=output:{OUT}"],
                     on_ns=5000, off_ns=20000)
