"""Mutated OpenFlow messages at a real switch, over a real connection: each is answered by an error of the connection's version,
or carried out, or the connection is closed as the specification orders; the switch goes on, and nothing of it fails inside.

The messages are those that os-ken's wheel carries (os_ken/tests/packet_data), with bytes changed, cut off or repeated; the header's
length is made right again in most. make fuzz-openflow MESSAGES=1000000 (of each version); as root not needed.
"""
from __future__ import annotations

import random
import struct
import sys
import time
from collections import Counter
from pathlib import Path

import os_ken

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fuzzed_switch import VERSIONS, Connection, arguments, switch  # noqa: E402

DATA = Path(os_ken.__file__).parent / "tests" / "packet_data"
BATCH = 200                 # messages between two echoes


def samples(folder: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((DATA / folder).glob("*.packet"))]


def mutated(r: random.Random, whole: list[bytes], version: int) -> bytes:
    data = bytearray(r.choice(whole))
    data[0] = version
    for _ in range(r.choice((0, 1, 1, 2, 4, 8))):
        if len(data) > 8:
            at = r.randrange(8, len(data))
            data[at] = r.choice((0, 1, 0x7f, 0x80, 0xff, r.randrange(256), data[at] ^ 1 << r.randrange(8)))
    change = r.random()
    if change < 0.15:
        del data[r.randrange(8, len(data) + 1):]
    elif change < 0.25:
        data += data[r.randrange(len(data)):][:64]
    if r.random() < 0.03:
        data[1] = r.randrange(64)
    struct.pack_into("!H", data, 2, min(len(data), 65535))
    return bytes(data[:65535])


def run(path: str, name: str, count: int, seed: int) -> str:
    version, folder = VERSIONS[name]
    whole, r, closed, errors = samples(folder), random.Random(seed), 0, Counter()
    connection, start = Connection(path, version), time.monotonic()
    for done in range(0, count, BATCH):
        data = b"".join(mutated(r, whole, version) for _ in range(min(BATCH, count - done)))
        if not connection.exchange(data, done + 1):
            closed += 1
            errors += connection.errors
            connection.close()
            connection = Connection(path, version)
    errors += connection.errors
    connection.close()
    took = time.monotonic() - start
    return (f"OpenFlow {name}: {count} messages in {took:.0f} s, {sum(errors.values())} errors of {len(errors)} kinds, "
            f"{closed} connections closed")


def main() -> int:
    options = arguments(__doc__)
    with switch() as path:
        for name in options.version or VERSIONS:
            print(run(path, name, options.messages, options.seed), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
