"""Messages with one malformation each, random in all else, and the error that the specification names for it."""
from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

SET_CONFIG, PACKET_OUT, FLOW_MOD, GROUP_MOD, PORT_MOD, TABLE_MOD, MULTIPART, ROLE, METER_MOD = \
    9, 13, 14, 15, 16, 17, 18, 24, 29
NO_BUFFER = 0xffffffff
ANY = 0xffffffff
BAD_REQUEST, BAD_ACTION, BAD_INSTRUCTION, BAD_MATCH, FLOW_MOD_FAILED, GROUP_MOD_FAILED, PORT_MOD_FAILED, TABLE_MOD_FAILED = range(1, 9)
SWITCH_CONFIG_FAILED, ROLE_REQUEST_FAILED, METER_MOD_FAILED = 10, 11, 12


@dataclass
class Case:
    name: str
    section: str                # of OpenFlow 1.3.5 unless it says otherwise
    build: Callable[[random.Random, int], bytes]
    error: tuple[int, int]
    versions: tuple[int, ...] = (3, 4, 5, 6)
    also: tuple[tuple[int, int], ...] = field(default=())      # where the text leaves a choice


def message(version: int, kind: int, body: bytes) -> bytes:
    return struct.pack("!BBHI", version, kind, 8 + len(body), 0) + body


def _pad8(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def oxm(n: int, value: bytes, mask: bytes = b"", cls: int = 0x8000, length: int | None = None) -> bytes:
    return struct.pack("!HBB", cls, n << 1 | bool(mask), len(value + mask) if length is None else length) + value + mask


def match(*tlvs: bytes, kind: int = 1, length: int | None = None) -> bytes:
    body = b"".join(tlvs)
    return _pad8(struct.pack("!HH", kind, 4 + len(body) if length is None else length) + body)


def action(kind: int, body: bytes, length: int | None = None) -> bytes:
    body = bytes(body) + bytes(-(4 + len(body)) % 8)
    return struct.pack("!HH", kind, 4 + len(body) if length is None else length) + body


def output(port: int) -> bytes:
    return action(0, struct.pack("!IH6x", port, 128))


def set_field(tlv: bytes) -> bytes:
    return action(25, tlv)


def apply(*actions: bytes, kind: int = 4, length: int | None = None) -> bytes:
    body = b"".join(actions)
    return struct.pack("!HH4x", kind, 8 + len(body) if length is None else length) + body


def flow_mod(r: random.Random, version: int, matches: bytes = b"", instructions: bytes = b"", *, command: int = 0, table: int | None = None,
             buffer_id: int = NO_BUFFER, flags: int = 0, out_port: int = ANY) -> bytes:
    table = r.randrange(100) if table is None else table
    fixed = struct.pack("!QQBBHHHIIIHH", r.getrandbits(64) >> 1, 0, table, command, r.randrange(256, 60000), 0, r.getrandbits(16), buffer_id,
                        out_port, ANY, flags, 0)
    return message(version, FLOW_MOD, fixed + (matches or match()) + instructions)


def random_match(r: random.Random) -> tuple[bytes, ...]:
    """Well-formed TLVs that a malformed one may stand beside: in_port and Ethernet addresses."""
    found = []
    if r.random() < 0.5:
        found.append(oxm(0, struct.pack("!I", r.choice((1, 2)))))
    if r.random() < 0.5:
        found.append(oxm(3, r.randbytes(6)))
    if r.random() < 0.5:
        found.append(oxm(4, r.randbytes(6)))
    return tuple(found)


def matched(*tlvs: bytes, **more) -> Callable[[random.Random, int], bytes]:
    def build(r: random.Random, version: int) -> bytes:
        return flow_mod(r, version, match(*random_match(r), *tlvs, **more), apply(output(1)))
    return build


def acted(*actions: bytes, ip: bool = False) -> Callable[[random.Random, int], bytes]:
    def build(r: random.Random, version: int) -> bytes:
        before = [set_field(oxm(3, r.randbytes(6)))] * r.randrange(3)
        tlvs = (oxm(5, b"\x08\x00"),) if ip else ()
        return flow_mod(r, version, match(*random_match(r), *tlvs), apply(*before, *actions), command=r.choice((0, 0, 1, 2)))
    return build


def instructed(*instructions: bytes) -> Callable[[random.Random, int], bytes]:
    return lambda r, version: flow_mod(r, version, match(*random_match(r)), b"".join(instructions), table=r.randrange(50, 100))


def group_mod(version: int, command: int = 0, kind: int = 0, group: int = 77, buckets: bytes = b"") -> bytes:
    head = struct.pack("!HBxI", command, kind, group)
    if version == 6:
        head += struct.pack("!H2xI", len(buckets), 0xffffffff)      # command_bucket_id: OFPG_BUCKET_ALL
    return message(version, GROUP_MOD, head + buckets)


def meter_mod(version: int, command: int = 0, flags: int = 1, meter: int = 77, bands: bytes = b"") -> bytes:
    return message(version, METER_MOD, struct.pack("!HHI", command, flags, meter) + bands)


def port_mod(version: int, port: int = 1, address: bytes = b"", config: int = 0, mask: int = 0) -> bytes:
    body = struct.pack("!I4x6s2xII", port, address, config, mask)
    return message(version, PORT_MOD, body + struct.pack("!I4x", 0) if version < 5 else body)


def packet_out(version: int, in_port: int, actions: bytes, data: bytes, actions_len: int | None = None, buffer_id: int = NO_BUFFER) -> bytes:
    n = len(actions) if actions_len is None else actions_len
    if version == 6:
        head = struct.pack("!IH2x", buffer_id, n) + match(oxm(0, struct.pack("!I", in_port)))
    else:
        head = struct.pack("!IIH6x", buffer_id, in_port, n)
    return message(version, PACKET_OUT, head + actions + data)


def multipart(version: int, kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    return message(version, MULTIPART, struct.pack("!HH4x", kind, flags) + body)


UNKNOWN_FIELDS = (60, 100, 127)
CASES = [
    # 7.4.4: OFPET_BAD_REQUEST
    Case("another version", "7.4.4", lambda r, v: message(4 if v != 4 else 1, 2, r.randbytes(r.randrange(20))), (BAD_REQUEST, 0), (1, 3, 4, 5, 6)),
    Case("a type that there is not", "7.4.4", lambda r, v: message(v, r.randrange(40, 256), r.randbytes(r.randrange(64))), (BAD_REQUEST, 1),
         (1, 3, 4, 5, 6)),
    Case("a multipart type that there is not", "7.4.4", lambda r, v: multipart(v, r.randrange(60, 0xffff), r.randbytes(8)), (BAD_REQUEST, 2)),
    Case("an experimenter that nobody knows", "7.4.4",
         lambda r, v: message(v, 4, struct.pack("!II", r.randrange(1, 0x1000), r.getrandbits(32)) + r.randbytes(8)), (BAD_REQUEST, 3)),
    Case("a flow-mod cut off in what is fixed", "7.4.4", lambda r, v: message(v, FLOW_MOD, r.randbytes(r.randrange(40))), (BAD_REQUEST, 6)),
    Case("a packet-out cut off in what is fixed", "7.4.4", lambda r, v: message(v, PACKET_OUT, r.randbytes(r.randrange(8))), (BAD_REQUEST, 6)),
    Case("a port-mod cut off", "7.4.4", lambda r, v: message(v, PORT_MOD, r.randbytes(r.randrange(24))), (BAD_REQUEST, 6)),
    Case("a role request cut off", "7.4.4", lambda r, v: message(v, ROLE, r.randbytes(r.randrange(16))), (BAD_REQUEST, 6)),
    Case("a request for flow statistics cut off", "7.4.4", lambda r, v: multipart(v, 1, r.randbytes(r.randrange(1, 32))), (BAD_REQUEST, 6)),
    Case("a buffer that there is not", "7.4.4", lambda r, v: packet_out(v, 1, output(2), b"", buffer_id=r.randrange(1, 1 << 31)), (BAD_REQUEST, 8)),
    Case("a packet-out from no port", "7.4.4", lambda r, v: packet_out(v, r.choice((0, 0xffffff01, 0xfffffff0)), output(2), bytes(60)),
         (BAD_REQUEST, 11)),
    Case("a packet-out with more actions than it has", "7.4.4",
         lambda r, v: packet_out(v, 1, output(2), b"", actions_len=16 + 8 * r.randrange(1, 1000)), (BAD_REQUEST, 6), (3, 4, 5, 6),
         ((BAD_ACTION, 1),)),
    # 7.4.5: OFPET_BAD_ACTION
    Case("an action type that there is not", "7.4.5", lambda r, v: acted(action(r.randrange(40, 0xfff0), b"\0" * 4))(r, v), (BAD_ACTION, 0)),
    Case("an action shorter than its header", "7.4.5", lambda r, v: acted(action(0, bytes(12), length=r.randrange(8)))(r, v), (BAD_ACTION, 1)),
    Case("an action that is no multiple of 8", "7.4.5", lambda r, v: acted(action(0, bytes(12), length=r.choice((9, 12, 15))))(r, v),
         (BAD_ACTION, 1)),
    Case("an output of 8 bytes", "7.4.5", lambda r, v: acted(action(0, b"\0\0\0\1"))(r, v), (BAD_ACTION, 1)),
    Case("an action of an experimenter that nobody knows", "7.4.5",
         lambda r, v: acted(action(0xffff, struct.pack("!I", r.randrange(1, 0x1000)) + bytes(8)))(r, v), (BAD_ACTION, 2)),
    Case("an output to no port", "7.4.5", lambda r, v: acted(output(r.choice((0, ANY, 0xffffff01, 0xfffffff0))))(r, v), (BAD_ACTION, 4)),
    Case("a VLAN tag of no such Ethernet type", "7.4.5", lambda r, v: acted(action(17, struct.pack("!H2x", r.randrange(0x8000))))(r, v),
         (BAD_ACTION, 5)),
    Case("a group that there is not", "7.4.5", lambda r, v: acted(action(22, struct.pack("!I", r.randrange(1000, 1 << 30))))(r, v), (BAD_ACTION, 9)),
    Case("IPv4's address set in what may be anything", "7.4.5, 7.2.3.8", lambda r, v: acted(set_field(oxm(11, r.randbytes(4))))(r, v),
         (BAD_ACTION, 10)),
    Case("a field set that there is not", "7.4.5", lambda r, v: acted(set_field(oxm(r.choice(UNKNOWN_FIELDS), bytes(4))))(r, v), (BAD_ACTION, 13)),
    Case("a field set with another's length", "7.4.5", lambda r, v: acted(set_field(oxm(r.choice((3, 4)), r.randbytes(r.choice((2, 4, 8))))))(r, v),
         (BAD_ACTION, 14)),
    Case("a DSCP set that is none", "7.4.5", lambda r, v: acted(set_field(oxm(8, bytes([r.randrange(64, 256)]))), ip=True)(r, v),
         (BAD_ACTION, 15)),
    # 7.4.6: OFPET_BAD_INSTRUCTION
    Case("an instruction that there is not", "7.4.6", lambda r, v: instructed(apply(kind=r.randrange(20, 0xfff0)))(r, v), (BAD_INSTRUCTION, 0)),
    Case("a table that does not come later", "7.4.6", lambda r, v: instructed(struct.pack("!HHB3x", 1, 8, r.randrange(50)))(r, v),
         (BAD_INSTRUCTION, 2)),
    Case("an experimenter's instruction", "7.4.6", lambda r, v: instructed(apply(kind=0xffff))(r, v), (BAD_INSTRUCTION, 5),
         also=((BAD_INSTRUCTION, 6),)),
    Case("an instruction shorter than its header", "7.4.6", lambda r, v: instructed(apply(length=r.randrange(8)))(r, v), (BAD_INSTRUCTION, 7)),
    Case("an instruction longer than the message", "7.4.6", lambda r, v: instructed(apply(length=8 * r.randrange(2, 100)))(r, v),
         (BAD_INSTRUCTION, 7)),
    # 7.4.7: OFPET_BAD_MATCH
    Case("another type of match", "7.4.7", lambda r, v: matched(kind=r.choice((0, 2, 77, 0xffff)))(r, v), (BAD_MATCH, 0)),
    Case("a match longer than the message", "7.4.7", lambda r, v: matched(length=r.randrange(1000, 65536))(r, v), (BAD_MATCH, 1)),
    Case("a match shorter than its header", "7.4.7", lambda r, v: matched(length=r.randrange(4))(r, v), (BAD_MATCH, 1)),
    Case("a field with another's length", "7.4.7", lambda r, v: matched(oxm(5, r.randbytes(r.choice((1, 3, 4)))))(r, v), (BAD_MATCH, 1)),
    Case("bits beside the mask", "7.4.7", lambda r, v: matched(oxm(2, b"\xff" * 8, r.randbytes(7) + b"\x0f"))(r, v), (BAD_MATCH, 5)),
    Case("a field that there is not", "7.4.7", lambda r, v: matched(oxm(r.choice(UNKNOWN_FIELDS), bytes(4)))(r, v), (BAD_MATCH, 6)),
    Case("a field of a class that there is not", "7.4.7", lambda r, v: matched(oxm(1, bytes(4), cls=r.randrange(0x1000, 0x7fff)))(r, v),
         (BAD_MATCH, 6)),
    Case("a DSCP that is none", "7.4.7", lambda r, v: matched(oxm(5, b"\x08\x00"), oxm(8, bytes([r.randrange(64, 256)])))(r, v), (BAD_MATCH, 7)),
    Case("a masked Ethernet type", "7.4.7", lambda r, v: matched(oxm(5, b"\x08\x00", b"\x0f\x00"))(r, v), (BAD_MATCH, 8)),
    Case("a TCP port without TCP", "7.4.7", lambda r, v: matched(oxm(5, b"\x08\x00"), oxm(14, r.randbytes(2)))(r, v), (BAD_MATCH, 9)),
    Case("an IPv4 address without IPv4", "7.4.7", lambda r, v: matched(oxm(11, r.randbytes(4)))(r, v), (BAD_MATCH, 9)),
    Case("a field twice", "7.4.7", lambda r, v: matched(*[oxm(5, b"\x08\x00")] * 2)(r, v), (BAD_MATCH, 10)),
    # 7.4.8: OFPET_FLOW_MOD_FAILED
    Case("a rule in all tables", "7.4.8", lambda r, v: flow_mod(r, v, instructions=apply(output(1)), table=255), (FLOW_MOD_FAILED, 2)),
    Case("a command that there is not", "7.4.8", lambda r, v: flow_mod(r, v, command=r.randrange(5, 256)), (FLOW_MOD_FAILED, 6)),
    Case("a flag that there is not", "7.4.8", lambda r, v: flow_mod(r, v, flags=1 << r.randrange(7, 16)), (FLOW_MOD_FAILED, 7), (4, 5, 6)),
    # 7.4.9: OFPET_GROUP_MOD_FAILED
    Case("a group that is there", "7.4.9", lambda r, v: group_mod(v, group=1), (GROUP_MOD_FAILED, 0)),
    Case("a group number beyond OFPG_MAX", "7.4.9", lambda r, v: group_mod(v, group=r.choice((0xffffff01, 0xfffffffc, 0xffffffff))),
         (GROUP_MOD_FAILED, 1)),
    Case("a change to a group that there is not", "7.4.9", lambda r, v: group_mod(v, command=1, group=r.randrange(100, 1 << 30)),
         (GROUP_MOD_FAILED, 8)),
    Case("a group type that there is not", "7.4.9", lambda r, v: group_mod(v, kind=r.randrange(4, 128)), (GROUP_MOD_FAILED, 10)),
    Case("a group command that there is not", "7.4.9", lambda r, v: group_mod(v, command=r.randrange(6, 0xffff)), (GROUP_MOD_FAILED, 11)),
    # 7.4.10, 7.4.11: ports and tables
    Case("a port that there is not", "7.4.10", lambda r, v: port_mod(v, port=r.randrange(3, 1 << 20)), (PORT_MOD_FAILED, 0)),
    Case("another address than the port's", "7.4.10", lambda r, v: port_mod(v, address=b"\2" + r.randbytes(5)), (PORT_MOD_FAILED, 1)),
    Case("port configuration that there is not", "7.4.10",
         lambda r, v: port_mod(v, address=ADDRESS[0], config=1 << 20, mask=1 << r.randrange(20, 32) | 1 << 20), (PORT_MOD_FAILED, 2)),
    # 7.4.14: OFPET_SWITCH_CONFIG_FAILED; 7.4.15: roles; 7.4.12: meters
    Case("configuration flags that there are not", "7.4.14", lambda r, v: message(v, SET_CONFIG, struct.pack("!HH", 1 << r.randrange(4, 16), 128)),
         (SWITCH_CONFIG_FAILED, 0)),
    Case("a role that there is not", "7.4.15", lambda r, v: message(v, ROLE, struct.pack("!I4xQ", r.randrange(4, 1 << 31), 0)),
         (ROLE_REQUEST_FAILED, 2)),
    Case("a meter number beyond OFPM_MAX", "7.4.12", lambda r, v: meter_mod(v, meter=r.choice((0, 0xffff0001, 0xfffffffa))), (METER_MOD_FAILED, 2),
         (4, 5, 6)),
    Case("a change to a meter that there is not", "7.4.12", lambda r, v: meter_mod(v, command=1, meter=r.randrange(2, 60000)),
         (METER_MOD_FAILED, 3), (4, 5, 6)),
    Case("a meter command that there is not", "7.4.12", lambda r, v: meter_mod(v, command=r.randrange(3, 0xffff)), (METER_MOD_FAILED, 4), (4, 5, 6)),
    Case("meter flags that there are not", "7.4.12", lambda r, v: meter_mod(v, flags=1 << r.randrange(4, 16)), (METER_MOD_FAILED, 5), (4, 5, 6)),
    Case("a meter band that there is not", "7.4.12",
         lambda r, v: meter_mod(v, bands=struct.pack("!HHII4x", r.randrange(3, 0xfff0), 16, 1000, 10)), (METER_MOD_FAILED, 8), (4, 5, 6)),
    # OpenFlow 1.0.1, 5.4.4
    Case("1.0: an action type that there is not", "1.0.1, 5.4.4", lambda r, v: flow_mod10(r, action(r.randrange(12, 0xfff0), bytes(4))),
         (2, 0), (1,)),
    Case("1.0: an action that is no multiple of 8", "1.0.1, 5.4.4",
         lambda r, v: flow_mod10(r, struct.pack("!HHHH", 0, r.choice((0, 4, 7, 9)), 1, 0)), (2, 1), (1,)),
    Case("1.0: an output to no port", "1.0.1, 5.4.4", lambda r, v: flow_mod10(r, struct.pack("!HHHH", 0, 8, r.choice((0, 0xff01, 0xffff)), 0)),
         (2, 4), (1,)),
    Case("1.0: a command that there is not", "1.0.1, 5.4.4", lambda r, v: flow_mod10(r, b"", command=r.randrange(5, 0xffff)), (3, 4), (1,)),
    Case("1.0: a flow-mod cut off", "1.0.1, 5.4.4", lambda r, v: message(1, FLOW_MOD, r.randbytes(r.randrange(64))), (1, 6), (1,)),
    Case("1.0: statistics that there are not", "1.0.1, 5.4.4", lambda r, v: message(1, 16, struct.pack("!HH", r.randrange(20, 0xffff), 0)),
         (1, 2), (1,)),
    Case("1.0: a port that there is not", "1.0.1, 5.4.4",
         lambda r, v: message(1, 15, struct.pack("!H6sIII4x", r.randrange(3, 0xff00), bytes(6), 0, 0, 0)), (4, 0), (1,)),
]
ADDRESS = [bytes(6)]            # of port 1, which the features or the port's description tell


def flow_mod10(r: random.Random, actions: bytes, command: int = 0) -> bytes:
    wildcards = struct.pack("!I36x", 0x3fffff)
    return message(1, FLOW_MOD, wildcards + struct.pack("!QHHHHIHH", r.getrandbits(63), command, 300, 0, r.getrandbits(15), NO_BUFFER, 0xffff, 0)
                   + actions)


def cases(version: int) -> list[Case]:
    return [case for case in CASES if version in case.versions]
