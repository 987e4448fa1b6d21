"""A controller of bare messages: sends what it is told, and waits for what it is told."""
from __future__ import annotations

import itertools
import socket
import time

from vswitch.openflow.codec import Frame, decode, encode, encode_hello, frame, take_frames
from vswitch.openflow.constants import Type


def free_port() -> int:
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listening(port: int) -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    server.settimeout(15)
    return server


class Controller:
    def __init__(self, sock: socket.socket, *, hello: bool = True, version: int = 4):
        self.sock = sock
        self.version = version
        self.buffer = bytearray()
        self.frames: list[Frame] = []
        self.xids = itertools.count(100)
        sock.settimeout(10)
        if hello:
            sock.sendall(encode_hello(1, (version,)))
            assert self.next().type == Type.HELLO

    @classmethod
    def to(cls, port: int, **how) -> Controller:
        deadline = time.monotonic() + 5
        while True:
            try:
                return cls(socket.create_connection(("127.0.0.1", port)), **how)
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def answer(self, xid: int) -> Frame:
        """The next message with this xid."""
        while (got := self.next()).xid != xid:
            pass
        return got

    def next(self, timeout: float = 10) -> Frame:
        """The next message; the switch's echo requests are answered, as any controller does."""
        deadline = time.monotonic() + timeout
        while True:
            while not self.frames:
                self.sock.settimeout(max(0.001, deadline - time.monotonic()))
                data = self.sock.recv(65536)
                if not data:
                    raise EOFError
                self.buffer += data
                self.frames = take_frames(self.buffer)
            message = self.frames.pop(0)
            if message.type != Type.ECHO_REQUEST:
                return message
            self.sock.sendall(frame(Type.ECHO_REPLY, message.xid, message.body, version=message.version))

    def wait(self, type_: Type, timeout: float = 10):
        while (message := self.next(timeout)).kind != type_:
            pass
        return decode(message.kind, message.body, message.version)

    def quiet(self, seconds: float = 0.3) -> bool:
        try:
            self.next(seconds)
        except TimeoutError:
            return True
        return False

    def send(self, type_: Type, message=None) -> int:
        xid = next(self.xids)
        self.sock.sendall(encode(type_, xid, message, self.version))
        return xid

    def send_raw(self, type_: int, body: bytes = b"", **how) -> int:
        xid = next(self.xids)
        self.sock.sendall(frame(type_, xid, body, **{"version": self.version, **how}))
        return xid

    def ask(self, type_: Type, message=None, answer: Type | None = None):
        xid = self.send(type_, message)
        while (got := self.next()).xid != xid:
            pass
        decoded = decode(got.kind, got.body, got.version)
        if answer is not None:
            assert got.kind == answer, decoded
        return decoded

    def barrier(self) -> None:
        self.ask(Type.BARRIER_REQUEST, None, Type.BARRIER_REPLY)

    def refused(self, type_: int, body: bytes = b"", **how) -> tuple[int, int]:
        """Type and code of the error that answers a raw message; it must carry the start of that message."""
        xid = self.send_raw(type_, body, **how)
        while (got := self.next()).xid != xid:
            pass
        assert got.type == Type.ERROR, got
        error = decode(got.kind, got.body, got.version)
        sent = frame(type_, xid, body, **{"version": self.version, **how})
        assert error.data[:64] == sent[:64] and sent.startswith(error.data)
        return error.type, error.code

    def close(self) -> None:
        self.sock.close()
