"""vhost-user ports against guests that behave and guests that don't."""
from __future__ import annotations

import os
import struct
import time

import pytest
from running_daemon import Daemon
from vhost_guest import (BUFFER, F_CSUM, F_GUEST_CSUM, F_GUEST_UFO, F_GUEST_USO4, F_GUEST_USO6, F_HOST_TSO4, F_HOST_UFO, F_HOST_USO, F_INDIRECT,
                         F_MRG_RXBUF, GUEST_BASE, HEADER, INDIRECT, NEXT, SEND_RARP, SET_LOG_BASE, SIZE, WRITE, Guest)

from vswitch.model.objects import Bridge, Port, Tenant
from vswitch.model.store import State

MACS = [bytes.fromhex(f"0200000000{n:02x}") for n in range(5)]


@pytest.fixture
def switch(tmp_path):
    """Ports 1 and 2 listen, 3 connects, 4 has two pairs of queues; 1 and 2, and 3 and 4, are joined."""
    ports = {("br", f"vm{n}"): Port(f"vm{n}", "br", "vhost-user", port_no=n, socket=str(tmp_path / f"vm{n}"),
                                    mode="client" if n == 3 else "server", queues=2 if n == 4 else 1) for n in (1, 2, 3, 4)}
    daemon = Daemon(tmp_path, State({"t": Tenant("t", id=1)}, {"br": Bridge("br", "t", dpid=1, id=1, fail_mode="secure")}, ports,
                                    last_tenant_id=1, last_bridge_id=1, host_id=0x20000000001))
    try:
        daemon.paths = [None] + [tmp_path / f"vm{n}" for n in (1, 2, 3, 4)]
        for a, b in ((1, 2), (2, 1), (3, 4), (4, 3)):
            daemon.ofctl("add-flow", f"in_port={a},actions=output:{b}")
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture
def guests():
    made = []

    def make(*args, **settings):
        made.append(Guest(*args, **settings))
        return made[-1]
    yield make
    for guest in made:
        guest.close()


def detail(daemon: Daemon, port: int) -> dict[str, str]:
    return daemon.ask(lambda client: client.port_detail(1, port))


def frame(to: int, length: int, fill: int = 0) -> bytes:
    return (MACS[to] + MACS[0] + b"\x88\xb5" + bytes((fill + i) & 0xff for i in range(length - 14)))


def udp_frame(payload: bytes) -> bytes:
    udp = struct.pack("!HHHH", 1000, 2000, 8 + len(payload), 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
    return MACS[2] + MACS[1] + b"\x08\0" + ip + udp


def ones_sum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def test_frames_of_all_lengths(switch, guests):
    one, two = guests(switch.paths[1]), guests(switch.paths[2])
    for fill, length in enumerate((14, 15, 31, 32, 33, 60, 63, 64, 65, 127, 128, 129, 383, 384, 385, 511, 512, 1000, 1514, BUFFER - HEADER)):
        for a, b, to in ((one, two, 2), (two, one, 1)):
            a.send(frame(to, length, fill))
            assert b.receive()[0] == frame(to, length, fill), length
    assert one.sent() == two.sent() == 20
    assert detail(switch, 1)["ring.1"].startswith("running, size 64")


def test_frames_in_two_descriptors(switch, guests):
    one, two = guests(switch.paths[1]), guests(switch.paths[2])
    for split in (10, HEADER, HEADER + 1, HEADER + 500):
        one.send(frame(2, 1000), split=split)
        assert two.receive()[0] == frame(2, 1000)


def test_frames_behind_an_indirect_table(switch, guests):
    one, two = guests(switch.paths[1], F_INDIRECT), guests(switch.paths[2])
    ring, data = one.rings[1], bytes(HEADER) + frame(2, 700)
    at, table = ring.buffer(0), ring.buffer(2)
    one.memory[at:at + len(data)] = data
    ring.desc(0, GUEST_BASE + at, HEADER, NEXT, 1, table=table)
    ring.desc(1, GUEST_BASE + at + HEADER, 300, NEXT, 2, table=table)
    ring.desc(2, GUEST_BASE + at + HEADER + 300, 400, table=table)
    ring.desc(0, GUEST_BASE + table, 48, INDIRECT)
    ring.offer(0)
    assert two.receive()[0] == frame(2, 700)


def test_a_long_frame_fills_several_buffers(switch, guests):
    one, two = guests(switch.paths[1], memory=70000), guests(switch.paths[2], F_MRG_RXBUF)
    data, at = bytes(HEADER) + frame(2, 9000), one.size - 70000
    one.memory[at:at + len(data)] = data
    one.rings[1].desc(0, GUEST_BASE + at, len(data))
    one.rings[1].offer(0)
    received, header = two.receive()
    assert received == frame(2, 9000)
    assert struct.unpack_from("<H", header, 10)[0] == 5


def test_a_frame_that_fits_nowhere_is_counted(switch, guests):
    one, two = guests(switch.paths[1], memory=70000), guests(switch.paths[2])
    at = one.size - 70000
    one.rings[1].desc(0, GUEST_BASE + at, HEADER + 9000)
    one.rings[1].offer(0)
    one.send(frame(2, 100))
    assert two.receive()[0] == frame(2, 100), "what comes after it passes"


def test_guest_comes_again(switch, guests):
    two = guests(switch.paths[2])
    for fill in range(3):
        one = Guest(switch.paths[1])
        one.send(frame(2, 60, fill))
        assert two.receive()[0] == frame(2, 60, fill)
        two.send(frame(1, 600, fill))
        assert one.receive()[0] == frame(1, 600, fill)
        one.close()
    switch.wait_for(lambda: detail(switch, 1)["connected"] == "no")
    assert detail(switch, 1)["connections"] == "3"


def test_client_mode_connects_again(switch, guests):
    four = guests(switch.paths[4], pairs=2)
    for fill in range(2):
        three = Guest(switch.paths[3], listen=True)
        three.send(frame(4, 90, fill))
        assert four.receive()[0] == frame(4, 90, fill)
        three.close()
        os.unlink(switch.paths[3])


def test_the_datapath_comes_again(switch, guests):
    two = Guest(switch.paths[2])
    pid = switch.datapath_pid()
    os.kill(pid, 9)
    switch.wait_for(lambda: switch.log.read_text().count("the datapath is up") == 2)
    two.close()
    one, two = guests(switch.paths[1]), guests(switch.paths[2])
    one.send(frame(2, 60))
    assert two.receive()[0] == frame(2, 60)


def test_two_pairs(switch, guests):
    three, four = guests(switch.paths[3], listen=True), guests(switch.paths[4], pairs=2)
    for ring in (1, 3):
        four.send(frame(3, 70, ring), ring=ring)
        assert three.receive()[0] == frame(3, 70, ring)


def test_interrupts(switch, guests):
    one, two = guests(switch.paths[1]), guests(switch.paths[2])
    one.send(frame(2, 60))
    assert two.interrupted(0) and two.receive()
    two.rings[0].quiet(True)
    one.send(frame(2, 60))
    assert two.receive() and not two.interrupted(0, 0.2)


def test_a_kick_wakes_a_sleeping_worker(switch, guests):
    one, two = guests(switch.paths[1]), guests(switch.paths[2])
    for _ in range(20):
        time.sleep(0.01)           # it sleeps after 50 µs
        one.send(frame(2, 60))
        assert two.receive(1.0)


def test_checksum_is_completed_for_a_guest_that_takes_none(switch, guests):
    one, two = guests(switch.paths[1], F_CSUM, F_GUEST_CSUM), guests(switch.paths[2])
    whole = udp_frame(b"some payload, of an odd length.")
    pseudo = ones_sum(whole[26:34] + struct.pack("!HH", 17, len(whole) - 34))
    partial = whole[:40] + struct.pack("!H", pseudo) + whole[42:]
    one.send(partial, struct.pack("<BBHHHHH", 1, 0, 0, 0, 34, 6, 0))
    received, header = two.receive()
    assert not any(header[:10])
    assert ones_sum(received[26:34] + struct.pack("!HH", 17, len(whole) - 34) + received[34:]) == 0xffff
    two.send(frame(1, 60))
    assert one.receive()


def test_checksum_stays_open_between_guests_that_take_it(switch, guests):
    one, two = guests(switch.paths[1], F_CSUM, F_GUEST_CSUM), guests(switch.paths[2], F_CSUM, F_GUEST_CSUM)
    whole = udp_frame(b"payload")
    header = struct.pack("<BBHHHHH", 1, 0, 0, 0, 34, 6, 0)
    one.send(whole, header)
    received, seen = two.receive()
    assert received == whole and struct.unpack_from("<BBHHHH", seen)[0] == 1 and seen[6:10] == header[6:10]


def open_datagram(payload: bytes, v6: bool) -> tuple[bytes, int, int]:
    """A frame with a UDP datagram whose checksum is open, and where its IP and UDP headers begin."""
    addresses = bytes(range(32)) if v6 else bytes([10, 0, 0, 1, 10, 0, 0, 2])
    length = 8 + len(payload)
    pseudo = ones_sum(addresses + struct.pack("!II", length, 17))
    ip = (struct.pack("!IHBB", 0x60000000, length, 17, 64) if v6 else
          struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0x1234, 0x4000, 64, 17, 0)) + addresses
    return (MACS[2] + MACS[1] + (b"\x86\xdd" if v6 else b"\x08\0") + ip + struct.pack("!HHHH", 1000, 2000, length, pseudo) + payload, 14,
            14 + len(ip))


def checked_datagram(addresses: bytes, datagram: bytes) -> bytes:
    """Its payload, if length and checksum are right."""
    assert struct.unpack_from("!H", datagram, 4)[0] == len(datagram)
    assert ones_sum(addresses + struct.pack("!II", len(datagram), 17) + datagram) == 0xffff
    return datagram[8:]


UFO, USO = 3, 5
PAYLOAD = bytes(i * 7 & 0xff for i in range(1901))
SENDS = (F_CSUM, F_GUEST_CSUM, F_HOST_UFO, F_HOST_USO)


@pytest.mark.parametrize("v6", [False, True], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("kind", [UFO, USO], ids=["ufo", "uso"])
def test_udp_segments_pass_whole_to_a_guest_that_takes_them(switch, guests, kind, v6):
    one = guests(switch.paths[1], *SENDS)
    two = guests(switch.paths[2], F_CSUM, F_GUEST_CSUM, F_GUEST_UFO if kind == UFO else F_GUEST_USO6 if v6 else F_GUEST_USO4)
    sent, _, udp = open_datagram(PAYLOAD, v6)
    one.send(sent, struct.pack("<BBHHHHH", 1, kind, udp + 8, 504, udp, 6, 0))
    received, header = two.receive()
    assert received == sent and struct.unpack_from("<BBHHHH", header) == (1, kind, udp + 8, 504, udp, 6)


@pytest.mark.parametrize("v6", [False, True], ids=["ipv4", "ipv6"])
def test_udp_segments_are_cut_for_a_guest_that_takes_none(switch, guests, v6):
    one = guests(switch.paths[1], *SENDS)
    two = guests(switch.paths[2], F_CSUM, F_GUEST_CSUM, F_GUEST_USO4 if v6 else F_GUEST_USO6)      # of the other family alone
    sent, ip, udp = open_datagram(PAYLOAD, v6)
    one.send(sent, struct.pack("<BBHHHHH", 1, USO, udp + 8, 500, udp, 6, 0))
    payloads = []
    for n in range(4):
        received, header = two.receive()
        assert not any(header[:10])
        if v6:
            assert struct.unpack_from("!H", received, ip + 4)[0] == len(received) - udp
        else:
            assert struct.unpack_from("!HH", received, ip + 2) == (len(received) - ip, 0x1234 + n)
            assert ones_sum(received[ip:udp]) == 0xffff
        payloads.append(checked_datagram(received[ip + (8 if v6 else 12):udp], received[udp:]))
    assert list(map(len, payloads)) == [500, 500, 500, 401] and b"".join(payloads) == PAYLOAD
    assert two.receive(0.2) is None


@pytest.mark.parametrize("v6", [False, True], ids=["ipv4", "ipv6"])
def test_a_datagram_is_fragmented_for_a_guest_that_takes_none_whole(switch, guests, v6):
    one, two = guests(switch.paths[1], *SENDS), guests(switch.paths[2], F_CSUM, F_GUEST_CSUM, F_GUEST_USO4, F_GUEST_USO6)
    sent, ip, udp = open_datagram(PAYLOAD, v6)
    one.send(sent, struct.pack("<BBHHHHH", 1, UFO, udp + 8, 1000, udp, 6, 0))
    datagram, ids, more = b"", set(), True
    while more:
        received, header = two.receive()
        assert not any(header[:10])
        if v6:
            following, offset, id = struct.unpack_from("!BxHI", received, udp)
            assert received[ip + 6] == 44 and following == 17
            offset, more, body = offset & ~7, offset & 1, received[udp + 8:]
            assert struct.unpack_from("!H", received, ip + 4)[0] == len(received) - udp
        else:
            length, id, offset = struct.unpack_from("!HHH", received, ip + 2)
            assert ones_sum(received[ip:udp]) == 0xffff and length == len(received) - ip and not offset & 0x4000
            offset, more, body = (offset & 0x1fff) * 8, offset & 0x2000, received[udp:]
        assert offset == len(datagram) and len(body) <= 1000
        datagram += body
        ids.add(id)
    assert len(ids) == 1
    assert checked_datagram(sent[ip + (8 if v6 else 12):udp], datagram) == PAYLOAD


@pytest.mark.parametrize("header", [
    pytest.param((1, 0, 0, 0, 2000, 6), id="checksum beyond the frame"),
    pytest.param((1, 0, 0, 0, 34, 60000), id="checksum field beyond the frame"),
    pytest.param((0, 1, 54, 500, 34, 16), id="segments without a checksum"),
    pytest.param((1, 1, 54, 0, 34, 16), id="segments of no bytes"),
    pytest.param((1, 1, 54, 500, 1490, 16), id="headers beyond the frame"),
    pytest.param((1, 4, 54, 500, 34, 16), id="TSO6 that was not negotiated"),
    pytest.param((1, 77, 54, 500, 34, 16), id="an unknown kind of segments"),
    pytest.param((1, 3, 42, 500, 34, 6), id="UFO that was not negotiated"),
    pytest.param((1, 5, 42, 500, 34, 6), id="USO that was not negotiated"),
])
def test_a_header_that_makes_no_sense_costs_its_frame(switch, guests, header):
    one, two = guests(switch.paths[1], F_CSUM, F_GUEST_CSUM, F_HOST_TSO4), guests(switch.paths[2])
    one.send(frame(2, 1000), struct.pack("<BBHHHHH", *header, 0))
    one.send(frame(2, 99))
    assert two.receive()[0] == frame(2, 99)
    assert one.sent() == 2


def hostile(guest: Guest, what: str) -> None:
    ring = guest.rings[1]
    at = GUEST_BASE + ring.buffer(0)
    if what == "available index":
        ring.publish(ring.avail + SIZE + 1)
    elif what == "head":
        ring.offer(SIZE)
    elif what == "next":
        ring.desc(0, at, 100, NEXT, SIZE + 7)
        ring.offer(0)
    elif what == "loop":
        ring.desc(0, at, 0, NEXT, 1)
        ring.desc(1, at, 0, NEXT, 0)
        ring.offer(0)
    elif what == "address":
        ring.desc(0, 0x1234, 100)
        ring.offer(0)
    elif what == "end of memory":
        ring.desc(0, GUEST_BASE + guest.size - 50, 100)
        ring.offer(0)
    elif what == "address that wraps":
        ring.desc(0, (1 << 64) - 10, 100)
        ring.offer(0)
    elif what == "direction":
        ring.desc(0, at, 100, WRITE)
        ring.offer(0)
    elif what == "empty":
        ring.desc(0, at, 0)
        ring.offer(0)
    elif what == "nested table":
        ring.desc(0, at, 16, INDIRECT, table=ring.buffer(0))
        ring.desc(0, at, 16, INDIRECT)
        ring.offer(0)
    elif what == "table beyond memory":
        ring.desc(0, GUEST_BASE + guest.size - 8, 16, INDIRECT)
        ring.offer(0)
    elif what == "table of half an entry":
        ring.desc(0, at, 24, INDIRECT)
        ring.offer(0)
    elif what == "receiving buffer":
        guest.rings[0].desc(0, 0x1000, 2048, WRITE)
        guest.rings[0].offer(0)


@pytest.mark.parametrize("what, says", [
    ("available index", "available in a ring of 64"), ("head", "descriptor 64 of a table of 64"), ("next", "descriptor 71"),
    ("loop", "chain of more than"), ("address", "0x1234 is not in memory"), ("end of memory", "is not in memory"),
    ("address that wraps", "is not in memory"), ("direction", "other direction"), ("empty", "an empty buffer"),
    ("nested table", "indirect table"), ("table beyond memory", "is not in memory"), ("table of half an entry", "indirect table")])
def test_a_ring_that_makes_no_sense_stops_alone(switch, guests, what, says):
    bad, two = guests(switch.paths[1], F_INDIRECT), guests(switch.paths[2])
    three, four = guests(switch.paths[3], listen=True), guests(switch.paths[4], pairs=2)
    hostile(bad, what)
    switch.wait_for(lambda: says in detail(switch, 1)["ring.1"])
    assert os.eventfd_read(bad.rings[1].err)
    three.send(frame(4, 60))
    assert four.receive()[0] == frame(4, 60), "others are not harmed"
    bad.reset(bad.rings[1])
    bad.send(frame(2, 61))
    assert two.receive()[0] == frame(2, 61), "a driver that sets the ring up anew has a port again"
    assert detail(switch, 1)["ring.1"].startswith("running")


def test_a_bad_buffer_to_receive_into(switch, guests):
    one, bad = guests(switch.paths[1]), guests(switch.paths[2], buffers=False)
    hostile(bad, "receiving buffer")
    one.send(frame(2, 60))
    switch.wait_for(lambda: "0x1000 is not in memory" in detail(switch, 2)["ring.0"])
    bad.send(frame(1, 60))
    assert one.receive()[0] == frame(1, 60)


def test_memory_that_is_cut_short(switch, guests):
    bad, two = guests(switch.paths[1]), guests(switch.paths[2])
    bad.send(frame(2, 60))
    assert two.receive()
    os.ftruncate(bad.fd, 4096)
    os.eventfd_write(bad.rings[1].kick, 1)
    two.send(frame(1, 1000))
    switch.wait_for(lambda: "cut the memory short" in detail(switch, 1).get("last_error", ""))
    again = guests(switch.paths[1])
    again.send(frame(2, 60))
    assert two.receive()[0] == frame(2, 60)


@pytest.mark.parametrize("regions", [
    pytest.param([(GUEST_BASE, 1 << 40, GUEST_BASE, 0)], id="longer than its file"),
    pytest.param([(GUEST_BASE, 4096, GUEST_BASE, (1 << 64) - 4096)], id="an offset that wraps"),
    pytest.param([((1 << 64) - 1, 4096, GUEST_BASE, 0)], id="an address that wraps"),
    pytest.param([(GUEST_BASE, 8192, GUEST_BASE, 0), (GUEST_BASE + 4096, 8192, GUEST_BASE, 0)], id="regions that overlap"),
    pytest.param([(GUEST_BASE, 0, GUEST_BASE, 0)], id="no bytes")])
def test_memory_that_makes_no_sense_ends_the_connection(switch, guests, regions):
    one = guests(switch.paths[1])
    one.share(regions)
    switch.wait_for(lambda: "SET_MEM_TABLE" in detail(switch, 1).get("last_error", ""))
    again = guests(switch.paths[1])
    two = guests(switch.paths[2])
    again.send(frame(2, 60))
    assert two.receive()


@pytest.mark.parametrize("request_, body, says", [
    (2, struct.pack("<Q", 1 << 63), "not offered"), (8, struct.pack("<II", 99, 64), "no such ring"),
    (8, struct.pack("<II", 0, 63), "not a ring's size"), (8, struct.pack("<II", 0, 1 << 20), "not a ring's size"),
    (9, b"\0" * 8, "too short"), (25, b"\0" * 16, "not negotiated"), (99, b"", "too short"), (20, struct.pack("<Q", 1), "not an MTU"),
    (SEND_RARP, bytes(8), "not the address of a device"), (SEND_RARP, b"\x01" * 8, "not the address of a device"), (SEND_RARP, b"\2", "too short"),
    (SET_LOG_BASE, struct.pack("<QQ", 4096, 0), "no file was passed along"), (SET_LOG_BASE, b"\0" * 8, "too short")])
def test_messages_that_make_no_sense(switch, guests, request_, body, says):
    one = guests(switch.paths[1])
    one.send_message(request_, body)
    switch.wait_for(lambda: says in detail(switch, 1).get("last_error", ""))


def test_a_ring_outside_of_memory(switch, guests):
    one = guests(switch.paths[1])
    one.set_up(one.rings[1], shift=8)
    switch.wait_for(lambda: "does not lie in the guest's memory" in detail(switch, 1)["ring.1"])
    one.set_up(one.rings[1], shift=1 << 40)
    switch.wait_for(lambda: "does not lie in the guest's memory" in detail(switch, 1)["ring.1"])


def test_what_is_written_while_a_guest_migrates_is_noted(switch, guests):
    one, two = guests(switch.paths[1]), guests(switch.paths[2], F_MRG_RXBUF, memory=70000)
    log = os.memfd_create("log")
    os.ftruncate(log, (GUEST_BASE + two.size) // 4096 // 8 + 1)
    try:
        for fill in range(4):
            if fill == 1:
                two.migrate(log, os.fstat(log).st_size)
                assert "dirty pages are logged" in detail(switch, 2)["migration"]
                before = bytes(two.memory)
            one.send(frame(2, 1500 + fill, fill))
            assert two.receive()[0] == frame(2, 1500 + fill, fill)
            two.send(frame(1, 900, fill))
            assert one.receive()[0] == frame(1, 900, fill)
        bits = os.pread(log, os.fstat(log).st_size, 0)
        pages = {page for page in range(two.size // 4096) if bits[(GUEST_BASE // 4096 + page) // 8] >> page % 8 & 1}
        assert sum(map(int.bit_count, bits)) == len(pages), "no page is noted that the guest does not have"
        # The guest's own: available rings, and frames to send with their descriptors. The switch's: used rings, frames received.
        sends = two.rings[1]
        used = {(r.base + 8192) // 4096 for r in two.rings}
        assert used <= pages
        changed = {page for page in range(two.size // 4096) if two.memory[page * 4096:page * 4096 + 4096] != before[page * 4096:page * 4096 + 4096]}
        own = {r.base // 4096 + k for r in two.rings for k in (0, 1)} | {page for i in range(SIZE) for page in
               range(sends.buffer(i) // 4096, (sends.buffer(i) + BUFFER - 1) // 4096 + 1)}
        assert changed - own <= pages and changed & pages > used
    finally:
        os.close(log)


def test_a_guest_is_announced_for_it(switch, guests):
    one, two = guests(switch.paths[1]), guests(switch.paths[2])
    one.send_message(SEND_RARP, MACS[4] + b"\0\0")
    received, _ = two.receive()
    assert received == b"\xff" * 6 + MACS[4] + bytes.fromhex("8035 0001 0800 06 04 0003") + MACS[4] + bytes(4) + MACS[4] + bytes(22)
    assert detail(switch, 1)["announced"] == "1"


def test_memory_changes_under_traffic(switch, guests):
    """A table set anew, and rings stopped and started, while frames are on their way. (To a guest whose rings are stopped nothing
    can be sent.)"""
    one, two = guests(switch.paths[1]), guests(switch.paths[2])
    for fill in range(20):
        if fill % 3 == 1:
            two.share()
            two.ask(1)
        one.send(frame(2, 1000, fill))
        if fill % 3 == 0:
            one.share()
        assert two.receive()[0] == frame(2, 1000, fill)
