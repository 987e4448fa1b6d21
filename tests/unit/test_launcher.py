"""How the datapath is started."""
from __future__ import annotations

import asyncio
import time

import pytest

from vswitch.datapath.launcher import Command, DirectLauncher


@pytest.mark.parametrize("own", [None, "glibc.malloc.check=0"], ids=["default", "its user's"])
def test_its_memory_is_in_huge_pages_unless_the_user_says_how(tmp_path, monkeypatch, own):
    program, log = tmp_path / "datapath", tmp_path / "log"
    program.write_text("#!/bin/sh\necho \"tunables $GLIBC_TUNABLES\"\n")
    program.chmod(0o755)
    if own:
        monkeypatch.setenv("GLIBC_TUNABLES", own)
    else:
        monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    launcher = DirectLauncher(Command(str(program), "", str(log)))
    asyncio.run(launcher.start())
    deadline = time.monotonic() + 10
    while not launcher.exited():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert log.read_text() == f"tunables {own or 'glibc.malloc.hugetlb=1'}\n"
