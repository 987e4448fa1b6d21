"""Runs the commands of README.md and docs/, a document at a time, in order, in one shell. Needs root.

Each document has namespaces of its own (network, mounts, processes), with an empty /run and /var/lib: device names, network
namespaces, addresses, sockets and state are nobody else's, and everything it starts ends with it. Its working directory looks
like a checkout. What is not run as it stands is listed in shell_script.py.
"""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from expected_output import missing_line
from fenced_blocks import DOCUMENTS, ROOT, Block, read_blocks
from shell_script import PREAMBLE, script

SECONDS = 50                # that a document may take
OWN_PLACES = """
mount -t tmpfs none /run && mkdir -p /run/netns && mount -t tmpfs none /var/lib && ip link set lo up && exec bash -c "$1"
"""


def checkout(directory: Path) -> Path:
    """A directory that looks like the checkout, to which a document may write."""
    directory.mkdir()
    for entry in ROOT.iterdir():
        (directory / entry.name).symlink_to(entry)
    return directory


def run(document: Path, blocks: list[Block], directory: Path) -> tuple[subprocess.CompletedProcess, Path]:
    out = directory / "out"
    out.mkdir()
    (directory / "script").write_text(script(blocks), encoding="utf-8")
    (directory / "preamble").write_text(PREAMBLE, encoding="utf-8")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
    environment = {"PATH": path, "OUT": str(out), "HOME": str(directory), "TMPDIR": str(directory), "LC_ALL": "C.UTF-8",
                   "TERM": "dumb"}
    shell = f'source "{directory}/preamble"; source "{directory}/script"'
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", OWN_PLACES,
               "sh", shell]
    with open(directory / "outside", "wb") as outside:
        done = subprocess.run(["timeout", "-k", "2", str(SECONDS), *command], cwd=checkout(directory / "checkout"),
                              env=environment, stdin=subprocess.DEVNULL, stdout=outside, stderr=outside)
    return done, out


def check_document(document: Path, tmp_path: Path) -> None:
    """AssertionError with the document, the line and the output where something is not as it is written."""
    assert os.geteuid() == 0, "the commands need root"
    blocks = read_blocks(document)
    done, out = run(document, blocks, tmp_path)
    name = document.relative_to(ROOT)
    if done.returncode:
        failed = out / "failed"
        line = int(failed.read_text()) if failed.exists() else None
        last = max((int(file.name) for file in out.iterdir() if file.name.isdecimal()), default=0)
        what = "takes too long" if done.returncode == 124 else f"fails with {done.returncode}"
        output = (out / str(last)).read_text(errors="replace") if last else ""
        raise AssertionError(f"{name}:{line or last}: {what}\n{output}{(tmp_path / 'outside').read_text()}")
    for block, following in zip(blocks, blocks[1:]):
        if following.language == "text" and block.language in ("sh", "python"):
            output = (out / str(block.line)).read_text(errors="replace")
            lacking = missing_line(following, output)
            assert lacking is None, f"{name}:{following.line}: the output of line {block.line} lacks {lacking!r}:\n{output}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands(document, tmp_path):
    check_document(document, tmp_path)


def test_every_block_says_what_it_is():
    known = {"", "sh", "python", "text", "yaml"}
    strange = [f"{document.name}:{block.line}: {block.language}" for document in DOCUMENTS for block in read_blocks(document)
               if block.language not in known]
    assert not strange
