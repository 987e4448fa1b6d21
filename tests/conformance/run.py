"""Puts every case of the Ryu certification suite that the os-ken wheel carries to this switch: real process, real controller
connection, real ports. Prints a table per version and category; needs root. make conformance.

A step's packets that are sent for a while (groups, meters) are sent for --seconds; the suite's own tester takes 30.
"""
from __future__ import annotations

import argparse
import collections
import contextlib
import ipaddress
import json
import os
import select
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "demo")]

from os_ken.tests.switch.tester import KEY_FLOW  # noqa: E402
from hosts import Lab, Namespace  # noqa: E402
from live_switch import LiveSwitch  # noqa: E402
from published_cases import CATEGORIES, VERSIONS, Published, cases, frame  # noqa: E402

WAIT = 1.0                  # seconds for a packet to come out
MARGIN = 0.10               # of a rate; the tester's own
QUIET = 0.15                # seconds in which what must not come has the time to come

# Cases that the suite itself has wrong, by the file's name: what the specification or RFC says instead.
WRONG = {
    "17_SCTP_SRC_IPv4": "SCTP's checksum is CRC32c (RFC 9260, 6.8 and appendix A); the case expects another",
    "17_SCTP_SRC_IPv6": "SCTP's checksum is CRC32c (RFC 9260, 6.8 and appendix A); the case expects another",
    "18_SCTP_DST_IPv4": "SCTP's checksum is CRC32c (RFC 9260, 6.8 and appendix A); the case expects another",
    "18_SCTP_DST_IPv6": "SCTP's checksum is CRC32c (RFC 9260, 6.8 and appendix A); the case expects another",
}


class Failed(Exception):
    pass


def _text(match) -> str:
    described = match.to_jsondict()
    described["OFPMatch"].pop("wildcards", None)
    return json.dumps(_one_notation(described), sort_keys=True)


def _one_notation(value):
    """Two notations of one address or mask (RFC 4291, 2.2) are the same: the suite's own tester compares the texts."""
    if isinstance(value, dict):
        return {key: _one_notation(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_one_notation(inner) for inner in value]
    if isinstance(value, str) and value.count(":") > 1:
        with contextlib.suppress(ValueError):
            return str(ipaddress.IPv6Address(value))
    return value


def _same(kind: str, held, wanted, first: bool) -> bool:
    if kind == "flow":
        names = ["cookie", "priority", "hard_timeout", "idle_timeout"] + (["actions"] if first else ["table_id", "instructions"])
        for name in names:
            one, other = getattr(held, name), getattr(wanted, name)
            if isinstance(one, list):
                one, other = (sorted(v, key=lambda x: x.type) for v in (one, other))
            if str(one) != str(other):
                return False
        return _text(held.match) == _text(wanted.match)
    names = ("flags", "meter_id", "bands") if kind == "meter" else ("type", "group_id", "buckets")
    return all(str(getattr(held, name)) == str(getattr(wanted, name)) for name in names)


def _check_held(switch: LiveSwitch, message) -> None:
    """The switch tells of what was installed as it was installed."""
    c = switch.controller
    p, ofp, d = c.parser, c.ofp, c.datapath
    name = type(message).__name__
    first = ofp.OFP_VERSION == 1
    if name == "OFPFlowMod":
        request = p.OFPFlowStatsRequest(d, 0, p.OFPMatch(), 0xff, ofp.OFPP_NONE) if first else p.OFPFlowStatsRequest(d)
        kind = "flow"
    elif name == "OFPMeterMod":
        request, kind = p.OFPMeterConfigStatsRequest(d), "meter"
    elif name == "OFPGroupMod":
        request, kind = p.OFPGroupDescStatsRequest(d), "group"
    else:
        return
    held = [entry for answer in c.ask(request) for entry in answer.body]
    if not any(_same(kind, entry, message, first) for entry in held):
        raise Failed(f"installed {message}, told of {[str(e) for e in held]}")


def _matched(switch: LiveSwitch) -> dict[int, tuple[int, int]]:
    c = switch.controller
    answers = c.ask(c.parser.OFPTableStatsRequest(c.datapath, 0))
    return {s.table_id: (s.lookup_count, s.matched_count) for answer in answers for s in answer.body}


def _wait_for_frame(switch: LiveSwitch, port: int) -> list[bytes]:
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        select.select([switch.ports[port]], [], [], deadline - time.monotonic())
        if frames := switch.ports[port].receive():
            return frames
    return []


def _once(switch: LiveSwitch, step: dict) -> None:
    c = switch.controller
    before = _matched(switch) if "table-miss" in step else {}
    switch.drain()
    switch.ports[1].send(step["ingress"])
    if "egress" in step:
        frames = _wait_for_frame(switch, 2)
        if frames != [step["egress"]]:
            raise Failed(f"came out: {[f.hex() for f in frames]}, expected {step['egress'].hex()}")
    elif "PACKET_IN" in step:
        deadline = time.monotonic() + WAIT
        while not (told := c.packet_ins()) and time.monotonic() < deadline:
            select.select([c], [], [], 0.05)
            c.poll()
        if [bytes(m.data) for m in told] != [step["PACKET_IN"]]:
            raise Failed(f"packet-ins {[m.data.hex() for m in told]}, expected {step['PACKET_IN'].hex()}")
        if told[0].reason in (0, 2):
            raise Failed(f"packet-in with reason {told[0].reason}")
    else:
        time.sleep(QUIET)
        after = _matched(switch)
        tables = step["table-miss"]
        if not any(after[t][0] > before[t][0] for t in tables):
            raise Failed("the packet was not looked up")
        if any(after[t][1] > before[t][1] for t in tables):
            raise Failed("the packet matched")


def _fields(frame_: bytes, port: int) -> dict[str, int]:
    fields = {"in_port": port, "eth_type": int.from_bytes(frame_[12:14], "big")}
    if fields["eth_type"] == 0x0800:
        fields["ip_dscp"] = frame_[15] >> 2
    elif fields["eth_type"] == 0x86dd:
        fields["ip_dscp"] = int.from_bytes(frame_[14:16], "big") >> 6 & 0x3f
    return fields


def _for_a_while(switch: LiveSwitch, step: dict, texts: list, seconds: float) -> None:
    packets = step["packets"]
    # Shares of flows drawn at random want many of them: five times the rate, and five times of it expected.
    faster = 5 if packets["randomize"] else 1
    rate = packets["pktps"] * faster
    ready = [frame(texts) for _ in range(int(rate * seconds))] if packets["randomize"] else \
        [packets["packet_binary"]] * int(rate * seconds)
    wanted = [dict(t[KEY_FLOW].match.items()) for t in step["throughput"]]
    seen = [[0, 0] for _ in wanted]
    switch.drain()

    def collect() -> None:
        for port in (2, 3):
            for data in switch.ports[port].receive():
                fields = _fields(data, port)
                for match, sums in zip(wanted, seen):
                    if all(fields.get(name) == value for name, value in match.items()):
                        sums[0] += 1
                        sums[1] += len(data)
    start = time.monotonic()
    for i, data in enumerate(ready):
        while (ahead := i / rate - (time.monotonic() - start)) > 0:
            time.sleep(min(ahead, 0.005))
        switch.ports[1].send(data)
        if i % 32 == 0:
            collect()
    while time.monotonic() - start < seconds:
        time.sleep(0.001)
    took = time.monotonic() - start
    time.sleep(0.05)
    collect()
    for throughput, (count, octets) in zip(step["throughput"], seen):
        expected, got = (throughput["pktps"] * took * faster, count) if throughput["pktps"] else \
            (throughput["kbps"] * took * faster * 1024 / 8, octets)
        if abs(got - expected) > expected * MARGIN:
            raise Failed(f"{dict(throughput[KEY_FLOW].match.items())}: {got / took:.0f} a second, expected {expected / took:.0f}")


def outcome(switch: LiveSwitch, case: Published, seconds: float) -> str:
    """"" where everything came out as the case says, else what did not."""
    c = switch.controller
    try:
        c.clear()
        for message in case.messages:
            c.send(message)
            c.barrier()
            if c.errors:
                raise Failed(f"refused {type(message).__name__}: {c.errors}")
            _check_held(switch, message)
        c.received.clear()
        for step, texts in zip(case.steps, case.texts):
            if "packets" in step:
                _for_a_while(switch, step, texts, seconds)
            else:
                _once(switch, step)
    except (Failed, TimeoutError) as e:
        return str(e)
    return ""


def run_version(lab: Lab, host, version: str, options, mistaken: dict[str, str]) -> dict[str, collections.Counter]:
    switch = LiveSwitch(lab, host, version, VERSIONS[version][0])
    table = {}
    try:
        for category in options.category or CATEGORIES:
            counts: collections.Counter = collections.Counter()
            for case in cases(version, category):
                if options.file and options.file not in case.file:
                    continue
                why = outcome(switch, case, options.seconds)
                known = WRONG.get(Path(case.file).stem)
                counts["cases"] += 1
                counts["passed"] += not why
                counts["the suite's mistake"] += bool(why and known)
                if why and known:
                    mistaken[case.file] = known
                if why and not known or options.verbose and why:
                    print(f"{version} {case.file}: {case.description}\n    {why[:600]}", flush=True)
            if counts["cases"]:
                table[category] = counts
    finally:
        switch.close()
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", action="append", choices=list(VERSIONS), help="only this one")
    parser.add_argument("--category", action="append", choices=CATEGORIES, help="only this one")
    parser.add_argument("--file", help="only files with this in their path")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long the steps with a rate take")
    parser.add_argument("--verbose", action="store_true", help="the suite's own mistakes too")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    directory = Path(options.inside) if options.inside else None
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="vswitch-conformance-") as made:
            lab = Lab("vsconf-", Path(made))
            lab.remove_leftovers()
            try:
                host = lab.namespace("host")
                host.ip("link", "set", "lo", "up")
                return os.spawnvp(os.P_WAIT, "ip", ["ip", "netns", "exec", host.name, sys.executable, "-P", __file__,
                                                    *sys.argv[1:], "--inside", made])
            finally:
                lab.close()
    lab = Lab("vsconf-", directory)
    host = Namespace(lab, "vsconf-host", made=True)
    failed = 0
    mistaken: dict[str, str] = {}
    with contextlib.suppress(KeyboardInterrupt):
        print(f"{'version':8} {'category':9} {'passed':>7} {'of':>5}  the suite's own mistakes")
        for version in options.version or VERSIONS:
            table = run_version(lab, host, version, options, mistaken)
            for category, counts in table.items():
                mistakes = counts["the suite's mistake"]
                print(f"{version:8} {category:9} {counts['passed']:7} {counts['cases']:5}  {mistakes or ''}", flush=True)
                failed += counts["cases"] - counts["passed"] - mistakes
    for name, reason in sorted(mistaken.items()):
        print(f"{name}: {reason}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
