"""A QEMU guest with a shell on its serial port, and one network card on a tap."""
from __future__ import annotations

import itertools
import os
import select
import subprocess
import time
import warnings
from pathlib import Path

import guest_kernel
from hosts import Failure, Namespace

CARD = "virtio-net-pci,netdev=net0,mac={mac},csum=on,gso=on,guest_csum=on,host_tso4=on,host_tso6=on,guest_tso4=on,guest_tso6=on"
MEMORY = "768M"
# An emulated guest with two CPUs once stopped for good before it said a word, which some 80 more boots on a busy machine and 200 meetings
# of QEMU and the switch did not show again. A boot takes 5 s, 15 s on a busy machine; a warning keeps what a kernel that stopped printed.
BOOTS, BOOT_TIMEOUT = 3, 60
# Bits of struct virtio_net_hdr's features (virtio 1.2, 5.1.3), as /sys/class/net/eth0/device/features counts them.
OFFLOADS = {"csum": 0, "guest_csum": 1, "guest_tso4": 7, "guest_tso6": 8, "host_tso4": 11, "host_tso6": 12}


def tap_backend(settings: str) -> tuple[str, ...]:
    """`settings` is what QEMU is told of the tap: its name and vnet_hdr=on, or the descriptor of one that is open."""
    return "-netdev", f"tap,id=net0,{settings}"


def vhost_user_backend(socket: Path, *, server: bool = False, queues: int = 1) -> tuple[str, ...]:
    """The guest's memory is shared with whom it meets at the socket; `server`: QEMU listens there."""
    meeting = "server=on,wait=off" if server else "reconnect=1"
    return ("-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on", "-machine", "memory-backend=memory",
            "-chardev", f"socket,id=switch,path={socket},{meeting}", "-netdev", f"vhost-user,id=net0,chardev=switch,queues={queues}")


class Guest:
    """Emulated: a stock kernel boots so on any machine."""

    def __init__(self, host: Namespace, backend: tuple[str, ...], mac: str, directory: Path, descriptors: tuple[int, ...] = (),
                 cpus: int = 1, card: str = "", monitor: Path | None = None, incoming: str = ""):
        """`backend` are QEMU's options for netdev net0, `card` more settings of the device. QEMU listens for its machine protocol at
        `monitor`; it waits for a guest that migrates here at `incoming`, rather than boot one."""
        self._numbers = itertools.count(1)
        argv = ("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(cpus),
                "-m", MEMORY, "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-kernel", guest_kernel.kernel(),
                "-initrd", guest_kernel.initramfs(directory),
                "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1 mitigations=off",
                *backend, "-device", CARD.format(mac=mac) + card, *(("-qmp", f"unix:{monitor},server=on,wait=off") if monitor else ()),
                *(("-incoming", incoming) if incoming else ()))
        for boot in range(1, BOOTS + 1):
            self._seen = b""
            self._qemu = host.start("qemu", *argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, pass_fds=descriptors)
            if incoming:
                return
            try:        # what is typed before the kernel has its serial port may be lost
                self._read_to(guest_kernel.READY.encode(), "boot", BOOT_TIMEOUT)
                return
            except Failure as e:
                self._qemu.kill()
                self._qemu.wait()
                if boot == BOOTS:
                    raise
                warnings.warn(f"boot {boot} of {BOOTS}: {e}", stacklevel=1)

    def run(self, command: str, timeout: float = 20) -> str:
        """What a shell command prints; Failure when it fails."""
        mark = f"done-{next(self._numbers)}:"
        # The mark is put together by the guest, so that what is sent is not taken for the answer.
        self._qemu.stdin.write(f"{command}\necho {mark[:4]}''{mark[4:]}$?\n".encode())
        printed = self._read_to(mark.encode(), command, timeout)
        status = int(self._read_to(b"\n", command, timeout))
        if status != 0:
            raise Failure(f"guest: {command}: exit status {status}: {printed.strip()[-2000:]}")
        return printed.replace("\r", "")

    def _read_to(self, mark: bytes, command: str, timeout: float) -> str:
        """What the guest prints before the mark."""
        deadline = time.monotonic() + timeout
        while mark not in self._seen:
            if not select.select([self._qemu.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                raise Failure(f"guest: {command}: no end within {timeout:g} s: {self._seen[-2000:]!r}")
            chunk = os.read(self._qemu.stdout.fileno(), 65536)
            if not chunk:
                raise Failure(f"guest: {command}: QEMU has ended: {self._seen[-2000:]!r}")
            self._seen += chunk
        before, _, self._seen = self._seen.partition(mark)
        return before.decode(errors="replace")

    def start(self, name: str, command: str) -> None:
        """Runs a command beside the shell, which must not be its parent: busybox' ends when a child ends while it reads."""
        self.run(f"(setsid {command} </dev/null & echo $! >/tmp/{name}.pid)")

    def kill(self, name: str, signal: str = "KILL") -> None:
        self.run(f"kill -{signal} $(cat /tmp/{name}.pid)")

    def runs(self, name: str) -> bool:
        return "yes" in self.run(f"kill -0 $(cat /tmp/{name}.pid) 2>/dev/null && echo yes || true")

    def offloads(self) -> set[str]:
        """Those that guest and QEMU agreed on."""
        bits = self.run("cat /sys/class/net/eth0/device/features").strip().splitlines()[-1]
        return {name for name, bit in OFFLOADS.items() if bits[bit] == "1"}
