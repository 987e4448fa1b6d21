"""Queues move from a busy worker to another, under traffic: nothing is lost, nothing overtakes anything."""
import json
import struct
import time

import pytest
from running_daemon import Daemon
from vhost_guest import F_MRG_RXBUF, Guest

from vswitch.model.objects import Bridge, Port, Tenant
from vswitch.model.store import State

ETHER = bytes.fromhex("020000000002020000000001") + b"\x88\xb5"
IN_FLIGHT = 16
PORTS = (1, 2, 3, 4)               # by turns on worker 0 and 1: the senders, 1 and 3, share one


@pytest.fixture
def switch(tmp_path):
    ports = {("br", f"vm{n}"): Port(f"vm{n}", "br", "vhost-user", port_no=n, socket=str(tmp_path / f"vm{n}"),
                                    queues=2 if n % 2 == 0 else 1) for n in PORTS}
    ports["br", "sink"] = Port("sink", "br", "dummy", port_no=5)
    daemon = Daemon(tmp_path, State({"t": Tenant("t", id=1)}, {"br": Bridge("br", "t", dpid=1, id=1, fail_mode="secure")}, ports,
                                    last_tenant_id=1, last_bridge_id=1, host_id=0x20000000001), "--workers", "2")
    guests = []
    try:
        for a, b in ((1, 2), (3, 4)):      # dear packets, that the program which sends them need not be fast
            daemon.ofctl("add-flow", f"in_port={a},actions={'output:5,' * 1000}output:{b}")
        guests += [Guest(tmp_path / f"vm{n}", F_MRG_RXBUF, pairs=2 if n % 2 == 0 else 1) for n in PORTS]
        daemon.guests = dict(zip(PORTS, guests))
        yield daemon
    finally:
        for guest in guests:
            guest.close()
        daemon.stop()


class Stream:
    """Numbered frames from one guest to another, which has two rings to receive by."""

    def __init__(self, sender, receiver):
        self.sender, self.receiver = sender, receiver
        self.sent = self.received = 0
        self.rings = set()

    def go_on(self, send=True):
        while send and self.sent - self.received < IN_FLIGHT:
            self.sender.send(ETHER + struct.pack("!Q", self.sent) + bytes(60))
            self.sent += 1
        for ring in (0, 2):
            r = self.receiver.rings[ring]
            while r.used != r.used_index():
                frame, _ = self.receiver.receive(ring=ring)
                assert struct.unpack_from("!Q", frame, 14)[0] == self.received, "lost, or overtaken"
                self.received += 1
                self.rings.add(ring)

    def end(self):
        deadline = time.monotonic() + 5
        while self.received < self.sent and time.monotonic() < deadline:
            self.go_on(send=False)
        assert self.received == self.sent


def balance(switch):
    return switch.ask(lambda client: client.balance())


def run(streams, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for stream in streams:
            stream.go_on()


def test_a_queue_moves_without_loss_or_reordering(switch):
    streams = [Stream(switch.guests[a], switch.guests[b]) for a, b in ((1, 2), (3, 4))]
    run(streams, 1)
    assert balance(switch).looks == 0      # not unless it is asked for
    switch.vswitch("balance", "set", "--interval", "1", "--load", "1", "--improvement", "10")
    deadline = time.monotonic() + 20
    while not (moved := balance(switch)).moves:
        assert time.monotonic() < deadline, moved
        run(streams, 0.3)
    assert moved.last_move.startswith(("br/vm1 queue 0 from worker 0", "br/vm3 queue 0 from worker 0")), moved
    before = received_by_worker(switch)
    run(streams, 3.5)                      # looks at what is balanced now, and leaves it
    after = received_by_worker(switch)
    assert all(after[worker] - before[worker] > 100 for worker in (0, 1)), (before, after)
    assert balance(switch).moves == 1 and balance(switch).looks > moved.looks
    assert "last_move" in switch.vswitch("balance", "show")
    for stream in streams:
        stream.end()
        assert len(stream.rings) == 1      # the receiver's ring stays the same wherever the sender's is served
        assert stream.sent > 1000
    print(moved.last_move, [stream.sent for stream in streams])


def received_by_worker(switch):
    rows = json.loads(switch.vswitch("--json", "stats", "tenants"))
    return {worker: sum(int(row["rx_packets"]) for row in rows if row["worker"] == worker) for worker in (0, 1)}


def test_ports_and_guests_may_go_while_queues_move(switch):
    """What is moving is finished or given up first."""
    switch.vswitch("balance", "set", "--interval", "1", "--load", "1", "--improvement", "1")
    streams = [Stream(switch.guests[a], switch.guests[b]) for a, b in ((1, 2), (3, 4))]
    for _ in range(3):
        run(streams, 1.2)
        for stream in streams:
            stream.end()
            stream.sender.reset(stream.sender.rings[1])
    switch.vswitch("port", "del", "br", "vm1")
    run(streams[1:], 1)
    streams[1].end()


def test_settings_are_kept_and_bad_ones_name_the_field(switch):
    switch.vswitch("balance", "set", "--interval", "7")
    assert "interval: 7" in switch.vswitch("config", "show")
    config = switch.run.parent / "bad.yaml"
    config.write_text("balance: {load: 101}\ntenants: {}\n")
    assert "balance.load" in switch.vswitch("config", "check", str(config), code=1)
    switch.kill()
    switch.start()
    assert balance(switch).interval == 7
