"""Debian's cloud kernel and the virtio modules for a guest, and an initramfs around busybox. Kept in build/guest."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / "build" / "guest"
PACKAGE = "linux-image-cloud-amd64"
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "failover", "net_failover",
           "virtio_net")     # each after what it needs
READY = "the guest is ready"
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t tmpfs -o size=85% none /tmp
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo
for module in MODULES; do insmod /$module.ko; done
ip link set lo up
cd /tmp
dmesg -n 1
echo READY
PS1= sh
"""


def _run(*argv: object, **options) -> str:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: {done.stderr.strip()}")
    return done.stdout


def _image_package() -> str:
    """The package with the image that the meta-package depends on today."""
    for line in _run("apt-cache", "depends", PACKAGE).splitlines():
        if line.strip().startswith("Depends: linux-image-"):
            return line.split()[1]
    raise RuntimeError(f"{PACKAGE} depends on no image")


def _fetch(folder: Path) -> None:
    try:
        _run("apt-get", "-q", "download", _image_package(), cwd=folder)
    except RuntimeError:            # lists that are missing, or older than the mirror
        _run("apt-get", "-q", "update")
        _run("apt-get", "-q", "download", _image_package(), cwd=folder)
    [package] = folder.glob("*.deb")
    _run("dpkg-deb", "-x", package, folder / "image")


def _kernel_files() -> Path:
    """The unpacked package."""
    done = CACHE / "image"
    if not done.exists():
        fresh = CACHE.with_name(f"guest.{os.getpid()}")
        fresh.mkdir(parents=True)
        try:
            _fetch(fresh)
            shutil.rmtree(CACHE, ignore_errors=True)
            fresh.rename(CACHE)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return done


def kernel() -> Path:
    [image] = _kernel_files().glob("boot/vmlinuz-*")
    return image


def initramfs(directory: Path) -> Path:
    """An image that loads the network driver and gives a shell on the serial port."""
    tree = directory / "initramfs"
    for folder in ("bin", "proc", "sys", "dev", "tmp"):
        (tree / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin" / "busybox")
    for module in MODULES:
        [file] = _kernel_files().glob(f"**/{module}.ko")
        shutil.copy(file, tree)
    (tree / "init").write_text(INIT.replace("MODULES", " ".join(MODULES)).replace("READY", READY))
    (tree / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    image = directory / "initramfs.cpio"
    with open(image, "wb") as file:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], input=names.encode(), stdout=file, cwd=tree, check=True)
    return image
