"""One tenant's controller beside another's that never stops: how long a flow-mod and its barrier take.

The victim's controller sends one flow-mod and a barrier, waits for the answer, and does so again; alone, and while another tenant's
controller sends flow-mods as fast as they are taken, or asks for the statistics of 20,000 rules in a loop. On a machine of few cores
that other controller takes CPU time from all, in slices of several milliseconds, which is not what is measured: controllers run
elsewhere. So it has the lowest priority, the switch and the victim's controller have real-time priority (--fair: they have not), and
the victim is measured beside it, too, while it is busy and sends nothing.
Prints p50, p90 and p99 in milliseconds, and the ratios to both. Needs root, and loopback.
"""
from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROUNDS = 2000
HELLO, ECHO_REQUEST, ECHO_REPLY, FEATURES, PACKET_OUT, FLOW_MOD, MULTIPART, BARRIER = 0, 2, 3, 5, 13, 14, 18, 20


def message(kind: int, body: bytes = b"", xid: int = 1) -> bytes:
    return bytes((4, kind)) + (8 + len(body)).to_bytes(2, "big") + xid.to_bytes(4, "big") + body


def flow_mod(n: int) -> bytes:
    """priority n, IPv4 source n: drop."""
    match = b"\x00\x01\x00\x12" + bytes.fromhex("80000a020800" "80001604") + (0x0a000000 + n).to_bytes(4, "big")
    match += bytes(-len(match) % 8)
    head = bytes(16) + bytes((0, 0)) + bytes(4) + (1 + n % 60000).to_bytes(2, "big") + b"\xff" * 12 + bytes(4)
    return message(FLOW_MOD, head + match)


class Controller:
    """The other end of a bridge's OpenFlow connection."""

    def __init__(self, port: int):
        self._listener = socket.create_server(("127.0.0.1", port))
        self.sock: socket.socket | None = None
        self._buffer = b""

    def accept(self) -> None:
        self.sock, _ = self._listener.accept()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(message(HELLO) + message(FEATURES))

    def next(self) -> tuple[int, bytes]:
        while True:
            if len(self._buffer) >= 8:
                length = int.from_bytes(self._buffer[2:4], "big")
                if len(self._buffer) >= length:
                    one, self._buffer = self._buffer[:length], self._buffer[length:]
                    if one[1] == ECHO_REQUEST:
                        self.sock.sendall(message(ECHO_REPLY, one[8:], int.from_bytes(one[4:8], "big")))
                        continue
                    return one[1], one
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError
            self._buffer += data

    def barrier(self) -> None:
        self.sock.sendall(message(BARRIER))
        while self.next()[0] != BARRIER + 1:
            pass


def measure(victim: Controller) -> list[float]:
    taken = []
    for n in range(ROUNDS):
        start = time.perf_counter()
        victim.sock.sendall(flow_mod(n % 1000))
        victim.barrier()
        taken.append(1000 * (time.perf_counter() - start))
    return sorted(taken)


def run(argv: list[str]) -> None:
    """As a process of its own, so that it takes none of the measuring one's time: PORT WHAT"""
    os.nice(19)
    evil = Controller(int(argv[0]))
    evil.accept()
    threading.Thread(target=_read, args=(evil,), daemon=True).start()
    time.sleep(1)
    for n in range(0, 20000, 100):
        evil.sock.sendall(b"".join(map(flow_mod, range(n, n + 100))))
    print("ready", flush=True)
    sys.stdin.readline()
    stop = threading.Event()
    busy = threading.Thread(target=_spin, args=(stop,))
    busy.start()
    sys.stdin.readline()
    stop.set()
    busy.join()
    n = 0
    request = message(MULTIPART, b"\x00\x01\x00\x00" + bytes(4) + b"\xff" + bytes(3) + b"\xff" * 8 + bytes(4) + bytes(16)
                      + b"\x00\x01\x00\x04" + bytes(4))
    burst = [b"".join(map(flow_mod, range(n, n + 500))) for n in range(0, 20000, 500)]
    while True:
        evil.sock.sendall(request if argv[1] == "statistics" else burst[n % len(burst)])
        n += 1


def _spin(stop: threading.Event) -> None:
    while not stop.is_set():
        pass


def _read(evil: Controller) -> None:
    try:
        while True:
            evil.next()
    except (EOFError, OSError):
        pass


CONFIG = """
tenants:
  victim:
    bridges: {{victim: {{controllers: ["tcp:127.0.0.1:{0}"]}}}}
  evil:
    bridges: {{evil: {{controllers: ["tcp:127.0.0.1:{1}"]}}}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fair", action="store_true", help="all at ordinary priority")
    first: list[str] = []
    if not parser.parse_args().fair:
        first = ["chrt", "--rr", "1"]
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(2))
    scripts = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as directory:
        ports = []
        for _ in range(2):
            with socket.create_server(("127.0.0.1", 0)) as s:
                ports.append(s.getsockname()[1])
        config = Path(directory) / "config.yaml"
        config.write_text(CONFIG.format(*ports))
        victim = Controller(ports[0])
        for what in ("flow-mods", "statistics"):
            evil = subprocess.Popen([sys.executable, "-P", __file__, str(ports[1]), what], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True)
            daemon = subprocess.Popen([*first, str(scripts / "vswitchd"), "--state", f"{directory}/{what}", "--run", f"{directory}/{what}-run",
                                       "--config", str(config), "--stop-datapath", "--log-level", "error"])
            try:
                victim.accept()
                evil.stdout.readline()
                time.sleep(5)
                found = [measure(victim)]
                for _ in range(2):
                    evil.stdin.write("go\n")
                    evil.stdin.flush()
                    time.sleep(1)
                    found.append(measure(victim))
                report(what, *found)
            finally:
                evil.kill()
                evil.wait()
                daemon.terminate()
                daemon.wait()


def report(what: str, alone: list[float], hog: list[float], beside: list[float]) -> None:
    def p99(values: list[float]) -> float:
        return values[int(0.99 * len(values))]

    parts = [f"{name} p50 {statistics.median(values):.2f} p90 {values[int(0.9 * len(values))]:.2f} p99 {p99(values):.2f} ms"
             for name, values in (("alone", alone), ("beside a busy process", hog), ("beside its controller", beside))]
    print(f"{what:12} {', '.join(parts)}; p99 {p99(beside) / p99(alone):.1f} times alone, {p99(beside) / p99(hog):.1f} times that beside a "
          "busy process", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].isdigit():
        run(sys.argv[1:])
    else:
        main()
