"""What rules that change cost the packets: TCP between two containers of a bridge while a controller adds and deletes 1,000 rules a
second there, and between two of another tenant's bridge meanwhile; each beside the same without churn, in turns. Needs root.
"""
from __future__ import annotations

import argparse
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "demo")]

from hosts import Lab, Switch, tcp_server, tcp_throughput  # noqa: E402

CONFIG = """
tenants:
  red: {bridges: {one: {ports: {a1: {kind: tap}, a2: {kind: tap}}}}}
  blue: {bridges: {two: {ports: {b1: {kind: tap}, b2: {kind: tap}}}}}
"""


def flow_mod(i: int, command: int) -> bytes:
    match = struct.pack("!HHIHII", 1, 18, 0x80000a02, 0x0800, 0x80001804, 0xc0000000 | i) + bytes(6)
    body = struct.pack("!QQBBHHHIIIH2x", i, 0, 0, command, 0, 0, 100, 0xffffffff, 0xffffffff, 0xffffffff, 0) + match
    return struct.pack("!BBHI", 4, 14, 8 + len(body), i) + body


class Churn(threading.Thread):
    """So many rules a second, half of them added and half deleted, in ten bursts."""

    def __init__(self, path: str, rate: int):
        super().__init__(daemon=True)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._socket.sendall(struct.pack("!BBHI", 4, 0, 8, 0))
        self._rate = rate
        self.ended = threading.Event()
        self.sent = 0

    def run(self) -> None:
        burst = self._rate // 20
        while not self.ended.wait(0.1):
            self._socket.sendall(b"".join(flow_mod(i, 0) for i in range(burst)) + b"".join(flow_mod(i, 4) for i in range(burst)))
            self.sent += 2 * burst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rate", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vswitch-churn-") as directory:
        lab = Lab("vschurn-", Path(directory))
        lab.remove_leftovers()
        try:
            host = lab.namespace("host")
            config = lab.directory / "config.yaml"
            config.write_text(CONFIG)
            Switch(host, "switch").apply(config)
            ends = {}
            for letter, bridge in (("a", "the same bridge"), ("b", "another tenant's bridge")):
                pair = []
                for number in (1, 2):
                    container = lab.namespace(f"{letter}{number}")
                    container.without_ipv6()
                    container.adopt(host, f"{letter}{number}", f"10.0.0.{number}/24")
                    pair.append(container)
                tcp_server(pair[1], f"server-{letter}")
                ends[bridge] = pair
            time.sleep(1)
            figures: dict[tuple[str, bool], list[float]] = {}
            for _ in range(options.repeats):
                for bridge, pair in ends.items():
                    for churning in (False, True):
                        churn = Churn(f"{lab.directory}/switch/run/one.mgmt", options.rate) if churning else None
                        if churn:
                            churn.start()
                        rate, _ = tcp_throughput(pair[0], "10.0.0.2", options.seconds)
                        figures.setdefault((bridge, churning), []).append(rate)
                        if churn:
                            churn.ended.set()
                            churn.join()
        finally:
            lab.close()
    for bridge in ("the same bridge", "another tenant's bridge"):
        quiet, busy = (figures[bridge, churning] for churning in (False, True))
        ratio = statistics.median(busy) / statistics.median(quiet)
        print(f"{bridge}: {statistics.median(quiet):.2f} Gbit/s without, {statistics.median(busy):.2f} with {options.rate} flow-mods "
              f"a second; ratio {ratio:.3f} ({min(busy):.2f} to {max(busy):.2f}, without {min(quiet):.2f} to {max(quiet):.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
