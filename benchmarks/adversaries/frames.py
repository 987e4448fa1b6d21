"""Frames as bytes."""
from __future__ import annotations

import socket
import struct

_MACS = bytes.fromhex("020000000002" "020000000001")


def _sum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def _ip(text: str | int) -> bytes:
    return struct.pack("!I", text) if isinstance(text, int) else socket.inet_aton(text)


def ipv4(proto: int, payload: bytes, src: str | int = "10.0.0.1", dst: str | int = "10.0.0.2", fragment: int = 0) -> bytes:
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, fragment, 64, proto, 0, _ip(src), _ip(dst))
    head = head[:10] + struct.pack("!H", _sum(head)) + head[12:]
    return _MACS + b"\x08\x00" + head + payload


def udp(sport: int = 1000, dport: int = 80, src: str | int = "10.0.0.1", dst: str | int = "10.0.0.2", size: int = 60) -> bytes:
    """A frame of `size` bytes, FCS not counted. No UDP checksum."""
    payload = bytes(size - 42)
    return ipv4(17, struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload, src, dst)


def tcp(sport: int, dport: int, flags: int, src: str | int = "10.0.0.1", dst: str | int = "10.0.0.2", size: int = 60) -> bytes:
    payload = bytes(max(0, size - 54))
    return ipv4(6, struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 0x50, flags, 1000, 0, 0) + payload, src, dst)
