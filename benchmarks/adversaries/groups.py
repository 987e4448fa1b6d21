"""Groups of all buckets, chained: one packet becomes hundreds."""
from benchmarks.adversaries import OUT, Adversary
from benchmarks.adversaries.frames import udp


def adversary() -> Adversary:
    buckets = ",".join(f"bucket=actions=output:{OUT}" for _ in range(20))
    chained = ",".join("bucket=actions=group:1" for _ in range(20))
    return Adversary("groups", "20 buckets that name a group of 20 buckets: 400 copies", [udp(sport) for sport in range(1, 100)],
                     ["priority=1,actions=group:2"], [f"group_id=1,type=all,{buckets}", f"group_id=2,type=all,{chained}"])
