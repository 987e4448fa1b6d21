"""Statistics without end: its controller asks for those of all its rules, tables and ports, again as soon as it is answered, while its own
packets go on."""
from benchmarks.adversaries import OUT, Adversary
from benchmarks.adversaries.frames import udp

RULES = 2000


def adversary() -> Adversary:
    rules = [f"priority={10 + i},udp,nw_dst=10.9.{i >> 8}.{i & 255},tp_dst={1 + i},actions=output:{OUT}" for i in range(RULES)]
    return Adversary("statistics", f"its controller asks for the statistics of {RULES} rules, of tables and ports in a loop", [udp()],
                     [f"priority=1,actions=output:{OUT}", *rules], controls=True, asks=["flow", "aggregate", "table", "port"])
