"""The controller of an adversary, for any switch that speaks OpenFlow 1.3: over a Unix socket, over TCP, or waiting for the switch."""
from __future__ import annotations

import socket
import struct
import time
from select import select

from benchmarks.adversaries import Adversary

VERSION = 4
HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, FEATURES_REQUEST, SET_CONFIG, FLOW_MOD, MULTIPART_REQUEST, MULTIPART_REPLY = 0, 1, 2, 3, 5, 9, 14, 18, 19
MORE = 1                        # more of this reply follows
COMMANDS = {"add": 0, "modify": 1, "modify_strict": 2, "delete": 3, "delete_strict": 4}
WAIT_S = 60                     # for a switch to connect
ANY_TABLE = 0xff
ASKED_AHEAD = 8                 # requests without an answer yet
BURST = 64                      # messages in a write


def _message(kind: int, body: bytes = b"", xid: int = 1) -> bytes:
    return bytes((VERSION, kind)) + (8 + len(body)).to_bytes(2, "big") + xid.to_bytes(4, "big") + body


def flow_mod(line: str) -> bytes:
    """A flow-mod message of what the adversaries' lines are made of: a command, a priority, udp with addresses and ports, and to drop or to
    put out. Of its own, so that it runs where there is nothing but Python."""
    command, _, rest = line.partition(" ")
    head, _, actions = rest.partition(",actions=")
    fields = dict(item.partition("=")[::2] for item in head.split(","))
    oxms = b"\x80\0\x0a\x02\x08\0" + b"\x80\0\x14\x01\x11"      # eth_type, ip_proto
    for name, number in (("nw_src", 11), ("nw_dst", 12)):
        if name in fields:
            address, _, mask = fields[name].partition("/")
            oxms += bytes((0x80, 0, number << 1 | 1, 8)) + socket.inet_aton(address) + socket.inet_aton(mask or "255.255.255.255")
    for name, number in (("tp_src", 15), ("tp_dst", 16)):
        if name in fields:
            oxms += bytes((0x80, 0, number << 1, 2)) + int(fields[name]).to_bytes(2, "big")
    match = struct.pack("!HH", 1, 4 + len(oxms)) + oxms
    then = b""
    if actions.startswith("output:"):
        then = struct.pack("!HH4x", 4, 24) + struct.pack("!HHIH6x", 0, 16, int(actions[7:]), 0)
    table = ANY_TABLE if command.startswith("delete") else 0
    fixed = struct.pack("!QQBBHHHIIIH2x", 0, 0, table, COMMANDS[command], 0, 0, int(fields["priority"]), 0xffffffff, 0xffffffff, 0xffffffff, 0)
    return _message(FLOW_MOD, fixed + match + bytes(-len(match) % 8) + then)


def ask(kind: str) -> bytes:
    """A request for statistics of everything: flow, aggregate, table or port."""
    any_rule = bytes((ANY_TABLE, 0, 0, 0)) + b"\xff" * 8 + bytes(4 + 16) + b"\0\x01\0\x04" + bytes(4)
    number, body = {"flow": (1, any_rule), "aggregate": (2, any_rule), "table": (3, b""), "port": (4, b"\xff" * 4 + bytes(4))}[kind]
    return _message(MULTIPART_REQUEST, struct.pack("!HH4x", number, 0) + body)


def connect(place: str) -> socket.socket:
    """`unix:PATH` or `tcp:HOST:PORT` (where the switch listens), or `ptcp:PORT` (where the switch connects to). ValueError for
    another."""
    kind, _, rest = place.partition(":")
    if kind == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(rest)
        return sock
    host, _, port = rest.rpartition(":")
    if kind == "tcp" and host and port.isdigit():
        return socket.create_connection((host.strip("[]"), int(port)))
    if kind == "ptcp" and rest.isdigit():
        with socket.create_server(("", int(rest))) as listener:
            listener.settimeout(WAIT_S)
            return listener.accept()[0]
    raise ValueError(f"{place}: neither unix:PATH nor tcp:HOST:PORT nor ptcp:PORT")


class _Inbox:
    """Takes what the switch sends apart: counts errors and last parts of statistics, and owes echo replies."""

    def __init__(self) -> None:
        self.buffer, self.errors, self.answers, self.replies = b"", 0, 0, b""

    def take(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= 8 and len(self.buffer) >= (length := int.from_bytes(self.buffer[2:4], "big")) >= 8:
            one, self.buffer = self.buffer[:length], self.buffer[length:]
            self.errors += one[1] == ERROR
            self.answers += one[1] == MULTIPART_REPLY and not one[11] & MORE
            if one[1] == ECHO_REQUEST:
                self.replies += _message(ECHO_REPLY, one[8:], int.from_bytes(one[4:8], "big"))


def _ask_on(sock: socket.socket, kinds: list[str], end: float) -> tuple[int, int]:
    requests, inbox, asked = [ask(kind) for kind in kinds], _Inbox(), 0
    sock.settimeout(0.1)
    while time.monotonic() < end:
        out, inbox.replies = inbox.replies, b""
        while asked - inbox.answers - inbox.errors < ASKED_AHEAD:
            out, asked = out + requests[asked % len(requests)], asked + 1
        sock.sendall(out)
        try:
            data = sock.recv(1 << 20)
        except TimeoutError:
            continue
        if not data:
            raise ConnectionError("the switch has closed the connection")
        inbox.take(data)
    return inbox.answers, inbox.errors


def run(adversary: Adversary, place: str, seconds: float) -> tuple[int, int]:
    """Sends its flow-mods in turn, as fast as they are taken; or asks for its statistics, a few requests ahead of the answers; without
    either, asks for whole packet-ins and never reads. Returns how many were sent, or answered, and how many errors came back."""
    with connect(place) as sock:
        sock.sendall(_message(HELLO) + _message(FEATURES_REQUEST) + _message(SET_CONFIG, b"\0\0\xff\xff"))
        end = time.monotonic() + seconds
        if adversary.asks:
            return _ask_on(sock, adversary.asks, end)
        if not adversary.flow_mods:
            time.sleep(seconds)
            return 0, 0
        mods = [flow_mod(line) for line in adversary.flow_mods]
        bursts = [(len(mods[i:i + BURST]), b"".join(mods[i:i + BURST])) for i in range(0, len(mods), BURST)]
        sock.setblocking(False)
        inbox, sent, at, out = _Inbox(), 0, 0, b""
        while time.monotonic() < end:
            readable, writable, _ = select([sock], [sock], [], 0.1)
            if readable:
                data = sock.recv(1 << 16)
                if not data:
                    raise ConnectionError("the switch has closed the connection")
                inbox.take(data)
            if not writable:
                continue
            if not out:
                n, burst = bursts[at % len(bursts)]
                out, inbox.replies = inbox.replies + burst, b""
                sent, at = sent + n, at + 1
            out = out[sock.send(out):]
        return sent, inbox.errors
