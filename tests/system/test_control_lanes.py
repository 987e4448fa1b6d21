"""What a request about one tenant's bridge finds in front of its answer, while another tenant's rules are dumped. With a real datapath,
whose client doesn't read meanwhile."""
import struct
import subprocess
import time

import pytest

from vswitch._datapath import lib
from vswitch.datapath.client import Client
from vswitch.datapath.launcher import Command, find_executable
from vswitch.datapath.records import BridgeRecord, TenantRecord
from vswitch.errors import UnavailableError
from vswitch.model.journal import ALL_FLOWS

RULES = 20_000
BUSY, OTHER = 1, 2
PART = 60_000               # bytes of a dump's part where nobody waits for it
WAITED = 0.003              # seconds in which the client doesn't read: enough for a dozen such parts
AT_MOST = 64_000            # of what a client may have unread, and what is under way


def rule(n: int) -> bytes:
    """An OpenFlow 1.3 flow-mod without its header (7.3.4.1): in_port n drops."""
    head = struct.pack("!QQBBHHHIIIH2x", 0, 0, 0, 0, 0, 0, 1, 0xffffffff, 0xffffffff, 0xffffffff, 0)
    return head + struct.pack("!HHHBBI4x", 1, 12, 0x8000, 0, 4, 1 + n)


@pytest.fixture
async def client(tmp_path):
    path = str(tmp_path / "datapath.sock")
    command = Command(find_executable(), path, "", workers=1)
    process = subprocess.Popen(command.argv())
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                attached = await Client.attach(path)
                break
            except (OSError, UnavailableError):
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.02)
        for number in (BUSY, OTHER):
            await attached.set_tenant(TenantRecord(number, 1, 0, 0, 0, 0, 0, f"tenant{number}"))
            await attached.set_bridge(BridgeRecord(number, number, number, 0, 300, 1024, 0, 128, 0, 0, f"br{number}"))
        outcome = await attached.write_flows(BUSY, [rule(n) for n in range(RULES)])
        assert outcome == [None] * RULES
        yield attached
        attached.close()
    finally:
        process.terminate()
        process.wait()


async def dumped_before(client: Client, beside: bool) -> tuple[int, int]:
    """Bytes of the dump that come before the answer to the other tenant's barrier, and all of it. With `beside` another of its barriers
    came a moment before."""
    seen, before = 0, []

    def part(body: bytes) -> None:
        nonlocal seen
        seen += len(body)

    if beside:
        await client.barrier(OTHER)
    else:
        await client.barrier(BUSY)
        time.sleep(0.02)
    dump = client.dump_flows_now(BUSY, ALL_FLOWS, part, part)
    time.sleep(WAITED)
    client.channel.call(lib.DP_BARRIER, OTHER, b"", lambda _: before.append(seen), pytest.fail)
    await dump
    await client.barrier(OTHER)
    return before[0], seen


async def test_little_is_in_front_of_another_tenants_answer(client):
    tried = [await dumped_before(client, True) for _ in range(10)]
    assert {total for _, total in tried} == {tried[0][1]} and tried[0][1] > RULES * 50
    assert sorted(before for before, _ in tried)[len(tried) // 2] <= AT_MOST, tried


async def test_a_dump_beside_nobody_is_not_held_up(client):
    tried = [await dumped_before(client, False) for _ in range(10)]
    assert sorted(before for before, _ in tried)[len(tried) // 2] >= 2 * PART, tried


async def test_a_rule_that_is_longer_than_a_short_part_is_told_of(client):
    output = struct.pack("!HHIH6x", 0, 16, 1, 0) * 1000        # 16,000 bytes of actions (7.2.5)
    body = rule(0)[:40] + struct.pack("!HHHBBI4x", 1, 12, 0x8000, 0, 4, RULES + 1) + struct.pack("!HH4x", 4, 8 + len(output)) + output
    assert await client.write_flows(BUSY, [body]) == [None]
    await client.barrier(OTHER)
    parts: list[bytes] = []
    await client.dump_flows_now(BUSY, ALL_FLOWS, parts.append, parts.append)
    assert output in b"".join(parts)
