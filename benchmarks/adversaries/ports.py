"""Split over many ports: more queues for more turns, where turns go to queues."""
from benchmarks.adversaries import Adversary
from benchmarks.adversaries.frames import udp


def adversary() -> Adversary:
    return Adversary("ports", "64-byte packets through 32 ports", [udp()], ["priority=1,actions=output:40"], ports=40, sources=32,
                     interval_ns=1000)
