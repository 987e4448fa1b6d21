"""Floods to many ports."""
from benchmarks.adversaries import Adversary
from benchmarks.adversaries.frames import udp


def adversary() -> Adversary:
    return Adversary("flood", "every packet to 199 ports", [udp(size=1514)], ["priority=1,actions=flood"], ports=200)
