"""Sleep, and come back with what was saved: an attack on the scheduler."""
from benchmarks.adversaries import Adversary
from benchmarks.adversaries.masks import adversary as masks


def adversary() -> Adversary:
    dear = masks()
    return Adversary("hoard", "sleeps for a millisecond, then the dearest lookups for 100 us", dear.frames, dear.rules, on_ns=100000,
                     off_ns=1000000)
