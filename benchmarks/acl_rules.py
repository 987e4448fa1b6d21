"""Access lists as operators have them: 5-tuple rules of a fixed number of masks, and packets that hit them.

Deterministic: the same arguments give the same rules. A rule is `priority=...,udp,nw_src=.../n,nw_dst=.../n[,tp_src=][,tp_dst=]`;
prefix lengths and port fields are drawn as in ClassBench's access lists (Taylor and Turner, INFOCOM 2005): long prefixes and an
exact destination port are common.
"""
from __future__ import annotations

import ipaddress
import random
import struct
from collections.abc import Iterator
from pathlib import Path

SRC = (0, 8, 12, 16, 20, 22, 23, 24, 26, 27, 28, 29, 30, 31, 32)
DST = (8, 12, 16, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 32)


class AccessList:
    def __init__(self, n_rules: int, n_masks: int, seed: int = 1):
        draw = random.Random(seed)
        masks = set()
        while len(masks) < n_masks:
            masks.add((draw.choice(SRC), draw.choice(DST), draw.random() < .2, draw.random() < .8))
        self.masks = sorted(masks)
        self.rules = []
        seen = set()
        while len(self.rules) < n_rules:
            # Few masks have most of the rules.
            src_len, dst_len, has_src, has_dst = self.masks[min(int(draw.paretovariate(.7)) - 1, n_masks - 1)
                                                            if len(self.rules) >= n_masks else len(self.rules)]
            rule = (self._prefix(draw, src_len), src_len, self._prefix(draw, dst_len), dst_len,
                    draw.randrange(1, 65536) if has_src else None, draw.randrange(1, 65536) if has_dst else None)
            if rule not in seen:
                seen.add(rule)
                self.rules.append(rule)

    @classmethod
    def exact(cls, n_rules: int, seed: int = 1) -> AccessList:
        """Of one mask: all bits of addresses and ports."""
        self = cls.__new__(cls)
        draw = random.Random(seed)
        self.masks = [(32, 32, True, True)]
        self.rules = list({(draw.getrandbits(32), 32, draw.getrandbits(32), 32, draw.randrange(1, 65536), draw.randrange(1, 65536)): None
                           for _ in range(n_rules)})
        return self

    @staticmethod
    def _prefix(draw: random.Random, length: int) -> int:
        return draw.getrandbits(32) >> (32 - length) << (32 - length) if length else 0

    def flow_lines(self, action: str) -> list[str]:
        lines = []
        for index, (src, src_len, dst, dst_len, tp_src, tp_dst) in enumerate(self.rules):
            text = f"priority={1 + index % 60000},udp"
            if src_len:
                text += f",nw_src={ipaddress.IPv4Address(src)}/{src_len}"
            if dst_len:
                text += f",nw_dst={ipaddress.IPv4Address(dst)}/{dst_len}"
            text += f",tp_src={tp_src}" if tp_src is not None else ""
            text += f",tp_dst={tp_dst}" if tp_dst is not None else ""
            lines.append(f"{text},actions={action}")
        return lines

    def flow_mods(self, port: int) -> Iterator[bytes]:
        """The same rules, with an output to that port, as OpenFlow 1.3 messages: a million of them in seconds, where text takes minutes."""
        heads = {}
        tail = (struct.pack("!HH4xHHIH6x", 4, 24, 0, 16, port, 0))      # apply: output
        for index, (src, src_len, dst, dst_len, tp_src, tp_dst) in enumerate(self.rules):
            fields = b"".join((_address(0x80001604, src, src_len), _address(0x80001804, dst, dst_len),
                               b"" if tp_src is None else struct.pack("!IH", 0x80001e02, tp_src),
                               b"" if tp_dst is None else struct.pack("!IH", 0x80002002, tp_dst)))
            if len(fields) not in heads:
                size = 15 + len(fields)         # of the match, with its Ethernet type and protocol
                padded = (size + 7) // 8 * 8
                heads[len(fields)] = (struct.pack("!BBHI16xBB2x2x", 4, 14, 48 + padded + len(tail), 0, 0, 0),
                                      struct.pack("!III2x2xHHIHIB", 0xffffffff, 0xffffffff, 0xffffffff, 1, size, 0x80000a02, 0x0800,
                                                  0x80001401, 17), bytes(padded - size) + tail)
            head, match, end = heads[len(fields)]
            yield b"".join((head, (1 + index % 60000).to_bytes(2, "big"), match, fields, end))

    def frames(self, n: int, seed: int = 2) -> list[bytes]:
        """UDP frames of 60 bytes, each of a flow of its own that hits a rule drawn at random; of exact rules, each another."""
        draw = random.Random(seed)
        frames = []
        for rule in draw.sample(self.rules, n) if len(self.masks) == 1 else (draw.choice(self.rules) for _ in range(n)):
            src, src_len, dst, dst_len, tp_src, tp_dst = rule
            src |= draw.getrandbits(32) & ((1 << (32 - src_len)) - 1)
            dst |= draw.getrandbits(32) & ((1 << (32 - dst_len)) - 1)
            frames.append(udp_frame(src, dst, tp_src if tp_src is not None else draw.randrange(1, 65536),
                                    tp_dst if tp_dst is not None else draw.randrange(1, 65536)))
        return frames


def _address(oxm: int, address: int, length: int) -> bytes:
    if not length:
        return b""
    if length == 32:
        return struct.pack("!II", oxm, address)
    return struct.pack("!III", oxm + 0x104, address, (1 << 32) - (1 << (32 - length)))


def udp_frame(src: int, dst: int, tp_src: int, tp_dst: int, length: int = 60) -> bytes:
    ip = struct.pack("!BBHHHBBHII", 0x45, 0, length - 14, 0, 0, 64, 17, 0, src, dst)
    total = sum(struct.unpack("!10H", ip))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    ip = ip[:10] + struct.pack("!H", ~total & 0xffff) + ip[12:]
    head = bytes.fromhex("020000000002020000000001") + b"\x08\0" + ip + struct.pack("!HHHH", tp_src, tp_dst, length - 34, 0)
    return head.ljust(length, b"\0")


def write_pcap(path: Path, frames: list[bytes]) -> None:
    with open(path, "wb") as file:
        file.write(struct.pack("=IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for frame in frames:
            file.write(struct.pack("=IIII", 0, 0, len(frame), len(frame)) + frame)
