"""Cost that ramps while it pushes on: from one flow to ever dearer lookups, so that what was measured is always too cheap."""
from benchmarks.adversaries import Adversary
from benchmarks.adversaries.frames import udp
from benchmarks.adversaries.masks import adversary as masks


def adversary() -> Adversary:
    dear = masks()
    return Adversary("ramp", "from 20 cheap flows to lookups among 2,048 masks", [*(udp(sport) for sport in range(1, 21)), *dear.frames],
                     dear.rules, ramp=0.8)
