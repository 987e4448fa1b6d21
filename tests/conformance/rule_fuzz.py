"""Random rules and named malformations at a real switch, over a real connection, with os-ken's codec as the oracle.

Well-formed flow-mods (random_rules.py) must be taken without an error and come back in the dump of flow statistics, as os-ken reads
it, as what was sent. In between come messages with one malformation each (malformations.py): the error that the specification names
must come, once, with the message's xid and its first 64 bytes. make fuzz-openflow MESSAGES=1000000 (of each version); no root needed.
"""
from __future__ import annotations

import random
import struct
import sys
import time
from collections import Counter
from pathlib import Path

from os_ken.ofproto import ofproto_parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fuzzed_switch import ERROR, VERSIONS, Connection, arguments, switch  # noqa: E402
from malformations import ADDRESS, ANY, Case, cases, group_mod, multipart  # noqa: E402
from random_rules import random_rule, read_back, told  # noqa: E402

BATCH = 200
RULES = 0.3                 # of the messages
QUOTED = 64                 # bytes of the offending message that an error carries at least


def with_xid(data: bytes, xid: int) -> bytes:
    return data[:4] + struct.pack("!I", xid) + data[8:]


def parsed(d: ProtocolDesc, data: bytes):
    version, kind, length, xid = ofproto_parser.header(data)
    return ofproto_parser.msg(d, version, kind, length, xid, data)


class Talk:
    def __init__(self, path: str, version: int):
        self.version = version
        self.d = ProtocolDesc(version)
        self._connection = Connection(path, version)
        self._connection.messages = []
        self._mark = 0

    def exchange(self, data: bytes) -> list[bytes]:
        """What the switch says to it."""
        self._mark += 1
        if not self._connection.exchange(data, self._mark):
            raise ConnectionError("the switch closed the connection")
        got, self._connection.messages = self._connection.messages, []
        return got

    def prepare(self) -> None:
        """Group 1, which rules name, and port 1's address, which port-mods do."""
        if self.version > 1:
            self.exchange(group_mod(self.version, group=1))
            which = struct.pack("!I4x", ANY) if self.version == 6 else b""
            (reply,) = self.exchange(multipart(self.version, 13, which))       # OFPMP_PORT_DESC
            at = reply.index(b"p1\0") - 8
            ADDRESS[0] = reply[at:at + 6]

    def dump(self) -> list[tuple]:
        p, o = self.d.ofproto_parser, self.d.ofproto
        if self.version == 1:
            request = p.OFPFlowStatsRequest(self.d, 0, p.OFPMatch(), 0xff, o.OFPP_NONE)
        else:
            kind = p.OFPFlowDescStatsRequest if self.version == 6 else p.OFPFlowStatsRequest
            flags = (0,) if self.version > 3 else ()
            request = kind(self.d, *flags, o.OFPTT_ALL, o.OFPP_ANY, o.OFPG_ANY, 0, 0, p.OFPMatch())
        request.xid = 9
        request.serialize()
        return [told(self.d, entry) for part in self.exchange(bytes(request.buf)) for entry in parsed(self.d, part).body]

    def clear(self) -> None:
        p, o = self.d.ofproto_parser, self.d.ofproto
        if self.version == 1:
            everything = p.OFPFlowMod(self.d, p.OFPMatch(), 0, o.OFPFC_DELETE, out_port=o.OFPP_NONE)
        else:
            everything = p.OFPFlowMod(self.d, table_id=o.OFPTT_ALL, command=o.OFPFC_DELETE, out_port=o.OFPP_ANY, out_group=o.OFPG_ANY,
                                      match=p.OFPMatch())
        everything.xid = 8
        everything.serialize()
        self.exchange(bytes(everything.buf))


def check_errors(sent: dict[int, tuple[Case | None, bytes]], got: list[bytes]) -> list[str]:
    wrong, answered = [], Counter()
    for data in got:
        version, kind, _, xid = struct.unpack_from("!BBHI", data)
        if kind != ERROR or xid not in sent:
            continue
        case, request = sent[xid]
        error = struct.unpack_from("!HH", data, 8)
        answered[xid] += 1
        name = case.name if case else "a well-formed rule"
        if case is None or error not in (case.error, *case.also):
            wrong.append(f"{name}: error {error}, not {case.error if case else 'none'}: {request.hex()}")
        elif data[12:12 + QUOTED] != request[:QUOTED]:
            wrong.append(f"{name}: the error quotes {data[12:].hex()} of {request.hex()}")
    for xid, (case, request) in sent.items():
        if case is not None and answered[xid] != 1:
            wrong.append(f"{case.name}: {answered[xid]} errors, not {case.error}: {request.hex()}")
    return wrong


def run(path: str, name: str, count: int, seed: int) -> tuple[str, list[str]]:
    version = VERSIONS[name][0]
    talk, r, all_cases, wrong, rules, start = Talk(path, version), random.Random(seed), cases(version), [], 0, time.monotonic()
    talk.prepare()
    for done in range(0, count, BATCH):
        sent: dict[int, tuple[Case | None, bytes]] = {}
        expected = {}
        for i in range(min(BATCH, count - done)):
            xid = 100 + i
            if r.random() < RULES:
                rule = random_rule(r, talk.d, xid)
                rule.xid = xid
                rule.serialize()
                sent[xid] = None, bytes(rule.buf)
                expected[xid] = read_back(talk.d, rule)
            else:
                case = r.choice(all_cases)
                sent[xid] = case, with_xid(case.build(r, version), xid)
        wrong += check_errors(sent, talk.exchange(b"".join(data for _, data in sent.values())))
        for entry in talk.dump():
            rules += 1
            if (wanted := expected.pop(entry[0], None)) != entry:
                wrong.append(f"a rule came back as {entry}, not {wanted}")
        wrong += [f"a rule did not come back: {entry}" for entry in expected.values()]
        talk.clear()
        if len(wrong) > 20:
            break
    return (f"OpenFlow {name}: {count} messages in {time.monotonic() - start:.0f} s, {rules} rules back as they were, the rest in "
            f"{len(all_cases)} kinds of malformation with the error that the specification names; {len(wrong)} wrong"), wrong


def main() -> int:
    options = arguments(__doc__)
    failed = False
    with switch() as path:
        for name in options.version or VERSIONS:
            line, wrong = run(path, name, options.messages, options.seed)
            print(line, *wrong[:20], sep="\n    ", flush=True)
            failed |= bool(wrong)
    return failed


if __name__ == "__main__":
    sys.exit(main())
