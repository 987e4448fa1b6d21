"""Segments of 64 KiB, changed between two outputs, so that they are copied."""
from benchmarks.adversaries import OUT, Adversary
from benchmarks.adversaries.frames import udp


def adversary() -> Adversary:
    return Adversary("segments", "60,000-byte packets, changed between two outputs: copied", [udp(size=60000)],
                     [f"priority=1,actions=output:{OUT},mod_dl_dst:02:00:00:00:00:09,output:{OUT},mod_dl_dst:02:00:00:00:00:0a,output:{OUT}"],
                     interval_ns=2000)
