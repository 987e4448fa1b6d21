"""Moves random bytes over one TCP connection between two namespaces, and compares what arrived with what was sent.

Also the program at both ends: `tcp_transfer.py receive` and `tcp_transfer.py send ADDRESS BYTES` print the SHA-256 of all.
"""
from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time

PORT = 7100
CHUNK = 1 << 20


def transfer(sender, receiver, address: str, amount: int, timeout: float = 60) -> float:
    """Gbit/s of `amount` bytes from one hosts.Namespace to another. AssertionError where they differ."""
    from hosts import wait_for
    listening = receiver.start("receiver", sys.executable, "-P", __file__, "receive", stdout=subprocess.PIPE, text=True)
    try:
        wait_for("the receiver listens", lambda: f":{PORT} " in receiver.run("ss", "-Hltn"))
        start = time.monotonic()
        sent = sender.run(sys.executable, "-P", __file__, "send", address, amount, timeout=timeout).strip()
        received = listening.communicate(timeout=timeout)[0].strip()
        elapsed = time.monotonic() - start
    finally:
        listening.kill()
    assert received == sent
    return amount * 8 / elapsed / 1e9


def _send(address: str, amount: int) -> str:
    digest = hashlib.sha256()
    with socket.create_connection((address, PORT), 10) as connection:
        connection.settimeout(30)
        while amount:
            chunk = os.urandom(min(CHUNK, amount))
            digest.update(chunk)
            connection.sendall(chunk)
            amount -= len(chunk)
    return digest.hexdigest()


def _receive() -> str:
    digest = hashlib.sha256()
    with socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        connection, _ = server.accept()
        with connection:
            while chunk := connection.recv(CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


if __name__ == "__main__":
    print(_receive() if sys.argv[1] == "receive" else _send(sys.argv[2], int(sys.argv[3])))
