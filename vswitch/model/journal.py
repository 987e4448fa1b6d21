"""A bridge's rules, durable: every flow_mod that was carried out, in the datapath's order, replayed after it crashed.

One file a bridge: records of a 32-bit length and a flow_mod body. When the log has outgrown the table it is made anew
from a dump of the rules. The channel carries requests out in order and hands replies over in order, so the moment at
which a dump's last part is read divides what the dump holds from what must be logged after it.

Nothing is synced: the file must survive vswitchd and the datapath, not the machine, which loses the datapath's rules
together with everything that they refer to. A record cut off at the end is ignored.
"""
from __future__ import annotations

import asyncio
import logging
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from vswitch.datapath.client import Client, split_entries
from vswitch.errors import UnavailableError
from vswitch.model.flow_bodies import add_from_stats, delete_from_removed, replayable

log = logging.getLogger(__name__)

_LENGTH = struct.Struct("!I")
_REWRITE_AT = 10_000        # records that a log holds at least before it is made anew
_REPLAY_BATCH = 2_000       # flow_mods sent before their answers are waited for


def _record(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body


class Journal:
    def __init__(self, directory: Path, bridge_id: int):
        self._bridge_id = bridge_id
        self._path = directory / f"{bridge_id}.flows"
        self._file = open(self._path, "ab")
        self._base = 0          # rules in the file when it was last made
        self._logged = 0        # records since
        self._rewriting = False

    def applied(self, bodies: list[bytes]) -> None:
        """Flow_mods that the datapath has carried out, in its order."""
        self._file.write(b"".join([_record(replayable(body)) for body in bodies]))
        self._file.flush()
        self._logged += len(bodies)

    def removed(self, body: bytes) -> None:
        """An ofp_flow_removed of the datapath's."""
        delete = delete_from_removed(body)
        if delete is not None:
            self._file.write(_record(delete))
            self._file.flush()
            self._logged += 1

    @property
    def outgrown(self) -> bool:
        return not self._rewriting and self._logged > max(_REWRITE_AT, 2 * self._base)

    def rewrite(self, client: Client) -> asyncio.Future:
        """Makes the file anew from a dump. The future is done when the new file has taken the old one's place."""
        self._rewriting = True
        new_path = self._path.with_suffix(".new")
        new = open(new_path, "wb")
        count = 0

        def part(body: bytes) -> None:
            nonlocal count
            entries = split_entries(body)
            count += len(entries)
            new.write(b"".join([_record(add_from_stats(entry)) for entry in entries]))

        def last(body: bytes) -> None:
            part(body)
            new.flush()
            os.replace(new_path, self._path)
            self._file.close()
            self._file = new
            self._base, self._logged = count, 0

        def done(_: asyncio.Future) -> None:
            self._rewriting = False
            if self._file is not new:
                new.close()
                new_path.unlink(missing_ok=True)

        future = client.dump_flows_now(self._bridge_id, ALL_FLOWS, part, last)
        future.add_done_callback(done)
        return future

    def read(self) -> Iterator[bytes]:
        with open(self._path, "rb") as f:
            while len(head := f.read(_LENGTH.size)) == _LENGTH.size:
                (length,) = _LENGTH.unpack(head)
                if len(body := f.read(length)) < length:
                    return
                yield body

    async def replay(self, client: Client) -> int:
        """Sends everything; the number of flow_mods that the datapath took."""
        taken = 0
        pending: list[bytes] = []

        async def send() -> int:
            outcome = await client.write_flows(self._bridge_id, pending)
            if client.channel.closed:
                raise UnavailableError("the datapath went away during replay")
            refused = [e for e in outcome if e is not None]
            if refused:
                log.warning("rules were refused in replay",
                            extra={"bridge": self._bridge_id, "refused": len(refused), "first": str(refused[0])})
            pending.clear()
            return len(outcome) - len(refused)

        for body in self.read():
            pending.append(body)
            if len(pending) >= _REPLAY_BATCH:
                taken += await send()
        if pending:
            taken += await send()
        return taken

    def close(self) -> None:
        self._file.close()

    def remove(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


# ofp_flow_stats_request: all tables, any port and group, any cookie, empty match (OpenFlow 1.3.5, 7.3.5.2).
ALL_FLOWS = struct.pack("!B3xII4xQQ", 0xff, 0xffffffff, 0xffffffff, 0, 0) + struct.pack("!HH4x", 1, 4)
