"""Malformed and fragmented packets."""
import random

from benchmarks.adversaries import OUT, Adversary
from benchmarks.adversaries.frames import ipv4, tcp, udp


def adversary() -> Adversary:
    chance = random.Random(4)
    frames = []
    for i in range(2000):
        frame = bytearray(tcp(i, 80, 2) if i % 2 else udp(i))
        for _ in range(4):
            frame[chance.randrange(12, 44)] = chance.randrange(256)
        frames.append(bytes(frame))
        frames.append(ipv4(17, bytes(40), fragment=chance.randrange(1 << 13) | 0x2000))
    return Adversary("malformed", "random bytes in headers, and fragments", frames, [f"priority=1,actions=output:{OUT}"])
