"""Encapsulated traffic to the host's tunnel end point: VNIs that nobody has among those that somebody may, and what is too short to have
one. To be sent at the uplink (`--send`); in the lab, through the adversary's own port."""
import struct

from benchmarks.adversaries import OUT, Adversary
from benchmarks.adversaries.frames import ipv4, udp


def _vxlan(vni: int, inner: bytes, sport: int, flags: int = 0x08000000, **addresses) -> bytes:
    payload = struct.pack("!II", flags, vni << 8) + inner
    return ipv4(17, struct.pack("!HHHH", sport, 4789, 8 + len(payload), 0) + payload, **addresses)


def through_tunnel(vni: int, frames: list[bytes], far: str, near: str) -> list[bytes]:
    """The frames as a remote tunnel end point sends them."""
    return [_vxlan(vni, frame, 49152 + i % 16384, src=far, dst=near) for i, frame in enumerate(frames)]


def adversary() -> Adversary:
    frames = [_vxlan(vni, udp(vni % 1000 + 1), 1024 + vni % 1000) for vni in (*range(1, 200), *range(0xfff000, 0xfff200))]
    frames += [_vxlan(1, b"", 5), _vxlan(1, udp(1), 6, 0), udp(7, 4789, size=60)]
    return Adversary("encapsulated", "VXLAN with VNIs known and unknown, without its flag, too short", frames,
                     [f"priority=1,actions=output:{OUT}"])
