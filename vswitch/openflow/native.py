"""The codec's C half (datapath_c/codec/codec.h): rules from every OpenFlow version's form to the datapath's and back.

Bodies are what follows the ofp_header. What is refused raises OpenFlowError with OpenFlow 1.5's type and code.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vswitch._datapath import ffi, lib
from vswitch.datapath.records import ErrorRecord, unpack
from vswitch.datapath.refusals import refusal

STANDARD, NICIRA, FLOW_STATS = lib.CODEC_STANDARD, lib.CODEC_NICIRA, lib.CODEC_FLOW_STATS
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
