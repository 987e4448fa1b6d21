"""The switch's end of one OpenFlow 1.3 session, enough to talk to a controller in a test."""
import socket
import struct
import time

HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, FEATURES_REQUEST, FEATURES_REPLY = 0, 1, 2, 3, 5, 6
PACKET_IN, PACKET_OUT, FLOW_MOD, MULTIPART_REQUEST, MULTIPART_REPLY = 10, 13, 14, 18, 19
BARRIER_REQUEST, BARRIER_REPLY = 20, 21


class Peer:
    """Connects until the controller listens, answers what any switch answers, and keeps the rest in `seen`."""

    def __init__(self, port: int, dpid: int = 0x1234, seconds: float = 20):
        self.deadline = time.monotonic() + seconds
        self.seen: list[tuple[int, bytes]] = []
        self.dpid = dpid
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), 1)
                break
            except OSError:
                if time.monotonic() > self.deadline:
                    raise
                time.sleep(0.05)
        self.send(HELLO, b"\0\1\0\10\0\0\0\x10")

    def send(self, kind: int, body: bytes = b"", xid: int = 1) -> None:
        self.socket.sendall(struct.pack("!BBHI", 4, kind, 8 + len(body), xid) + body)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            self.socket.settimeout(max(0.01, self.deadline - time.monotonic()))
            more = self.socket.recv(size - len(data))
            if not more:
                raise EOFError("the controller hung up")
            data += more
        return data

    def expect(self, kind: int) -> bytes:
        """The body of the next message of this type."""
        while True:
            for index, (seen, body) in enumerate(self.seen):
                if seen == kind:
                    del self.seen[index]
                    return body
            _, seen, length, xid = struct.unpack("!BBHI", self._exactly(8))
            body = self._exactly(length - 8)
            if seen == ECHO_REQUEST:
                self.send(ECHO_REPLY, body, xid)
            elif seen == FEATURES_REQUEST:
                self.send(FEATURES_REPLY, struct.pack("!QIBBxxII", self.dpid, 256, 254, 0, 0x4f, 0), xid)
                self.seen.append((seen, body))
            elif seen == BARRIER_REQUEST:
                self.send(BARRIER_REPLY, b"", xid)
                self.seen.append((seen, body))
            elif seen == MULTIPART_REQUEST:
                self._answer_multipart(body, xid)
                self.seen.append((seen, body))
            else:
                self.seen.append((seen, body))

    def _answer_multipart(self, body: bytes, xid: int) -> None:
        number = struct.unpack_from("!H", body)[0]
        reply = b""
        if number == 1:     # one flow_stats: any packet, to the controller
            reply = struct.pack("!HBxIIHHHHxxxxQQQ", 56, 0, 5, 0, 0, 0, 0, 0, 0, 3, 180) + struct.pack("!HHxxxx", 1, 4)
        elif number == 4:   # one port_stats
            reply = struct.pack("!Ixxxx12QII", 1, 7, 8, 700, 800, *[0] * 8, 5, 0)
        self.send(MULTIPART_REPLY, struct.pack("!HHxxxx", number, 0) + reply, xid)

    def packet_in(self, in_port: int, frame: bytes) -> None:
        match = struct.pack("!HHII", 1, 12, 0x80000004, in_port).ljust(16, b"\0")
        self.send(PACKET_IN, struct.pack("!IHBBQ", 0xffffffff, len(frame), 0, 0, 0) + match + b"\0\0" + frame)

    def close(self) -> None:
        self.socket.close()
