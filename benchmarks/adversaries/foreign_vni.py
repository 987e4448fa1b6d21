"""Encapsulated traffic with another tenant's VNI, from where only the host's own tunnel end point may come from: a port of its own. A
switch that took tunnels wherever they appear would deliver it in the other tenant's network, at that one's cost."""
from benchmarks.adversaries import OUT, Adversary
from benchmarks.adversaries.encapsulated import through_tunnel
from benchmarks.adversaries.frames import udp

VNIS = (*range(1, 65), 5001)        # the last one is the victim's in the lab
FAR, NEAR = "198.51.100.2", "198.51.100.1"


def adversary() -> Adversary:
    frames = [frame for vni in VNIS for frame in through_tunnel(vni, [udp(size=76)], FAR, NEAR)]
    return Adversary("foreign VNI", "VXLAN to the host's tunnel end point with others' VNIs, from its own port", frames,
                     [f"priority=1,actions=output:{OUT}"])
