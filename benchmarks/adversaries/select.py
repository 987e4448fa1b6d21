"""A select group of hundreds of buckets: each packet draws among all."""
from benchmarks.adversaries import OUT, Adversary
from benchmarks.adversaries.frames import udp


def adversary() -> Adversary:
    buckets = ",".join(f"bucket=weight:1,actions=output:{OUT}" for _ in range(500))
    return Adversary("select", "a draw among 500 buckets for each packet", [udp(sport) for sport in range(1, 1000)],
                     ["priority=1,actions=group:1"], [f"group_id=1,type=select,{buckets}"])
