"""Bodies of OpenFlow messages as the datapath takes them, for tests."""
import struct

ANY = 0xffffffff
GROUP_ALL, GROUP_SELECT, GROUP_INDIRECT, GROUP_FF = range(4)


def output(port: int) -> bytes:
    return struct.pack("!HHIH6x", 0, 16, port, 0xffff)


def group_action(group: int) -> bytes:
    return struct.pack("!HHI", 22, 8, group)


def apply(*actions: bytes) -> bytes:
    body = b"".join(actions)
    return struct.pack("!HH4x", 4, 8 + len(body)) + body


def write(*actions: bytes) -> bytes:
    body = b"".join(actions)
    return struct.pack("!HH4x", 3, 8 + len(body)) + body


def clear() -> bytes:
    return struct.pack("!HH4x", 5, 8)


def oxm(oxm_class: int, field: int, value: bytes) -> bytes:
    return struct.pack("!HBB", oxm_class, field << 1, len(value)) + value


def goto(table: int) -> bytes:
    return struct.pack("!HHB3x", 1, 8, table)


def meter_instruction(meter: int) -> bytes:
    return struct.pack("!HHI", 6, 8, meter)


def match(*tlvs: bytes) -> bytes:
    body = b"".join(tlvs)
    data = struct.pack("!HH", 1, 4 + len(body)) + body
    return data + bytes(-len(data) % 8)


def bucket(*actions: bytes, id: int = 0, weight: int | None = None, port: int | None = None, group: int | None = None) -> bytes:
    """OpenFlow 1.5's."""
    body, properties = b"".join(actions), b""
    if weight is not None:
        properties += struct.pack("!HHHxx", 0, 8, weight)
    if port is not None:
        properties += struct.pack("!HHI", 1, 8, port)
    if group is not None:
        properties += struct.pack("!HHI", 2, 8, group)
    return struct.pack("!HHI", 8 + len(body) + len(properties), len(body), id) + body + properties


def group(id: int, *buckets: bytes, type: int = GROUP_ALL, command: int = 0, at: int = ANY, properties: bytes = b"") -> bytes:
    body = b"".join(buckets)
    return struct.pack("!HBxIHxxI", command, type, id, len(body), at) + body + properties


def drop_band(rate: int, burst: int = 0) -> bytes:
    return struct.pack("!HHII4x", 1, 16, rate, burst)


def remark_band(rate: int, level: int, burst: int = 0) -> bytes:
    return struct.pack("!HHIIB3x", 2, 16, rate, burst, level)


def meter(id: int, *bands: bytes, flags: int = 1, command: int = 0) -> bytes:
    return struct.pack("!HHI", command, flags, id) + b"".join(bands)
