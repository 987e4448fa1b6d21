"""Starts the executable `vswitch-datapath`: directly, or through a small process that keeps root when vswitchd drops it.

The datapath is a session of its own, so that nothing that ends vswitchd ends it. What it prints goes to a log file.
"""
from __future__ import annotations

import asyncio
import logging
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vswitch.errors import NotFoundError, UnavailableError

log = logging.getLogger(__name__)
NAME = "vswitch-datapath"


def find_executable(option: str = "") -> str:
    """The path of the executable: the option, VSWITCH_DATAPATH, beside this Python's scripts, or on PATH."""
    scripts = (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")), Path(sys.argv[0]).resolve().parent)
    for candidate in (option, os.environ.get("VSWITCH_DATAPATH", "")):
        if candidate:
            if os.access(candidate, os.X_OK):
                return os.path.abspath(candidate)
            raise NotFoundError(f"{candidate} is not an executable file", "datapath")
    for directory in scripts:
        if os.access(directory / NAME, os.X_OK):
            return str(directory / NAME)
    if found := shutil.which(NAME):
        return found
    raise NotFoundError(f"{NAME} is neither beside {sys.executable} nor on PATH", "datapath")


@dataclass(frozen=True)
class Command:
    """How the datapath is started."""
    executable: str
    socket: str
    log_file: str
    workers: int = 0            # 0 = its own default
    poll: bool = False
    policy: str = ""            # "" = its own default
    slice_ns: int = 0           # likewise

    def argv(self) -> list[str]:
        return [self.executable, "--socket", self.socket,
                *(("--workers", str(self.workers)) if self.workers else ()), *(("--poll",) if self.poll else ()),
                *(("--policy", self.policy) if self.policy else ()),
                *(("--slice-ns", str(self.slice_ns)) if self.slice_ns else ())]


class Launcher(Protocol):
    async def start(self) -> int:
        """Starts the datapath and gives its process id. UnavailableError with the reason."""

    def exited(self) -> bool:
        """Whether the datapath that was started last is known to have ended."""


def _open_log(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)


# Rules and what was decided for flows lie in huge pages where the kernel has them to give: with many, walking page tables costs more than
# the look-up does.
_TUNABLES = "glibc.malloc.hugetlb=1"


def _spawn(argv: Sequence[str], log_fd: int, group: int | None = None) -> subprocess.Popen:
    """With a group, the socket that the datapath makes can be opened by that group."""
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log_fd, stderr=log_fd, start_new_session=True,
                            cwd="/", env={"GLIBC_TUNABLES": _TUNABLES, **os.environ}, **({"group": group, "umask": 0o007} if group is not None else {}))


class DirectLauncher:
    def __init__(self, command: Command):
        self._command = command
        self._process: subprocess.Popen | None = None

    async def start(self) -> int:
        if self._process is not None:
            self._process.poll()
        log_fd = _open_log(self._command.log_file)
        try:
            self._process = _spawn(self._command.argv(), log_fd)
        except OSError as e:
            raise UnavailableError(f"{self._command.executable} does not start: {e}") from e
        finally:
            os.close(log_fd)
        return self._process.pid

    def exited(self) -> bool:
        return self._process is not None and self._process.poll() is not None


_START, _STATUS = b"start", b"status"


class PrivilegedLauncher:
    """The unprivileged half: asks the process that `fork_privileged` left behind."""

    def __init__(self, sock: socket.socket):
        self._sock = sock

    async def _ask(self, question: bytes) -> str:
        loop = asyncio.get_running_loop()
        self._sock.setblocking(False)
        await loop.sock_sendall(self._sock, question)
        return (await loop.sock_recv(self._sock, 4096)).decode()

    async def start(self) -> int:
        answer = await self._ask(_START)
        if not answer.isdecimal():
            raise UnavailableError(answer or "the process that starts the datapath has ended")
        return int(answer)

    def exited(self) -> bool:
        self._sock.setblocking(True)
        self._sock.sendall(_STATUS)
        return self._sock.recv(4096) == b"exited"


def fork_privileged(command: Command, user: str) -> PrivilegedLauncher:
    """Leaves a child that keeps root and starts one fixed command when asked; the socket that the datapath makes can be
    opened by the user's group. To be called before there are threads and event loops, and followed by `drop_to`."""
    log_fd = _open_log(command.log_file)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        _serve(theirs, command.argv(), log_fd, pwd.getpwnam(user).pw_gid)
        os._exit(0)
    theirs.close()
    os.close(log_fd)
    return PrivilegedLauncher(ours)


def drop_to(user: str, *owned: str) -> None:
    """Gives the directories `owned`, and all that stands in them, to the user, and becomes that user."""
    account = pwd.getpwnam(user)
    for top in owned:
        for directory, names, files in os.walk(top):
            for name in ("", *names, *files):
                os.chown(os.path.join(directory, name) if name else directory, account.pw_uid, account.pw_gid,
                         follow_symlinks=False)
    os.initgroups(user, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def _serve(sock: socket.socket, argv: list[str], log_fd: int, group: int) -> None:
    """The root half: one datapath at a time, until vswitchd goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process: subprocess.Popen | None = None
    while question := sock.recv(64):
        ended = process is None or process.poll() is not None
        if question == _STATUS:
            answer = "exited" if process is not None and ended else "running"
        elif not ended:
            answer = str(process.pid)
        else:
            try:
                process = _spawn(argv, log_fd, group)
                answer = str(process.pid)
            except OSError as e:
                answer = f"{argv[0]} does not start: {e}"
        sock.sendall(answer.encode())
