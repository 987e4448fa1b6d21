"""QEMU's machine protocol (QMP): commands, and events with the time at which they happened."""
from __future__ import annotations

import json
import socket
import time
from pathlib import Path

from hosts import Failure, wait_for


class Monitor:
    def __init__(self, path: Path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        wait_for("QEMU's monitor", path.exists)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r")
        self.events: dict[str, list[float]] = {}
        json.loads(self._lines.readline())
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: object) -> object:
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            message = json.loads(self._lines.readline())
            if "event" in message:
                at = message["timestamp"]
                self.events.setdefault(message["event"], []).append(at["seconds"] + at["microseconds"] / 1e6)
            elif "error" in message:
                raise Failure(f"QEMU: {command}: {message['error']['desc']}")
            else:
                return message["return"]

    def event(self, name: str, timeout: float = 10) -> float:
        """When it happened last (Unix time)."""
        deadline = time.monotonic() + timeout
        while name not in self.events:
            if time.monotonic() > deadline:
                raise Failure(f"QEMU: no event {name} within {timeout:g} s")
            self.execute("query-status")
            time.sleep(0.01)
        return self.events[name][-1]

    def close(self) -> None:
        self._socket.close()
