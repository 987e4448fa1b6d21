"""Work between two looks at the clock: packets whose every action is a step of one unit and takes as long as it can."""
from benchmarks.adversaries import OUT, Adversary
from benchmarks.adversaries.frames import tcp


def adversary() -> Adversary:
    changes = ",".join(f"mod_nw_src:10.0.{i}.{i},mod_tp_dst:{i + 1},mod_nw_dst:10.1.{i}.{i},mod_tp_src:{i + 1}" for i in range(100))
    return Adversary("hidden", "400 changes of addresses and ports, each with its checksums, of 1,400-byte packets",
                     [tcp(sport, 80, 0x10, size=1400) for sport in range(1, 200)], [f"priority=1,tcp,actions={changes},output:{OUT}"])
