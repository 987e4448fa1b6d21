"""A bridge's groups, meters and tables' settings, durable: every group_mod, meter_mod and table_mod that was carried out, replayed
before the rules that need them after the datapath crashed. As the flow journal (journal.py), in a file of its own."""
from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from vswitch.datapath.client import Client
from vswitch.datapath.records import TABLE_MAX_ENTRIES, TableRecord, pack, unpack
from vswitch.errors import UnavailableError, VswitchError

log = logging.getLogger(__name__)

GROUP, METER, TABLE = 1, 2, 3
_RECORD = struct.Struct("!BI")
_REWRITE_AT = 1_000         # records that the file holds at least before it is made anew
_GROUP_DESC = struct.Struct("!HBxIH6x")
_GROUP_MOD = struct.Struct("!HBxIH2xI")
_METER_CONFIG = struct.Struct("!HHI")
_METER_MOD = struct.Struct("!HHI")
_NO_BUCKET = 0xffffffff


def add_group_from_desc(entry: bytes) -> bytes:
    """The group_mod that adds what an ofp_group_desc tells of."""
    _, kind, number, buckets = _GROUP_DESC.unpack_from(entry)
    return _GROUP_MOD.pack(0, kind, number, buckets, _NO_BUCKET) + entry[_GROUP_DESC.size:]


def add_meter_from_config(entry: bytes) -> bytes:
    _, flags, number = _METER_CONFIG.unpack_from(entry)
    return _METER_MOD.pack(0, flags, number) + entry[_METER_CONFIG.size:]


class GroupJournal:
    def __init__(self, directory: Path, bridge_id: int):
        self._bridge_id = bridge_id
        self._path = directory / f"{bridge_id}.groups"
        self._file = open(self._path, "ab")
        self._base = 0
        self._logged = 0
        self._lock = asyncio.Lock()

    def applied(self, kind: int, body: bytes) -> None:
        """What is in force is in force whether it can be logged or not."""
        try:
            self._file.write(_RECORD.pack(kind, len(body)) + body)
            self._file.flush()
        except OSError as e:
            log.error("groups can't be logged", extra={"bridge": self._bridge_id, "reason": str(e)})
        self._logged += 1

    @property
    def outgrown(self) -> bool:
        return not self._lock.locked() and self._logged > max(_REWRITE_AT, 2 * self._base)

    async def rewrite(self, client: Client) -> None:
        """Makes the file anew of what the datapath holds. What is logged meanwhile starts it all over."""
        async with self._lock:
            logged = -1
            while logged != self._logged:
                logged = self._logged
                records = await self._held(client)
            draft = self._path.with_suffix(".new")
            try:
                draft.write_bytes(b"".join(_RECORD.pack(kind, len(body)) + body for kind, body in records))
                os.replace(draft, self._path)
                self._file.close()
                self._file = open(self._path, "ab")
            except OSError as e:
                log.error("groups can't be logged", extra={"bridge": self._bridge_id, "reason": str(e)})
            self._base, self._logged = len(records), 0

    async def _held(self, client: Client) -> list[tuple[int, bytes]]:
        return [(METER, add_meter_from_config(e)) for e in await client.meter_config(self._bridge_id)] + \
            [(GROUP, add_group_from_desc(e)) for e in await client.group_desc(self._bridge_id)] + \
            [(TABLE, pack(t)) for t in await client.tables(self._bridge_id) if t.config or t.max_entries != TABLE_MAX_ENTRIES or t.vacancy_up]

    def read(self) -> Iterator[tuple[int, bytes]]:
        with open(self._path, "rb") as f:
            while len(head := f.read(_RECORD.size)) == _RECORD.size:
                kind, length = _RECORD.unpack(head)
                if len(body := f.read(length)) < length:
                    return
                yield kind, body

    async def replay(self, client: Client) -> None:
        """Sends everything, a group that names another one after that one."""
        waiting = list(self.read())
        while waiting:
            refused: list[tuple[int, bytes]] = []
            for kind, body in waiting:
                try:
                    if kind == TABLE:
                        await client.set_table(self._bridge_id, unpack(TableRecord, body))
                    else:
                        await (client.group_mod if kind == GROUP else client.meter_mod)(self._bridge_id, body)
                except UnavailableError:
                    raise
                except VswitchError as e:
                    refused.append((kind, body))
                    reason = e
            if len(refused) == len(waiting):
                log.warning("groups or meters were refused in replay",
                            extra={"bridge": self._bridge_id, "refused": len(refused), "first": str(reason)})
                return
            waiting = refused

    def remove(self) -> None:
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
