"""Every packet to the controller, which doesn't read."""
from benchmarks.adversaries import Adversary
from benchmarks.adversaries.frames import udp


def adversary() -> Adversary:
    return Adversary("packet-ins", "every packet to the controller", [udp(sport) for sport in range(1, 1000)],
                     ["priority=1,actions=controller:65535"], controls=True)
