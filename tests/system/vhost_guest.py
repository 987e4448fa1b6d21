"""A guest's side of vhost-user in Python: memory, split rings, the front-end's messages. Slow, and as ill-behaved as a test wants."""
from __future__ import annotations

import array
import mmap
import os
import select
import socket
import struct
import time
from pathlib import Path

F_CSUM, F_GUEST_CSUM, F_GUEST_TSO4, F_HOST_TSO4, F_MRG_RXBUF = 0, 1, 7, 11, 15
F_GUEST_UFO, F_HOST_UFO, F_GUEST_USO4, F_GUEST_USO6, F_HOST_USO = 10, 14, 54, 55, 56
F_LOG_ALL, F_INDIRECT, F_EVENT_IDX, F_PROTOCOL_FEATURES, F_VERSION_1, F_PACKED = 26, 28, 29, 30, 32, 34
GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE, SET_LOG_BASE = 1, 2, 3, 5, 6
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 12, 13, 14
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE = 15, 16, 17, 18
SEND_RARP = 19
VRING_LOG = 1                   # flag of SET_VRING_ADDR
NEXT, WRITE, INDIRECT = 1, 2, 4
GUEST_BASE = 1 << 32
SIZE = 64                       # of each ring
BUFFER = 2048
RING_BYTES = 16384
HEADER = 12


class Ring:
    """Descriptors at +0, available ring at +4096, used ring at +8192; buffers behind all rings."""

    def __init__(self, guest: Guest, index: int):
        self.guest, self.index = guest, index
        self.base = index * RING_BYTES
        self.buffers = 2 * guest.pairs * RING_BYTES + index * SIZE * BUFFER
        self.avail = self.used = 0
        self.kick = os.eventfd(0, os.EFD_NONBLOCK)
        self.call = os.eventfd(0, os.EFD_NONBLOCK)
        self.err = os.eventfd(0, os.EFD_NONBLOCK)

    def close(self) -> None:
        for fd in (self.kick, self.call, self.err):
            os.close(fd)

    def desc(self, i: int, addr: int, length: int, flags: int = 0, following: int = 0, table: int | None = None) -> None:
        at = self.base if table is None else table
        struct.pack_into("<QIHH", self.guest.memory, at + 16 * i, addr, length, flags, following)

    def buffer(self, i: int) -> int:
        """Offset of slot i's buffer; GUEST_BASE + that is its address."""
        return self.buffers + i * BUFFER

    def offer(self, head: int, *, index: int | None = None) -> None:
        struct.pack_into("<H", self.guest.memory, self.base + 4096 + 4 + 2 * (self.avail % SIZE), head & 0xffff)
        self.avail = self.avail + 1 & 0xffff
        self.publish(index)

    def publish(self, index: int | None = None) -> None:
        self.guest.words[(self.base + 4096 + 2) // 2] = (self.avail if index is None else index) & 0xffff
        os.eventfd_write(self.kick, 1)

    def used_index(self) -> int:
        return self.guest.words[(self.base + 8192 + 2) // 2]

    def used_elem(self, i: int) -> tuple[int, int]:
        return struct.unpack_from("<II", self.guest.memory, self.base + 8192 + 4 + 8 * (i % SIZE))

    def quiet(self, quiet: bool) -> None:
        """Whether the device shall not interrupt."""
        struct.pack_into("<H", self.guest.memory, self.base + 4096, int(quiet))


class Guest:
    """Connects to the switch's socket at once, or with `listen` waits for the switch to come."""

    def __init__(self, path: Path, *features: int, pairs: int = 1, listen: bool = False, memory: int = 0, buffers: bool = True):
        self.pairs = pairs
        self.path = path
        self.size = (2 * pairs * (RING_BYTES + SIZE * BUFFER) + memory + 4095) // 4096 * 4096
        self.fd = os.memfd_create("guest")
        os.ftruncate(self.fd, self.size)
        self.memory = mmap.mmap(self.fd, self.size)
        self.words = memoryview(self.memory).cast("H")     # each is read and written at once; of struct's the other side may see half
        self.features = sum(1 << f for f in {*features, F_VERSION_1, F_PROTOCOL_FEATURES})
        self.rings = [Ring(self, i) for i in range(2 * pairs)]
        self.socket = self._accept() if listen else self._connect()
        self.offered = self.ask(GET_FEATURES)
        self.send_message(SET_OWNER)
        self.send_u64(SET_PROTOCOL_FEATURES, self.ask(GET_PROTOCOL_FEATURES) & 1)
        self.send_u64(SET_FEATURES, self.features)
        self.share()
        for ring in self.rings:
            self.set_up(ring)
        if buffers:
            self.fill()
        self.ask(GET_FEATURES)      # what was asked for before is done

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + 10
        while True:
            s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                s.connect(str(self.path))
                return s
            except OSError:
                s.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _accept(self) -> socket.socket:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.bind(str(self.path))
            s.listen(1)
            s.settimeout(10)
            return s.accept()[0]

    # -- messages
    def send_message(self, request: int, body: bytes = b"", fds: tuple[int, ...] = (), flags: int = 1) -> None:
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([struct.pack("<III", request, flags, len(body)) + body], control)

    def send_u64(self, request: int, value: int, *fds: int) -> None:
        self.send_message(request, struct.pack("<Q", value), fds)

    def ask(self, request: int, body: bytes = b"", *fds: int) -> int:
        self.send_message(request, body, fds)
        self.socket.settimeout(10)
        answer = self.socket.recv(20, socket.MSG_WAITALL)
        assert len(answer) == 20, "the switch ended the connection"
        return struct.unpack("<Q", answer[12:])[0]

    def share(self, regions: list[tuple[int, int, int, int]] | None = None) -> None:
        regions = regions or [(GUEST_BASE, self.size, GUEST_BASE, 0)]
        body = struct.pack("<II", len(regions), 0) + b"".join(struct.pack("<QQQQ", *region) for region in regions)
        self.send_message(SET_MEM_TABLE, body, (self.fd,) * len(regions))

    def migrate(self, log: int, size: int) -> None:
        """The switch notes from now on what it writes, in `size` bytes of the file `log`, as QEMU asks for it."""
        assert self.ask(SET_LOG_BASE, struct.pack("<QQ", size, 0), log) == 0
        self.send_u64(SET_FEATURES, self.features | 1 << F_LOG_ALL)
        for ring in self.rings:
            self.send_address(ring, VRING_LOG)
        self.ask(GET_FEATURES)

    def send_address(self, ring: Ring, flags: int = 0, shift: int = 0) -> None:
        at = GUEST_BASE + ring.base + shift
        self.send_message(SET_VRING_ADDR, struct.pack("<IIQQQQ", ring.index, flags, at, at + 8192, at + 4096, at + 8192))

    def set_up(self, ring: Ring, base: int = 0, shift: int = 0) -> None:
        """`shift`: the ring's parts lie that much beside where they should."""
        self.send_message(SET_VRING_NUM, struct.pack("<II", ring.index, SIZE))
        self.send_message(SET_VRING_BASE, struct.pack("<II", ring.index, base))
        self.send_address(ring, shift=shift)
        self.send_u64(SET_VRING_CALL, ring.index, ring.call)
        self.send_u64(SET_VRING_ERR, ring.index, ring.err)
        self.send_u64(SET_VRING_KICK, ring.index, ring.kick)
        self.send_message(SET_VRING_ENABLE, struct.pack("<II", ring.index, 1))

    def reset(self, ring: Ring) -> None:
        """As a driver that is bound anew: the ring is empty and begins at 0."""
        self.ask(GET_VRING_BASE, struct.pack("<II", ring.index, 0))
        self.memory[ring.base:ring.base + RING_BYTES] = bytes(RING_BYTES)
        ring.avail = ring.used = 0
        self.set_up(ring)
        self.ask(GET_FEATURES)

    # -- frames
    def fill(self) -> None:
        """Buffers to receive into."""
        for ring in self.rings[::2]:
            for i in range(SIZE):
                ring.desc(i, GUEST_BASE + ring.buffer(i), BUFFER, WRITE)
                ring.offer(i)

    def send(self, frame: bytes, header: bytes = bytes(HEADER), ring: int = 1, split: int = 0) -> None:
        """`split`: the first descriptor's bytes, 0 = one for all."""
        r = self.rings[ring]
        slot = r.avail * 2 % SIZE
        data = header + frame
        at = r.buffer(slot)
        self.memory[at:at + len(data)] = data
        if split:
            r.desc(slot, GUEST_BASE + at, split, NEXT, slot + 1)
            r.desc(slot + 1, GUEST_BASE + at + split, len(data) - split)
        else:
            r.desc(slot, GUEST_BASE + at, len(data))
        r.offer(slot)

    def receive(self, timeout: float = 5.0, ring: int = 0) -> tuple[bytes, bytes] | None:
        """A frame and its header; None when none came."""
        r = self.rings[ring]
        deadline = time.monotonic() + timeout
        while r.used == r.used_index():
            if time.monotonic() > deadline:
                return None
            time.sleep(0.0005)
        data, first = b"", None
        while True:
            head, length = r.used_elem(r.used)
            data += self.memory[r.buffer(head):r.buffer(head) + length]
            first = first or struct.unpack_from("<H", data, 10)[0]
            r.used = r.used + 1 & 0xffff
            r.offer(head)
            first -= 1
            if first <= 0:
                return data[HEADER:], data[:HEADER]

    def sent(self, ring: int = 1) -> int:
        """How many buffers of the sending ring came back."""
        return self.rings[ring].used_index()

    def interrupted(self, ring: int, timeout: float = 5.0) -> bool:
        fd = self.rings[ring].call
        ready = bool(select.select([fd], [], [], timeout)[0])
        if ready:
            os.eventfd_read(fd)
        return ready

    def close(self) -> None:
        self.socket.close()
        for ring in self.rings:
            ring.close()
        self.words.release()
        self.memory.close()
        os.close(self.fd)
