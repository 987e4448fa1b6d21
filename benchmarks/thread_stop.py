"""Stops one thread of another process and lets it go on, as a debugger does (ptrace(2)), from this program's main thread.

SIGSTOP stops all threads, which a program may take for its own slowness: Open vSwitch's revalidators divide the number of flows that
they allow by the seconds that a round took (ofproto-dpif-upcall.c), and after a second's stop allow none.
"""
from __future__ import annotations

import ctypes
import os

DETACH, SEIZE, INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000       # __WALL: threads as well

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, thread: int) -> None:
    if _libc.ptrace(request, thread, None, None) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace {request:#x} of thread {thread}: {os.strerror(number)}")


def stop(thread: int) -> None:
    """Returns when it stands still."""
    _ptrace(SEIZE, thread)
    _ptrace(INTERRUPT, thread)
    os.waitpid(thread, WALL)


def go_on(thread: int) -> None:
    _ptrace(DETACH, thread)
