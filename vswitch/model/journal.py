"""A bridge's rules, durable: every flow_mod that was carried out, in the datapath's order, replayed after it crashed.

One file a bridge: records of a 32-bit length and a flow_mod body. When the log has outgrown the table it is made anew
from a dump of the rules, and from what was logged while the dump was under way: a dump tells of what comes and goes meanwhile
or doesn't, and the same flow_mods after it lead to the same rules.

Nothing is synced: the file must survive vswitchd and the datapath, not the machine, which loses the datapath's rules
together with everything that they refer to. A record cut off at the end is ignored.
"""
from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import struct
import time
from collections.abc import Callable, Iterator
from io import RawIOBase
from pathlib import Path

from vswitch.datapath.client import Client, in_force, unpack_items
from vswitch.errors import UnavailableError
from vswitch.openflow.native import journal_of_stats, journal_records
from vswitch.model.flow_bodies import delete_from_removed, replayable

log = logging.getLogger(__name__)

_LENGTH = struct.Struct("!I")
_REWRITE_AT = 10_000        # records that a log holds at least before it is made anew
_RETRY = 5.0                # seconds after which a log that could not be written is made anew
_REPLAY_BATCH = 2_000       # flow_mods sent before their answers are waited for


def _record(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body


def _write(file: RawIOBase, records: bytes) -> None:
    """Unbuffered: what is written is the kernel's at once."""
    left = memoryview(records)
    while left:
        left = left[file.write(left):]


class Journal:
    def __init__(self, directory: Path, bridge_id: int):
        self._bridge_id = bridge_id
        self._path = directory / f"{bridge_id}.flows"
        self._file = open(self._path, "ab", buffering=0)
        self._base = 0          # rules in the file when it was last made
        self._logged = 0        # records since
        self._rewriting = False
        self._since: list[bytes] = []       # logged while the file is being made anew
        self._mend_at: float | None = None      # set while the file lacks something

    def applied(self, bodies: list[bytes]) -> None:
        """Flow_mods that the datapath has carried out, in its order."""
        self._append([replayable(body) for body in bodies])

    def applied_batch(self, batch: bytes, n: int, errors: dict[int, Exception]) -> None:
        """The same, of `n` flow_mods behind 32 bits of length each, but for those with errors that kept them out."""
        if errors:
            self.applied([body for i, body in enumerate(unpack_items(batch, n)) if i not in errors or in_force(errors[i])])
        else:
            self.applied_records(journal_records(batch), n)

    def removed(self, body: bytes) -> None:
        """An ofp_flow_removed of the datapath's."""
        delete = delete_from_removed(body)
        if delete is not None:
            self._append([delete])

    def _append(self, bodies: list[bytes]) -> None:
        self.applied_records(b"".join([_record(body) for body in bodies]), len(bodies))

    def applied_records(self, records: bytes, n: int) -> None:
        """The same, of records (native.journal_records). The rules are in force whether they can be logged or not: a failure is told
        of, and mended by `rewrite`."""
        if self._rewriting:
            self._since.append(records)
        try:
            _write(self._file, records)
        except OSError as e:
            if self._mend_at is None:
                self._failed(e)
        self._logged += n

    def _failed(self, error: OSError) -> None:
        log.error("rules can't be logged", extra={"bridge": self._bridge_id, "reason": str(error)})
        self._mend_at = time.monotonic() + _RETRY

    @property
    def outgrown(self) -> bool:
        """Whether it is time to `rewrite`."""
        if self._rewriting:
            return False
        if self._mend_at is not None:
            return time.monotonic() >= self._mend_at
        return self._logged > max(_REWRITE_AT, 2 * self._base)

    def rewrite(self, client: Client) -> asyncio.Future:
        """Makes the file anew from a dump. The future is done when the new file has taken the old one's place."""
        self._rewriting = True
        self._since.clear()
        draft = _Draft(self._path.with_suffix(".new"))

        def last(body: bytes) -> None:
            draft.add(body)
            draft.log(b"".join(self._since))
            if draft.finish(self._path):
                # Elsewhere: with its last user the file goes, which takes the kernel milliseconds.
                asyncio.get_running_loop().run_in_executor(None, self._close_file, self._file)
                self._file = draft.file
                self._base, self._logged, self._mend_at = draft.count, 0, None

        def done(_: asyncio.Future) -> None:
            self._rewriting = False
            self._since.clear()
            if self._file is not draft.file:
                error = draft.error
                draft.discard()
                if error is not None:
                    self._failed(error)

        future = client.dump_flows_now(self._bridge_id, ALL_FLOWS, draft.add, last)
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
        self._close_file(self._file)

    def remove(self) -> None:
        self._close_file(self._file)
        self._path.unlink(missing_ok=True)

    @staticmethod
    def _close_file(file: RawIOBase) -> None:
        with contextlib.suppress(OSError):      # what it could not write was told of already
            file.close()


class _Draft:
    """The file that is to take the log's place. It is called from within the channel, where an error must not leave: the
    first one is kept, and ends the draft."""

    def __init__(self, path: Path):
        self._path = path
        self.file: RawIOBase | None = None
        self.count = 0
        self.error: OSError | None = None
        try:
            self.file = open(path, "wb", buffering=0)
        except OSError as e:
            self.error = e

    def add(self, part: bytes) -> None:
        """A part of a dump."""
        if self.error is None:
            records, n = journal_of_stats(part)
            self.count += n
            self._try(lambda: _write(self.file, records))

    def log(self, records: bytes) -> None:
        """What was logged while the dump was made, once more: where the dump has it already, it changes nothing."""
        if self.error is None:
            self._try(lambda: _write(self.file, records))

    def finish(self, path: Path) -> bool:
        """Whether it has taken the place of the file at `path`."""
        self._try(lambda: os.replace(self._path, path))
        return self.error is None

    def _try(self, step: Callable[[], object]) -> None:
        if self.error is None:
            try:
                step()
            except OSError as e:
                self.error = e

    def discard(self) -> None:
        """What else comes is ignored."""
        self.error = self.error or OSError("given up")
        with contextlib.suppress(OSError):
            if self.file is not None:
                self.file.close()
            self._path.unlink(missing_ok=True)


# ofp_flow_stats_request: all tables, any port and group, any cookie, empty match (OpenFlow 1.3.5, 7.3.5.2).
ALL_FLOWS = struct.pack("!B3xII4xQQ", 0xff, 0xffffffff, 0xffffffff, 0, 0) + struct.pack("!HH4x", 1, 4)
