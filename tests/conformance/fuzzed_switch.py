"""A real switch for the fuzzers, and a controller's connection to it that expects nothing good of itself."""
from __future__ import annotations

import argparse
import contextlib
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

VERSIONS = {"1.0": (1, "of10"), "1.2": (3, "of12"), "1.3": (4, "of13"), "1.4": (5, "of14"), "1.5": (6, "of15")}
HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY = range(4)
CONFIG = ("tenants: {red: {max_rules: 2000, bridges: {br: {fail_mode: secure, ports: {p1: {kind: dummy, port_no: 1}, "
          "p2: {kind: dummy, port_no: 2}}}}}}\n")


class Connection:
    def __init__(self, path: str, version: int):
        self._version = version
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(path)
        self._buffer = b""
        self.errors: Counter = Counter()
        self.messages: list[bytes] | None = None    # what came besides echoes, for who wants it
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
            if self.messages is not None and kind not in (HELLO, ECHO_REPLY):
                self.messages.append(self._buffer[at:at + length])
            at += length
        self._buffer = self._buffer[at:]
        return done

    def close(self) -> None:
        self._socket.close()


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--messages", type=int, default=20_000, help="of each version")
    parser.add_argument("--version", action="append", choices=list(VERSIONS))
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


@contextlib.contextmanager
def switch() -> Iterator[str]:
    """Its management socket's path; RuntimeError at the end if anything failed inside."""
    with tempfile.TemporaryDirectory(prefix="vswitch-fuzz-") as directory:
        config, log = Path(directory) / "config.yaml", Path(directory) / "log"
        config.write_text(CONFIG)
        with log.open("w") as file:
            daemon = subprocess.Popen([sys.executable, "-P", "-m", "vswitch.daemon.main", "--state", f"{directory}/state", "--run",
                                       f"{directory}/run", "--config", str(config), "--stop-datapath"], stdout=file, stderr=file)
        try:
            path = f"{directory}/run/br.mgmt"
            deadline = time.monotonic() + 60
            while not Path(path).exists():
                if time.monotonic() > deadline:
                    raise TimeoutError("the switch does not listen after 60 s")
                time.sleep(0.05)
            time.sleep(0.5)
            yield path
        finally:
            daemon.terminate()
            daemon.wait(20)
        text = log.read_text(errors="replace")
        failures = text.count("Traceback")
        if failures or "datapath is away" in text:
            raise RuntimeError(f"{failures} failures inside:\n{text[text.find('Traceback') - 300:][:6000]}")
