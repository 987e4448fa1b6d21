"""The rules that the benchmarks send as OpenFlow messages are those that their text says."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))

from benchmarks.acl_rules import AccessList  # noqa: E402
from vswitch.openflow.flow_text import parse_flow_mod  # noqa: E402


@pytest.mark.parametrize("access", [AccessList(500, 40), AccessList.exact(50)], ids=["masks", "exact"])
def test_messages_say_what_the_text_says(access):
    lines, messages = access.flow_lines("output:2"), list(access.flow_mods(2))
    assert len(lines) == len(messages) > 0
    for line, message in zip(lines, messages):
        assert message[:2] == b"\x04\x0e" and int.from_bytes(message[2:4], "big") == len(message)
        text = parse_flow_mod(line)
        assert message[8:] == text, line


def test_flows_of_exact_rules_are_all_different():
    frames = AccessList.exact(100).frames(100)
    assert len({frame[26:38] for frame in frames}) == 100
