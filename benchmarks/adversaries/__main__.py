"""Lists adversaries; prints one's rules; sends its packets.

    python -m benchmarks.adversaries
    python -m benchmarks.adversaries masks --rules | while read rule; do ovs-ofctl add-flow br-evil "$rule"; done
    python -m benchmarks.adversaries masks --send tap-evil --seconds 10
"""
from __future__ import annotations

import argparse
import socket
import time
from itertools import cycle

from benchmarks.adversaries import NAMES, Adversary, load, load_all


def send(adversary: Adversary, interface: str, seconds: float) -> int:
    """As fast as this process can; returns packets sent."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((interface, 0))
        sent, end = 0, time.monotonic() + seconds
        for frame in cycle(adversary.frames):
            try:
                sock.send(frame[:65000])
                sent += 1
            except OSError:
                pass
            if sent % 256 == 0 and time.monotonic() >= end:
                return sent
    return sent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adversaries", description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", choices=NAMES)
    parser.add_argument("--variant", type=int, default=-1, help="of those that have several (default: the worst)")
    parser.add_argument("--rules", action="store_true", help="print its rules, for ovs-ofctl add-flow or vswitch flow add")
    parser.add_argument("--groups", action="store_true", help="print its groups")
    parser.add_argument("--send", metavar="INTERFACE", help="send its packets (needs root)")
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    if arguments.name is None:
        for adversary in load_all():
            print(f"{adversary.name:18} {adversary.what}")
        return
    adversary = load(arguments.name)[arguments.variant]
    for line in (adversary.rules if arguments.rules else []) + (adversary.groups if arguments.groups else []):
        print(line)
    if arguments.send:
        print(send(adversary, arguments.send, arguments.seconds), "packets")


if __name__ == "__main__":
    main()
