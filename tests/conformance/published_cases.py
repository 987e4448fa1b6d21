"""The Ryu certification suite's cases of OpenFlow 1.0, 1.3 and 1.4, as the os-ken wheel carries them, as its tester reads them."""
from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import os_ken.tests.switch
from os_ken.tests.switch import tester

ROOT = Path(os_ken.tests.switch.__file__).parent
VERSIONS = {"1.0": (1, "of10"), "1.3": (4, "of13"), "1.4": (5, "of14")}
CATEGORIES = ("action", "match", "group", "meter")
PORTS = {"target_recv": 1, "target_send_1": 2, "target_send_2": 3, "tester_send": 1, "tester_recv_1": 2, "tester_recv_2": 3}


@dataclass
class Published:
    version: str
    category: str
    file: str
    description: str
    messages: list             # os-ken's, in order
    steps: list[dict]          # the tester's: ingress or packets, and egress, PACKET_IN, table-miss or throughput
    texts: list                # of each step's packets, for those that are drawn at random


def _named(value):
    """Port names as numbers."""
    if isinstance(value, dict):
        return {key: _named(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_named(inner) for inner in value]
    return PORTS.get(value, value) if isinstance(value, str) else value


def frame(texts: list[str]) -> bytes:
    """The suite's own notation of packets is Python, in the names of its tester."""
    built = eval("/".join(texts), vars(tester))
    built.serialize()
    return bytes(built.data)


def cases(version: str, category: str) -> Iterator[Published]:
    number, folder = VERSIONS[version]
    tester.OfTester.target_ver = tester.OfTester.tester_ver = number
    for path in sorted((ROOT / folder / category).rglob("*.json")):
        for described in json.loads(path.read_text(encoding="utf-8")):
            if isinstance(described, str):
                continue
            test = tester.Test(_named(described))
            texts = [step["ingress"]["packets"]["data"] if isinstance(step["ingress"], dict) else step["ingress"]
                     for step in described["tests"]]
            yield Published(version, category, str(path.relative_to(ROOT / folder)), test.description, test.prerequisite,
                            test.tests, texts)
