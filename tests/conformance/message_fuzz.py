"""Mutated OpenFlow messages at a real switch, over a real connection: each is answered by an error of the connection's version,
or carried out, or the connection is closed as the specification orders; the switch goes on, and nothing of it fails inside.

The messages are those that os-ken's wheel carries (os_ken/tests/packet_data), with bytes changed, cut off or repeated; the header's
length is made right again in most. make fuzz-openflow MESSAGES=1000000 (of each version); as root not needed.
"""
from __future__ import annotations

import argparse
import random
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import os_ken

DATA = Path(os_ken.__file__).parent / "tests" / "packet_data"
VERSIONS = {"1.0": (1, "of10"), "1.2": (3, "of12"), "1.3": (4, "of13"), "1.4": (5, "of14"), "1.5": (6, "of15")}
HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY = range(4)
BATCH = 200                 # messages between two echoes
CONFIG = "tenants: {red: {max_rules: 2000, bridges: {br: {fail_mode: secure, ports: {p1: {kind: dummy, port_no: 1}}}}}}\n"


def samples(folder: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((DATA / folder).glob("*.packet"))]


def mutated(r: random.Random, whole: list[bytes], version: int) -> bytes:
    data = bytearray(r.choice(whole))
    data[0] = version
    for _ in range(r.choice((0, 1, 1, 2, 4, 8))):
        if len(data) > 8:
            at = r.randrange(8, len(data))
            data[at] = r.choice((0, 1, 0x7f, 0x80, 0xff, r.randrange(256), data[at] ^ 1 << r.randrange(8)))
    change = r.random()
    if change < 0.15:
        del data[r.randrange(8, len(data) + 1):]
    elif change < 0.25:
        data += data[r.randrange(len(data)):][:64]
    if r.random() < 0.03:
        data[1] = r.randrange(64)
    struct.pack_into("!H", data, 2, min(len(data), 65535))
    return bytes(data[:65535])


class Connection:
    def __init__(self, path: str, version: int):
        self._version = version
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(path)
        self._buffer = b""
        self.errors: Counter = Counter()
        self._socket.sendall(struct.pack("!BBHI", version, HELLO, 8, 0))

    def exchange(self, data: bytes, mark: int) -> bool:
        """Sends, and reads until the echo that follows is answered. False: the switch closed the connection."""
        self._socket.setblocking(False)
        data += struct.pack("!BBHI", self._version, ECHO_REQUEST, 8, mark)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            readable, writable, _ = select.select([self._socket], [self._socket] if data else [], [], 1)
            try:
                if writable:
                    data = data[self._socket.send(data):]
                if readable:
                    got = self._socket.recv(1 << 20)
                    if not got:
                        return False
                    if self._take(got, mark):
                        return True
            except (BrokenPipeError, ConnectionResetError):
                return False
        raise TimeoutError("the switch does not answer an echo")

    def _take(self, got: bytes, mark: int) -> bool:
        self._buffer += got
        at, done = 0, False
        while len(self._buffer) - at >= 8:
            version, kind, length, xid = struct.unpack_from("!BBHI", self._buffer, at)
            if length < 8:
                raise ValueError("the switch sent a message shorter than its header")
            if len(self._buffer) - at < length:
                break
            if version != self._version and kind != HELLO:
                raise ValueError(f"the switch answered with version {version}")
            if kind == ERROR:
                self.errors[struct.unpack_from("!HH", self._buffer, at + 8)] += 1
            done |= kind == ECHO_REPLY and xid == mark
            at += length
        self._buffer = self._buffer[at:]
        return done

    def close(self) -> None:
        self._socket.close()


def run(path: str, name: str, count: int, seed: int) -> str:
    version, folder = VERSIONS[name]
    whole, r, closed, errors = samples(folder), random.Random(seed), 0, Counter()
    connection, start = Connection(path, version), time.monotonic()
    for done in range(0, count, BATCH):
        data = b"".join(mutated(r, whole, version) for _ in range(min(BATCH, count - done)))
        if not connection.exchange(data, done + 1):
            closed += 1
            errors += connection.errors
            connection.close()
            connection = Connection(path, version)
    errors += connection.errors
    connection.close()
    took = time.monotonic() - start
    return (f"OpenFlow {name}: {count} messages in {took:.0f} s, {sum(errors.values())} errors of {len(errors)} kinds, "
            f"{closed} connections closed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=20_000, help="of each version")
    parser.add_argument("--version", action="append", choices=list(VERSIONS))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vswitch-fuzz-") as directory:
        config, log = Path(directory) / "config.yaml", Path(directory) / "log"
        config.write_text(CONFIG)
        with log.open("w") as file:
            daemon = subprocess.Popen([sys.executable, "-P", "-m", "vswitch.daemon.main", "--state", f"{directory}/state", "--run",
                                       f"{directory}/run", "--config", str(config), "--stop-datapath"], stdout=file, stderr=file)
        try:
            path = f"{directory}/run/br.mgmt"
            deadline = time.monotonic() + 20
            while not Path(path).exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.5)
            for name in options.version or VERSIONS:
                print(run(path, name, options.messages, options.seed), flush=True)
        finally:
            daemon.terminate()
            daemon.wait(20)
        text = log.read_text(errors="replace")
        failures = text.count("Traceback")
        if failures or "datapath is away" in text:
            print(f"{failures} failures inside:\n{text[text.find('Traceback') - 300:][:6000]}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
