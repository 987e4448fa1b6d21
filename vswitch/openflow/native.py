"""The codec's C half (datapath_c/codec/codec.h): rules from every OpenFlow version's form to the datapath's and back.

Bodies are what follows the ofp_header. What is refused raises OpenFlowError with OpenFlow 1.5's type and code.
"""
from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from vswitch._datapath import ffi, lib
from vswitch.datapath.records import ErrorRecord, unpack
from vswitch.datapath.refusals import refusal
from vswitch.errors import UnavailableError

STANDARD, NICIRA, FLOW_STATS, FULL = lib.CODEC_STANDARD, lib.CODEC_NICIRA, lib.CODEC_FLOW_STATS, lib.CODEC_FULL
NICIRA_TABLE, STANDARD_TABLE = lib.CODEC_NICIRA_TABLE, lib.CODEC_STANDARD_TABLE
_MESSAGE = 65536


def _refused(why: Any) -> Exception:
    return refusal(unpack(ErrorRecord, bytes(ffi.buffer(why))))


def _in(function: Callable[..., int], *what: Any) -> bytes:
    body = what[-1]
    why = ffi.new("struct dp_error *")
    out = bytearray(2 * len(body) + 4096)
    n = function(*what[:-1], ffi.from_buffer(body), len(body), ffi.from_buffer(out), len(out), why)
    if n < 0:
        raise _refused(why)
    return bytes(out[:n])


def _out(function: Callable[..., int], *what: Any, room: int) -> bytes:
    body = what[-1]
    out = bytearray(room)
    n = function(*what[:-1], ffi.from_buffer(body), len(body), ffi.from_buffer(out), len(out))
    if n < 0:
        raise ValueError(f"not what the datapath says of rules (error {-n})")
    return bytes(out[:n])


def flow_mod_in(version: int, form: int, body: bytes) -> bytes:
    return _in(lib.codec_flow_mod_in, version, form, body)


def actions_in(version: int, actions: bytes) -> bytes:
    return _in(lib.codec_actions_in, version, actions)


def stats_request_in(version: int, form: int, body: bytes) -> bytes:
    return _in(lib.codec_stats_request_in, version, form, body)


def match_in(version: int, form: int, body: bytes) -> bytes:
    return _in(lib.codec_match_in, version, form, body)


def flow_stats_out(version: int, form: int, entries: bytes) -> bytes:
    return _out(lib.codec_flow_stats_out, version, form, entries, room=4 * len(entries) + 4096)


def actions_out(version: int, actions: bytes) -> bytes:
    return _out(lib.codec_actions_out, version, actions, room=8 * len(actions) + 256)


def match_out(version: int, form: int, match: bytes) -> bytes:
    return _out(lib.codec_match_out, version, form, match, room=2 * len(match) + 256)


def flow_removed_out(version: int, form: int, body: bytes) -> bytes:
    return _out(lib.codec_flow_removed_out, version, form, body, room=2 * len(body) + 256)


def flow_stats_messages(version: int, form: int, xid: int, entries: bytes) -> tuple[bytearray, int]:
    """Whole multipart replies, all of which say that more follow, and where the last of them starts."""
    out = bytearray(4 * len(entries) + 2 * _MESSAGE)
    last = ffi.new("size_t *")
    n = lib.codec_flow_stats_messages(version, form, xid, ffi.from_buffer(entries), len(entries), ffi.from_buffer(out),
                                      len(out), last)
    if n < 0:
        raise ValueError(f"not what the datapath says of rules (error {-n})")
    del out[n:]
    return out, last[0]


class Run(NamedTuple):
    """Flow-mods of one version that follow each other on a connection, in the datapath's form."""
    n: int
    batch: bytes            # each behind 32 bits of its length, as in the channel's dp_batch
    starts: list[int]       # where each began in the data that was scanned
    end: int                # and where the last ended
    bundle: int | None      # the bundle that they are added to, None = they are flow-mods as such
    flags: int              # of the bundle


class Other(NamedTuple):
    """One message of any other kind, or a flow-mod with which something is wrong."""
    start: int
    end: int
    error: Exception | None = None


class BadHeader(Exception):
    """A length shorter than its header: the stream makes no sense from here."""


_ROOM = 1 << 20             # bytes of canonical flow-mods that one scan makes
_ITEMS = 16384
_RUNS = 4096
_RUN, _RUN_SIZE = struct.Struct("=9I"), ffi.sizeof("struct codec_run")     # its first members: kind to flags
_OTHER, _REFUSED, _BAD_HEADER, _BUNDLED = lib.CODEC_OTHER, lib.CODEC_REFUSED, lib.CODEC_BAD_HEADER, lib.CODEC_BUNDLED
assert ffi.offsetof("struct codec_run", "flags") == _RUN.size - 4


class Scanner:
    """Takes a connection's bytes apart."""

    def __init__(self, batch: int):
        """`batch`: bytes that a run may have at most."""
        self._batch = batch
        self._out = ffi.new("uint8_t[]", _ROOM)
        self._items = ffi.new("uint32_t[]", _ITEMS)
        self._runs = ffi.new("struct codec_run[]", _RUNS)
        self._used = ffi.new("size_t *")
        # The same as Python reads it: each look through cffi at a member would take as long as the scan of a message.
        self._made = memoryview(ffi.buffer(self._out))
        self._starts = memoryview(ffi.buffer(self._items)).cast("B").cast("I")
        self._heads = memoryview(ffi.buffer(self._runs))

    def scan(self, version: int, form: int, data: bytes) -> tuple[list[Run | Other], int]:
        """What the whole messages at the start of `data` are, and how many bytes they take. More may follow when that is not
        all. BadHeader when the first makes no sense."""
        n = lib.codec_scan(version, form, ffi.from_buffer(data), len(data), self._out, _ROOM, self._batch, self._items, _ITEMS,
                           self._runs, _RUNS, self._used)
        found: list[Run | Other] = []
        for i in range(n):
            kind, start, end, count, item, out, out_len, bundle, flags = _RUN.unpack_from(self._heads, i * _RUN_SIZE)
            if kind == _OTHER:
                found.append(Other(start, end))
            elif kind == _REFUSED:
                found.append(Other(start, end, _refused(ffi.addressof(self._runs[i], "error"))))
            elif kind == _BAD_HEADER:
                if not found:
                    raise BadHeader
            else:
                found.append(Run(count, bytes(self._made[out:out + out_len]), self._starts[item:item + count].tolist(), end,
                                 bundle if kind == _BUNDLED else None, flags))
        return found, self._used[0]


def journal_of_stats(stats: bytes) -> tuple[bytes, int]:
    """ofp_flow_stats entries as records of the flow journal, and how many."""
    out, length = bytearray(len(stats)), ffi.new("size_t *")
    n = lib.codec_stats_records(ffi.from_buffer(stats), len(stats), ffi.from_buffer(out), length)
    if n < 0:
        raise UnavailableError("the datapath sent rules that make no sense")
    return bytes(memoryview(out)[:length[0]]), n


def journal_records(batch: bytes) -> bytes:
    """A run's batch as records of the flow journal."""
    records = bytearray(batch)
    lib.codec_make_records(ffi.from_buffer(records), len(records))
    return bytes(records)
