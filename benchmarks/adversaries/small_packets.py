"""The smallest packets, as fast as they go, in one flow."""
from benchmarks.adversaries import OUT, Adversary
from benchmarks.adversaries.frames import udp


def adversary() -> Adversary:
    return Adversary("small packets", "64-byte packets of one flow at 20 million a second", [udp()], [f"priority=1,actions=output:{OUT}"])
